"""
A whole answer in one await, for the control plane: model lists, probes and what is sent to collectors.

Small and bounded; a client's request never passes here.
"""

import asyncio

from proxy.headers import Header
from proxy.upstream.endpoint import Endpoint
from proxy.upstream.wire import Call, Loss

MAX_BODY_BYTES = 8 * 1024 * 1024


class FetchError(Exception):
    """No whole answer came; the text says why, for the log."""


class TooLarge(FetchError):
    """It is there, and says more than is read."""


class Gathered:
    """A sink that keeps an answer until its end."""

    def __init__(self, most: int, enough: bool = False) -> None:
        """*most*: bytes of a body; a longer one is an error, unless so much of it is *enough*."""
        self.status = 0
        self.headers: list[Header] = []
        self._most = most
        self._enough = enough
        self._body = bytearray()
        self._done: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def body(self, call: Call, timeout: float) -> bytes:
        """Of the answer to *call*, which is over then; `FetchError` unless it comes within *timeout* seconds."""
        try:
            async with asyncio.timeout(timeout):
                return await self._done
        except TimeoutError:
            raise FetchError("timeout") from None
        finally:
            call.cancel()

    def connected(self) -> None:
        pass

    def head(self, status: int, headers: list[Header]) -> None:
        self.status = status
        self.headers = list(headers)

    def data(self, chunk: bytes) -> None:
        self._body += chunk
        if len(self._body) > self._most and not self._done.done():
            if self._enough:
                self._done.set_result(bytes(self._body[: self._most]))
            else:
                self._done.set_exception(TooLarge("the answer is too large"))

    def ended(self, delimited: bool) -> None:
        if not self._done.done():
            self._done.set_result(bytes(self._body))

    def lost(self, loss: Loss) -> None:
        if not self._done.done():
            self._done.set_exception(FetchError(loss.reason))


async def fetch(
    endpoint: Endpoint, path: str, timeout: float, key: int = 0, body: bytes | None = None
) -> tuple[int, bytes]:
    """Status and body of `GET path`, or of a POST of JSON *body*; `FetchError` unless both come within *timeout* s."""
    gathered = Gathered(MAX_BODY_BYTES)
    lines = b"Accept: application/json\r\n"
    if body is not None:
        lines += b"content-type: application/json\r\n"
    method = "GET" if body is None else "POST"
    call = endpoint.send(method, path, lines, "control-plane", body, key, gathered)
    answer = await gathered.body(call, timeout)
    return gathered.status, answer
