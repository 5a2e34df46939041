"""
Starting a task that cannot vanish: it has a name, and a reference to it is held until it ends.

The event loop keeps only a weak reference to a task. This file starts none by itself and does not supervise.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

_held: set[asyncio.Task[Any]] = set()


def start(work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
    """Run *work* as a task called *name*, held until it is done."""
    task = asyncio.get_running_loop().create_task(work, name=name)
    _held.add(task)
    task.add_done_callback(_held.discard)
    return task
