"""
The memory that bodies of calls under way take together: what does not fit waits for its turn, for a while.

It counts bytes and holds none of them.
"""

import asyncio
from collections import deque


class Buffered:
    """The bytes there are, and those that wait to be some of them."""

    def __init__(self, most: int) -> None:
        """*most*: bytes of all bodies together. One that is larger than that passes when it is alone."""
        self.most = most
        """Of all bodies together; a change holds for those that come."""
        self.taken = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def take(self, size: int, patience: float) -> None:
        """Count *size* bytes more; `TimeoutError` where there is no room for them within *patience* seconds."""
        if not self._waiting and self._fits(size):
            self.taken += size
            return
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = (size, granted)
        self._waiting.append(waiting)
        try:
            async with asyncio.timeout(patience):
                await granted
        except BaseException:
            if granted.done() and not granted.cancelled():
                # It was its turn just now.
                self.give(size)
            else:
                self._waiting.remove(waiting)
                self._grant()
            raise

    def give(self, size: int) -> None:
        """*size* bytes are not held any more."""
        self.taken -= size
        self._grant()

    def _fits(self, size: int) -> bool:
        return not self.taken or self.taken + size <= self.most

    def _grant(self) -> None:
        while self._waiting and self._fits(self._waiting[0][0]):
            size, granted = self._waiting.popleft()
            self.taken += size
            granted.set_result(None)
