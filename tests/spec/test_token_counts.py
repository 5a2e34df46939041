"""
What a call used is counted whatever becomes of it: by the provider's own figures, or by what reached the client.

The simulator's ledger says what a provider would charge for; a call of which the client got nothing costs nothing.
"""

import asyncio
import json
from typing import Any

import orjson
import pytest

from proxy.core.exchange import Exchange, Outcome
from proxy.core.usage import Tokens
from proxy.providers.budget import RetryBudget
from tests.conftest import Ended, GatewayFactory
from tests.rigs.simulator import Fin, Hold, Reset, Send, Simulator
from tests.spec.loop import until
from tests.spec.wire import ONCE, PATIENCE, QUESTION, ask, calls, chat, connect, request, target

ASKED: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": QUESTION},
    "/v1/completions": {"prompt": "hello there"},
    "/v1/responses": {"input": "hello there"},
    "/v1/messages": {"messages": QUESTION, "max_tokens": 1000},
}
WORDS = 40


async def only(kept: Ended) -> Exchange:
    """The only exchange there was, once it has ended."""
    async with asyncio.timeout(PATIENCE):
        await until(lambda: kept)
    assert len(kept) == 1
    return kept[0]


def billed(*simulators: Simulator) -> tuple[int, int]:
    """What providers would charge for: prompt and completion tokens."""
    seen = [call for simulator in simulators for call in calls(simulator)]
    return sum(call.prompt_tokens for call in seen), sum(call.completion_tokens for call in seen)


def told(exchange: Exchange) -> tuple[int, int]:
    """What the record says, from a provider's own figures."""
    assert exchange.tokens is not None
    assert not exchange.tokens.estimated
    return exchange.tokens.prompt, exchange.tokens.completion


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", ASKED)
async def test_a_whole_answer_used_what_its_provider_charges_for(
    simulator: Simulator, gateway: GatewayFactory, path: str, stream: bool
) -> None:
    running = await gateway()
    kept = running.observed()
    body = {"model": f"sim-fast:tokens={WORDS}", "stream": stream, **ASKED[path]}
    assert (await ask(running.port, request(path, body))).status == 200
    assert told(await only(kept)) == billed(simulator) == (2, WORDS)


async def test_all_choices_are_paid_for(simulator: Simulator, gateway: GatewayFactory) -> None:
    running = await gateway()
    kept = running.observed()
    await ask(running.port, chat(f"sim-fast:tokens={WORDS}", stream=True, n=3))
    assert told(await only(kept)) == billed(simulator) == (2, 3 * WORDS)


async def test_the_native_endpoint_is_counted_like_any_other(simulator: Simulator, gateway: GatewayFactory) -> None:
    running = await gateway()
    kept = running.observed()
    answer = await ask(running.port, request("/v1/completion", {"model": "sim-fast:tokens=5", "input": "a b c"}))
    assert answer.status == 200
    assert told(await only(kept)) == billed(simulator)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", list(ASKED)[:2])
async def test_without_usage_the_answer_is_counted_and_marked(
    simulator: Simulator, gateway: GatewayFactory, path: str, stream: bool
) -> None:
    running = await gateway()
    kept = running.observed()
    body = {"model": f"sim-fast:tokens={WORDS},usage=none", "stream": stream, **ASKED[path]}
    await ask(running.port, request(path, body))
    tokens = (await only(kept)).tokens
    assert tokens is not None
    assert tokens.estimated
    assert tokens.prompt > 0
    if stream:
        assert tokens.completion == WORDS
    else:
        # By the bytes of its text, four a token; the words of the simulator have six.
        assert WORDS <= tokens.completion <= 2 * WORDS


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("word", ["negative", "huge", "text", "null"])
async def test_nonsense_for_usage_is_replaced_by_a_count_and_marked(
    simulator: Simulator, gateway: GatewayFactory, word: str, stream: bool
) -> None:
    running = await gateway()
    kept = running.observed()
    await ask(running.port, chat(f"sim-fast:tokens={WORDS},usage={word}", stream=stream))
    tokens = (await only(kept)).tokens
    assert tokens is not None
    assert tokens.estimated
    assert WORDS <= tokens.completion <= 2 * WORDS


@pytest.mark.parametrize("stream", [True, False])
async def test_an_explicit_nothing_stays_nothing(simulator: Simulator, gateway: GatewayFactory, stream: bool) -> None:
    running = await gateway()
    kept = running.observed()
    await ask(running.port, chat("sim-fast:usage=zero", stream=stream))
    assert (await only(kept)).tokens == Tokens(0, 0)


# Endings.


