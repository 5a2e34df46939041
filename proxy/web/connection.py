"""
Our side of a client's connection: its requests are answered one after the other.

It keeps time for heads and for clients that take no byte, reads no further than it must, tells an answer when the
client's buffer fills and empties, and ends the exchange of a client that leaves. Bytes are read in `parser`.
"""

import asyncio
import logging
import socket
import struct
import sys
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, cast

from proxy import tasks
from proxy.errors import ProxyError
from proxy.web.answer import Answer
from proxy.web.parser import UNREADABLE, RequestParser
from proxy.web.request import Body, BrokenBody, Request

if TYPE_CHECKING:
    from proxy.web.connections import ClientConnections

if sys.platform != "win32":
    import fcntl
    import termios

_log = logging.getLogger("hapax")

MOST_WAITING = 8
"""Requests sent ahead, beyond which the client is not read from until they have been answered."""
KEEP_ALIVE = 300.0
"""Seconds a connection stays open without a request."""
LINGER = 5.0
"""Seconds a client may still send of a body nobody wants, so that it can read its answer."""
STALL_LOOKS = 10
"""How often within the write timeout a client that does not keep up is looked at."""
GONE_LOOK = 0.05
"""Seconds between looks at a client we do not read from, whose end no event would tell."""
_ESTABLISHED = 1

Handler = Callable[[Request, "ClientConnection"], Awaitable[Answer]]
Refuse = Callable[[Request, "ClientConnection", ProxyError], Answer]


