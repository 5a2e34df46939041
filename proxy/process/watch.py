"""
A watch over the files of the configuration: it tells that something may have changed, however a file was replaced.

The folders are watched, not the files: one that is renamed over, or reached by a link that is turned (as Kubernetes
turns `..data` below a ConfigMap), is another file under the same name. Where the system tells nothing, as on network
file systems, a look every `LOOK` seconds finds it. What has changed, and what follows, is its owner's to say.
"""

import asyncio
import logging
import os
import threading
from collections.abc import Awaitable, Callable, Iterable

import watchfiles

_log = logging.getLogger("hapax")

SETTLED = 0.1
"""Seconds without another change after which a change is told: a file is written in several steps."""
LATEST = 1.0
"""Seconds after which it is told at the latest."""
LOOK = 5.0
"""Seconds between two looks at files whose changes the system does not tell of."""


async def watch(files: Callable[[], Iterable[str]], changed: Callable[[], Awaitable[object]]) -> None:
    """Call *changed* when one of *files*, asked for each time, may have changed, and every `LOOK` seconds, for ever."""
    while True:
        try:
            await _watch(files, changed)
        except Exception as error:
            # A folder that has gone, or no more watches to be had (fs.inotify.max_user_watches).
            _log.debug("the configuration is looked at every %g s: %s", LOOK, type(error).__name__)
            await asyncio.sleep(LOOK)
            await changed()


async def _watch(files: Callable[[], Iterable[str]], changed: Callable[[], Awaitable[object]]) -> None:
    """The same until other folders are to be watched."""
    # Links are followed anew: what they led to may have been replaced together with them.
    watched = folders(files())
    stopping = threading.Event()
    # In a thread of ours: the library's own way into asyncio takes longer to load than a call may wait.
    changes = watchfiles.watch(
        *watched,
        watch_filter=None,
        debounce=int(LATEST * 1000),
        step=int(SETTLED * 1000),
        stop_event=stopping,
        rust_timeout=int(LOOK * 1000),
        yield_on_timeout=True,
        recursive=False,
        ignore_permission_denied=True,
    )
    try:
        # What changed before the watch began.
        await changed()
        while await asyncio.to_thread(next, changes, None) is not None:
            await changed()
            if folders(files()) != watched:
                return
    finally:
        stopping.set()


def folders(files: Iterable[str]) -> list[str]:
    """Where a change of *files* shows: their folders, those of all links on the way, what is left of missing ones."""
    found: dict[str, None] = {}
    for file in files:
        seen: set[str] = set()
        path = os.path.abspath(file)
        while path not in seen:
            seen.add(path)
            folder = os.path.dirname(path)
            # A link may be a folder above the file, as `..data` is.
            above = folder
            while above != os.path.dirname(above):
                if os.path.islink(above):
                    found[os.path.dirname(above)] = None
                above = os.path.dirname(above)
            while not os.path.isdir(folder):
                folder = os.path.dirname(folder)
            # By its real name: when a link leads elsewhere, that is another folder to watch.
            found[os.path.realpath(folder)] = None
            if not os.path.islink(path):
                break
            path = os.path.normpath(os.path.join(os.path.dirname(path), os.readlink(path)))
    return sorted(found)