@pytest.mark.parametrize("path", ASKED)
@pytest.mark.parametrize("ending", ["rst", "fin", "end", "error"])
@pytest.mark.parametrize("after", [8, 30])
async def test_an_answer_that_broke_off_is_counted_as_far_as_it_came(
    simulator: Simulator, gateway: GatewayFactory, path: str, ending: str, after: int
) -> None:
    running = await gateway(ONCE)
    kept = running.observed()
    body = {"model": f"sim-1:tokens={WORDS},pace=1ms,{ending}@{after}", "stream": True, **ASKED[path]}
    async with connect(running.port) as wire:
        wire.send(request(path, body))
        received, _ = await wire.to_end()
    exchange = await only(kept)
    assert exchange.outcome is Outcome.CUT
    tokens = exchange.tokens
    assert tokens is not None
    assert tokens.estimated
    assert tokens.completion == billed(simulator)[1] == _deltas(received)
    if path == "/v1/messages":
        assert tokens.prompt == 2, "the provider told its prompt before it died"
    else:
        assert tokens.prompt > 0


def _deltas(received: bytes) -> int:
    """Pieces of text in the bytes a client has."""
    count = 0
    for line in received.replace(b"\r\n", b"\n").split(b"\n"):
        if not line.startswith(b"data: {"):
            continue
        value = orjson.loads(line[6:])
        choice = (value.get("choices") or [{}])[0]
        delta = value.get("delta")
        text = choice.get("text") or (choice.get("delta") or {}).get("content")
        text = text or (delta.get("text") if isinstance(delta, dict) else delta)
        count += bool(text)
    return count


@pytest.mark.parametrize("path", ASKED)
async def test_a_client_that_leaves_pays_for_what_it_was_sent(
    simulator: Simulator, gateway: GatewayFactory, path: str
) -> None:
    running = await gateway()
    kept = running.observed()
    words = 60
    body = {"model": "sim-1:tokens=1000,pace=2ms", "stream": True, **ASKED[path]}
    async with connect(running.port) as wire:
        wire.send(request(path, body))
        received = b""
        while _deltas(received) < words:
            async with asyncio.timeout(PATIENCE):
                received += await wire.until(b"\n\n")
        wire.abort()
        exchange = await only(kept)
    assert exchange.outcome is Outcome.CLIENT_GONE
    tokens = exchange.tokens
    assert tokens is not None
    assert tokens.estimated
    assert words <= tokens.completion <= words * 1.05
    assert tokens.completion <= billed(simulator)[1]


@pytest.mark.parametrize("model", ["sim-fast:silence", "sim-fast:stall@1", "sim-fast:headers=1h"])
@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_before_the_first_content_pays_nothing(
    simulator: Simulator, gateway: GatewayFactory, model: str, stream: bool
) -> None:
    running = await gateway()
    kept = running.observed()
    async with connect(running.port) as wire:
        wire.send(chat(model, stream=stream))
        async with asyncio.timeout(PATIENCE):
            await until(lambda: calls(simulator))
        wire.abort()
        exchange = await only(kept)
    assert (exchange.outcome, exchange.tokens) == (Outcome.CLIENT_GONE, None)


@pytest.mark.parametrize("status", [400, 404, 429, 500])
async def test_a_refusal_and_a_failure_cost_nothing(simulator: Simulator, gateway: GatewayFactory, status: int) -> None:
    running = await gateway(ONCE)
    kept = running.observed()
    await ask(running.port, chat(f"sim-fast:status={status}", stream=True))
    assert (await only(kept)).tokens is None
    assert billed(simulator) == (0, 0)


@pytest.mark.parametrize("fault", ["status=503", "rst@1", "end@1", "json_for_stream", "error@1", "stall@1"])
async def test_a_call_that_went_on_to_another_provider_is_paid_for_once(
    simulator: Simulator, backup: Simulator, gateway: GatewayFactory, fault: str
) -> None:
    running = await gateway(
        {
            "providers": {"one": target(simulator, timeouts={"first_token": "200ms"}), "two": target(backup)},
            "models": {"m": {"targets": [f"one/sim-fast:{fault}", f"two/sim-fast:tokens={WORDS}"]}},
        }
    )
    kept = running.observed()
    assert (await ask(running.port, chat("m", stream=True))).status == 200
    exchange = await only(kept)
    assert [attempt.tokens is None for attempt in exchange.attempts] == [True, False]
    assert told(exchange) == billed(backup) == (2, WORDS)


