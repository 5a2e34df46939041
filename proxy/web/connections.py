"""
The connections of all clients: made by the listening socket, counted, and closed when the process ends.
"""

import asyncio
from collections.abc import Callable

from proxy.web.connection import ClientConnection, Handler, Refuse

RESERVED_FILES = 64
"""Descriptors kept for logs, probes, listening sockets and operators."""


class ClientConnections:
    """What a listening socket makes its connections with, and all it has made."""

    def __init__(
        self, handler: Handler, refuse: Refuse, *, read_timeout: float, write_timeout: float, max_header_bytes: int
    ) -> None:
        """
        *handler* answers a request, and is cancelled when its client leaves; *refuse* answers what never became one.
        Timeouts in seconds: for a request's head, and for a client that accepts no byte.
        """
        self.handler = handler
        self.refuse = refuse
        self.read_timeout = read_timeout
        self.write_timeout = write_timeout
        self.max_header_bytes = max_header_bytes
        self.on_closed: Callable[[float], object] | None = None
        """Told of each connection's end, with the seconds it was open."""
        self._loop = asyncio.get_running_loop()
        self._open: set[ClientConnection] = set()
        self._aborted = False
        self._all_closed = asyncio.Event()
        self._all_closed.set()

    def __call__(self) -> ClientConnection:
        return ClientConnection(self, self._loop)

    def made(self, connection: ClientConnection) -> None:
        """It is open now."""
        if self._aborted and connection.transport is not None:
            # It was being accepted when all others were closed.
            connection.transport.abort()
        self._open.add(connection)
        self._all_closed.clear()

    def lost(self, connection: ClientConnection) -> None:
        """It is closed now."""
        self._open.discard(connection)
        if self.on_closed is not None:
            self.on_closed(self._loop.time() - connection.opened)
        if not self._open:
            self._all_closed.set()

    @property
    def open(self) -> int:
        """Connections of clients."""
        return len(self._open)

    @property
    def unasked(self) -> bool:
        """Somebody has connected and not yet sent a whole request."""
        return any(connection.never_asked for connection in self._open)

    def close_idle(self) -> None:
        """Close the connections on which no request is under way; the others close after their answer."""
        for connection in list(self._open):
            if connection.idle:
                connection.force_close()

    async def close_all(self) -> None:
        """Close every connection, none of which has a request under way, and wait until their last bytes have left."""
        for connection in list(self._open):
            connection.close()
        await self._all_closed.wait()

    async def abort(self) -> None:
        """Close every connection at once, with whatever goes on on it."""
        self._aborted = True
        await asyncio.gather(*(connection.abort() for connection in list(self._open)))
        await self._all_closed.wait()


def affordable_requests() -> int:
    """How many calls the file descriptors allow: each takes a client's and a provider's connection."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return 10_000
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, (min(allowed, 1_000_000) - RESERVED_FILES) // 2)
