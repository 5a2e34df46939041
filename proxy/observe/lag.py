"""
How late the event loop is: what every stream on it waits for.

A task that measures its own delay, twice a second. It judges nothing.
"""

import asyncio
import math
from collections import deque

from proxy.core import clock, tasks

INTERVAL = 0.5
"""Seconds between two looks."""
REMEMBERED = 120
"""Looks of a minute."""


class LoopLag:
    """The lateness of the loop that started it."""

    def __init__(self) -> None:
        self._looks: deque[float] = deque([0.0], maxlen=REMEMBERED)
        self._due = math.inf
        """When the next look is due."""
        self._tasks = tasks.Tasks()

    @property
    def last(self) -> float:
        """Seconds the last look was late."""
        return self._looks[-1]

    @property
    def worst(self) -> float:
        """Seconds the latest look of the last minute was late, the one that is due now included."""
        return max(*self._looks, clock.now() - self._due)

    def start(self) -> None:
        """Begin to look."""
        self._due = clock.now() + INTERVAL
        self._tasks.start(self._look_on(), "lateness of the loop")

    async def stop(self) -> None:
        """Look no more."""
        await self._tasks.stop()
        self._due = math.inf

    async def _look_on(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL)
            self._looks.append(max(0.0, clock.now() - self._due))
            self._due = clock.now() + INTERVAL
