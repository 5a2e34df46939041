"""
The streams with bytes that wait for their client: one that takes none for too long is given up.

A client that reads slowly takes some now and then, and is no such.
"""

import asyncio
from collections.abc import Callable

from proxy.http3.quic import Quic

LOOKS = 10
"""How often within the write timeout a stream is looked at."""


class Stalls:
    """Those of one connection."""

    def __init__(self, quic: Quic, seconds: float, give_up: Callable[[int], None]) -> None:
        """*give_up* is told of a stream of which nothing was taken for *seconds*."""
        self._quic = quic
        self._seconds = seconds
        self._give_up = give_up
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: dict[int, tuple[int, float]] = {}
        """How many bytes had been taken, and when some were last."""

    def watch(self, stream_id: int) -> None:
        """Bytes of it wait."""
        self._waiting.setdefault(stream_id, (self._quic.taken(stream_id), self._loop.time()))
        if self._timer is None:
            self._timer = self._loop.call_later(self._seconds / LOOKS, self._look)

    def stop(self) -> None:
        """Watch none."""
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        now = self._loop.time()
        for stream_id, (before, since) in list(self._waiting.items()):
            taken = self._quic.taken(stream_id)
            if not self._quic.untaken(stream_id):
                del self._waiting[stream_id]
            elif taken > before:
                self._waiting[stream_id] = taken, now
            elif now - since >= self._seconds * (1 - 0.1 / LOOKS):
                del self._waiting[stream_id]
                self._give_up(stream_id)
        if self._waiting:
            self._timer = self._loop.call_later(self._seconds / LOOKS, self._look)
