"""A collector that is away, frozen or refusing costs the gateway nothing but the spans it has no room for."""

import asyncio
import logging
import sys
import time
from collections.abc import AsyncIterator, Callable

import pytest

from proxy.core.exchange import AttemptRecord, Exchange
from proxy.observe import traces as observed
from proxy.observe.collector import MOST_ANSWER, Fate, HttpCollector
from proxy.observe.traces import BATCH, Traces
from proxy.process.listener import Listener
from proxy.settings import Settings
from proxy.upstream.control_plane import ControlPlane
from tests.conftest import GatewayFactory
from tests.rigs.clock import at_most
from tests.rigs.collector import SpanCollector, span_collector
from tests.spec.wire import ask, becomes, chat

Make = Callable[..., Traces]


@pytest.fixture
async def collector() -> AsyncIterator[SpanCollector]:
    async with span_collector() as running:
        yield running


@pytest.fixture
async def control() -> AsyncIterator[ControlPlane]:
    running = ControlPlane()
    yield running
    await running.stop()


@pytest.fixture
async def traces(collector: SpanCollector, control: ControlPlane) -> AsyncIterator[Make]:
    """Makes and starts an exporter to *collector*, or to another address."""
    made: list[Traces] = []

    def start(endpoint: str = collector.url, **more: float) -> Traces:
        arguments = {"interval": 0.01, "pause": 0.01, **more}
        made.append(
            Traces(
                HttpCollector(control, endpoint, "/v1/traces", {}, "spans"),
                dict,
                {"service.name": "hapax"},
                **arguments,
            )
        )
        made[-1].start()
        return made[-1]

    yield start
    for each in made:
        await each.stop()


def exchange(number: int, attempts: int = 1) -> Exchange:
    """One that ended, whose trace is recorded."""
    made = Exchange(f"request-{number}", "POST")
    made.route = "/v1/chat/completions"
    made.trace_id, made.span_id, made.trace_flags = f"{number + 1:032x}", f"{number + 1:016x}", 1
    for place in range(attempts):
        attempt = AttemptRecord("sim", "sim-fast", made.started)
        attempt.span_id = f"{place + 1:08x}{number:08x}"
        attempt.ended = made.started + 0.5
        made.attempts.append(attempt)
    made.ended = made.started + 1.0
    return made


def news(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "collector" in record.getMessage()]


async def test_many_spans_go_in_posts_of_512_and_none_is_sent_twice(traces: Make, collector: SpanCollector) -> None:
    running = traces()
    running.ended([exchange(number, attempts=2) for number in range(700)])
    await becomes(lambda: not running.waiting)
    sizes = [sum(len(scope.spans) for scope in post.resource_spans[0].scope_spans) for _, post in collector.posts]
    assert max(sizes) <= BATCH
    assert len(sizes) == 5
    assert len({span.span_id for span in collector.taken}) == 2100
    assert (len(collector.taken), running.dropped_total) == (2100, 0)


async def test_a_collector_that_comes_back_is_sent_what_it_refused(
    traces: Make, collector: SpanCollector, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "hapax")
    running = traces()
    collector.status = 503
    running.ended([exchange(number) for number in range(10)])
    await becomes(lambda: len(collector.posts) >= 3)
    assert not running.available
    collector.status = 200
    await becomes(lambda: len(collector.taken) == 20)
    running.ended([exchange(10)])
    await becomes(lambda: not running.waiting)
    assert (len(collector.taken), running.dropped_total) == (22, 0)
    assert news(caplog) == [
        f"collector {collector.url}/v1/traces takes no spans: status 503",
        f"collector {collector.url}/v1/traces takes spans again",
    ]


async def test_what_it_refuses_for_good_is_dropped_and_counted(traces: Make, collector: SpanCollector) -> None:
    running = traces()
    collector.status = 400
    running.ended([exchange(0)])
    await becomes(lambda: running.dropped_total == 2)
    collector.status = 200
    running.ended([exchange(1)])
    await becomes(lambda: not running.waiting)
    assert (len(collector.posts), len(collector.taken)) == (2, 2)


async def test_spans_it_says_it_rejected_count_as_lost(traces: Make, collector: SpanCollector) -> None:
    running = traces()
    collector.rejects = 3
    running.ended([exchange(0), exchange(1)])
    await becomes(lambda: not running.waiting)
    assert running.dropped_total == 3


async def test_it_is_left_alone_for_as_long_as_it_asks(traces: Make, collector: SpanCollector) -> None:
    running = traces()
    collector.status, collector.headers = 429, {"Retry-After": "1"}
    ended_at = time.monotonic()
    running.ended([exchange(0)])
    await becomes(lambda: collector.posts)
    collector.status = 200
    await becomes(lambda: not running.waiting)
    assert len(collector.taken) == 2
    assert time.monotonic() - ended_at > 0.9


async def test_while_it_is_away_the_newest_stay_and_memory_is_bounded(
    traces: Make, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "hapax")
    # Nothing listens on the discard port.
    running = traces("http://127.0.0.1:9", capacity=100)
    for start in range(0, 1000, 50):
        running.ended([exchange(number) for number in range(start, start + 50)])
        await asyncio.sleep(0)
    await becomes(lambda: not running.available)
    running.ended([exchange(number) for number in range(1000, 1100)])
    assert len(running._waiting) == 100
    assert running._waiting[-1].id == "request-1099"
    assert running.dropped_total + running.waiting == 2 * 1100
    assert news(caplog) == ["collector http://127.0.0.1:9/v1/traces takes no spans: connect: ECONNREFUSED"]


