"""Spans and metrics by gRPC, the other way of OTLP, to a collector made of gRPC's own server."""

import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from proxy.observe.collector import Fate
from proxy.observe.grpc_collector import OWN_ROOTS, SERVICES, GrpcCollector
from proxy.settings import SettingsError
from tests.conftest import GatewayFactory
from tests.rigs.certificates import issue
from tests.rigs.collector import attributes
from tests.spec.wire import ask, becomes, chat


class GrpcServer:
    """A collector that keeps what it took."""

    def __init__(self) -> None:
        self.endpoint = ""
        self.refusal: grpc.StatusCode | None = None
        """What calls are refused with."""
        self.answer = b""
        self.taken: list[tuple[str, bytes, dict[str, str]]] = []
        """Method, message and metadata of each call."""

    async def export(self, method: str, message: bytes, context: Any) -> bytes:
        self.taken.append((method, message, dict(context.invocation_metadata())))
        if self.refusal is not None:
            await context.abort(self.refusal, "s3cret words of the collector")
        return self.answer

    def of(self, path: str) -> list[bytes]:
        return [message for method, message, _ in self.taken if method == SERVICES[path]]


class _Handlers(grpc.GenericRpcHandler):
    def __init__(self, server: GrpcServer) -> None:
        self._server = server

    def service(self, handler_call_details: Any) -> Any:
        async def answer(message: bytes, context: Any) -> bytes:
            return await self._server.export(handler_call_details.method, message, context)

        return grpc.unary_unary_rpc_method_handler(answer)


@asynccontextmanager
async def listening(certificates: Path | None = None) -> AsyncIterator[GrpcServer]:
    """Over TLS with those in the folder *certificates*."""
    running, server = GrpcServer(), grpc.aio.server()
    server.add_generic_rpc_handlers((_Handlers(running),))
    if certificates is None:
        running.endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    else:
        pair = (certificates / "server.key").read_bytes(), (certificates / "server.pem").read_bytes()
        credentials = grpc.ssl_server_credentials([pair])
        running.endpoint = f"https://localhost:{server.add_secure_port('127.0.0.1:0', credentials)}"
    await server.start()
    try:
        yield running
    finally:
        await server.stop(None)


@pytest.fixture
async def server() -> AsyncIterator[GrpcServer]:
    async with listening() as running:
        yield running


async def test_spans_and_metrics_reach_a_collector_by_grpc_with_its_headers(
    gateway: GatewayFactory, server: GrpcServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "gateway-eu")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=prod%20eu,service.instance.id=shared")
    headers = {"X-Token": "open"}
    running = await gateway(
        {
            "tracing": {"otlp_endpoint": server.endpoint, "otlp_protocol": "grpc", "headers": headers},
            "metrics": {
                "otlp": {"endpoint": server.endpoint, "protocol": "grpc", "headers": headers, "interval": "50ms"}
            },
        }
    )
    assert (await ask(running.port, chat(stream=True))).status == 200
    await becomes(lambda: len(server.of("/v1/metrics")) > 1)
    await running.listener.gateway.stop()
    (spans,) = ExportTraceServiceRequest.FromString(server.of("/v1/traces")[0]).resource_spans
    assert [span.name for span in spans.scope_spans[0].spans] == ["POST /v1/chat/completions", "chat sim-fast"]
    told = attributes(spans.resource)
    assert (told["service.name"], told["deployment.environment.name"]) == ("gateway-eu", "prod eu")
    # What several processes count must stay apart, whatever the environment of all of them says.
    assert told["service.instance.id"] != "shared"
    (metrics,) = ExportMetricsServiceRequest.FromString(server.of("/v1/metrics")[-1]).resource_metrics
    assert attributes(metrics.resource) == told
    units = {metric.name: metric.unit for metric in metrics.scope_metrics[0].metrics}
    assert (units["hapax_http_request_duration_seconds"], units["process_resident_memory_bytes"]) == ("s", "By")
    assert (units["hapax_cost_usd"], units["hapax_exchanges"]) == ("{USD}", "")
    assert {metadata["x-token"] for *_, metadata in server.taken} == {"open"}
    assert server.taken[0][2]["user-agent"].startswith("hapax/")


