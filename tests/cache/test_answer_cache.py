"""Which calls have a stored answer, for whom, and what becomes of a call that has none."""

from collections.abc import Callable
from typing import Any

import pytest

from proxy.cache.answer_cache import LARGEST, AnswerCache
from proxy.cache.memory_answers import MemoryAnswers
from proxy.core.exchange import Exchange, Outcome
from proxy.relay.client import Client
from proxy.settings.traffic import Cache
from tests.rigs.answers import Listening, question

SIZE = 1024 * 1024


def cache(**rules: Any) -> AnswerCache:
    whole = Cache.model_validate({"enabled": True, "max_size": SIZE, **rules})
    return AnswerCache(whole, MemoryAnswers(whole.max_size, whole.ttl), lambda model: True, lambda exchange: 42)


def call(**fields: Any) -> Exchange:
    exchange = Exchange("req_1", "POST")
    exchange.model = exchange.answered_model = "m"
    for name, value in fields.items():
        setattr(exchange, name, value)
    return exchange


def answering(body: bytes = b"{}", status: int = 200) -> Callable[[Client], Any]:
    async def relay(client: Client) -> None:
        client.send(status, [(b"Content-Type", b"application/json")], body)

    return relay


@pytest.mark.parametrize(
    ("scope", "one", "other", "shared"),
    [
        ("principal", ("a", "red"), ("b", "red"), False),
        ("principal", ("a", "red"), ("a", "blue"), True),
        ("team", ("a", "red"), ("b", "red"), True),
        ("team", ("a", "red"), ("b", "blue"), False),
        ("team", ("a", ""), ("b", ""), False),
        ("team", ("red", ""), ("a", "red"), False),
        ("all", ("a", "red"), ("b", ""), True),
    ],
)
def test_who_shares_answers(scope: str, one: tuple[str, str], other: tuple[str, str], shared: bool) -> None:
    made = cache(scope=scope)
    assert (made.holder(*one) == made.holder(*other)) is shared


@pytest.mark.parametrize(
    ("value", "plain", "with_tools"),
    [
        ({}, True, True),
        ({"tools": []}, True, True),
        ({"tools": [{"type": "function"}]}, False, True),
        ({"functions": [{"name": "f"}]}, False, True),
        ({"web_search_options": {"a": 1}}, False, True),
        ({"store": False}, True, True),
        ({"store": True}, False, False),
        ({"background": True}, False, False),
    ],
)
def test_which_calls_have_answers_that_are_their_words_alone(
    value: dict[str, Any], plain: bool, with_tools: bool
) -> None:
    assert (cache().allows(value), cache(tools=True).allows(value)) == (plain, with_tools)


async def test_what_was_answered_once_is_found_and_sent_again() -> None:
    made = cache()
    assert await made.find(question()) is None
    await made.ask(question(), call(emitted=3), Listening(), answering(b'{"a":1}'))
    found = await made.find(question())
    assert found is not None
    assert (found.body, found.emitted, found.model, found.principal, found.cost) == (b'{"a":1}', 3, "m", "a", 42)
    assert (made.hits_total, made.misses_total, made.size) == (1, 1, found.size)
    exchange, client = call(answered_model=""), Listening()
    await made.send(found, exchange, client)
    assert client.pieces == [b'{"a":1}']
    assert (exchange.cached, exchange.saved, exchange.answered_model) == (True, 42, "m")
    assert exchange.bytes_out == 7


async def test_one_that_is_not_looked_up_counts_in_neither() -> None:
    made = cache()
    await made.ask(question(), call(), Listening(), answering())
    assert await made.find(question(max_age=0.0)) is None
    assert (made.hits_total, made.misses_total) == (0, 0)


@pytest.mark.parametrize(
    ("exchange", "relay"),
    [
        (call(outcome=Outcome.CUT), answering()),
        (call(outcome=Outcome.REFUSED), answering()),
        (call(answered_model="n"), answering()),
        (call(resumed=1), answering()),
        (call(), answering(status=201)),
        (call(), answering(b'{"finish_reason":"length"}')),
        (call(), answering(b"x" * (SIZE // LARGEST))),
    ],
    ids=["cut", "refused", "another model's", "put together", "another status", "short", "too large"],
)
async def test_what_may_not_be_kept_is_answered_and_not_kept(
    exchange: Exchange, relay: Callable[[Client], Any]
) -> None:
    made, client = cache(), Listening()
    await made.ask(question(), exchange, client, relay)
    assert client.ended == "sent"
    assert await made.find(question()) is None


async def test_what_is_raised_passes_and_its_copy_is_let_go() -> None:
    made = cache()

    async def breaking(client: Client) -> None:
        client.start(200, [], None, True)
        client.push(b"x" * 1000)
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await made.ask(question(), call(), Listening(), breaking)
    assert made._room._left == SIZE
    assert await made.find(question()) is None