async def test_what_is_left_at_the_end_is_posted(traces: Make, collector: SpanCollector) -> None:
    running = traces(interval=60.0)
    running.ended([exchange(0)])
    await asyncio.sleep(0)
    await running.stop()
    assert len(collector.taken) == 2


async def test_a_frozen_collector_keeps_no_process_from_ending(
    traces: Make, collector: SpanCollector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observed, "STOP_WITHIN", 0.2)
    monkeypatch.setattr("proxy.observe.collector.TIMEOUT", 60.0)
    collector.frozen = True
    running = traces()
    running.ended([exchange(0)])
    await becomes(lambda: collector.posts)
    began = time.monotonic()
    await running.stop()
    assert time.monotonic() - began < at_most(1.0)
    assert running.dropped_total == 2


async def test_a_post_says_what_was_configured_and_reads_no_more_of_an_answer_than_it_needs(
    control: ControlPlane,
) -> None:
    heard: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        heard.append(await reader.readexactly(4))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 70_000)
        assert await reader.read() == b""
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    host = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    collector = HttpCollector(
        control, f"http://{host}/a b", "/v1/traces", {"user-agent": "mine", "X-Token": "t"}, "spans"
    )
    assert await collector.post(b"span") == (Fate.TAKEN, b"x" * MOST_ANSWER)
    server.close()
    await server.wait_closed()
    head = (
        f"POST /a%20b/v1/traces HTTP/1.1\r\nHost: {host}\r\nAccept-Encoding: identity\r\nuser-agent: mine\r\n"
        "X-Token: t\r\nContent-Type: application/x-protobuf\r\nContent-Length: 4\r\n\r\n"
    )
    assert heard == [head.encode(), b"span"]


async def test_a_record_no_span_can_be_made_of_keeps_no_other_back(traces: Make, collector: SpanCollector) -> None:
    running = traces()
    broken = exchange(0)
    broken.model = "\ud800"
    running.ended([broken, exchange(1)])
    await becomes(lambda: not running.waiting)
    assert (len(collector.taken), running.dropped_total) == (2, 2)


@pytest.mark.parametrize("how", ["away", "frozen", "503"])
async def test_calls_go_on_as_if_there_were_no_collector(
    how: str, monkeypatch: pytest.MonkeyPatch, collector: SpanCollector, gateway: GatewayFactory
) -> None:
    monkeypatch.setattr(observed, "STOP_WITHIN", 0.1)
    monkeypatch.setattr("proxy.observe.collector.TIMEOUT", 60.0)
    collector.frozen, collector.status = how == "frozen", 503 if how == "503" else 200
    endpoint = "http://127.0.0.1:9" if how == "away" else collector.url
    running = await gateway({"tracing": {"otlp_endpoint": endpoint}})
    traces = running.listener.gateway.traces
    assert traces is not None
    traces._interval = traces._pause = 0.001
    traces._due.set()
    slowest = 0.0
    for _ in range(50):
        began = time.monotonic()
        assert (await ask(running.port, chat())).status == 200
        slowest = max(slowest, time.monotonic() - began)
    assert slowest < at_most(1.0)
    running.caught_up()
    assert traces.waiting == 100
    assert traces.dropped_total == 0


@pytest.mark.as_python
def test_a_collector_without_the_extra_is_an_error_that_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("opentelemetry.proto", "proxy.observe.spans"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("proxy.observe.spans")
    monkeypatch.setitem(sys.modules, "opentelemetry.proto", None)
    settings = Settings.model_validate({"tracing": {"otlp_endpoint": "http://127.0.0.1:9"}})
    with pytest.raises(ValueError, match=r"^tracing\.otlp_endpoint: .* pip install opentelemetry-proto$"):
        Listener(settings)


@pytest.mark.parametrize(
    ("endpoint", "posts_to"),
    [
        ("http://collector:4318", "http://collector:4318/v1/traces"),
        ("http://collector:4318/", "http://collector:4318/v1/traces"),
        ("https://host/otlp", "https://host/otlp/v1/traces"),
        ("https://host/v1/traces", "https://host/v1/traces"),
    ],
)
def test_the_path_of_traces_is_added_where_it_is_missing(endpoint: str, posts_to: str) -> None:
    assert f"<Collector {posts_to} " in repr(HttpCollector(ControlPlane(), endpoint, "/v1/traces", {}, "spans"))


@pytest.mark.parametrize(
    ("endpoint", "posts_to"),
    [
        ("http://collector:4318", "http://collector:4318/"),
        ("http://collector/otlp/v1/push", "http://collector/otlp/v1/push"),
        ("http://collector/otlp/", "http://collector/otlp/"),
    ],
)
def test_without_a_path_to_add_the_address_is_used_as_it_is(endpoint: str, posts_to: str) -> None:
    assert f"<Collector {posts_to} " in repr(HttpCollector(ControlPlane(), endpoint, "", {}, "spans"))


@pytest.mark.parametrize("endpoint", ["localhost:4318", "ftp://host", "http://", "http://u:p@host", "http://host:0"])
def test_an_address_that_is_none_is_refused_before_anything_starts(endpoint: str) -> None:
    with pytest.raises(ValueError, match=r"tracing\.otlp_endpoint"):
        Settings.model_validate({"tracing": {"otlp_endpoint": endpoint}})
