"""Every exchange is one server span, every attempt a client span below it, and a collector decodes both."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from proxy.core.exchange import Exchange
from proxy.core.traceparent import Sampling, header_lines, parse
from proxy.http.request import Request
from proxy.middleware.trace import TraceContext
from tests.conftest import GatewayFactory, RunningGateway, provider
from tests.rigs.collector import SpanCollector, attributes, span_collector, turns
from tests.rigs.simulator import Simulator
from tests.spec.wire import ONCE, ask, calls, chat, connect, eventually, get, request

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CANARY = "canary-7fd1"

Traced = Callable[..., Awaitable[RunningGateway]]


@pytest.fixture
async def collector() -> AsyncIterator[SpanCollector]:
    async with span_collector() as running:
        yield running


@pytest.fixture
def traced(simulator: Simulator, backup: Simulator, collector: SpanCollector, gateway: GatewayFactory) -> Traced:
    """A gateway that traces, before `first`, which is *simulator*, and `second`, which is *backup*."""

    async def start(tracing: dict[str, Any] | None = None, **more: Any) -> RunningGateway:
        whole = {
            "providers": {"first": provider(simulator), "second": provider(backup)},
            "provider_preference": ["first", "second"],
            "tracing": {"otlp_endpoint": collector.url, **(tracing or {})},
            "health_check": {"enabled": False},
            **more,
        }
        running = await gateway(whole)
        traces = running.listener.gateway.traces
        assert traces is not None
        traces._interval = 0.01
        traces._due.set()
        return running

    return start


def upstream_context(simulator: Simulator, index: int = 0) -> tuple[str, str, str]:
    """Trace id, span id and flags the provider was sent."""
    header = calls(simulator)[index].header("traceparent")
    assert header is not None
    version, trace_id, span_id, flags = header.decode().split("-")
    assert version == "00"
    return trace_id, span_id, flags


async def test_a_call_is_a_server_span_with_a_client_span_below_it(
    traced: Traced, collector: SpanCollector, simulator: Simulator
) -> None:
    running = await traced()
    before = time.time_ns()
    answer = await ask(running.port, chat("sim-fast", head="X-Request-ID: my-id\r\n"))
    server, client = await collector.spans(2)
    assert answer.status == 200
    assert (server.name, server.kind) == ("POST /v1/chat/completions", Span.SPAN_KIND_SERVER)
    assert (client.name, client.kind) == ("chat sim-fast", Span.SPAN_KIND_CLIENT)
    assert (server.parent_span_id, client.parent_span_id) == (b"", server.span_id)
    assert server.trace_id == client.trace_id
    assert len(server.trace_id) == 16
    assert server.flags & 0x3FF == client.flags & 0x3FF == 0x101
    assert upstream_context(simulator) == (client.trace_id.hex(), client.span_id.hex(), "01")
    assert before <= server.start_time_unix_nano <= client.start_time_unix_nano
    assert client.start_time_unix_nano < client.end_time_unix_nano <= server.end_time_unix_nano <= time.time_ns()
    assert server.status.code == client.status.code == Status.STATUS_CODE_UNSET
    seen = attributes(server)
    assert seen == {
        "http.request.method": "POST",
        "http.route": "/v1/chat/completions",
        "http.response.status_code": 200,
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "sim-fast",
        "gen_ai.request.stream": False,
        "gen_ai.response.model": "sim-fast",
        "hapax.outcome": "ok",
        "hapax.cost_micro_usd": 0,
        "hapax.request_id": "my-id",
        "hapax.principal": seen["hapax.principal"],
        "hapax.upstream_request_id": seen["hapax.upstream_request_id"],
    }
    usage = answer.json["usage"]
    seen = attributes(client)
    # A whole answer has no first token.
    assert seen == {
        "gen_ai.provider.name": "first",
        "hapax.provider": "first",
        "hapax.attempt": 1,
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "sim-fast",
        "gen_ai.request.stream": False,
        "gen_ai.usage.input_tokens": usage["prompt_tokens"],
        "gen_ai.usage.output_tokens": usage["completion_tokens"],
        "server.address": "127.0.0.1",
        "server.port": simulator.port,
    }
    assert turns(server) == []
    assert turns(client) == ["hapax.request_sent", "hapax.response_head"]
    (_, post), *_ = collector.posts
    resource = attributes(post.resource_spans[0].resource)
    assert resource["service.name"] == "hapax"
    assert resource["service.version"]
    assert resource["service.instance.id"]


async def test_a_failover_is_two_client_spans_and_each_provider_knows_its_own(
    traced: Traced, collector: SpanCollector, simulator: Simulator, backup: Simulator
) -> None:
    running = await traced(
        models={"both": {"targets": ["first/sim-fault:status=503", "second/sim-fast"]}}, failover={"retries": 2}
    )
    assert (await ask(running.port, chat("both"))).status == 200
    server, failed, answered = await collector.spans(3)
    assert upstream_context(simulator)[:2] == (server.trace_id.hex(), failed.span_id.hex())
    assert upstream_context(backup)[:2] == (server.trace_id.hex(), answered.span_id.hex())
    assert failed.span_id != answered.span_id
    assert failed.parent_span_id == answered.parent_span_id == server.span_id
    assert failed.status.code == Status.STATUS_CODE_ERROR
    assert server.status.code == answered.status.code == Status.STATUS_CODE_UNSET
    assert attributes(failed)["error.type"] == "upstream_unavailable"
    assert (attributes(failed)["hapax.attempt"], attributes(answered)["hapax.attempt"]) == (1, 2)
    assert attributes(failed)["http.response.status_code"] == 503
    assert "gen_ai.usage.output_tokens" not in attributes(failed)
    assert turns(server) == ["hapax.failover"]
    turn = attributes(server.events[0])
    assert turn == {"hapax.from": "first", "hapax.to": "second", "error.type": "upstream_unavailable"}


async def test_a_stream_that_was_cut_is_an_error_though_its_status_is_200(
    traced: Traced, collector: SpanCollector
) -> None:
    running = await traced(**ONCE)
    async with connect(running.port) as wire:
        wire.send(chat("sim-fault:rst@3", stream=True))
        await wire.to_end()
    server, client = await collector.spans(2)
    seen = attributes(server)
    assert (seen["hapax.outcome"], seen["http.response.status_code"]) == ("cut", 200)
    assert seen["error.type"] == attributes(client)["error.type"] == seen["hapax.error_code"]
    assert server.status.code == client.status.code == Status.STATUS_CODE_ERROR
    assert attributes(client)["gen_ai.request.stream"] is True
    assert attributes(client)["hapax.reach"] == "committed"
    assert 0 < attributes(client)["gen_ai.response.time_to_first_chunk"] < 5
    assert turns(server) == ["gen_ai.first_token"]


async def test_a_hedge_shows_who_was_withdrawn(traced: Traced, collector: SpanCollector) -> None:
    running = await traced(
        models={"both": {"targets": ["first/sim-1:stall@1", "second/sim-fast"]}}, failover={"patience": "100ms"}
    )
    assert (await ask(running.port, chat("both", stream=True))).status == 200
    server, silent, winner = await collector.spans(3)
    assert attributes(silent)["hapax.withdrawn"] is True
    assert "hapax.withdrawn" not in attributes(winner)
    assert attributes(winner)["hapax.hedge"] is True
    assert silent.status.code == Status.STATUS_CODE_UNSET
    assert silent.end_time_unix_nano <= server.end_time_unix_nano
    assert turns(server) == ["hapax.hedge", "gen_ai.first_token"]


async def test_an_answer_that_is_continued_shows_where(traced: Traced, collector: SpanCollector) -> None:
    running = await traced(
        models={"both": {"targets": ["first/sim-1:rst@3,echo", "second/sim-1:echo"], "resume": True}}
    )
    assert (await ask(running.port, chat("both", stream=True))).status == 200
    server, died, _ = await collector.spans(3)
    assert turns(server) == ["gen_ai.first_token", "hapax.resume"]
    assert died.status.code == Status.STATUS_CODE_ERROR
    assert server.status.code == Status.STATUS_CODE_UNSET


async def test_a_refused_request_is_a_span_of_its_own_and_no_error_of_the_gateway(
    traced: Traced, collector: SpanCollector
) -> None:
    running = await traced()
    assert (await ask(running.port, chat("nobody-has-this"))).status == 404
    (server,) = await collector.spans(1)
    assert attributes(server)["hapax.error_code"] == "model_not_found"
    assert attributes(server)["hapax.outcome"] == "refused"
    assert server.status.code == Status.STATUS_CODE_UNSET


async def test_what_a_provider_refused_is_an_error_of_the_attempt_alone(
    traced: Traced, collector: SpanCollector
) -> None:
    running = await traced()
    assert (await ask(running.port, chat("sim-fault:status=400"))).status == 400
    server, client = await collector.spans(2)
    assert client.status.code == Status.STATUS_CODE_ERROR
    assert attributes(client)["error.type"] == "400"
    assert server.status.code == Status.STATUS_CODE_UNSET


async def test_the_callers_trace_goes_on_and_its_state_with_it(
    traced: Traced, collector: SpanCollector, simulator: Simulator
) -> None:
    running = await traced({"sample_ratio": 0})
    head = f"traceparent: 00-{TRACE}-{PARENT}-01\r\ntracestate: a=1\r\ntracestate: b=2\r\n"
    assert (await ask(running.port, chat(head=head))).status == 200
    server, client = await collector.spans(2)
    assert (server.trace_id.hex(), server.parent_span_id.hex()) == (TRACE, PARENT)
    assert server.flags & 0x300 == 0x300
    assert server.trace_state == client.trace_state == "a=1,b=2"
    assert upstream_context(simulator) == (TRACE, client.span_id.hex(), "01")
    (called,) = calls(simulator)
    assert [value for name, value in called.headers if name.lower() == b"tracestate"] == [b"a=1,b=2"]


async def test_a_caller_that_does_not_record_its_trace_decides_for_us_too(
    traced: Traced, collector: SpanCollector, simulator: Simulator
) -> None:
    running = await traced()
    head = f"traceparent: 00-{TRACE}-{PARENT}-00\r\n"
    assert (await ask(running.port, chat(head=head))).status == 200
    assert (await ask(running.port, get("/v1/models"))).status == 200
    (server,) = await collector.spans(1)
    assert attributes(server)["http.route"] == "/v1/models"
    assert upstream_context(simulator)[0] == TRACE
    assert upstream_context(simulator)[2] == "00"


@pytest.mark.parametrize("ratio", [0.0, 1.0])
async def test_what_the_client_did_not_decide_is_sampled_by_the_ratio_and_the_provider_is_told(
    ratio: float, traced: Traced, collector: SpanCollector, simulator: Simulator
) -> None:
    running = await traced({"sample_ratio": ratio})
    assert (await ask(running.port, chat())).status == 200
    assert upstream_context(simulator)[2] == f"{int(ratio):02d}"
    # What is left when it stops is posted.
    await running.listener.stop()
    assert len(collector.taken) == 2 * ratio


async def test_without_a_collector_the_callers_headers_pass_as_they_are_and_none_is_made(
    gateway: GatewayFactory, simulator: Simulator
) -> None:
    running = await gateway()
    assert running.listener.gateway.traces is None
    ended = running.observed()
    head = f"traceparent: 00-{TRACE}-{PARENT}-01\r\ntracestate: a=1\r\ntracestate: b=2\r\n"
    await ask(running.port, chat(head=head))
    await ask(running.port, chat())
    await ask(running.port, chat(head="traceparent: nonsense\r\n"))
    running.caught_up()
    first, second, third = calls(simulator)
    assert first.header("traceparent") == f"00-{TRACE}-{PARENT}-01".encode()
    assert [value for name, value in first.headers if name.lower() == b"tracestate"] == [b"a=1", b"b=2"]
    assert second.header("traceparent") is None
    assert third.header("traceparent") == b"nonsense"
    assert [exchange.trace_id for exchange in ended] == [TRACE, "", ""]


INVALID = [
    f"traceparent: 00-{'0' * 32}-{PARENT}-01\r\n",
    f"traceparent: 00-{TRACE}-{PARENT}-01-more\r\n",
    f"traceparent: 00-{TRACE}-{PARENT}\r\n",
    f"traceparent: 00-{TRACE}-{PARENT}-01\r\n" * 2,
    f"traceparent: 00-{TRACE}-{PARENT}-g1\r\n",
    "traceparent:\r\n",
]


async def test_an_invalid_header_begins_a_new_trace_and_is_no_error(traced: Traced, simulator: Simulator) -> None:
    running = await traced()
    for lines in INVALID:
        assert (await ask(running.port, chat(head=f"{lines}tracestate: a=1\r\n"))).status == 200
    for index, call in enumerate(calls(simulator)):
        assert upstream_context(simulator, index)[0] != TRACE
        assert call.header("tracestate") is None
    assert len(calls(simulator)) == len(INVALID)


PAIRS = st.tuples(st.sampled_from(("traceparent", "tracestate")), st.text(max_size=80))


@given(headers=st.lists(PAIRS, max_size=4), ratio=st.none() | st.floats(0, 1))
def test_no_header_keeps_a_request_from_its_place_in_a_trace(
    headers: list[tuple[str, str]], ratio: float | None
) -> None:
    exchange = Exchange("id")
    TraceContext(Sampling(ratio)).join(exchange, Request(make_mocked_request("GET", "/", CIMultiDict(headers))))
    if ratio is None:
        assert exchange.span_id == exchange.trace_state == ""
    else:
        line = header_lines(exchange.trace_id, exchange.span_id, exchange.trace_flags, exchange.trace_state)
        assert parse(line.decode("ascii").split("\r\n")[0].removeprefix("traceparent: ")) is not None


async def test_probes_and_scrapes_are_traced_only_for_a_caller_who_traces_them(
    traced: Traced, collector: SpanCollector
) -> None:
    running = await traced()
    for path in ("/live", "/health", "/ready", "/metrics"):
        await ask(running.port, get(path))
    assert (await ask(running.port, get("/live", head=f"traceparent: 00-{TRACE}-{PARENT}-01\r\n"))).status == 200
    (server,) = await collector.spans(1)
    assert server.trace_id.hex() == TRACE


async def test_an_upload_and_the_native_api_name_the_attempt_to_their_provider_too(
    traced: Traced, collector: SpanCollector, simulator: Simulator
) -> None:
    running = await traced()
    head = "Content-Type: multipart/form-data; boundary=x\r\n"
    part = b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nsim-fast\r\n--x--\r\n'
    await ask(running.port, request("/v1/audio/transcriptions", part, head=head))
    await ask(running.port, request("/v1/completion", {"model": "sim-fast", "prompt": "hi", "input": "hi"}))
    await eventually(simulator)
    spans = await collector.spans(4)
    sent = {upstream_context(simulator, index)[1] for index in (0, 1)}
    assert sent == {span.span_id.hex() for span in spans if span.kind == Span.SPAN_KIND_CLIENT}


async def test_neither_content_nor_keys_nor_paths_nor_addresses_are_in_a_span(
    traced: Traced, collector: SpanCollector, simulator: Simulator
) -> None:
    running = await traced(
        {"headers": {"Authorization": "Bearer collector-token"}},
        auth={"keys": [{"name": "team", "key": f"hpx_{CANARY}-0123456789abcdef"}]},
        providers={"first": provider(simulator, api_keys=[f"sk-{CANARY}"])},
        provider_preference=["first"],
    )
    head = f"X-API-Key: hpx_{CANARY}-0123456789abcdef\r\nUser-Agent: {CANARY}\r\nReferer: {CANARY}\r\n"
    said = [{"role": "user", "content": f"my secret is {CANARY}"}]
    assert (await ask(running.port, chat("sim-1:echo", head=head, messages=said))).status == 200
    await ask(running.port, chat("sim-fault:status=400", head=head, messages=said))
    await ask(running.port, get(f"/v1/{CANARY}?{CANARY}={CANARY}", head=head))
    await collector.spans(6)
    for headers, post in collector.posts:
        assert headers["Authorization"] == "Bearer collector-token"
        raw = post.SerializeToString()
        for secret in (CANARY, "collector-token", "127.0.0.1:", "content"):
            assert secret.encode() not in raw
