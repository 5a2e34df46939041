"""Metrics that are sent: by UDP to StatsD, by OTLP to a collector, and shown on a port of their own."""

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from aiohttp import web
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from proxy.observe.surroundings import Surroundings
from proxy.process.listener import Listener, Unservable
from proxy.settings import Settings
from tests.conftest import GatewayFactory
from tests.rigs.ports import free_port
from tests.rigs.simulator import Simulator
from tests.spec.wire import ask, becomes, chat, get, target

KEY, ADMIN = "hpx_client_4be19d0c77aa21", "hpx_admin_0f2d9be1c5a877"


@pytest.fixture
def receiver() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        bound.setblocking(False)
        yield bound


def port_of(bound: socket.socket) -> int:
    return int(bound.getsockname()[1])


async def test_statsd_is_told_what_was_added_with_tags_in_datagrams_that_fit(
    gateway: GatewayFactory, receiver: socket.socket
) -> None:
    address = f"127.0.0.1:{port_of(receiver)}"
    running = await gateway({"metrics": {"statsd": {"address": address, "prefix": "gw.", "interval": "50ms"}}})
    heard: list[bytes] = []

    def listen() -> bool:
        try:
            while True:
                heard.append(receiver.recv(65536))
        except BlockingIOError:
            return b"gw.hapax_exchanges_total:1|c|#outcome:ok\n" in b"".join(heard)

    assert (await ask(running.port, chat())).status == 200
    await becomes(listen)
    assert max(map(len, heard)) <= 1432
    told = b"".join(heard)
    assert b"gw.hapax_provider_healthy:1|g|#provider:sim\n" in told
    assert b"gw.hapax_http_requests_total:1|c|#endpoint:/v1/chat/completions,status:200\n" in told
    heard.clear()
    assert (await ask(running.port, chat())).status == 200
    await becomes(listen)


async def test_statsd_is_told_how_long_each_request_took_and_each_stream_took_to_begin(
    gateway: GatewayFactory, receiver: socket.socket
) -> None:
    address = f"127.0.0.1:{port_of(receiver)}"
    running = await gateway({"metrics": {"statsd": {"address": address, "prefix": "gw.", "interval": "50ms"}}})
    heard: list[bytes] = []

    def timers() -> list[str]:
        try:
            while True:
                heard.append(receiver.recv(65536))
        except BlockingIOError:
            lines = b"".join(heard).decode().splitlines()
            return [re.sub(r":[\d.]+\|", ":N|", line) for line in lines if "|ms|" in line]

    await ask(running.port, chat())
    await ask(running.port, chat(stream=True))
    await becomes(lambda: len(timers()) == 3)
    whole = "gw.hapax_http_request_time:N|ms|#endpoint:/v1/chat/completions,status:200"
    assert sorted(timers()) == [whole, whole, "gw.hapax_time_to_first_token:N|ms|#provider:sim"]


async def test_a_statsd_that_is_nowhere_costs_no_call_and_one_line(
    gateway: GatewayFactory, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("WARNING", "hapax")
    # The broadcast address, which an ordinary socket may not send to.
    running = await gateway({"metrics": {"statsd": {"address": "255.255.255.255:8125", "interval": "10ms"}}})
    await becomes(lambda: any("StatsD cannot be reached" in record.message for record in caplog.records))
    assert (await ask(running.port, chat())).status == 200
    (line,) = (record for record in caplog.records if "StatsD" in record.message)
    assert vars(line)["fields"] == {"event": "metrics.export.error"}


@pytest.fixture
async def collector() -> AsyncIterator[tuple[str, list[ExportMetricsServiceRequest]]]:
    posts: list[ExportMetricsServiceRequest] = []

    async def take(request: web.BaseRequest) -> web.Response:
        assert (request.path, request.headers["Content-Type"]) == ("/v1/metrics", "application/x-protobuf")
        assert request.headers["X-Token"] == "open"
        posts.append(ExportMetricsServiceRequest.FromString(await request.read()))
        return web.Response()

    runner = web.ServerRunner(web.Server(take))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}", posts
    await runner.cleanup()


