"""
An OpenTelemetry collector that is spoken to by gRPC: OTLP's other way.

The messages are those that go by HTTP, sent as the bytes they are. When to try again is the owner's.
Source: https://opentelemetry.io/docs/specs/otlp/#otlpgrpc
"""

import os
import ssl
from collections.abc import Awaitable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Protocol, cast
from urllib.parse import urlsplit

import grpc

from proxy import __version__
from proxy.core.headers import PSEUDONYM
from proxy.observe.collector import MOST_ANSWER, TIMEOUT, Collector, Fate

SERVICES = {
    "/v1/metrics": "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    "/v1/traces": "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
}
"""The method that does what posting to a path of OTLP over HTTP does."""
PORT = 4317
"""Where a collector listens for gRPC when its address names no port."""
OWN_ROOTS = "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"
"""The variable by which gRPC is told which authorities to trust."""
_PASSING = frozenset(
    (
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
        # Only with RetryInfo by the letter; a receiver that is full without saying for how long will not stay so.
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    )
)
"""Statuses after which the same post is tried again: https://opentelemetry.io/docs/specs/otlp/#failures-1"""


class _Export(Protocol):
    def __call__(
        self, request: bytes, *, timeout: float, metadata: tuple[tuple[str, str], ...]
    ) -> Awaitable[bytes]: ...


class GrpcCollector(Collector):
    """One that is spoken to by gRPC, over TLS where its address begins with `https`."""

    def __init__(self, endpoint: str, path: str, headers: Mapping[str, str], what: str) -> None:
        """*path*: the one that would be posted to over HTTP, a key of `SERVICES`; *what* is sent, for the log."""
        parts = urlsplit(endpoint)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        self._target = f"{host}:{parts.port or PORT}"
        super().__init__(f"{parts.scheme}://{self._target}", what)
        self._secure = parts.scheme == "https"
        self._method = SERVICES[path]
        self._metadata = tuple((name.lower(), value) for name, value in headers.items())

    async def stop(self) -> None:
        """Close the connection, where there is one."""
        # One that was never used was never made.
        if "_channel" in vars(self):
            await self._channel.close()

    @cached_property
    def _channel(self) -> grpc.aio.Channel:
        """Made with the first post, since it belongs to the event loop that runs then, and to this process."""
        options = [
            ("grpc.primary_user_agent", f"{PSEUDONYM}/{__version__}"),
            ("grpc.max_receive_message_length", MOST_ANSWER),
            # As over HTTP: a collector is reached as its address says.
            ("grpc.enable_http_proxy", 0),
        ]
        if self._secure:
            return grpc.aio.secure_channel(self._target, grpc.ssl_channel_credentials(_roots()), options)
        return grpc.aio.insecure_channel(self._target, options)

    @cached_property
    def _export(self) -> _Export:
        return cast(_Export, self._channel.unary_unary(self._method))

    async def _sent(self, body: bytes) -> tuple[Fate, bytes, str]:
        try:
            answer = await self._export(body, timeout=TIMEOUT, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            code = error.code()
            return Fate.LATER if code in _PASSING else Fate.NEVER, b"", f"status {code.name}"
        return Fate.TAKEN, answer, ""


def _roots() -> bytes | None:
    """The authorities in the file of SSL_CERT_FILE, else in that of the machine; None: those that gRPC itself finds."""
    file = ssl.get_default_verify_paths().cafile
    return Path(file).read_bytes() if file and OWN_ROOTS not in os.environ else None
