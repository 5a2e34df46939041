"""
The event loop of a process that serves: uvloop's.

uvloop closes a connection's descriptor itself. One that is lost while it is being made, as when a provider resets it
before TLS has begun, leaves its number behind in the Python socket (uvloop 0.23, `create_connection`: the socket is
attached to the transport after that has closed), and when that socket is collected the number is closed once more.
By then it is another connection's: that one hangs, and the next to get the number is refused as `used by transport`.
"""

from typing import Any

import uvloop


class Loop(uvloop.Loop):
    """uvloop's, with connections that close their descriptor once."""

    async def create_connection(self, *args: Any, sock: Any = None, **options: Any) -> Any:
        """As asyncio's; *sock* is the transport's from here on, whatever comes of it."""
        try:
            return await super().create_connection(*args, sock=sock, **options)
        finally:
            if sock is not None:
                sock.detach()
