"""
Our side of a client's connection: aiohttp's request handler, told what a proxy must know.

Adds what aiohttp leaves out: a deadline for request heads, a limit on how long a client may refuse to read, a signal
when its buffer fills and empties, an eye on clients that leave while we do not listen, and error answers in our own
shape for bytes that never became a request.
"""

import asyncio
import socket
import struct
import sys
from collections.abc import Awaitable, Callable
from typing import Any, cast

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import ERROR, RequestHandler, _ErrInfo

from proxy.errors import ProxyError
from proxy.web.answer import Answer

if sys.platform != "win32":
    import fcntl
    import termios

STALL_LOOKS = 10
"""How often within the write timeout a client that does not keep up is looked at."""
GONE_LOOK = 0.05
"""Seconds between looks at a client we do not read from, whose end no event would tell."""
_ESTABLISHED = 1

Handler = Callable[[web.BaseRequest], Awaitable[Answer]]
Refuse = Callable[[web.BaseRequest, ProxyError], Answer]


class ClientConnection(RequestHandler):
    """One client connection."""

    __slots__ = (
        "_gone_timer",
        "_head_timer",
        "_last_body",
        "_read_timeout",
        "_refuse",
        "_stall_timer",
        "_taken_at",
        "_untaken",
        "_write_timeout",
        "answer",
    )

    def __init__(self, server: "GatewayServer", **kwargs: Any) -> None:
        super().__init__(server, **kwargs)
        self.answer: Answer | None = None
        """The answer under way, told when the client's buffer fills."""
        self._last_body: StreamReader | None = None
        """The body of the last request whose head has come."""
        self._refuse = server.refuse
        self._read_timeout = server.read_timeout
        self._write_timeout = server.write_timeout
        self._head_timer: asyncio.TimerHandle | None = None
        self._stall_timer: asyncio.TimerHandle | None = None
        self._gone_timer: asyncio.TimerHandle | None = None
        # Bytes the client has not taken yet, and when it last took some; while its buffer is full.
        self._untaken = 0
        self._taken_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._head_timer = self._loop.call_later(self._read_timeout, self._head_is_late)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._stop(self._head_timer)
        self._stop(self._stall_timer)
        self._stop(self._gone_timer)
        self._head_timer = self._stall_timer = self._gone_timer = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        count = self._request_count
        super().data_received(data)
        if self._request_count != count:
            self._last_body = self._messages[-1][1]
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None
        elif self._head_timer is None and data and (self._last_body is None or self._last_body.is_eof()):
            # Not the rest of a body, so part of the next head: its time runs from its first byte, absolutely.
            self._head_timer = self._loop.call_later(self._read_timeout, self._head_is_late)

    async def start(self) -> None:
        """
        Serve the requests of this connection, one after the other.

        This is aiohttp's own loop for a handler that has written its answer when it returns, and fails with nothing but
        a cancellation. There every request is a task of its own, which takes it through the event loop twice more and
        costs a twentieth of its time; here the connection's task answers it.
        """
        manager, parser = self._manager, self._parser
        assert manager is not None
        while not self._force_close:
            if not self._messages:
                self._waiter = self._loop.create_future()
                try:
                    await self._waiter
                finally:
                    self._waiter = None
            message, payload = self._messages.popleft()
            if parser is not None:
                parser.message_consumed()
            if self._buffer_paused and len(self._messages) <= self._msg_queue_resume_size:
                self._resume_reading_if_drained()
            manager.requests_count += 1
            await self._answer(message, payload)
            if self._force_close or self._close or not self._keepalive:
                break
            self._next_keepalive_close_time = close_time = self._loop.time() + self._keepalive_timeout
            if self._keepalive_handle is None:
                self._keepalive_handle = self._loop.call_at(close_time, self._process_keepalive)
        if not self._force_close:
            self._task_handler = None
            if self.transport is not None:
                self.transport.close()

    async def _answer(self, message: Any, payload: StreamReader) -> None:
        """Have one request answered, and see to what is left of its body."""
        handler = self._request_handler
        if isinstance(message, _ErrInfo):
            handler, message = self._make_error_handler(message), ERROR
        assert handler is not None
        assert self._manager is not None
        # An `Answer` writes by itself, so nobody asks for the writer.
        request = self._manager.request_factory(message, payload, self, cast(Any, None), cast(Any, self._task_handler))
        self._request_in_progress = True
        self._current_request = request
        try:
            answer = await handler(request)
            self._keepalive = bool(answer.keep_alive)
            if self._upgraded:
                # An offer of another protocol that was declined, and what was sent behind it.
                await self.finish_response(request, answer, None)
            if not payload.is_eof():
                await self._linger(payload)
        except asyncio.CancelledError:
            self.force_close()
            raise
        except Exception as error:
            self.log_exception("Unhandled exception", exc_info=error)
            self.force_close()
        finally:
            self._current_request = None
            self._request_in_progress = False
            if self._handler_waiter is not None:
                self._handler_waiter.set_result(None)
            request._task = None  # type: ignore[assignment]  # it leads back here

    async def _linger(self, payload: StreamReader) -> None:
        """Read what a client still sends of a body nobody wants, so that it can read its answer; then close."""
        if self._lingering_time and not self._force_close:
            try:
                async with asyncio.timeout(self._lingering_time):
                    while not payload.is_eof():
                        await payload.readany()
            except TimeoutError:
                pass
        if not payload.is_eof() and not self._force_close:
            self.close()

    def resume_reading(self, resume_parser: bool = True) -> None:
        # aiohttp calls this after every read, and has the parser look for more where it was never stopped.
        if self._reading_paused:
            super().resume_reading(resume_parser)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._untaken = self._count_untaken()
        self._taken_at = self._loop.time()
        self._stall_timer = self._loop.call_later(self._write_timeout / STALL_LOOKS, self._look_for_stall)
        if self.answer is not None and self.answer.on_pause is not None:
            self.answer.on_pause()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop(self._stall_timer)
        self._stall_timer = None
        if self.answer is not None and self.answer.on_resume is not None:
            self.answer.on_resume()

    @property
    def waiting(self) -> bool:
        """No whole request has come since the last answer."""
        return self._waiter is not None and not self._waiter.done()

    @property
    def idle(self) -> bool:
        """Nothing of a request has come since the last answer."""
        return self.waiting and self._head_timer is None

    @property
    def never_asked(self) -> bool:
        """No whole request has ever come on it."""
        return not self._request_count

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
        return cast(web.StreamResponse, self._refuse(request, error))

    def close_at_once(self) -> None:
        """Wait for no more of the request's body once it has been answered."""
        self._lingering_time = 0.0

    def _head_is_late(self) -> None:
        if not self.waiting:
            # Sent ahead while an answer is under way, which must not suffer for it.
            self._head_timer = self._loop.call_later(self._read_timeout, self._head_is_late)
            return
        # Nobody is waiting for words here: a client that sends a head in half a minute is not one.
        self._head_timer = None
        self.force_close()

    def _look_for_stall(self) -> None:
        self._stall_timer = None
        if self.transport is None:
            return
        now, untaken = self._loop.time(), self._count_untaken()
        if untaken < self._untaken:
            self._taken_at = now
        self._untaken = untaken
        if now - self._taken_at >= self._write_timeout * (1 - 0.1 / STALL_LOOKS):
            self.transport.abort()
        else:
            self._stall_timer = self._loop.call_later(self._write_timeout / STALL_LOOKS, self._look_for_stall)

    def _count_untaken(self) -> int:
        """Bytes in our buffer and, where the system tells, in the kernel's: a slow reader is not one that stalls."""
        assert self.transport is not None
        untaken = self.transport.get_write_buffer_size()
        peer = self.transport.get_extra_info("socket")
        if sys.platform == "linux" and peer is not None:
            untaken += struct.unpack("i", fcntl.ioctl(peer.fileno(), termios.TIOCOUTQ, bytes(4)))[0]
        return untaken

    def _pause_transport_reading(self) -> None:
        super()._pause_transport_reading()
        if self._gone_timer is None:
            self._gone_timer = self._loop.call_later(GONE_LOOK, self._look_for_end)

    def _look_for_end(self) -> None:
        self._gone_timer = None
        transport = self.transport
        if transport is None or not (self._reading_paused or self._buffer_paused):
            return
        peer = transport.get_extra_info("socket")
        if sys.platform == "linux" and peer is not None:
            # The first byte of TCP_INFO is the connection's state.
            if peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != _ESTABLISHED:
                transport.abort()
                return
            self._gone_timer = self._loop.call_later(GONE_LOOK, self._look_for_end)

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
        # aiohttp asks of a response only what an Answer has.
        super().__init__(cast(Any, handler), handler_cancellation=True)
        self.refuse = refuse
        self._open = 0
        self._made_at: dict[RequestHandler, float] = {}
        self.on_closed: Callable[[float], object] | None = None
        """Told of each connection's end, with the seconds it was open."""
        self._all_closed = asyncio.Event()
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

    @property
    def open(self) -> int:
        """Connections of clients."""
        return self._open

    @property
    def unasked(self) -> bool:
        """Somebody has connected and not yet sent a whole request."""
        return any(isinstance(each, ClientConnection) and each.never_asked for each in self.connections)

    def close_idle(self) -> None:
        """Close the connections on which no request is under way; the others close after their answer."""
        for connection in self.connections:
            if isinstance(connection, ClientConnection) and connection.idle:
                connection.force_close()

    async def close_all(self) -> None:
        """Close every connection, none of which has a request under way, and wait until their last bytes have left."""
        for connection in self.connections:
            if isinstance(connection, ClientConnection) and connection.waiting:
                connection.force_close()
            else:
                connection.close()
        if self._open:
            await self._all_closed.wait()

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        self._open += 1
        self._made_at[handler] = self._loop.time()
        self._all_closed.clear()

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        super().connection_lost(handler, exc)
        self._open -= 1
        if self.on_closed is not None:
            self.on_closed(self._loop.time() - self._made_at.pop(handler, self._loop.time()))
        if not self._open:
            self._all_closed.set()

    def __call__(self) -> RequestHandler:
        return ClientConnection(self, loop=self._loop, **self._options)


def connection_of(request: web.BaseRequest) -> ClientConnection:
    """The connection *request* came on."""
    return cast(ClientConnection, request.protocol)
