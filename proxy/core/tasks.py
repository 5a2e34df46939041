"""
Tasks that cannot vanish: each has a name, and a reference to it is held until it ends, which its owner can await.

The event loop keeps only a weak reference to a task. This file starts none by itself and does not supervise.
"""

import asyncio
from collections.abc import Coroutine
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

    async def stop(self) -> bool:
        """Cancel them and wait until all are gone; False where none was under way."""
        any_running = bool(self._running)
        while self._running:
            for task in self._running:
                task.cancel()
            await asyncio.wait(self._running)
        return any_running
