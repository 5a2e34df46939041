"""
Starting a task that cannot vanish, ending it, and waiting for what a task waits for: a moment, or an event.

The event loop keeps only a weak reference to a task, so that one is held here until it ends. This file starts none by
itself and does not supervise.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

_held: set[asyncio.Task[Any]] = set()


def start(work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
    """Run *work* as a task called *name*, held until it is done."""
    task = asyncio.get_running_loop().create_task(work, name=name)
    _held.add(task)
    task.add_done_callback(_held.discard)
    return task


async def end(*running: asyncio.Task[Any] | None) -> None:
    """Cancel tasks and return when they are over; None stands for one that was not started."""
    ending = [task for task in running if task is not None]
    for task in ending:
        task.cancel()
    if ending:
        await asyncio.wait(ending)


async def every(seconds: float, act: Callable[[], Awaitable[object]]) -> None:
    """*act* again and again, so many seconds after the last time, until this is cancelled."""
    while True:
        await asyncio.sleep(seconds)
        await act()


async def happens(event: asyncio.Event, within: float) -> bool:
    """Wait until *event* is set, *within* so many seconds; whether it was."""
    try:
        async with asyncio.timeout(within):
            return await event.wait()
    except TimeoutError:
        return False