class ClientConnection(asyncio.Protocol):
    """One client connection."""

    __slots__ = (
        "_all",
        "_answering",
        "_closing",
        "_ended",
        "_gone_timer",
        "_handed_over",
        "_handler",
        "_head_timer",
        "_held_for_requests",
        "_holds",
        "_idle_timer",
        "_idle_until",
        "_linger_for",
        "_loop",
        "_parser",
        "_refuse",
        "_requests",
        "_stall_timer",
        "_taken_at",
        "_task",
        "_untaken",
        "_waiter",
        "answer",
        "never_asked",
        "opened",
        "peer",
        "transport",
        "writing_paused",
    )

    def __init__(self, connections: "ClientConnections", loop: asyncio.AbstractEventLoop) -> None:
        """*connections*: all there are, who hear of its beginning and its end."""
        self._all = connections
        self._loop = loop
        self._handler: Handler = connections.handler
        self._refuse: Refuse = connections.refuse
        self._parser = RequestParser(self._requested, self._hold, self._release, connections.max_header_bytes)
        self.transport: asyncio.Transport | None = None
        """None before and after it is open."""
        self.peer = ""
        """The other side's address; empty when it has none."""
        self.opened = 0.0
        """When it was made, by the loop's clock."""
        self.never_asked = True
        """No whole request has ever come on it."""
        self.writing_paused = False
        """The client's buffer is full."""
        self.answer: Answer | None = None
        """The answer under way, told when the client's buffer fills."""
        self._task: asyncio.Task[None] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._requests: deque[Request] = deque()
        """Those that nobody has begun to answer."""
        self._answering = False
        self._closing = False
        """Nothing is answered any more but what has come."""
        self._ended = False
        self._handed_over = False
        # For how many reasons it is not read from.
        self._holds = 0
        self._held_for_requests = False
        self._linger_for = LINGER
        self._idle_until = 0.0
        self._idle_timer: asyncio.TimerHandle | None = None
        self._head_timer: asyncio.TimerHandle | None = None
        self._stall_timer: asyncio.TimerHandle | None = None
        self._gone_timer: asyncio.TimerHandle | None = None
        # Bytes the client has not taken yet, and when it last took some; while its buffer is full.
        self._untaken = 0
        self._taken_at = 0.0

    @property
    def waiting(self) -> bool:
        """No whole request has come since the last answer."""
        return not self._answering and not self._requests and not self._parser.fault

    @property
    def idle(self) -> bool:
        """Nothing of a request has come since the last answer."""
        return self.waiting and self._head_timer is None

    @property
    def held(self) -> bool:
        """It is not read from until what has come is taken care of."""
        return self._holds > 0

    def close(self) -> None:
        """End it after the answers to what has come, or now when there are none."""
        self._closing = True
        if self.waiting:
            self.force_close()

    def force_close(self) -> None:
        """End it now; what has been written still leaves, if the client takes it."""
        self._closing = self._ended = True
        if self.transport is not None:
            self.transport.close()
            if self._stall_timer is None and self.transport.get_write_buffer_size():
                self._watch_for_stall()

    def hand_over(self, protocol: asyncio.Protocol) -> None:
        """Let *protocol* have what comes from now on, and the end as well; the exchange under way is the last."""
        assert self.transport is not None
        self._handed_over = True
        self.transport.set_protocol(protocol)
        protocol.connection_made(self.transport)

    def close_at_once(self) -> None:
        """Wait for no more of the request's body once it has been answered."""
        self._linger_for = 0.0

    async def abort(self) -> None:
        """End it now, and whatever goes on on it."""
        self._closing = self._ended = True
        if self.transport is not None:
            self.transport.abort()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        address = transport.get_extra_info("peername")
        if isinstance(address, tuple):
            self.peer = str(address[0])
        self.opened = self._loop.time()
        self._head_timer = self._loop.call_later(self._all.read_timeout, self._head_is_late)
        self._task = tasks.start(self._serve(), "client connection")
        self._all.made(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self._closing = self._ended = True
        for timer in (self._head_timer, self._stall_timer, self._gone_timer, self._idle_timer):
            if timer is not None:
                timer.cancel()
        self._head_timer = self._stall_timer = self._gone_timer = self._idle_timer = None
        self._parser.close()
        if self._answering and self._task is not None:
            # In the middle of an answer: nobody is left to take it.
            self._task.cancel()
        else:
            self._wake()
        # What leads in circles stays in memory until the garbage collector walks all of it, which holds up everybody.
        self.answer = None
        self._requests.clear()
        self._all.lost(self)

    def pause_writing(self) -> None:
        self.writing_paused = True
        self._watch_for_stall()
        if self.answer is not None and self.answer.on_pause is not None:
            self.answer.on_pause()

    def resume_writing(self) -> None:
        self.writing_paused = False
        if self._stall_timer is not None and not self._ended:
            self._stall_timer.cancel()
            self._stall_timer = None
        if self._requests:
            self._wake()
        if self.answer is not None and self.answer.on_resume is not None:
            self.answer.on_resume()

    def data_received(self, data: bytes) -> None:
        parser = self._parser
        try:
            parser.feed(data)
        except BaseException:
            # Let the event loop report it.
            self.force_close()
            raise
        if parser.fault:
            self._wake()
        elif parser.in_head and self._head_timer is None:
            # A head's time runs from its first byte, absolutely.
            self._head_timer = self._loop.call_later(self._all.read_timeout, self._head_is_late)

    def _requested(self, request: Request) -> None:
        self.never_asked = False
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        self._requests.append(request)
        if len(self._requests) >= MOST_WAITING and not self._held_for_requests:
            self._held_for_requests = True
            self._hold()
        self._wake()

    # How requests are answered.

    async def _serve(self) -> None:
        try:
            while not self._ended:
                if self._requests and not self.writing_paused:
                    request = self._requests.popleft()
                    if self._held_for_requests and not self._requests:
                        self._held_for_requests = False
                        self._release()
                    self._answering = True
                    answer = await self._handler(request, self)
                    if not request.body.complete:
                        await self._linger(request.body)
                    # What nobody wanted of it may have held the client back.
                    request.body.take()
                    self._answering = False
                    if not answer.keep_alive or not request.body.complete:
                        break
                    if self._requests:
                        # Sent ahead, perhaps thousands in one read: others have their turn between them.
                        await asyncio.sleep(0)
                    elif self._idle_timer is None and not self._ended:
                        self._idle_timer = self._loop.call_later(KEEP_ALIVE, self._look_if_idle)
                    self._idle_until = self._loop.time() + KEEP_ALIVE
                elif self._parser.fault and not self._requests:
                    self._refuse(UNREADABLE, self, ProxyError(self._parser.fault, close=True))
                    break
                elif self._closing and not self._requests:
                    break
                else:
                    self._waiter = self._loop.create_future()
                    try:
                        await self._waiter
                    finally:
                        self._waiter = None
        except Exception as error:
            # A bug of ours; the type and place only, an exception's text may quote the request.
            _log.error("client connection failed: %s", type(error).__name__, exc_info=error)
        finally:
            self._task = None
            self.force_close()
            if self._handed_over:
                # Its end is told to those that have it now.
                self._answering = False
                self.connection_lost(None)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _linger(self, body: Body) -> None:
        """Read what a client still sends of a body nobody wants, so that it can read its answer."""
        if self._linger_for and not self._closing:
            try:
                async with asyncio.timeout(self._linger_for):
                    while not body.complete:
                        await body.read()
            except (TimeoutError, BrokenBody):
                pass

    # When it is not read from.

    def _hold(self) -> None:
        self._holds += 1
        transport = self.transport
        if self._holds > 1 or transport is None or transport.is_closing():
            return
        transport.pause_reading()
        if self._gone_timer is None:
            self._gone_timer = self._loop.call_later(GONE_LOOK, self._look_for_end)

    def _release(self) -> None:
        self._holds -= 1
        transport = self.transport
        if not self._holds and transport is not None and not transport.is_closing():
            transport.resume_reading()

    # What is looked at from time to time.

    def _head_is_late(self) -> None:
        if not self.waiting:
            # Sent ahead while an answer is under way, which must not suffer for it.
            self._head_timer = self._loop.call_later(self._all.read_timeout, self._head_is_late)
            return
        # Nobody is waiting for words here: a client that sends a head in half a minute is not one.
        self._head_timer = None
        self.force_close()

    def _look_if_idle(self) -> None:
        self._idle_timer = None
        if not self.idle:
            # A head has its own time, and an answer looks again when it ends.
            return
        if self._loop.time() >= self._idle_until:
            self.force_close()
        else:
            self._idle_timer = self._loop.call_at(self._idle_until, self._look_if_idle)

    def _watch_for_stall(self) -> None:
        self._untaken = self._count_untaken()
        self._taken_at = self._loop.time()
        self._stall_timer = self._loop.call_later(self._all.write_timeout / STALL_LOOKS, self._look_for_stall)

    def _look_for_stall(self) -> None:
        self._stall_timer = None
        if self.transport is None:
            return
        now, untaken = self._loop.time(), self._count_untaken()
        if untaken < self._untaken:
            self._taken_at = now
        self._untaken = untaken
        if now - self._taken_at >= self._all.write_timeout * (1 - 0.1 / STALL_LOOKS):
            self.transport.abort()
        else:
            self._stall_timer = self._loop.call_later(self._all.write_timeout / STALL_LOOKS, self._look_for_stall)

    def _count_untaken(self) -> int:
        """Bytes in our buffer and, where the system tells, in the kernel's: a slow reader is not one that stalls."""
        assert self.transport is not None
        untaken = self.transport.get_write_buffer_size()
        peer = self.transport.get_extra_info("socket")
        if sys.platform == "linux" and peer is not None:
            untaken += int(struct.unpack("i", fcntl.ioctl(peer.fileno(), termios.TIOCOUTQ, bytes(4)))[0])
        return untaken

    def _look_for_end(self) -> None:
        self._gone_timer = None
        transport = self.transport
        if transport is None or not self.held:
            return
        peer = transport.get_extra_info("socket")
        if sys.platform == "linux" and peer is not None:
            # The first byte of TCP_INFO is the connection's state.
            if peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != _ESTABLISHED:
                transport.abort()
                return
            self._gone_timer = self._loop.call_later(GONE_LOOK, self._look_for_end)
