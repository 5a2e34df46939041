"""
The streams on which a request has begun and its head is not whole: how long they may take, and how much.

What is said to one that takes too long or too much is `connection`'s.
"""

import asyncio
from collections.abc import Callable

FRAMING = 1024
"""Bytes of a head that are neither names nor values."""


class Heads:
    """Those of one connection."""

    def __init__(self, seconds: float, most: int, late: Callable[[int], None]) -> None:
        """*late* is told of a stream whose head has not come within *seconds*; *most* bytes may have come by then."""
        self._seconds = seconds
        self._most = most + FRAMING
        self._late = late
        self._loop = asyncio.get_running_loop()
        self._awaited: dict[int, tuple[int, asyncio.TimerHandle]] = {}

    def __contains__(self, stream_id: int) -> bool:
        return stream_id in self._awaited

    def __bool__(self) -> bool:
        return bool(self._awaited)

    def expect(self, stream_id: int) -> None:
        """The first of it has come."""
        self._awaited[stream_id] = 0, self._loop.call_later(self._seconds, self._is_late, stream_id)

    def too_large(self, stream_id: int, more: int) -> bool:
        """Whether *more* bytes of it, which are not its last, are too many."""
        come, timer = self._awaited[stream_id]
        self._awaited[stream_id] = come + more, timer
        return come + more > self._most

    def forget(self, stream_id: int) -> None:
        """It is not waited for any more."""
        awaited = self._awaited.pop(stream_id, None)
        if awaited is not None:
            awaited[1].cancel()

    def stop(self) -> None:
        """Wait for none."""
        for stream_id in list(self._awaited):
            self.forget(stream_id)

    def _is_late(self, stream_id: int) -> None:
        del self._awaited[stream_id]
        self._late(stream_id)
