"""A thousand calls that come, read slowly and leave at random: every answer is whole or told, and paid once."""

import asyncio
import gc
import random
from collections.abc import Callable

import pytest

from proxy.cache.single_flight import SingleFlight
from proxy.core.errors import ProxyError
from proxy.core.exchange import AttemptRecord, Exchange, Outcome
from proxy.core.headers import Header
from proxy.core.usage import Tokens
from proxy.relay.client import Client
from proxy.relay.endpoints import operation

CHAT, EMBEDDINGS = operation("/chat/completions"), operation("/embeddings")


class Reader:
    """A client in memory; it may be full for a while, and then takes nothing."""

    def __init__(self) -> None:
        self.on_pause: Callable[[], object] | None = None
        self.on_resume: Callable[[], object] | None = None
        self.paused = False
        self.status = 0
        self.headers: list[Header] = []
        self.body = b""
        self.end = ""

    def send(self, status: int, headers: list[Header], body: bytes) -> None:
        assert not self.status, "one answer"
        self.status, self.headers, self.body, self.end = status, headers, body, "whole"

    def start(self, status: int, headers: list[Header], length: int | None, streamed: bool) -> None:
        assert not self.status, "one answer"
        self.status, self.headers = status, headers

    def push(self, chunk: bytes) -> None:
        assert not self.end, "nothing after the end"
        self.body += chunk

    def finish(self) -> None:
        assert not self.end, "one end"
        self.end = "whole"

    def cut(self) -> None:
        assert not self.end, "one end"
        self.end = "cut"

    def fill(self) -> None:
        self.paused = True
        if self.on_pause is not None:
            self.on_pause()

    def empty(self) -> None:
        self.paused = False
        if self.on_resume is not None:
            self.on_resume()


class Provider:
    """Answers a question with that question again and again, now and then with a failure, and at random speed."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.under_way: set[bytes] = set()
        self.attempts: list[AttemptRecord] = []

    async def ask(self, key: bytes, exchange: Exchange, client: Client) -> None:
        assert key not in self.under_way, "one upstream call for a question"
        self.under_way.add(key)
        attempt = AttemptRecord("p", "m", 0.0, 200)
        attempt.tokens = Tokens(3, 4)
        self.attempts.append(attempt)
        exchange.attempts.append(attempt)
        rng, room = self._rng, asyncio.Event()
        room.set()
        client.on_pause, client.on_resume = room.clear, room.set
        try:
            await turns(rng.randrange(3))
            kind = rng.random()
            if kind < 0.1:
                raise ProxyError("upstream_error")
            if kind < 0.3:
                client.send(200, [], key)
                return
            client.start(200, [(b"Content-Type", b"text/event-stream")], None, True)
            for _ in range(rng.randrange(1, 40)):
                await turns(rng.randrange(3))
                if not room.is_set():
                    await room.wait()
                client.push(key * rng.choice((1, 100, 2000)))
            if kind < 0.4:
                exchange.outcome, exchange.error_code = Outcome.CUT, "upstream_truncated"
                client.push(b'{"request_id":"%b"}' % exchange.id.encode())
                client.cut()
            else:
                client.finish()
        finally:
            self.under_way.remove(key)


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


class World:
    """What all calls of a run do."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.flights = SingleFlight("all")
        self.provider = Provider(self.rng)
        self.ended: list[tuple[Exchange, Reader, bytes, str]] = []

    async def call(self, number: int) -> None:
        rng = self.rng
        key = b"<%02d>" % rng.randrange(20)
        exchange, reader = Exchange(f"call-{number}", "POST", 0.0), Reader()
        await turns(rng.randrange(300))
        busy = asyncio.get_running_loop().create_task(self._fill(reader)) if rng.random() < 0.3 else None
        leaves = rng.random() < 0.3
        answering = asyncio.get_running_loop().create_task(
            self.flights.answer(key, exchange, reader, lambda asking, client: self.provider.ask(key, asking, client))
        )
        if leaves:
            await turns(rng.randrange(60))
            answering.cancel()
        try:
            await answering
            end = "answered"
        except ProxyError as error:
            end = error.code
        except asyncio.CancelledError:
            end = "left"
        if busy is not None:
            busy.cancel()
        self.ended.append((exchange, reader, key, end))

    async def _fill(self, reader: Reader) -> None:
        while True:
            await turns(self.rng.randrange(1, 30))
            reader.fill()
            await turns(self.rng.randrange(1, 60))
            reader.empty()


