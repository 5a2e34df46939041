"""
A whole answer in one await, for the control plane: model lists and probes.

Small and bounded; a client's request never passes here.
"""

import asyncio

from proxy.headers import Header
from proxy.upstream.endpoint import Endpoint
from proxy.upstream.wire import Loss

MAX_BODY_BYTES = 8 * 1024 * 1024


class FetchError(Exception):
    """No whole answer came; the text says why, for the log."""


class _Collector:
    """A sink that keeps everything until the end."""

    def __init__(self) -> None:
        self.done: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()
        self._status = 0
        self._body = bytearray()

    def connected(self) -> None:
        pass

    def head(self, status: int, headers: list[Header]) -> None:
        self._status = status

    def data(self, chunk: bytes) -> None:
        self._body += chunk
        if len(self._body) > MAX_BODY_BYTES and not self.done.done():
            self.done.set_exception(FetchError("the answer is too large"))

    def ended(self, delimited: bool) -> None:
        if not self.done.done():
            self.done.set_result((self._status, bytes(self._body)))

    def lost(self, loss: Loss) -> None:
        if not self.done.done():
            self.done.set_exception(FetchError(loss.reason))


async def fetch(
    endpoint: Endpoint, path: str, timeout: float, key: int = 0, body: bytes | None = None
) -> tuple[int, bytes]:
    """Status and body of `GET path`, or of a POST of JSON *body*; `FetchError` unless both come within *timeout* s."""
    collector = _Collector()
    lines = b"Accept: application/json\r\n"
    if body is not None:
        lines += b"content-type: application/json\r\n"
    method = "GET" if body is None else "POST"
    call = endpoint.send(method, path, lines, "control-plane", body, key, collector)
    try:
        async with asyncio.timeout(timeout):
            return await collector.done
    except TimeoutError:
        raise FetchError("timeout") from None
    finally:
        call.cancel()
