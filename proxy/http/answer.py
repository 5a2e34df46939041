"""
One answer on its way to a client: a response of aiohttp's that writes itself, at once and in joined bytes.

It is the relay's `Client`: heads are joined from precomputed lines, chunks are framed without a coroutine. It decides
nothing about what is sent.
"""

import socket
import struct
from collections.abc import Callable
from contextlib import suppress

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from proxy.core import clock, tasks
from proxy.core.exchange import Exchange
from proxy.core.headers import Header
from proxy.http.head_lines import REASONS, head_lines, in_milliseconds
from proxy.http.request import Request

_STREAM_LINES = b"Cache-Control: no-cache, no-transform\r\nX-Accel-Buffering: no\r\n"
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Answer(web.StreamResponse):
    """
    The answer to one request. aiohttp prepares and ends a response with coroutines, one for each piece; this one has
    written all there is by the time its handler returns it, and leaves nothing to do but to wait for a slow client.
    """

    framed = False
    """The protocol itself marks where a body ends."""

    def __init__(self, exchange: Exchange, request: Request) -> None:
        super().__init__()
        self.on_pause: Callable[[], object] | None = None
        self.on_resume: Callable[[], object] | None = None
        self.extra_lines = b""
        """Header lines for every answer to this request, such as CORS."""
        self._exchange = exchange
        self._writer = request.inner.writer
        self._connection = request.inner.protocol
        self._waits = False
        self._old = request.version == "1.0"
        self._head_only = request.method == "HEAD"
        self._keeps = request.keep_alive
        self._chunked_body = False
        self._question = request.body
        self.body_asked = "expect" not in request.headers
        """The client sends its body, or has been told to."""
        self.begun = False
        """The head has been sent."""

    @property
    def paused(self) -> bool:
        return self._connection.writing_paused

    @property
    def gone(self) -> bool:
        """The client's connection is closed."""
        return self._connection.transport is None

    def taken_over(self) -> list[tuple[str, str]]:
        """The connection speaks another protocol from now on: headers of ours that go with its first answer."""
        self._exchange.status, self._exchange.answered_at = 101, clock.now()
        self.begun, self._keeps = True, False
        return [("X-Request-ID", self._exchange.id), *self.extra_headers()]

    def __repr__(self) -> str:
        return f"<Answer {self.status if self.begun else 'to come'}>"

    # What aiohttp asks of a response.

    @property
    def status(self) -> int:
        return self._exchange.status

    @property
    def reason(self) -> str:
        return REASONS.get(self.status, "")

    @property
    def prepared(self) -> bool:
        return self.begun

    @property
    def keep_alive(self) -> bool:
        return self._keeps

    def force_close(self) -> None:
        """End the connection after this answer."""
        self._keeps = False

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Nothing: the head has been written."""
        return self._writer

    async def write_eof(self, data: bytes = b"") -> None:
        """Wait until a slow client has room again, before its next request is answered."""
        transport = self._connection.transport
        if transport is not None and not self._question.complete and not self.body_asked:
            # The client still waits to be asked for a body that the handler does not want.
            transport.close()
        await self.room()

    async def room(self) -> None:
        """Wait until the client has taken enough of what was written. `ConnectionError` when it has left."""
        if self._connection.writing_paused:
            await self._writer.drain()

    # What the relay asks of a client.

    def ask_for_body(self) -> None:
        """Have the client send its body, where it waits to be told to (RFC 9110 section 10.1.1)."""
        if not self._question.complete:
            self._send(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.body_asked = True

    def send(self, status: int, headers: list[Header], body: bytes) -> None:
        """A whole answer in one write."""
        self._exchange.answered_at = clock.now()
        headers = [*headers, (b"X-Response-Time", self.response_time().encode("ascii"))]
        bodyless = status in (204, 304)
        if not bodyless:
            headers.append((b"Content-Length", b"%d" % len(body)))
        if self._exchange.content is not None:
            self._exchange.keep_answer(body)
        self._begin(status, headers, b"" if bodyless or self._head_only else body)

    def start(self, status: int, headers: list[Header], length: int | None, streamed: bool) -> None:
        """Begin an answer whose body follows."""
        self._exchange.answered_at = clock.now()
        if length is not None:
            headers = [*headers, (b"Content-Length", b"%d" % length)]
        elif self._old:
            # HTTP/1.0 knows no chunks: the end of the connection is the end of the body.
            self._keeps = False
        elif not self.framed:
            self._chunked_body = True
            headers = [*headers, (b"Transfer-Encoding", b"chunked")]
        self._begin(status, headers, None, _STREAM_LINES if streamed else b"")

    def push(self, chunk: bytes) -> None:
        """More of the body."""
        if not chunk:
            return
        if self._exchange.content is not None:
            self._exchange.keep_answer(chunk)
        if self._chunked_body:
            chunk = b"%x\r\n%b\r\n" % (len(chunk), chunk)
        self._send(chunk)

    def finish(self) -> None:
        """The body is whole."""
        if self._chunked_body:
            self._send(b"0\r\n\r\n")

    def cut(self) -> None:
        """Close without the mark of a good end; what was written before still arrives."""
        self._keeps = False
        transport = self._connection.transport
        if transport is None:
            return
        if self._old:
            # Closing is how HTTP/1.0 says "whole", so this must be a reset.
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            transport.abort()
        else:
            transport.close()

    def response_time(self) -> str:
        """How long the answer took, in milliseconds, as it stands in `X-Response-Time`."""
        return in_milliseconds(self._exchange.answered_at - self._exchange.started)

    def extra_headers(self) -> list[tuple[str, str]]:
        """`extra_lines` as names and values."""
        lines = self.extra_lines.decode("latin-1").split("\r\n")[:-1]
        return [(name, value) for name, _, value in (line.partition(": ") for line in lines)]

    def _begin(self, status: int, headers: list[Header], body: bytes | None, more: bytes = b"") -> None:
        """Write the head, *more* lines in it, and the whole *body* where there is no more to come."""
        self._exchange.status = status
        self.begun = True
        if not self._question.complete:
            # The rest of the body is not wanted, so nothing can follow it.
            self._keeps = False
        if not self._keeps:
            connection = b"Connection: close\r\n"
        elif self._old:
            connection = b"Connection: keep-alive\r\n"
        else:
            connection = b""
        head = head_lines(status, self._exchange.id, connection + self.extra_lines, headers)
        self._send(b"%b%b\r\n%b" % (head, more, body or b""))

    def _send(self, data: bytes) -> None:
        transport = self._connection.transport
        if transport is None:
            return
        transport.write(data)
        if self._connection.writing_paused and not self._waits:
            self._waits = True
            tasks.start(self._wait_for_room(), "slow client")
            if self.on_pause is not None:
                self.on_pause()

    async def _wait_for_room(self) -> None:
        with suppress(ConnectionError):
            await self._writer.drain()
        self._waits = False
        if self.on_resume is not None and not self.gone:
            self.on_resume()