async def test_the_loser_of_a_race_is_not_paid_for(
    simulator: Simulator, backup: Simulator, gateway: GatewayFactory
) -> None:
    running = await gateway(
        {
            "providers": {"one": target(simulator), "two": target(backup)},
            "models": {"m": {"targets": ["one/sim-fast:stall@1", f"two/sim-fast:tokens={WORDS}"]}},
            "failover": {"patience": "50ms"},
        }
    )
    running.listener.gateway.relay._hedge_budget = RetryBudget(1.0)
    kept = running.observed()
    assert (await ask(running.port, chat("m", stream=True))).status == 200
    exchange = await only(kept)
    assert exchange.hedged
    assert [attempt.tokens is None for attempt in exchange.attempts] == [True, False]
    assert told(exchange) == billed(simulator, backup) == (2, WORDS)


# Continuations.


def _chunk(text: str, finish: str | None = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": {"content": text} if text else {}, "finish_reason": finish}
    return b"data: " + orjson.dumps({"id": "a", "created": 1, "choices": [choice], **more}) + b"\n\n"


def _wire(*events: bytes) -> list[Any]:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    return [Send(head), *(Send(b"%x\r\n%b\r\n" % (len(each), each)) for each in events)]


def _usage(prompt: int, completion: int) -> bytes:
    usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    return b"data: " + orjson.dumps({"id": "b", "created": 1, "choices": [], "usage": usage}) + b"\n\n"


@pytest.mark.parametrize("asks", [False, True])
@pytest.mark.parametrize("prefill", [False, True])
async def test_an_answer_continued_elsewhere_used_what_both_used(
    simulator: Simulator, backup: Simulator, gateway: GatewayFactory, prefill: bool, asks: bool
) -> None:
    running = await gateway(
        {
            "providers": {"one": target(simulator), "two": target(backup, prefill=prefill)},
            "models": {"m": {"targets": ["one/sim-fast", "two/sim-fast"], "resume": True}},
            "health_check": {"enabled": False},
        }
    )
    kept = running.observed()
    simulator.script([*_wire(_chunk("One", usage=None), _chunk(" two", usage=None)), Reset()], match="sim-fast")
    rest = [_chunk(" three", usage=None)]
    if not prefill:
        rest = [_chunk("One two", usage=None), *rest]
    ends = [_chunk("", "stop", usage=None), _usage(10, len(rest)), b"data: [DONE]\n\n"]
    backup.script([*_wire(*rest, *ends), Send(b"0\r\n\r\n")], match="sim-fast")
    more: dict[str, Any] = {"stream_options": {"include_usage": True}} if asks else {}
    answer = await ask(running.port, chat("m", stream=True, **more))
    exchange = await only(kept)
    first, second = (attempt.tokens for attempt in exchange.attempts)
    assert first is not None
    assert (first.completion, first.estimated) == (2, True)
    assert second == Tokens(10, len(rest))
    assert exchange.tokens == first + second
    assert exchange.resumed == 1
    values = [json.loads(line[6:]) for line in answer.body.split(b"\n") if line.startswith(b"data: {")]
    told = [value["usage"] for value in values if value.get("usage")]
    if asks:
        # One usage for the one answer, and it is what the caller is charged for.
        used = exchange.tokens
        assert told == [
            {"prompt_tokens": used.prompt, "completion_tokens": used.completion, "total_tokens": used.total}
        ]
    else:
        assert b'"usage"' not in answer.body


async def test_a_continuation_that_went_another_way_is_not_paid_for(
    simulator: Simulator, backup: Simulator, gateway: GatewayFactory
) -> None:
    running = await gateway(
        {
            "providers": {"one": target(simulator), "two": target(backup, prefill=False)},
            "models": {"m": {"targets": ["one/sim-fast", "two/sim-fast"], "resume": True}},
            "health_check": {"enabled": False},
        }
    )
    kept = running.observed()
    simulator.script([*_wire(_chunk("One"), _chunk(" two")), Reset()], match="sim-fast")
    backup.script([*_wire(_chunk("Two"), _chunk("", "stop")), Send(b"0\r\n\r\n")], match="sim-fast", times=3)
    async with connect(running.port) as wire:
        wire.send(chat("m", stream=True))
        await wire.to_end()
    exchange = await only(kept)
    assert exchange.outcome is Outcome.CUT
    assert exchange.tokens is not None
    assert exchange.tokens.completion == 2
    assert [attempt.tokens is None for attempt in exchange.attempts[1:]] == [True] * (len(exchange.attempts) - 1)


# Other paths.


async def test_an_embedding_uses_its_prompt(simulator: Simulator, gateway: GatewayFactory) -> None:
    running = await gateway()
    kept = running.observed()
    await ask(running.port, request("/v1/embeddings", {"model": "sim-embed", "input": "a b c"}))
    assert told(await only(kept)) == billed(simulator) == (3, 0)


async def test_the_usage_of_an_answer_too_long_to_be_held_is_read_all_the_same(
    simulator: Simulator, gateway: GatewayFactory
) -> None:
    running = await gateway()
    kept = running.observed()
    body = {"model": "sim-embed", "input": ["a b"] * 50, "dimensions": 8000}
    answer = await ask(running.port, request("/v1/embeddings", body))
    assert len(answer.body) > 1024 * 1024
    assert told(await only(kept)) == billed(simulator) == (100, 0)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/audio/speech", {"model": "sim-tts", "input": "hello", "voice": "a"}),
        ("/v1/moderations", {"model": "sim-fast", "input": "hello"}),
        ("/v1/rerank", {"model": "sim-fast", "query": "a", "documents": ["b"]}),
    ],
)
async def test_what_says_nothing_of_usage_and_writes_no_text_used_its_prompt(
    simulator: Simulator, gateway: GatewayFactory, path: str, body: dict[str, Any]
) -> None:
    running = await gateway()
    kept = running.observed()
    assert (await ask(running.port, request(path, body))).status == 200
    tokens = (await only(kept)).tokens
    assert tokens is not None
    assert tokens.prompt > 0
    assert (tokens.completion, tokens.estimated) == (0, True)


