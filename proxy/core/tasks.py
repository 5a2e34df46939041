"""
Tasks that cannot vanish, and waiting for what a task waits for: a moment, or an event.

The event loop keeps only a weak reference to a task, so that one is held here until it ends. This file starts none by
itself and does not supervise.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_held: set[asyncio.Task[Any]] = set()


def start(work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
    """Run *work* as a task called *name*, held until it is done."""
    task = asyncio.get_running_loop().create_task(work, name=name)
    _held.add(task)
    task.add_done_callback(_held.discard)
    return task


class Tasks:
    """The tasks that one owner has under way: none before it starts, none once it has stopped."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._running)

    def start(self, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """Run *work* as a task called *name*."""
        task: asyncio.Task[T] = start(work, name)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def finish(self, within: float | None = None) -> bool:
        """Let them end by themselves in *within* seconds, None: in whatever time; then as `stop`."""
        if not self._running:
            return False
        await asyncio.wait(self._running, timeout=within)
        await self.stop()
        return True

    def cancel(self) -> None:
        """Have all of them end, and do not wait until they have."""
        for task in self._running:
            task.cancel()

    async def stop(self) -> bool:
        """Cancel them and wait until all are gone; False where none was under way."""
        any_running = bool(self._running)
        while self._running:
            self.cancel()
            await asyncio.wait(self._running)
        return any_running


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
