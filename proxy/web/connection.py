"""
Our side of a client's connection: aiohttp's request handler, told what a proxy must know.

Adds what aiohttp leaves out: a deadline for request heads, a limit on how long a client may refuse to read, a signal
when its buffer fills and empties, and error answers in our own shape for bytes that never became a request.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.web_protocol import RequestHandler

from proxy.errors import ProxyError
from proxy.web.answer import Answer

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
Refuse = Callable[[web.BaseRequest, ProxyError], web.StreamResponse]


class ClientConnection(RequestHandler):
    """One client connection."""

    __slots__ = ("_head_timer", "_read_timeout", "_refuse", "_stall_timer", "_write_timeout", "answer")

    def __init__(self, server: "GatewayServer", **kwargs: Any) -> None:
        super().__init__(server, **kwargs)
        self.answer: Answer | None = None
        """The answer under way, told when the client's buffer fills."""
        self._refuse = server.refuse
        self._read_timeout = server.read_timeout
        self._write_timeout = server.write_timeout
        self._head_timer: asyncio.TimerHandle | None = None
        self._stall_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._head_timer = self._loop.call_later(self._read_timeout, self._head_is_late)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._stop(self._head_timer)
        self._stop(self._stall_timer)
        self._head_timer = self._stall_timer = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        count = self._request_count
        super().data_received(data)
        if self._request_count != count:
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None
        elif self._head_timer is None and self._waiter is not None and data:
            # Idle between requests, and part of a head has come: its time runs from its first byte, absolutely.
            self._head_timer = self._loop.call_later(self._read_timeout, self._head_is_late)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stall_timer = self._loop.call_later(self._write_timeout, self._client_stalls)
        if self.answer is not None and self.answer.on_pause is not None:
            self.answer.on_pause()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop(self._stall_timer)
        self._stall_timer = None
        if self.answer is not None and self.answer.on_resume is not None:
            self.answer.on_resume()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to bytes aiohttp could not parse, or to a bug of ours; never with the bytes in it."""
        if isinstance(exc, LineTooLong):
            error = ProxyError("headers_too_large", close=True)
        elif status == 400:
            error = ProxyError("bad_request", close=True)
        else:
            self.logger.error("unhandled error", exc_info=exc)
            error = ProxyError("internal_error", close=True)
        return self._refuse(request, error)

    def close_at_once(self) -> None:
        """Wait for no more of the request's body once it has been answered."""
        self._lingering_time = 0.0

    def _head_is_late(self) -> None:
        # Nobody is waiting for words here: a client that sends a head in half a minute is not one.
        self._head_timer = None
        self.force_close()

    def _client_stalls(self) -> None:
        self._stall_timer = None
        if self.transport is not None:
            self.transport.abort()

    @staticmethod
    def _stop(timer: asyncio.TimerHandle | None) -> None:
        if timer is not None:
            timer.cancel()


class GatewayServer(web.Server):
    """Makes a `ClientConnection` for every connection that is accepted."""

    def __init__(
        self, handler: Handler, refuse: Refuse, *, read_timeout: float, write_timeout: float, max_header_bytes: int
    ) -> None:
        """Timeouts in seconds: for a request's head, and for a client that accepts no byte."""
        super().__init__(handler, handler_cancellation=True)
        self.refuse = refuse
        self.read_timeout = read_timeout
        self.write_timeout = write_timeout
        self._options: dict[str, Any] = {
            # Bodies are passed on as they are; what is compressed is refused, not inflated behind our back.
            "auto_decompress": False,
            "access_log": None,
            "max_line_size": max_header_bytes,
            "max_field_size": max_header_bytes,
            "read_bufsize": 64 * 1024,
            "keepalive_timeout": 300.0,
            "lingering_time": 5.0,
        }

    def __call__(self) -> RequestHandler:
        return ClientConnection(self, loop=self._loop, **self._options)


def connection_of(request: web.BaseRequest) -> ClientConnection:
    """The connection *request* came on."""
    return cast(ClientConnection, request.protocol)
