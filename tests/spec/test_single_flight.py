"""Identical calls under way share one upstream call: each gets all of it, none gets another's, one is charged."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from proxy.core.exchange import Outcome
from tests.conftest import GatewayFactory, RunningGateway
from tests.rigs.gated import BODY, DONE, HEAD, ONE, STREAM, TWO, WHOLE, Gated, framed

from .wire import Response, Wire, ask, becomes, chat, connect, request

A, B = "hpx_holder_a_0123456789", "hpx_holder_b_0123456789"
KEYS = {"keys": [{"name": "a", "key": A}, {"name": "b", "key": B}]}
ZERO: dict[str, Any] = {"temperature": 0}

CUT = (HEAD + framed(ONE), b"zz\r\n")


@pytest.fixture
async def whole() -> AsyncIterator[Gated]:
    async with Gated([WHOLE]) as provider:
        yield provider


@pytest.fixture
async def streaming() -> AsyncIterator[Gated]:
    async with Gated(STREAM, open_pieces=1) as provider:
        yield provider


def settings(provider: Gated, **more: Any) -> dict[str, Any]:
    return {
        "providers": {"one": provider.settings()},
        "health_check": {"enabled": False},
        "failover": {"retries": 0},
        **more,
    }


async def all_in(running: RunningGateway, count: int) -> None:
    await becomes(lambda: running.listener.gateway.under_way.count == count)
    # Each has come as far as it can without the provider.
    for _ in range(20):
        await asyncio.sleep(0)


async def together(running: RunningGateway, provider: Gated, calls: list[bytes]) -> list[Response]:
    """The answers to *calls* that were all under way before the provider said a word."""
    answers = [asyncio.ensure_future(ask(running.port, call)) for call in calls]  # noqa: TID251 - held
    await all_in(running, len(calls))
    provider.let(0)
    return await asyncio.gather(*answers)


async def test_five_identical_calls_are_one_upstream_call_and_five_equal_answers(
    gateway: GatewayFactory, whole: Gated
) -> None:
    running = await gateway(settings(whole))
    answers = await together(running, whole, [chat("m", **ZERO)] * 5)
    assert whole.asked == 1
    assert {answer.body for answer in answers} == {BODY}
    assert [answer.status for answer in answers] == [200] * 5
    assert len({answer.header("x-request-id") for answer in answers}) == 5
    assert sorted(answer.header("x-hapax-deduplicated") or "" for answer in answers) == ["", *["true"] * 4]
    assert running.metric("hapax_deduplicated_requests_total") == 4


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (chat("m", **ZERO), chat("m", temperature=0, max_tokens=5)),
        (chat("m", temperature=1), chat("m", temperature=1)),
        (chat("m"), chat("m")),
        (chat("m", head=f"X-API-Key: {A}\r\n", **ZERO), chat("m", head=f"X-API-Key: {B}\r\n", **ZERO)),
        (chat("m", tools=[{"type": "function"}], **ZERO), chat("m", tools=[{"type": "function"}], **ZERO)),
        (chat("m", store=True, **ZERO), chat("m", store=True, **ZERO)),
        (chat("m", **ZERO), chat("m", head="OpenAI-Beta: x\r\n", **ZERO)),
        (chat("m", head="Idempotency-Key: 1\r\n", **ZERO), chat("m", head="Idempotency-Key: 2\r\n", **ZERO)),
        (chat("m", head="Cache-Control: no-cache\r\n", **ZERO), chat("m", head="Cache-Control: no-cache\r\n", **ZERO)),
        (chat("m", seed=1), chat("m", seed=2)),
        (request("/v1/completions", {"model": "m", "prompt": "a", **ZERO}), chat("m", **ZERO)),
    ],
    ids=[
        "another field",
        "a temperature of 1",
        "no temperature",
        "two keys",
        "tools",
        "store",
        "a header that asks for more",
        "two idempotency keys",
        "no-cache",
        "two seeds",
        "two paths",
    ],
)
async def test_calls_that_differ_or_may_not_share_are_asked_each_by_itself(
    gateway: GatewayFactory, whole: Gated, first: bytes, second: bytes
) -> None:
    keys = {"auth": KEYS} if A.encode() in first else {}
    running = await gateway(settings(whole, **keys))
    answers = await together(running, whole, [first, second])
    assert whole.asked == 2
    assert [answer.header("x-hapax-deduplicated") for answer in answers] == [None, None]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (
            request(
                "/v1/chat/completions", b'{"model":"m","temperature":0,"messages":[{"role":"user","content":"a"}]}'
            ),
            request(
                "/v1/chat/completions", b'{"temperature": 0, "messages": [{"content":"a", "role":"user"}], "model":"m"}'
            ),
        ),
        (chat("m", seed=7), chat("m", seed=7)),
        (
            chat("m", head="traceparent: 00-11111111111111111111111111111111-2222222222222222-01\r\n", **ZERO),
            chat("m", **ZERO),
        ),
        (chat("m", head="User-Agent: one\r\n", **ZERO), chat("m", head="User-Agent: two\r\n", **ZERO)),
        (
            request("/v1/embeddings", {"model": "m", "input": "a"}),
            request("/v1/embeddings", {"input": "a", "model": "m"}),
        ),
        (
            request("/v1/moderations", {"model": "m", "input": "a"}),
            request("/v1/moderations", {"model": "m", "input": "a"}),
        ),
    ],
    ids=["another order and spacing", "a seed", "a trace", "another client", "embeddings", "moderations"],
)
async def test_calls_that_ask_the_same_share(
    gateway: GatewayFactory, whole: Gated, first: bytes, second: bytes
) -> None:
    running = await gateway(settings(whole))
    await together(running, whole, [first, second])
    assert whole.asked == 1


async def test_mode_all_shares_whatever_generates_and_off_shares_nothing(gateway: GatewayFactory, whole: Gated) -> None:
    running = await gateway(settings(whole, deduplication={"mode": "all"}))
    await together(running, whole, [chat("m", temperature=1)] * 3)
    assert whole.asked == 1
    async with Gated([WHOLE]) as other:
        running = await gateway(settings(other, deduplication={"mode": "off"}))
        await together(running, other, [chat("m", **ZERO)] * 3)
        assert other.asked == 3


async def test_who_joins_a_stream_late_gets_it_from_its_beginning(gateway: GatewayFactory, streaming: Gated) -> None:
    running = await gateway(settings(streaming))
    async with connect(running.port) as leader, connect(running.port) as late:
        leader.send(chat("m", stream=True, **ZERO))
        head = await leader.until(b"\r\n\r\n")
        assert await leader.until(b"Good ")
        late.send(chat("m", stream=True, **ZERO))
        late_head = await late.until(b"\r\n\r\n")
        assert (b"X-Hapax-Deduplicated" in head, b"X-Hapax-Deduplicated: true" in late_head) == (False, True)
        await late.until(b"Good ")
        streaming.let(1)
        streaming.let(2)
        ends = [await wire.until(b"0\r\n\r\n") for wire in (leader, late)]
    assert ends[0] == ends[1]
    assert ends[0].endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    assert streaming.asked == 1


async def test_the_first_may_leave_and_the_others_get_all_of_it(gateway: GatewayFactory, streaming: Gated) -> None:
    running = await gateway(settings(streaming))
    ended = running.observed()
    async with connect(running.port) as leader, connect(running.port) as follower:
        leader.send(chat("m", stream=True, **ZERO))
        await leader.until(b"Good ")
        follower.send(chat("m", stream=True, **ZERO))
        await follower.until(b"Good ")
        leader.abort()
        await all_in(running, 1)
        streaming.let(1)
        streaming.let(2)
        assert (await follower.until(b"0\r\n\r\n")).endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    await becomes(lambda: running.listener.gateway.under_way.count == 0)
    running.caught_up()
    assert (streaming.asked, streaming.left) == (1, 0)
    gone, answered = ended
    assert (gone.outcome, gone.tokens) == (Outcome.CLIENT_GONE, None)
    assert answered.outcome is Outcome.OK
    assert answered.tokens is not None, "who is left pays for what was used"


async def test_the_last_to_leave_ends_the_upstream_call(gateway: GatewayFactory, streaming: Gated) -> None:
    running = await gateway(settings(streaming))
    async with connect(running.port) as leader, connect(running.port) as follower:
        for wire in (leader, follower):
            wire.send(chat("m", stream=True, **ZERO))
            await wire.until(b"Good ")
        leader.abort()
        await all_in(running, 1)
        assert streaming.left == 0
        follower.abort()
        await becomes(lambda: streaming.left == 1)
    await becomes(lambda: running.listener.gateway.under_way.count == 0)


async def test_an_answer_that_breaks_off_breaks_off_for_all_with_an_error_that_names_their_own_call(
    gateway: GatewayFactory,
) -> None:
    async with Gated(CUT, open_pieces=1) as provider:
        running = await gateway(settings(provider))
        async with connect(running.port) as leader, connect(running.port) as follower:
            ids = []
            for wire in (leader, follower):
                wire.send(chat("m", stream=True, **ZERO))
                head = await wire.until(b"\r\n\r\n")
                ids.append(head.partition(b"X-Request-ID: ")[2].partition(b"\r\n")[0])
                await wire.until(b"Good ")
            provider.let(1)
            for wire, own in zip((leader, follower), ids, strict=True):
                rest, _ = await wire.to_end()
                assert b'"error"' in rest
                assert b'"request_id":"%b"' % own in rest
                assert not rest.endswith(b"0\r\n\r\n")


async def test_a_refusal_and_a_failure_reach_all_that_share(gateway: GatewayFactory) -> None:
    body = b'{"error":{"message":"no","type":"invalid_request_error","code":"bad","param":null}}'
    refusal = b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
    async with Gated([refusal % (len(body), body)]) as provider:
        running = await gateway(settings(provider))
        answers = await together(running, provider, [chat("m", **ZERO)] * 3)
        assert [(answer.status, answer.json["error"]["code"]) for answer in answers] == [(400, "bad")] * 3
    async with Gated([b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n"]) as provider:
        running = await gateway(settings(provider))
        answers = await together(running, provider, [chat("m", **ZERO)] * 3)
        assert [answer.code for answer in answers] == ["upstream_error"] * 3
        ids = [answer.json["error"]["request_id"] for answer in answers]
        assert ids == [answer.header("x-request-id") for answer in answers]
        assert provider.asked == 1


async def test_tokens_are_charged_once_and_requests_each(gateway: GatewayFactory, whole: Gated) -> None:
    limits = {"requests_per_minute": 100, "tokens_per_minute": 1000}
    running = await gateway(settings(whole, auth={"keys": [{"name": "a", "key": A, "limits": limits}]}))
    head, ended = f"X-API-Key: {A}\r\n", running.observed()
    # Each by itself would hold 900 tokens while it is under way, and all but one would be refused.
    answers = await together(running, whole, [chat("m", head=head, max_tokens=900, **ZERO)] * 5)
    assert [answer.status for answer in answers] == [200] * 5
    last = await ask(running.port, chat("m", head=head, max_tokens=10, **ZERO))
    assert last.header("x-ratelimit-remaining-requests") == "94"
    assert whole.asked == 2
    running.caught_up()
    used = [exchange.tokens.total for exchange in ended if exchange.tokens is not None]
    assert (len(ended), used) == (6, [5, 5])


async def test_who_reads_slowly_is_dropped_and_the_others_are_not_slowed(gateway: GatewayFactory) -> None:
    event = b'data: {"id":"c1","choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n' % (b"x" * 60_000)
    many = framed(*[event] * 300)
    async with Gated([HEAD + framed(ONE), many, framed(TWO, DONE) + b"0\r\n\r\n"], open_pieces=1) as provider:
        running = await gateway(settings(provider))
        async with connect(running.port) as quick:
            slow_reader, slow_writer = await asyncio.open_connection("127.0.0.1", running.port, limit=1024)
            slow = Wire(slow_reader, slow_writer)
            for wire in (quick, slow):
                wire.send(chat("m", stream=True, **ZERO))
                await wire.until(b"Good ")
            provider.let(1)
            provider.let(2)
            assert (await quick.until(b"data: [DONE]\n\n\r\n0\r\n\r\n")).count(b"x" * 60_000) == 300
            await all_in(running, 0)
            rest, _ = await slow.to_end()
            slow_writer.close()
            assert not rest.endswith(b"0\r\n\r\n")
        assert provider.asked == 1


async def test_the_log_tells_whose_answer_a_call_got(gateway: GatewayFactory, whole: Gated) -> None:
    running = await gateway(settings(whole))
    ended = running.observed()
    await together(running, whole, [chat("m", **ZERO)] * 2)
    running.caught_up()
    alone = [exchange for exchange in ended if not exchange.shared]
    shared = [exchange for exchange in ended if exchange.shared]
    assert [exchange.shared for exchange in shared] == [alone[0].id]
    assert (alone[0].tokens is not None, shared[0].tokens) == (True, None)
    assert json.loads(BODY)["usage"]["total_tokens"] == alone[0].tokens.total  # type: ignore[union-attr]


async def test_the_native_path_shares_as_well(gateway: GatewayFactory, whole: Gated) -> None:
    running = await gateway(settings(whole))
    body = {"model": "m", "input": "Hello", **ZERO}
    answers = await together(running, whole, [request("/v1/completion", body)] * 5)
    assert whole.asked == 1
    assert [answer.json["completion"] for answer in answers] == ["Hi"] * 5
    assert len({answer.json["request_id"] for answer in answers}) == 5
    assert sorted(answer.header("x-hapax-deduplicated") or "" for answer in answers) == ["", *["true"] * 4]
