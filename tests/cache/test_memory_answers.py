"""Answers in memory: bounded by bytes, gone after their time, cleared by model and principal."""

from proxy.cache.memory_answers import MemoryAnswers
from proxy.cache.stored_answer import OVERHEAD
from tests.rigs.answers import answer, question


async def test_an_answer_is_found_for_its_question_alone() -> None:
    answers = MemoryAnswers(10_000, 60.0)
    stored = answer((0, b"x"))
    answers.keep(question("a"), stored)
    assert await answers.find(question("a")) is stored
    assert await answers.find(question("b")) is None
    assert await answers.find(question("a", holder="principal|b")) is None
    assert await answers.find(question("a", path="/embeddings?a=b")) is None
    assert await answers.find(question("a", headers=b"accept: application/json\r\n")) is None


async def test_it_is_gone_when_its_time_is_over() -> None:
    now = 100.0
    answers = MemoryAnswers(10_000, 60.0, lambda: now)
    answers.keep(question(), answer((0, b"x")))
    now = 159.0
    assert await answers.find(question()) is not None
    now = 160.0
    assert await answers.find(question()) is None
    assert answers.size == 0


async def test_the_least_recently_used_gives_way_when_there_is_no_more_room() -> None:
    each = answer((0, b"x" * 1000))
    answers = MemoryAnswers(each.size * 3, 60.0)
    for text in "abc":
        answers.keep(question(text), each)
    assert await answers.find(question("a")) is each
    answers.keep(question("d"), each)
    assert [await answers.find(question(text)) is not None for text in "abcd"] == [True, False, True, True]
    assert answers.size == 3 * each.size > 3 * (1000 + OVERHEAD)
    answers.keep(question("e"), answer((0, b"x" * 10_000)))
    assert answers.size == 3 * each.size, "one that does not fit pushes out none"


async def test_those_of_a_model_or_a_principal_are_cleared() -> None:
    for model, principal, left in ((None, None, 0), ("m", None, 1), (None, "a", 1), ("m", "a", 2), ("x", None, 3)):
        answers = MemoryAnswers(100_000, 60.0)
        for text, owner in (("m", "a"), ("n", "a"), ("m", "b")):
            answers.keep(question(text + owner), answer((0, b"x"), model=text, principal=owner))
        assert answers.forget(model, principal) == 3 - left
        assert await answers.clear(None, None) == left
