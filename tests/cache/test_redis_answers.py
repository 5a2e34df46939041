"""Answers in Redis: found by others, bounded in time, and never an error."""

import asyncio
import random
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from proxy.cache import redis_answers
from proxy.cache.lookup import Unreachable
from proxy.cache.redis_answers import LARGE, RedisAnswers
from proxy.core import tasks
from tests.rigs.answers import answer, question
from tests.rigs.redis import RedisServer, Way, redis_server, way_to

PATIENT = 30.0


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as running:
        yield running


@pytest.fixture
def redis(server: RedisServer) -> RedisServer:
    server.ask("FLUSHALL")
    return server


@pytest.fixture
async def way(redis: RedisServer) -> AsyncIterator[Way]:
    async with way_to(redis.port) as leading:
        yield leading


@pytest.fixture
async def answers(way: Way) -> AsyncIterator[RedisAnswers]:
    made = RedisAnswers(way.url, 60.0, 10_000_000, PATIENT)
    yield made
    await made.stop()


async def written(answers: RedisAnswers) -> None:
    while answers._writing:
        await asyncio.wait(set(answers._writing))


async def test_what_one_process_kept_another_finds_until_its_time_is_over(
    answers: RedisAnswers, redis: RedisServer
) -> None:
    stored = answer((0.0, b"data: one\n\n"), (1.25, b"data: two\n\n"))
    answers.keep(question(), stored)
    await written(answers)
    other = RedisAnswers(redis.url, 60.0, 10_000_000, PATIENT)
    assert await other.find(question()) == stored
    assert await other.find(question("b")) is None
    assert answers.size > 0 == other.size
    (name,) = redis.ask("KEYS", "*")  # type: ignore[misc]
    assert 0 < int(str(redis.ask("PTTL", name))) <= 60_000
    await other.stop()


async def test_a_large_one_comes_back_as_it_was(answers: RedisAnswers) -> None:
    noise = random.Random(1).randbytes(LARGE)
    stored = answer((0.0, noise), (1.0, noise))
    answers.keep(question(), stored)
    await written(answers)
    assert await answers.find(question()) == stored


async def test_what_is_being_written_arrives_before_the_end(way: Way, redis: RedisServer) -> None:
    answers = RedisAnswers(way.url, 60.0, 10_000_000, PATIENT)
    answers.keep(question(), answer((0.0, b"x")))
    await answers.stop()
    assert redis.ask("DBSIZE") == 1


async def test_more_than_may_wait_to_be_written_is_not_stored(way: Way, redis: RedisServer) -> None:
    stored = answer((0.0, b"x" * 1000))
    answers = RedisAnswers(way.url, 60.0, 3 * stored.size, PATIENT)
    for number in range(5):
        answers.keep(question(str(number)), stored)
    await written(answers)
    assert redis.ask("DBSIZE") == 3
    # A reload gives room for two more.
    answers.obey(60.0, 5 * stored.size)
    for number in range(3, 10):
        answers.keep(question(str(number)), stored)
    await answers.stop()
    assert redis.ask("DBSIZE") == 8
    assert answers.failures_total == 0