@pytest.mark.parametrize(
    ("refusal", "fate"),
    [
        (None, Fate.TAKEN),
        (grpc.StatusCode.UNAVAILABLE, Fate.LATER),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, Fate.LATER),
        (grpc.StatusCode.UNAUTHENTICATED, Fate.NEVER),
        (grpc.StatusCode.INVALID_ARGUMENT, Fate.NEVER),
    ],
)
async def test_what_became_of_a_post_is_what_the_status_says_of_trying_again(
    server: GrpcServer, caplog: pytest.LogCaptureFixture, refusal: grpc.StatusCode | None, fate: Fate
) -> None:
    caplog.set_level(logging.INFO, "hapax")
    server.refusal = refusal
    rejecting = ExportTraceServiceResponse()
    rejecting.partial_success.rejected_spans = 2
    server.answer = rejecting.SerializeToString()
    collector = GrpcCollector(server.endpoint, "/v1/traces", {}, "spans")
    assert await collector.post(b"") == (fate, server.answer if refusal is None else b"")
    await collector.stop()
    lines = [record.getMessage() for record in caplog.records]
    assert lines == ([f"collector {server.endpoint} takes no spans: status {refusal.name}"] if refusal else [])


async def test_over_tls_a_collector_is_believed_by_the_authorities_in_the_file_that_is_named_for_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    issue(tmp_path, "collector")
    async with listening(tmp_path) as server:
        stranger = GrpcCollector(server.endpoint, "/v1/traces", {}, "spans")
        assert await stranger.post(b"") == (Fate.LATER, b"")
        await stranger.stop()
        assert server.taken == []
        monkeypatch.delenv(OWN_ROOTS, raising=False)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "server.pem"))
        known = GrpcCollector(server.endpoint, "/v1/traces", {"x-token": "open"}, "spans")
        assert await known.post(b"") == (Fate.TAKEN, b"")
        await known.stop()
        assert [metadata["x-token"] for *_, metadata in server.taken] == ["open"]


async def test_a_reload_that_needs_what_is_not_installed_changes_nothing_and_says_what_to_install(
    gateway: GatewayFactory, server: GrpcServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = await gateway()
    monkeypatch.setitem(sys.modules, "grpc", None)
    with pytest.raises(SettingsError, match=r"^tracing\.otlp_endpoint: .*: pip install grpcio$"):
        await running.reload(tracing={"otlp_endpoint": server.endpoint, "otlp_protocol": "grpc"})
    assert (running.listener.gateway.traces, (await ask(running.port, chat())).status) == (None, 200)


async def test_a_collector_that_is_nowhere_is_tried_again_later() -> None:
    collector = GrpcCollector("http://127.0.0.1:1", "/v1/metrics", {}, "metrics")
    assert await collector.post(b"") == (Fate.LATER, b"")
    assert not collector.available
    await collector.stop()


async def test_one_that_was_never_posted_to_has_nothing_to_close() -> None:
    collector = GrpcCollector("https://collector.example", "/v1/traces", {}, "spans")
    assert repr(collector) == "<Collector https://collector.example:4317 available>"
    await collector.stop()


@pytest.mark.parametrize("headers", [{"X!": "a"}, {"x": "\u00e9"}, {"token-bin": "abc"}])
async def test_a_header_that_cannot_be_sent_loses_the_post_and_ends_no_one_who_posts(
    server: GrpcServer, caplog: pytest.LogCaptureFixture, headers: dict[str, str]
) -> None:
    collector = GrpcCollector(server.endpoint, "/v1/traces", headers, "spans")
    assert await collector.post(b"") == (Fate.NEVER, b"")
    assert server.taken == []
    assert [record.levelname for record in caplog.records if record.name == "hapax"] == ["WARNING"]
    await collector.stop()
