"""
One request on its way to a provider: on an idle connection at once, or on a new one.

A reused connection that dies before it answered a byte is the ordinary end of a keep-alive; the same request goes once
more on a fresh one and the sink is not told (RFC 9112 section 9.3.1).
"""

import asyncio
import errno
import ssl
from collections.abc import Awaitable, Callable

from proxy.core import clock, tasks
from proxy.upstream.connection import Connection
from proxy.upstream.tunnel import TunnelRefused
from proxy.upstream.wire import Loss, Sink

STALE_WITHIN = 1.0
"""Seconds after which the end of a reused connection is no coincidence: the provider had the request by then."""
_OUR_OWN = frozenset((errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM))
"""No descriptor, port or memory is left here: nothing that a provider could be blamed for."""


class HttpCall:
    """One request on its way: first connecting perhaps, then on a connection."""

    def __init__(
        self,
        open_one: Callable[[], Awaitable[Connection]],
        connecting: "set[HttpCall]",
        request: bytes,
        sink: Sink,
        complete: bool,
        body: bytes = b"",
    ) -> None:
        """*open_one* makes a connection; the call is among *connecting* meanwhile. *complete*: no body follows."""
        self._open_one = open_one
        self._all_connecting = connecting
        self._request = request
        self._body = body
        self._sink = sink
        self._complete = complete
        self._connection: Connection | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._ready: asyncio.Future[None] | None = None
        self._paused = False
        self._over = False
        self._sent_at = 0.0
        self._sent_before = False
        # What needs no mending goes straight to the owner.
        self.connected = sink.connected
        self.head = sink.head
        self.data = sink.data

    def use(self, connection: Connection) -> None:
        """Send the request on *connection*."""
        self._connection = connection
        self._sent_at = clock.now()
        connection.begin(self, self._request, self._complete, self._body)
        self.connected()
        if self._paused:
            connection.pause()

    def connect(self) -> None:
        """Send the request on a new connection, once there is one."""
        self._connecting = tasks.start(self._connect(), "upstream connect")
        self._all_connecting.add(self)

    async def _connect(self) -> None:
        try:
            connection = await self._open_one()
        except TimeoutError:
            self._fail_to_connect("upstream_connect_timeout", "connect timeout")
        except ssl.SSLError as failed:
            self._fail_to_connect("upstream_connect_error", f"TLS: {failed.reason or type(failed).__name__}")
        except TunnelRefused as refused:
            self._fail_to_connect("upstream_connect_error", f"forward proxy: {refused}")
        except OSError as error:
            code = "overloaded" if error.errno in _OUR_OWN else "upstream_connect_error"
            self._fail_to_connect(code, f"connect: {errno.errorcode.get(error.errno or 0, type(error).__name__)}")
        except UnicodeError:
            # What the resolver's encoding makes of a label that is too long.
            self._fail_to_connect("upstream_connect_error", "connect: not a host name")
        except Exception as unexpected:
            # Nothing we know of: the call is not to wait for the longest clock because of it.
            self._fail_to_connect("upstream_connect_error", f"connect: {type(unexpected).__name__}")
        else:
            self._all_connecting.discard(self)
            self._connecting = None
            if not connection.usable:
                # It greeted or left before it had been asked anything, as no HTTP server does.
                code = "upstream_protocol_error" if connection.spoke_unasked else "upstream_truncated"
                self._fail_to_connect(code, "connection ended before the request")
                return
            self.use(connection)
            if self._ready is not None and not self._ready.done():
                self._ready.set_result(None)
        finally:
            self._all_connecting.discard(self)

    def _fail_to_connect(self, code: str, reason: str) -> None:
        self._over = True
        if self._ready is not None and not self._ready.done():
            self._ready.set_result(None)
        self._sink.lost(Loss(code, reason, sent=self._sent_before, received=False))

    # The call as its owner sees it.

    def pause(self) -> None:
        self._paused = True
        if self._connection is not None:
            self._connection.pause()

    def resume(self) -> None:
        self._paused = False
        if self._connection is not None:
            self._connection.resume()

    def cancel(self) -> asyncio.Task[None] | None:
        """Give up; returns the task that was connecting, if any, for an owner who waits for it to be gone."""
        self._over = True
        connecting = self._connecting
        if connecting is not None:
            connecting.cancel()
        if self._connection is not None:
            self._connection.abandon()
            self._connection = None
        if self._ready is not None and not self._ready.done():
            self._ready.set_result(None)
        return connecting

    async def write(self, chunk: bytes) -> None:
        if self._connection is None and not self._over:
            self._ready = asyncio.get_running_loop().create_future()
            await self._ready
        if self._connection is None:
            raise ConnectionResetError
        await self._connection.write(chunk)

    def finish(self) -> None:
        if self._connection is not None:
            self._connection.finish()

    # The call as its connection's sink.

    def ended(self, delimited: bool) -> None:
        self._over = True
        self._connection = None
        self._sink.ended(delimited)

    def lost(self, loss: Loss) -> None:
        connection, self._connection = self._connection, None
        # A keep-alive that ended just as it was used again: as far as can be known, the provider never saw it.
        stale = connection is not None and connection.requests > 1 and clock.now() - self._sent_at < STALE_WITHIN
        if self._complete and stale and not loss.received:
            self._sent_before = True
            self.connect()
            return
        self._over = True
        self._sink.lost(loss)
