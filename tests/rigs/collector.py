"""
An OpenTelemetry collector on loopback that decodes the spans it is sent with the protocol's own messages.

It can refuse, freeze and reject; it keeps what it took.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.spec.wire import becomes


class SpanCollector:
    """What was posted to `/v1/traces`."""

    def __init__(self) -> None:
        self.url = ""
        self.status = 200
        """What posts are answered with."""
        self.headers: dict[str, str] = {}
        """Sent with each answer."""
        self.rejects = 0
        """Spans of each post it says it did not take."""
        self.frozen = False
        """Posts are read and never answered."""
        self.posts: list[tuple[dict[str, str], ExportTraceServiceRequest]] = []
        """Headers and body of every post, refused ones included."""
        self.taken: list[Span] = []

    async def answer(self, request: web.BaseRequest) -> web.Response:
        assert (request.method, request.path) == ("POST", "/v1/traces")
        assert request.content_type == "application/x-protobuf"
        body = ExportTraceServiceRequest.FromString(await request.read())
        self.posts.append((dict(request.headers), body))
        if self.frozen:
            await asyncio.Event().wait()
        if self.status != 200:
            return web.Response(status=self.status, headers=self.headers)
        for resource in body.resource_spans:
            for scope in resource.scope_spans:
                self.taken += scope.spans
        answer = ExportTraceServiceResponse()
        answer.partial_success.rejected_spans = self.rejects
        return web.Response(body=answer.SerializeToString(), content_type="application/x-protobuf")

    async def spans(self, count: int) -> list[Span]:
        """The first *count* spans, the server's before its attempts', waiting until they have come."""
        await becomes(lambda: len(self.taken) >= count)
        assert len(self.taken) == count, [span.name for span in self.taken]
        return sorted(self.taken, key=lambda span: (span.kind != Span.SPAN_KIND_SERVER, span.start_time_unix_nano))


@asynccontextmanager
async def span_collector() -> AsyncIterator[SpanCollector]:
    """A collector that listens."""
    collector = SpanCollector()
    runner = web.ServerRunner(
        web.Server(collector.answer, handler_cancellation=True, access_log=None), shutdown_timeout=0.1
    )
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    collector.url = f"http://{host}:{port}"
    yield collector
    await runner.cleanup()


def attributes(of: Any) -> dict[str, Any]:
    """The attributes of a span, an event or a resource."""
    return {each.key: _value(each) for each in of.attributes}


def _value(of: KeyValue) -> Any:
    kind = of.value.WhichOneof("value")
    assert kind is not None, of.key
    return getattr(of.value, kind)


def turns(span: Span) -> list[str]:
    """The names of its events, in order of time."""
    moments = [event.time_unix_nano for event in span.events]
    assert moments == sorted(moments)
    return [event.name for event in span.events]
