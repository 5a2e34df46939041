"""
One request and its answer on a stream of HTTP/3: to aiohttp and to an `Answer` it is the connection they write to.

It turns bodies into DATA frames and back, and knows when its client reads too slowly or has left. What is answered is
the application's.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol, cast

from aiohttp import web
from aiohttp.client_exceptions import ClientConnectionResetError
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader

from proxy.core import tasks
from proxy.core.errors import ProxyError
from proxy.core.headers import Header
from proxy.http3.writer import StreamWriter

READ_AHEAD = 64 * 1024
"""Bytes of a body that are held for a handler before the client's window stands still; it takes up to twice as many."""
MOST_UNTAKEN = 256 * 1024
"""Bytes of an answer on their way to a client, not acknowledged yet, above which its provider is not read from."""
FEW_UNTAKEN = 64 * 1024
"""As few must be left for that to go on."""

_log = logging.getLogger("hapax")


class Frames(Protocol):
    """The connection, as far as one of its streams sees it; every call names the stream by its id."""

    def send_head(self, stream_id: int, fields: list[Header], ended: bool) -> None:
        """A HEADERS frame."""

    def send_body(self, stream_id: int, data: bytes, ended: bool) -> None:
        """A DATA frame."""

    def untaken(self, stream_id: int) -> int:
        """Bytes that the client has not acknowledged."""

    def hold(self, stream_id: int, held: bool) -> None:
        """The client's window stands still, or moves on."""

    def ended(self, stream: "Stream") -> None:
        """Its handler has come to its end."""


@dataclass(frozen=True, slots=True)
class Application:
    """What answers requests."""

    handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
    factory: Callable[..., web.BaseRequest]
    """Makes aiohttp's request of a message, its body, a connection, a writer and a task."""
    refuse: Callable[[web.BaseRequest, ProxyError], web.StreamResponse]
    """Answers what never gets to the handler."""


class Stream:
    """One of a connection's."""

    # What aiohttp reads of a connection when it makes a request.
    ssl_context = True
    """There is no QUIC without TLS, so the scheme is https."""
    sockname = None
    max_field_size = max_headers = 8190

    def __init__(self, stream_id: int, frames: Frames, peer: tuple[Any, ...] | None, has_body: bool) -> None:
        self.id = stream_id
        self.peername = peer
        self.body: StreamReader = EMPTY_PAYLOAD
        if has_body:
            self.body = StreamReader(cast(Any, self), READ_AHEAD, loop=asyncio.get_running_loop())
        self.transport: Stream | None = self
        """What is written to; None once the client has left, or its answer is over."""
        self.writing_paused = False
        self.finished = False
        """The answer is whole, and was said to be."""
        self.is_cut = False
        """The answer broke off."""
        self._frames = frames
        self._room = asyncio.Event()
        self._room.set()
        self._task: asyncio.Task[None] | None = None

    def serve(self, application: Application, message: RawRequestMessage, refusal: ProxyError | None) -> None:
        """Have the request answered: with *refusal*, where there is one."""
        self._task = tasks.start(self._serve(application, message, refusal), f"stream {self.id}")
        # Also of a task that is cancelled before it has begun.
        self._task.add_done_callback(self._served)

    async def _serve(self, application: Application, message: RawRequestMessage, refusal: ProxyError | None) -> None:
        request = application.factory(message, self.body, self, StreamWriter(self), self._task)
        try:
            if refusal is not None:
                response = application.refuse(request, refusal)
            else:
                try:
                    response = await application.handler(request)
                except web.HTTPException as theirs:
                    response = theirs
            await response.prepare(request)
            await response.write_eof()
        except ConnectionError:
            # The client has left, which those who were to know have been told.
            pass
        except Exception as fault:
            _log.error("unhandled error: %s", type(fault).__name__, exc_info=fault)

    def _served(self, task: asyncio.Task[None]) -> None:
        self._task = None
        self._frames.ended(self)

    @property
    def is_served(self) -> bool:
        """Its handler has come to its end."""
        return self._task is None

    def feed(self, data: bytes, ended: bool) -> None:
        """More of the request's body has come."""
        if data and not self.body.is_eof():
            self.body.feed_data(data)
        if ended and not self.body.is_eof():
            self.body.feed_eof()

    def leave(self) -> None:
        """The client has left."""
        self.close()
        if not self.body.is_eof():
            self.body.set_exception(ClientConnectionResetError("the client has left"))
        self._room.set()
        if self._task is not None:
            self._task.cancel()

    # What an answer writes.

    def head(self, fields: list[Header], ended: bool) -> None:
        """Send a head; *ended*: no body follows."""
        if self.transport is not None:
            self.finished = ended
            self._frames.send_head(self.id, fields, ended)

    def write(self, data: bytes) -> None:
        """Send more of the body."""
        if self.transport is not None:
            self._frames.send_body(self.id, data, False)
            self._look_for_room()

    def last(self, data: bytes) -> None:
        """Send the end of the body, and say that it is whole."""
        if self.transport is not None and not self.finished:
            self.finished = True
            self._frames.send_body(self.id, data, True)
            self._look_for_room()

    def cut(self) -> None:
        """End the stream without that, once all that was written has arrived."""
        self.is_cut = True
        self.close()

    def close(self) -> None:
        """Send no more."""
        self.transport = None

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Nothing: what is asked of a socket cannot be asked of a stream."""
        return default

    # How fast the client reads.

    def _look_for_room(self) -> None:
        if self._frames.untaken(self.id) > MOST_UNTAKEN:
            self.writing_paused = True
            self._room.clear()

    def acknowledged(self) -> None:
        """The client may have taken more of the answer."""
        if self.writing_paused and self._frames.untaken(self.id) <= FEW_UNTAKEN:
            self.writing_paused = False
            self._room.set()

    async def drain(self) -> None:
        """Wait until the client has taken enough. `ConnectionError` when it has left."""
        await self._room.wait()
        if self.transport is None and not self.finished and not self.is_cut:
            raise ClientConnectionResetError("the client has left")

    def let_go(self) -> None:
        """Nothing is read or written any more. What leads in circles stays in memory until it is searched for."""
        self.close()
        self.body = EMPTY_PAYLOAD

    # What a body asks of the connection it comes from.

    @property
    def connected(self) -> bool:
        """Whether its client is there, so that more of it may come."""
        return self.transport is not None

    def pause_reading(self) -> None:
        """The handler does not keep up."""
        self._frames.hold(self.id, True)

    def resume_reading(self, resume_parser: bool = True) -> None:
        """It does again."""
        self._frames.hold(self.id, False)
