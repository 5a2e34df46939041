"""
One side of a WebSocket session: its messages, and how it ended.

It reads and closes; what passes from one side to the other is decided in `session`.
"""

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import aiohttp


class Socket(Protocol):
    """Either side of a session, as aiohttp has them."""

    async def receive(self) -> "aiohttp.WSMessage":
        """The next message."""

    async def send_str(self, data: str) -> None:
        """Send a text."""

    async def send_bytes(self, data: bytes) -> None:
        """Send bytes."""

    async def close(self, *, code: int = 1000) -> bool:
        """End it."""


class Side:
    """One side's messages, and how it ended."""

    def __init__(self, socket: Socket) -> None:
        self.socket = socket
        self.over = False
        self.code: int | None = None
        """The code it was closed with; None while it was not, and for a connection that was lost."""

    async def next(self) -> tuple[bool, bytes] | None:
        """The next message: whether it is text, and its bytes; None when this side has ended."""
        import aiohttp

        message = await self.socket.receive()
        if message.type is aiohttp.WSMsgType.TEXT:
            return True, message.data.encode()
        if message.type is aiohttp.WSMsgType.BINARY:
            return False, message.data
        self.over = True
        if message.type is aiohttp.WSMsgType.CLOSE:
            self.code = int(message.data)
        return None


async def close(side: Socket, code: int | None) -> None:
    """End *side* with *code*; with 1000 where none may be sent."""
    # Codes that only stand for what did not come may not be sent (RFC 6455 section 7.4.1).
    await side.close(code=1000 if code in (None, 0, 1004, 1005, 1006, 1015) else code)
