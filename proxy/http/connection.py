"""
Our side of a client's connection: aiohttp's, told what a gateway on the open internet must know.

It adds a deadline and a bound for heads, a limit on how long a client may take no byte, an eye on clients that leave
while they are not read from, and errors of our own shape for bytes that never became a request. Nothing here answers a
request. Names of aiohttp's that are not public are used here and in `connections` alone; what they are needed for fails
in `tests/http/test_connection.py` when aiohttp changes them.
"""

import asyncio
import fcntl
import socket
import struct
import sys
import termios
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from aiohttp import http_exceptions, web
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import _ErrInfo

from proxy.core.errors import ProxyError
from proxy.http.answer import Answer

LINES = 1024
"""Bytes of a head that are neither target nor header: colons, line ends, method and version."""
STALL_LOOKS = 10
"""How often within the write timeout a client that does not keep up is looked at."""
GONE_LOOK = 0.05
"""Seconds between looks at a client that is not read from, whose end no event would tell."""
_ESTABLISHED = 1

Refuse = Callable[[web.BaseRequest, ProxyError], Answer]


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is asked of every client."""

    read_timeout: float
    """Seconds in which a head must have come."""
    write_timeout: float
    """Seconds in which some byte must have been taken."""
    max_header_bytes: int
    refuse: Refuse
    """Answers what never became a request."""


class ClientConnection(web.RequestHandler):
    """One client connection."""

    __slots__ = (
        "_body",
        "_bounds",
        "_gone_timer",
        "_head_timer",
        "_stall_timer",
        "_taken_at",
        "_unfruitful",
        "_untaken",
        "_wire",
        "opened",
        "peer",
    )

    def __init__(self, server: web.Server, bounds: Bounds, **options: Any) -> None:
        """*server* hears of its beginning and its end."""
        super().__init__(server, **options)
        self._bounds = bounds
        self.opened = 0.0
        """When it was made, by the loop's clock."""
        self.peer = ""
        """The other side's address; empty when it has none."""
        self._wire: asyncio.Transport | None = None
        """The transport, for as long as it is open: aiohttp lets go of it when it begins to close."""
        self._body: StreamReader = EMPTY_PAYLOAD
        """The body of the last request whose head has come."""
        self._unfruitful = 0
        """Bytes since the last of any use: of a head that does not end, of trailers, of what is tied to chunks."""
        self._head_timer: asyncio.TimerHandle | None = None
        self._stall_timer: asyncio.TimerHandle | None = None
        self._gone_timer: asyncio.TimerHandle | None = None
        # Bytes the client has not taken yet, and when it last took some; while its buffer is full.
        self._untaken = 0
        self._taken_at = 0.0

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

    @property
    def held(self) -> bool:
        """It is not read from until what has come is taken care of."""
        return self._reading_paused or self._buffer_paused

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._wire = cast(asyncio.Transport, transport)
        address = transport.get_extra_info("peername")
        if isinstance(address, tuple):
            self.peer = str(address[0])
        self.opened = self._loop.time()
        self._head_timer = self._loop.call_later(self._bounds.read_timeout, self._head_is_late)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._wire = None
        for timer in (self._head_timer, self._stall_timer, self._gone_timer):
            if timer is not None:
                timer.cancel()
        self._head_timer = self._stall_timer = self._gone_timer = None
        # What leads in circles stays in memory until the garbage collector walks all of it.
        self._body = EMPTY_PAYLOAD
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        count, body, come = self._request_count, self._body, self._body.total_bytes
        super().data_received(data)
        if self._request_count != count:
            self._unfruitful = 0
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None
            message, self._body = self._messages[-1]
            if isinstance(message, _ErrInfo) and not body.is_eof():
                # What should have been the rest of a body is none. aiohttp would leave its reader waiting.
                body.set_exception(web.RequestPayloadError())
        elif data and not self._upgraded:
            if self._body.is_eof() and self._head_timer is None:
                # Not the rest of a body, so part of the next head: its time runs from its first byte, absolutely.
                self._head_timer = self._loop.call_later(self._bounds.read_timeout, self._head_is_late)
            self._unfruitful = self._unfruitful + len(data) if come == self._body.total_bytes else 0
            if self._unfruitful > self._bounds.max_header_bytes + LINES:
                self._refuse_the_rest()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._wire is not None:
            self._watch_for_stall(self._wire)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None

    # What aiohttp calls.

    async def start(self) -> None:
        """Serve its requests; what has been written in the end still leaves, if the client takes it."""
        try:
            await super().start()
        finally:
            self._watch_the_last_bytes()

    def force_close(self) -> None:
        super().force_close()
        self._watch_the_last_bytes()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to bytes aiohttp could not parse, or to a bug of ours; never with the bytes in it."""
        if isinstance(exc, http_exceptions.LineTooLong):
            return self._bounds.refuse(request, ProxyError("headers_too_large", close=True))
        if status == 400:
            return self._bounds.refuse(request, ProxyError("bad_request", close=True))
        self.logger.error("unhandled error: %s", type(exc).__name__, exc_info=exc)
        return self._bounds.refuse(request, ProxyError("internal_error", close=True))

    def resume_reading(self, resume_parser: bool = True) -> None:
        # Called after every read of a body; where nothing was stopped, it would have the parser look for more.
        if self._reading_paused:
            super().resume_reading(resume_parser)

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """What aiohttp could not handle; a body that is none is its client's affair, who has been told."""
        if not isinstance(kw.get("exc_info"), web.RequestPayloadError):
            super().log_exception(*args, **kw)

    def _pause_transport_reading(self) -> None:
        super()._pause_transport_reading()
        if self._gone_timer is None:
            self._gone_timer = self._loop.call_later(GONE_LOOK, self._look_for_end)

    # What is looked at from time to time.

    def _refuse_the_rest(self) -> None:
        """Answer a head, or what stands between the chunks of a body, that does not end; and read no more."""
        if not self._body.is_eof():
            self._body.set_exception(web.RequestPayloadError())
        late = http_exceptions.LineTooLong(b"", self._bounds.max_header_bytes)
        self._messages.append((_ErrInfo(status=400, exc=late, message=""), EMPTY_PAYLOAD))
        self._request_count += 1
        self._unfruitful = 0
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        if self._wire is not None and not self._wire.is_closing():
            self._pause_reading_for_buffer()

    def _head_is_late(self) -> None:
        if not self.waiting:
            # Sent ahead while an answer is under way, which must not suffer for it.
            self._head_timer = self._loop.call_later(self._bounds.read_timeout, self._head_is_late)
            return
        # No error body: what has not sent a whole head by now is no client that would read one.
        self._head_timer = None
        self.force_close()

    def _watch_the_last_bytes(self) -> None:
        if self._wire is not None and self._stall_timer is None and self._wire.get_write_buffer_size():
            self._watch_for_stall(self._wire)

    def _watch_for_stall(self, wire: asyncio.Transport) -> None:
        self._untaken = _count_untaken(wire)
        self._taken_at = self._loop.time()
        self._stall_timer = self._loop.call_later(self._bounds.write_timeout / STALL_LOOKS, self._look_for_stall)

    def _look_for_stall(self) -> None:
        self._stall_timer = None
        if self._wire is None:
            return
        now, untaken = self._loop.time(), _count_untaken(self._wire)
        if untaken < self._untaken:
            self._taken_at = now
        self._untaken = untaken
        if now - self._taken_at >= self._bounds.write_timeout * (1 - 0.1 / STALL_LOOKS):
            self._wire.abort()
        else:
            self._stall_timer = self._loop.call_later(self._bounds.write_timeout / STALL_LOOKS, self._look_for_stall)

    def _look_for_end(self) -> None:
        self._gone_timer = None
        if self._wire is None or not self.held:
            return
        peer = self._wire.get_extra_info("socket")
        if sys.platform == "linux" and peer is not None:
            # The first byte of TCP_INFO is the connection's state.
            if peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != _ESTABLISHED:
                self._wire.abort()
                return
            self._gone_timer = self._loop.call_later(GONE_LOOK, self._look_for_end)


def _count_untaken(wire: asyncio.Transport) -> int:
    """Bytes in our buffer and, where the system tells, in the kernel's: a slow reader is not one that stalls."""
    untaken = wire.get_write_buffer_size()
    peer = wire.get_extra_info("socket")
    if sys.platform == "linux" and peer is not None:
        untaken += int(struct.unpack("i", fcntl.ioctl(peer.fileno(), termios.TIOCOUTQ, bytes(4)))[0])
    return untaken
