"""What the tests that count milliseconds share: how late this event loop is, and how something comes true."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from proxy.core import tasks

from .wire import PATIENCE


@dataclass(slots=True)
class Lag:
    """How late the loop was at worst: what a loaded machine adds to every measurement."""

    worst: float = 0.0


@asynccontextmanager
async def lag_watched() -> AsyncIterator[Lag]:
    """Measures while it is open."""
    lag = Lag()

    async def watch() -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + 0.005
            await asyncio.sleep(0.005)
            lag.worst = max(lag.worst, loop.time() - due)

    watching = tasks.start(watch(), "watch on the loop")
    try:
        yield lag
    finally:
        watching.cancel()


async def until(true: Callable[[], object]) -> None:
    """Turn the loop until something is so that no event announces."""
    async with asyncio.timeout(PATIENCE):
        while not true():  # noqa: ASYNC110 - no task sets an event for it
            await asyncio.sleep(0.0005)