@pytest.mark.parametrize("seed", range(8))
async def test_a_thousand_calls_share_and_none_gets_anothers_byte(seed: int) -> None:
    world = World(seed)
    await asyncio.gather(*[world.call(number) for number in range(1000)])
    assert len(world.ended) == 1000
    assert not world.provider.under_way
    assert len(world.provider.attempts) < 700, "some share"
    for exchange, reader, key, end in world.ended:
        named = b'{"request_id":"%b"}' % exchange.id.encode()
        read = reader.body.removesuffix(named)
        assert read == key * (len(read) // len(key)), "no byte of another question"
        if end == "answered":
            assert (reader.status, reader.end) in ((200, "whole"), (200, "cut"))
            assert (reader.end == "cut") == reader.body.endswith(named), "who was cut is told, by its own name"
            assert (exchange.outcome is Outcome.CUT) == (reader.end == "cut")
        elif end == "overloaded":
            assert not reader.end, "who was dropped has no whole answer"
        else:
            assert end in ("left", "upstream_error")
            assert reader.end == "" or end == "left"
    paid = [attempt for exchange, *_ in world.ended for attempt in exchange.attempts]
    assert sorted(map(id, paid)) == sorted(map(id, world.provider.attempts)), "every attempt is paid, once"
    for exchange, _, _, end in world.ended:
        assert not (exchange.attempts and exchange.shared)
        assert end == "left" or exchange.attempts or exchange.shared


async def test_all_whole_answers_of_a_flight_are_equal() -> None:
    rng = random.Random(1)
    flights, gate = SingleFlight("all"), asyncio.Event()

    async def ask(exchange: Exchange, client: Client) -> None:
        client.start(200, [], None, True)
        for number in range(50):
            client.push(b"%d " % number)
            await turns(rng.randrange(3))
        await gate.wait()
        client.finish()

    readers = [Reader() for _ in range(100)]

    async def call(number: int) -> None:
        await turns(rng.randrange(100))
        await flights.answer(b"key", Exchange(str(number)), readers[number], ask)

    calls = [asyncio.get_running_loop().create_task(call(number)) for number in range(100)]
    await turns(400)
    gate.set()
    await asyncio.gather(*calls)
    assert {(reader.body, reader.end) for reader in readers} == {(b"".join(b"%d " % n for n in range(50)), "whole")}
    assert flights.shared_total == 99


async def test_a_flight_waits_only_while_no_reader_has_room() -> None:
    flights, pauses, more = SingleFlight("all"), [], asyncio.Event()

    async def ask(exchange: Exchange, client: Client) -> None:
        client.on_pause, client.on_resume = lambda: pauses.append("stop"), lambda: pauses.append("go")
        client.start(200, [], None, True)
        await more.wait()
        client.finish()

    one, two = Reader(), Reader()
    calls = [
        asyncio.get_running_loop().create_task(flights.answer(b"key", Exchange(name), reader, ask))
        for name, reader in (("one", one), ("two", two))
    ]
    await turns(3)
    one.fill()
    assert pauses == []
    two.fill()
    assert pauses == ["stop"]
    one.empty()
    assert pauses == ["stop", "go"]
    two.empty()
    one.fill()
    calls[1].cancel()
    await turns(2)
    assert pauses == ["stop", "go", "stop"], "who is left has no room"
    one.empty()
    more.set()
    await asyncio.gather(*calls, return_exceptions=True)
    assert one.end == "whole"


async def test_a_slow_reader_that_is_alone_holds_up_no_other_and_is_not_dropped() -> None:
    flights = SingleFlight("all")

    async def ask(exchange: Exchange, client: Client) -> None:
        client.start(200, [], None, True)
        reader.fill()
        for _ in range(3):
            client.push(b"x" * (200 * 1024))
        client.finish()

    reader = Reader()
    await flights.answer(b"key", Exchange("one"), reader, ask)
    assert (len(reader.body), reader.end) == (600 * 1024, "whole")


async def test_who_comes_when_no_beginning_is_kept_any_more_asks_for_itself() -> None:
    flights, asked, gate = SingleFlight("all"), [], asyncio.Event()

    async def ask(exchange: Exchange, client: Client) -> None:
        asked.append(exchange.id)
        client.start(200, [], None, True)
        client.push(b"x" * (256 * 1024))
        if len(asked) == 1:
            await turns(2)
            client.push(b"y")
        await gate.wait()
        client.finish()

    start = asyncio.get_running_loop().create_task
    first = start(flights.answer(b"key", Exchange("first"), Reader(), ask))
    await turns(2)
    second = start(flights.answer(b"key", Exchange("second"), Reader(), ask))
    await turns(5)
    assert not flights.under_way(b"key")
    third = start(flights.answer(b"key", Exchange("third"), Reader(), ask))
    await turns(5)
    gate.set()
    await asyncio.gather(first, second, third)
    assert asked == ["first", "third"]


async def test_a_shared_answer_leaves_nothing_to_the_garbage_collector() -> None:
    flights = SingleFlight("all")

    async def ask(exchange: Exchange, client: Client) -> None:
        await turns(3)
        client.send(200, [], b"{}")

    async def calls() -> None:
        await asyncio.gather(*[flights.answer(b"key", Exchange(str(n)), Reader(), ask) for n in range(10)])

    await calls()
    gc.collect()
    gc.disable()
    try:
        for _ in range(20):
            await calls()
        assert gc.collect() < 20
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("mode", "asked", "value", "shares"),
    [
        ("deterministic", EMBEDDINGS, {}, True),
        ("deterministic", CHAT, {"temperature": 0}, True),
        ("deterministic", CHAT, {"temperature": 0.0}, True),
        ("deterministic", CHAT, {"temperature": False}, False),
        ("deterministic", CHAT, {"temperature": 0.1}, False),
        ("deterministic", CHAT, {"seed": 0}, True),
        ("deterministic", CHAT, {"seed": None}, False),
        ("deterministic", operation("/responses"), {"temperature": 0}, True),
        ("deterministic", operation("/moderations"), {}, True),
        ("deterministic", operation("/messages"), {"temperature": 0}, False),
        ("deterministic", operation("/images/generations"), {"seed": 1}, False),
        ("deterministic", CHAT, {"seed": 1, "tools": [None]}, False),
        ("deterministic", CHAT, {"seed": 1, "tools": []}, True),
        ("deterministic", CHAT, {"seed": 1, "functions": [{}]}, False),
        ("deterministic", CHAT, {"seed": 1, "web_search_options": {}}, True),
        ("deterministic", CHAT, {"seed": 1, "store": True}, False),
        ("deterministic", operation("/responses"), {"seed": 1, "background": True}, False),
        ("all", CHAT, {}, True),
        ("all", operation("/messages"), {}, True),
        ("all", operation("/files"), {}, False),
        ("all", CHAT, {"tools": [{}]}, False),
        ("off", EMBEDDINGS, {}, False),
    ],
)
def test_which_calls_share(mode: str, asked: object, value: dict[str, object], shares: bool) -> None:
    assert SingleFlight(mode).shares(asked, value) is shares  # type: ignore[arg-type]  # literal and operation