async def test_a_large_one_whose_thread_gets_no_turn_is_not_there(
    answers: RedisAnswers, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers.keep(question(), answer((0.0, random.Random(1).randbytes(2 * LARGE))))
    await written(answers)
    busy = threading.Event()
    pool = ThreadPoolExecutor(1)
    pool.submit(busy.wait)
    asyncio.get_running_loop().set_default_executor(pool)
    try:
        with monkeypatch.context() as hasty:
            hasty.setattr(redis_answers, "RESTORE_WITHIN", 0.05)
            assert await answers.find(question()) is None
    finally:
        busy.set()
    assert await answers.find(question()) is not None


async def test_one_that_does_not_answer_in_time_is_not_waited_for_and_not_asked_for_a_while(
    way: Way, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(redis_answers.clock, "now", lambda: now)
    answers = RedisAnswers(way.url, 60.0, 10_000_000, 0.02)
    way.delay = 60.0
    assert await answers.find(question()) is None
    assert answers.failures_total == 1
    # Neither asked nor written to.
    answers.keep(question(), answer((0.0, b"x")))
    assert await answers.find(question()) is None
    assert (answers.failures_total, len(answers._writing)) == (1, 0)
    now += redis_answers.RETRY
    assert await answers.find(question()) is None
    assert answers.failures_total == 2
    way.delay = 0.0
    way.cut()
    answers._patience = PATIENT
    now += redis_answers.RETRY
    assert await answers.find(question()) is None
    answers.keep(question(), answer((0.0, b"x")))
    await written(answers)
    assert await answers.find(question()) is not None
    assert answers.failures_total == 2
    await answers.stop()


async def test_a_process_that_is_late_itself_does_not_blame_redis(redis: RedisServer) -> None:
    answers = RedisAnswers(redis.url, 60.0, 10_000_000, PATIENT)
    assert await answers.find(question()) is None
    answers._patience = 0.02
    finding = tasks.start(answers.find(question()), "find")
    await asyncio.sleep(0)
    time.sleep(0.2)  # noqa: ASYNC251 - something else has the loop
    assert await finding is None
    assert (answers.failures_total, answers._away) == (0, False)
    await answers.stop()


@pytest.mark.parametrize("said", [b"-ERR no\r\n", b"-OOM no room\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", b":1\r\n"])
async def test_whatever_it_answers_there_is_no_error(way: Way, said: bytes) -> None:
    answers = RedisAnswers(way.url, 60.0, 10_000_000, 1.0)
    way.answer = said
    assert await answers.find(question()) is None
    answers._ask_again_at = 0.0
    answers.keep(question(), answer((0.0, b"x")))
    await written(answers)
    with pytest.raises(Unreachable):
        await answers.clear(None, None)
    await answers.stop()
    assert answers.failures_total


async def test_one_without_room_takes_no_more_and_gives_what_it_has(
    answers: RedisAnswers, redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    answers.keep(question("a"), answer((0.0, b"x")))
    await written(answers)
    redis.ask("CONFIG", "SET", "maxmemory", "1")
    try:
        for _ in range(3):
            answers.keep(question("b"), answer((0.0, b"x")))
            await written(answers)
        assert await answers.find(question("a")) is not None
        assert answers.failures_total == 3
        assert caplog.messages == ["stored answers: Redis takes no more (OutOfMemoryError), see maxmemory"]
    finally:
        redis.ask("CONFIG", "SET", "maxmemory", "0")
    answers.keep(question("b"), answer((0.0, b"x")))
    await written(answers)
    assert await answers.find(question("b")) is not None


async def test_a_caller_that_leaves_leaves_no_answer_behind_for_another(answers: RedisAnswers, way: Way) -> None:
    for text in "ab":
        answers.keep(question(text), answer((0.0, text.encode())))
    await written(answers)
    way.delay = 0.05
    for _ in range(5):
        leaving = [tasks.start(answers.find(question("a")), "find") for _ in range(20)]
        await asyncio.sleep(0.01)
        for each in leaving:
            each.cancel()
        await asyncio.gather(*leaving, return_exceptions=True)
        found = await answers.find(question("b"))
        assert found is not None
        assert found.body == b"b"


async def test_those_of_a_model_or_a_principal_are_cleared(
    answers: RedisAnswers, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_answers, "AT_ONCE", 2)
    for model, principal, left in ((None, None, 0), ("m", None, 20), (None, "a", 20), ("m", "a", 40), ("x", None, 60)):
        for number in range(20):
            for text, owner in (("m", "a"), ("n", "a"), ("m", "b")):
                stored = answer((0, b"x"), model=text, principal=owner)
                answers.keep(question(f"{number}{text}{owner}"), stored)
        await written(answers)
        redis.ask("SET", "other", "not an answer")
        assert answers.forget(model, principal) == 0
        assert await answers.clear(model, principal) == 60 - left
        assert redis.ask("DBSIZE") == left + 1
        assert await answers.clear(None, None) == left


def test_an_address_that_is_none_is_refused_without_its_password() -> None:
    with pytest.raises(ValueError, match="not an address of Redis") as refused:
        RedisAnswers("redis://me:secret@host:port/0", 60.0, 1000)
    assert "secret" not in str(refused.value)
