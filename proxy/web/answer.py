"""
One answer on its way to a client, written straight to the connection's transport.

It is the relay's `Client`: heads are joined from precomputed lines, chunks are framed without a coroutine. It decides
nothing about what is sent.
"""

import socket
import struct
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING

from proxy import clock
from proxy.exchange import Exchange
from proxy.headers import Header
from proxy.web.request import Request

if TYPE_CHECKING:
    from proxy.web.connection import ClientConnection

_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
_STREAM_LINES = b"Cache-Control: no-cache, no-transform\r\nX-Accel-Buffering: no\r\n"
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)

_date: tuple[int, bytes] = (0, b"")


class Answer:
    """The answer to one request."""

    __slots__ = (
        "_chunked_body",
        "_exchange",
        "_head_only",
        "_old",
        "_question",
        "begun",
        "body_asked",
        "connection",
        "extra_lines",
        "keep_alive",
        "on_pause",
        "on_resume",
    )

    def __init__(self, exchange: Exchange, connection: "ClientConnection", request: Request) -> None:
        self.on_pause: Callable[[], object] | None = None
        self.on_resume: Callable[[], object] | None = None
        self.extra_lines = b""
        """Header lines for every answer to this request, such as CORS."""
        self._exchange = exchange
        self.connection = connection
        self._old = request.version == "1.0"
        self._head_only = request.method == "HEAD"
        self.keep_alive = request.keep_alive
        self._chunked_body = False
        self._question = request.body
        self.body_asked = "expect" not in request.headers
        """The client sends its body, or has been told to."""
        self.begun = False
        """The head has been sent."""

    @property
    def paused(self) -> bool:
        return self.connection.writing_paused

    @property
    def gone(self) -> bool:
        """The client's connection is closed."""
        return self.connection.transport is None

    def taken_over(self) -> list[tuple[str, str]]:
        """The connection speaks another protocol from now on: header lines of ours that go with its first answer."""
        self._exchange.status, self._exchange.answered_at = 101, clock.now()
        self.begun, self.keep_alive = True, False
        lines = self.extra_lines.decode("latin-1").split("\r\n")[:-1]
        pairs = [(name, value) for name, _, value in (line.partition(": ") for line in lines)]
        return [("X-Request-ID", self._exchange.id), *pairs]

    def close_after(self) -> None:
        """End the connection after this answer."""
        self.keep_alive = False

    def ask_for_body(self) -> None:
        """Have the client send its body, where it waits to be told to (RFC 9110 section 10.1.1)."""
        if not self._question.complete:
            self._write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.body_asked = True

    def send(self, status: int, headers: list[Header], body: bytes) -> None:
        """A whole answer in one write."""
        self._exchange.answered_at = now = clock.now()
        microseconds = int((now - self._exchange.started) * 1e6 + 0.5)
        headers = [*headers, (b"X-Response-Time", b"%d.%03dms" % (microseconds // 1000, microseconds % 1000))]
        bodyless = status in (204, 304)
        if not bodyless:
            headers.append((b"Content-Length", b"%d" % len(body)))
        head = self._head(status, headers) + b"\r\n"
        if self._exchange.content is not None:
            self._exchange.keep_answer(body)
        self._write(head if bodyless or self._head_only else head + body)

    def start(self, status: int, headers: list[Header], length: int | None, streamed: bool) -> None:
        """Begin an answer whose body follows."""
        self._exchange.answered_at = clock.now()
        if length is not None:
            headers = [*headers, (b"Content-Length", b"%d" % length)]
        elif self._old:
            # HTTP/1.0 knows no chunks: the end of the connection is the end of the body.
            self.keep_alive = False
        else:
            self._chunked_body = True
            headers = [*headers, (b"Transfer-Encoding", b"chunked")]
        head = self._head(status, headers)
        self._write(head + _STREAM_LINES + b"\r\n" if streamed else head + b"\r\n")

    def write(self, chunk: bytes) -> None:
        """More of the body."""
        if not chunk:
            return
        if self._exchange.content is not None:
            self._exchange.keep_answer(chunk)
        if self._chunked_body:
            chunk = b"%x\r\n%b\r\n" % (len(chunk), chunk)
        self._write(chunk)

    def finish(self) -> None:
        """The body is whole."""
        if self._chunked_body:
            self._write(b"0\r\n\r\n")

    def cut(self) -> None:
        """Close without the mark of a good end; what was written before still arrives."""
        self.keep_alive = False
        transport = self.connection.transport
        if transport is None:
            return
        if self._old:
            # Closing is how HTTP/1.0 says "whole", so this must be a reset.
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            transport.abort()
        else:
            transport.close()

    def _head(self, status: int, headers: list[Header]) -> bytes:
        self._exchange.status = status
        self.begun = True
        if not self._question.complete:
            # The rest of the body is not wanted, so nothing can follow it; and what nobody asked for never comes.
            self.keep_alive = False
            if not self.body_asked:
                self.connection.close_at_once()
        if not self.keep_alive:
            connection = b"Connection: close\r\n"
        elif self._old:
            connection = b"Connection: keep-alive\r\n"
        else:
            connection = b""
        return b"%bDate: %b\r\nX-Request-ID: %b\r\n%b%b%b" % (
            _STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status,
            _http_date(),
            self._exchange.id.encode("ascii"),
            connection,
            self.extra_lines,
            b"".join([b"%b: %b\r\n" % pair for pair in headers]),
        )

    def _write(self, data: bytes) -> None:
        transport = self.connection.transport
        if transport is not None:
            transport.write(data)


def _http_date() -> bytes:
    """The time as HTTP writes it, formatted once a second."""
    global _date
    now = int(time.time())
    if _date[0] != now:
        _date = (now, time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(now)).encode("ascii"))
    return _date[1]