@pytest.mark.parametrize("path", ["/v1/files", "/v1/models"])
async def test_what_asks_no_model_uses_no_tokens(simulator: Simulator, gateway: GatewayFactory, path: str) -> None:
    running = await gateway()
    kept = running.observed()
    assert (await ask(running.port, request(path, method="GET"))).status == 200
    assert (await only(kept)).tokens is None


@pytest.mark.parametrize(
    ("method", "path", "counted"),
    [
        ("POST", "/v1/batches", True),
        ("GET", "/v1/batches/batch_1", False),
        ("POST", "/v1/batches/batch_1", False),
        ("POST", "/v1/batches/batch_1/cancel", False),
    ],
)
async def test_usage_is_believed_wherever_it_stands_and_charged_once(
    simulator: Simulator, gateway: GatewayFactory, method: str, path: str, counted: bool
) -> None:
    """To read or change what was stored tells what it once used, and uses nothing."""
    running = await gateway()
    kept = running.observed()
    batch = b'{"id":"batch_1","usage":{"input_tokens":5,"output_tokens":6,"total_tokens":11}}'
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(batch)
    simulator.script([Send(head + batch)], match="/v1/batches*")
    await ask(running.port, request(path, method=method))
    exchange = await only(kept)
    assert (told(exchange) == (5, 6)) if counted else exchange.tokens is None


# What the simulator would charge for.


async def test_the_simulator_charges_for_what_it_has_sent(simulator: Simulator) -> None:
    async with connect(simulator.port) as wire:
        wire.send(chat("sim-1:tokens=100,pace=2ms", stream=True))
        received = b""
        while _deltas(received) < 20:
            async with asyncio.timeout(PATIENCE):
                received += await wire.until(b"\n\n")
        assert 20 <= simulator.ledger[-1].completion_tokens < 100
        assert simulator.ledger[-1].prompt_tokens == 2
    shown = await ask(simulator.port, request("/_simulator/ledger", method="GET"))
    assert shown.json[-1]["completion_tokens"] >= 20
    assert shown.json[-1]["prompt_tokens"] == 2


@pytest.mark.parametrize(
    "directive", ["segment=5", "trickle=0", "gzip", "crlf,comments", "chunked", "pace=1ms", "fin@90"]
)
async def test_the_simulators_charge_does_not_depend_on_how_it_writes(simulator: Simulator, directive: str) -> None:
    async with connect(simulator.port) as wire:
        wire.send(chat(f"sim-fast:tokens={WORDS},{directive}", stream=True))
        async with asyncio.timeout(PATIENCE):
            await until(lambda: simulator.ledger.seen and billed(simulator) == (2, WORDS))


async def test_the_simulator_charges_nothing_for_what_never_came(simulator: Simulator) -> None:
    simulator.script([Fin()], match="sim-echo")
    simulator.script([Hold()], match="sim-tts")
    for model in ("sim-fast:status=500", "sim-fast:rst@1", "sim-fast:error@0", "sim-echo", "sim-tts"):
        async with connect(simulator.port) as wire:
            wire.send(chat(model, stream=True))
            async with asyncio.timeout(PATIENCE):
                await until(lambda: simulator.ledger.seen)
        assert billed(simulator) == (0, 0)
        simulator.ledger.clear()
