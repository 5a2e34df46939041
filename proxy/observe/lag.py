"""
How late the event loop is: what every stream on it waits for.

A timer that measures its own delay, twice a second. It judges nothing.
"""

import asyncio
from collections import deque

from proxy.core import clock

INTERVAL = 0.5
"""Seconds between two looks."""
REMEMBERED = 120
"""Looks of a minute."""


class LoopLag:
    """The lateness of the loop that started it."""

    def __init__(self) -> None:
        self._looks: deque[float] = deque([0.0], maxlen=REMEMBERED)
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def last(self) -> float:
        """Seconds the last look was late."""
        return self._looks[-1]

    @property
    def worst(self) -> float:
        """Seconds the latest look of the last minute was late, the one that is due now included."""
        overdue = clock.now() - self._due if self._timer is not None else 0.0
        return max(*self._looks, overdue)

    def start(self) -> None:
        """Begin to look."""
        self._due = clock.now() + INTERVAL
        self._timer = asyncio.get_running_loop().call_later(INTERVAL, self._look)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._looks.append(max(0.0, clock.now() - self._due))
        self.start()
