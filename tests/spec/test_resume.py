"""A stream that dies after its first content is continued by the next target, where that is provably safe."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import orjson
import pytest

from proxy.relay.resume import events_of
from tests.conftest import GatewayFactory, RunningGateway, provider
from tests.rigs.clock import at_most
from tests.rigs.simulator import Fin, Hold, Reset, Send, Simulator
from tests.spec.wire import becomes

ROLE = {"role": "assistant", "content": ""}


@pytest.fixture
async def second() -> AsyncIterator[Simulator]:
    async with Simulator() as running:
        yield running


def event(identity: str, delta: dict[str, Any], finish: str | None = None, model: str = "first") -> bytes:
    value = {
        "id": identity,
        "object": "chat.completion.chunk",
        "created": 1,
        "model": model,
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }
    return b"data: " + orjson.dumps(value) + b"\n\n"


def stream(*events: bytes) -> list[Any]:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    return [Send(head), *(Send(b"%x\r\n%b\r\n" % (len(each), each)) for each in events)]


def whole(*events: bytes) -> list[Any]:
    return [*stream(*events, b"data: [DONE]\n\n"), Send(b"0\r\n\r\n")]


DIES = [*stream(event("a", ROLE), event("a", {"content": "One two"})), Reset()]


async def running(
    gateway: GatewayFactory, simulator: Simulator, second: Simulator, prefill: bool, **model: Any
) -> RunningGateway:
    return await gateway(
        {
            "providers": {"first": provider(simulator), "second": provider(second, prefill=prefill)},
            "provider_preference": ["first", "second"],
            "models": {"sim-fast": {"targets": ["first/sim-fast", "second/sim-fast"], "resume": True, **model}},
            "health_check": {"enabled": False},
        }
    )


async def ask(gateway: RunningGateway, **more: Any) -> tuple[bytes, bool]:
    """The body, and whether its end was a good one."""
    question = {"model": "sim-fast", "stream": True, "messages": [{"role": "user", "content": "Count"}], **more}
    body = b""
    async with (
        aiohttp.ClientSession() as session,
        session.post(gateway.base_url + "/chat/completions", json=question) as answer,
    ):
        assert answer.status == 200
        try:
            async for chunk in answer.content.iter_any():
                body += chunk
        except aiohttp.ClientPayloadError:
            return body, False
    return body, True


def objects(body: bytes) -> list[dict[str, Any]]:
    return [orjson.loads(data) for data in events_of(body) if data is not None and data != b"[DONE]"]


def text(body: bytes) -> str:
    return "".join(
        choice["delta"].get("content") or "" for value in objects(body) for choice in value.get("choices", ())
    )


def last_question(simulator: Simulator) -> Any:
    return [request for request in simulator.ledger if request.method == b"POST"][-1].json()


async def test_a_target_that_prefills_continues_the_delivered_text(
    gateway: GatewayFactory, simulator: Simulator, second: Simulator
) -> None:
    simulator.script(DIES, match="sim-fast")
    second.script(
        whole(
            event("b", ROLE, model="second"),
            event("b", {"content": " three"}, model="second"),
            event("b", {}, "stop", model="second"),
        ),
        match="sim-fast",
    )
    up = await running(gateway, simulator, second, prefill=True)
    body, good = await ask(up)
    assert good
    assert text(body) == "One two three"
    values = objects(body)
    assert {value["id"] for value in values} == {"a"}
    assert [value["model"] for value in values] == ["first", "first", "second", "second"]
    assert sum("role" in choice["delta"] for value in values for choice in value["choices"]) == 1
    assert b": resumed by second\n\n" in body
    assert body.endswith(b"data: [DONE]\n\n")
    assert last_question(second)["messages"] == [
        {"role": "user", "content": "Count"},
        {"role": "assistant", "content": "One two"},
    ]
    assert up.metric("hapax_resumes_total") == 1
    assert up.metric("hapax_exchanges_total", outcome="ok") == 1


async def test_a_continued_answer_is_logged_under_the_name_that_the_client_has_seen(
    gateway: GatewayFactory, simulator: Simulator, second: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "hapax.access")
    simulator.script(DIES, match="sim-fast")
    second.script(whole(event("b", ROLE), event("b", {"content": " three."}, "stop")), match="sim-fast")
    body, _ = await ask(await running(gateway, simulator, second, prefill=True))
    assert text(body) == "One two three."

    def told() -> list[str]:
        calls = [record for record in caplog.records if record.name == "hapax.access"]
        return [vars(record)["fields"]["response_id"] for record in calls if vars(record)["fields"]["event"] == "call"]

    await becomes(told)
    assert told() == ["a"]


async def test_an_answer_to_a_long_question_is_continued_like_any_other(
    gateway: GatewayFactory, simulator: Simulator, second: Simulator
) -> None:
    simulator.script(DIES, match="sim-fast")
    second.script(
        whole(event("b", {"content": " three"}, model="second"), event("b", {}, "stop", model="second")),
        match="sim-fast",
    )
    up = await running(gateway, simulator, second, prefill=True)
    question = {"role": "user", "content": "Count " * 10_000}
    body, good = await ask(up, messages=[question])
    assert (text(body), good) == ("One two three", True)
    assert last_question(second)["messages"] == [question, {"role": "assistant", "content": "One two"}]


async def test_a_target_that_begins_anew_is_let_through_behind_an_exact_repetition(
    gateway: GatewayFactory, simulator: Simulator, second: Simulator
) -> None:
    simulator.script(DIES, match="sim-fast")
    second.script(
        whole(
            event("b", ROLE),
            event("b", {"content": "One"}),
            event("b", {"content": " two, thr"}),
            event("b", {"content": "ee"}),
            event("b", {}, "stop"),
        ),
        match="sim-fast",
    )
    body, good = await ask(await running(gateway, simulator, second, prefill=False))
    assert (text(body), good) == ("One two, three", True)
    assert last_question(second)["messages"] == [{"role": "user", "content": "Count"}]


@pytest.mark.parametrize(
    "other",
    [
        [event("b", {"content": "Two three"}), event("b", {}, "stop")],
        [event("b", {"content": "One"}), event("b", {}, "stop")],
        [event("b", {"content": "One"})],
    ],
    ids=["another text", "a shorter text", "no end"],
)
async def test_an_answer_that_goes_another_way_is_never_mixed_in(
    gateway: GatewayFactory, simulator: Simulator, second: Simulator, other: list[bytes]
) -> None:
    simulator.script(DIES, match="sim-fast")
    second.script(whole(*other), match="sim-fast")
    up = await running(gateway, simulator, second, prefill=False)
    up.listener.gateway.relay._rules = up.listener.gateway.relay._rules.__class__(1, 0.0, 0.0, 1.0)
    body, good = await ask(up)
    assert not good
    assert text(body) == "One two"
    assert objects(body)[-1]["error"]["code"] == "upstream_truncated"
    assert body.count(b'"error"') == 1


async def test_a_target_that_refuses_to_prefill_is_unlearned_and_asked_anew(
    gateway: GatewayFactory, simulator: Simulator, second: Simulator
) -> None:
    refusal = b'{"error":{"message":"prefill is not supported","type":"invalid_request_error"}}'
    simulator.script(DIES, match="sim-fast", times=2)
    second.script(
        [
            Send(
                b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
                % (len(refusal), refusal)
            )
        ],
        match="sim-fast",
    )
    anew = whole(event("b", {"content": "One two three"}), event("b", {}, "stop"))
    second.script(anew, match="sim-fast", times=2)
    up = await running(gateway, simulator, second, prefill=True)
    for _ in range(2):
        body, good = await ask(up)
        assert (text(body), good) == ("One two three", True)
        assert b"prefill" not in body
    # Learned the first time, so the second call cost no refusal.
    assert len([request for request in second.ledger if request.method == b"POST"]) == 3


async def test_an_error_event_in_mid_stream_is_not_shown_when_the_answer_can_be_continued(
    gateway: GatewayFactory, simulator: Simulator, second: Simulator
) -> None:
    error = b'data: {"error":{"message":"overloaded","type":"server_error"}}\n\n'
    simulator.script(
        [*stream(event("a", ROLE), event("a", {"content": "One two"}) + error), Send(b"0\r\n\r\n")], match="sim-fast"
    )
    second.script(whole(event("b", {"content": " three"}), event("b", {}, "stop")), match="sim-fast")
    body, good = await ask(await running(gateway, simulator, second, prefill=True))
    assert (text(body), good) == ("One two three", True)
    assert b"overloaded" not in body


async def test_a_continuation_that_dies_is_continued_too(
    gateway: GatewayFactory, simulator: Simulator, second: Simulator
) -> None:
    simulator.script(DIES, match="sim-fast")
    second.script([*stream(event("b", {"content": " three"})), Fin()], match="sim-fast")
    second.script(whole(event("c", {"content": " four"}), event("c", {}, "stop")), match="sim-fast")
    body, good = await ask(await running(gateway, simulator, second, prefill=True))
    assert (text(body), good) == ("One two three four", True)
    assert {value["id"] for value in objects(body)} == {"a"}


@pytest.mark.parametrize(
    "more",
    [
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]},
        {"n": 2},
        {"logprobs": True},
        {"response_format": {"type": "json_object"}},
    ],
    ids=["tools", "choices", "logprobs", "structured"],
)
async def test_what_cannot_be_checked_is_not_spliced(
    gateway: GatewayFactory, simulator: Simulator, second: Simulator, more: dict[str, Any]
) -> None:
    simulator.script(DIES, match="sim-fast")
    body, good = await ask(await running(gateway, simulator, second, prefill=True), **more)
    assert not good
    assert objects(body)[-1]["error"]["code"] == "upstream_truncated"
    assert not [request for request in second.ledger if request.method == b"POST"]


async def test_without_the_opt_in_a_dead_stream_is_an_error_event(
    gateway: GatewayFactory, simulator: Simulator, second: Simulator
) -> None:
    simulator.script(DIES, match="sim-fast")
    body, good = await ask(await running(gateway, simulator, second, prefill=True, resume=False))
    assert not good
    assert objects(body)[-1]["error"]["code"] == "upstream_truncated"


async def test_a_client_that_leaves_a_continued_answer_ends_the_continuation(
    gateway: GatewayFactory, simulator: Simulator, second: Simulator
) -> None:
    simulator.script(DIES, match="sim-fast")
    second.script([*stream(event("b", {"content": " three"})), Hold()], match="sim-fast")
    up = await running(gateway, simulator, second, prefill=True)
    question = {"model": "sim-fast", "stream": True, "messages": [{"role": "user", "content": "Count"}]}
    async with aiohttp.ClientSession() as session:
        answer = await session.post(up.base_url + "/chat/completions", json=question)
        body = b""
        while b"three" not in body:
            body += await answer.content.readany()
        left = time.monotonic()
        answer.close()
        async with asyncio.timeout(30):
            await [request for request in second.ledger if request.method == b"POST"][-1].closed()
        took = time.monotonic() - left
    print(f"\nresumed: closed after {took * 1000:.1f} ms")
    assert took < at_most(0.1)
    assert up.metric("hapax_exchanges_total", outcome="client_gone") == 1
