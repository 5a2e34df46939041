"""
The one timer of an attempt. It holds what it calls no longer than until it is stopped or has called it.
"""

import asyncio
from collections.abc import Callable


class Timer:
    """A timer of the loop that is set again and again."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._handle: asyncio.TimerHandle | None = None

    def set(self, seconds: float, call: Callable[[], object]) -> None:
        """Call *call* in so many *seconds*, and nothing else."""
        self.stop()
        self._handle = self._loop.call_at(self._loop.time() + seconds, call)

    def stop(self) -> None:
        """Call nothing."""
        handle, self._handle = self._handle, None
        if handle is not None:
            handle.cancel()