async def test_a_collector_decodes_sums_gauges_and_histograms(
    gateway: GatewayFactory, collector: tuple[str, list[ExportMetricsServiceRequest]]
) -> None:
    url, posts = collector
    otlp = {"endpoint": url, "headers": {"X-Token": "open"}, "interval": "50ms"}
    running = await gateway({"metrics": {"otlp": otlp}})
    assert (await ask(running.port, chat())).status == 200

    def metrics() -> dict[str, Any]:
        (resource,) = posts[-1].resource_metrics
        return {metric.name: metric for metric in resource.scope_metrics[0].metrics}

    def value(name: str, **labels: str) -> float:
        for point in metrics()[name].sum.data_points:
            if {each.key: each.value.string_value for each in point.attributes} == labels:
                return float(point.as_double)
        return 0.0

    await becomes(lambda: posts and value("hapax_exchanges", outcome="ok") == 1)
    assert metrics()["hapax_exchanges"].sum.is_monotonic
    assert [point.as_double for point in metrics()["hapax_provider_healthy"].gauge.data_points] == [1.0]
    (point,) = metrics()["llm_router_inference_duration_seconds"].histogram.data_points
    assert (point.count, sum(point.bucket_counts)) == (1, 1)
    assert len(point.bucket_counts) == len(point.explicit_bounds) + 1


async def test_a_collector_that_is_away_costs_no_call(gateway: GatewayFactory) -> None:
    running = await gateway({"metrics": {"otlp": {"endpoint": "http://127.0.0.1:1", "interval": "10ms"}}})
    answers = await asyncio.gather(*(ask(running.port, chat()) for _ in range(20)))
    assert {answer.status for answer in answers} == {200}


async def test_the_port_of_its_own_shows_metrics_and_health_without_a_key(gateway: GatewayFactory) -> None:
    port = free_port()
    auth = {"keys": [{"name": "web", "key": KEY}], "admin_key": ADMIN}
    running = await gateway({"metrics": {"port": port}, "auth": auth})
    await running.listener.gateway.checks.known.wait()
    assert (await ask(running.port, get("/metrics"))).status == 401
    assert (await ask(running.port, get("/metrics", head=f"X-API-Key: {KEY}\r\n"))).status == 403
    assert (await ask(running.port, get("/metrics", head=f"X-API-Key: {ADMIN}\r\n"))).status == 200
    page = await ask(port, get("/metrics"))
    assert page.header("content-type") == "text/plain; version=0.0.4; charset=utf-8"
    assert b'hapax_provider_healthy{provider="sim"} 1.0\n' in page.body
    open_metrics = await ask(port, get("/metrics", head="Accept: application/openmetrics-text; version=1.0.0\r\n"))
    assert open_metrics.body.endswith(b"# EOF\n")
    families = {family["name"]: family for family in json.loads((await ask(port, get("/metrics/json"))).body)}
    assert families["hapax_provider_healthy"] == {
        "name": "hapax_provider_healthy",
        "help": "1 while probes succeed.",
        "type": "gauge",
        "values": [{"name": "hapax_provider_healthy", "labels": {"provider": "sim"}, "value": 1.0}],
    }
    health = await ask(port, get("/health"))
    assert (health.status, health.json["status"], health.json["engine"]) == (200, "healthy", "hapax")
    assert [(await ask(port, get(path))).status for path in ("/live", "/ready", "/nowhere")] == [200, 200, 404]


async def test_a_taken_port_is_told_at_the_start(simulator: Simulator) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = {"server": {"port": 0}, "providers": {"sim": target(simulator)}, "store": {"url": ""}}
        listener = Listener(Settings.model_validate({**settings, "metrics": {"port": port_of(taken)}}))
        with pytest.raises(Unservable, match=r"metrics\.port: cannot listen on 127\.0\.0\.1"):
            await listener.start()
        await listener.gateway.stop()


async def test_names_that_clients_invent_are_one_series(simulator: Simulator, gateway: GatewayFactory) -> None:
    running = await gateway({"providers": {"sim": {"type": "compatible", "base_url": simulator.base_url}}})
    await running.listener.gateway.checks.known.wait()
    for number in range(50):
        await ask(running.port, chat(f"invented-{number}"))
    await ask(running.port, chat("sim-1"))
    running.caught_up()
    models = {
        sample.labels["model"]
        for family in running.listener.gateway.metrics.registry.collect()
        for sample in family.samples
        if "model" in sample.labels and sample.labels["model"] != "*"
    }
    assert models <= {"sim-1", "other"}


async def test_a_page_that_cannot_be_made_says_no_more_than_that(
    gateway: GatewayFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = await gateway()

    def broken(_: Surroundings) -> None:
        raise RuntimeError("a secret of the inside")

    monkeypatch.setattr(Surroundings, "collect", broken)
    answer = await ask(running.port, get("/metrics"))
    assert (answer.status, answer.body) == (500, b"Error generating metrics")
    monkeypatch.undo()
