"""
A watch over the files of the configuration: it tells that something may have changed, however a file was replaced.

The folders are watched, not the files: one that is renamed over, or reached by a link that is turned (as Kubernetes
turns `..data` below a ConfigMap), is another file under the same name. A folder in which much else happens, such as one
with the ledger in it, would wake the process for each write: there the files themselves are watched. Where the system
tells nothing, as on network file systems, a look every `LOOK` seconds finds it. What has changed, and what follows, is
its owner's to say.
"""

import asyncio
import logging
import os
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable

import watchfiles

_log = logging.getLogger("hapax")

SETTLED = 0.1
"""Seconds without another change after which a change is told: a file is written in several steps."""
LATEST = 1.0
"""Seconds after which it is told at the latest."""
LOOK = 5.0
"""Seconds between two looks at files whose changes the system does not tell of."""
BUSY = 3
"""Times in a row that something else has changed in a folder, with less than `LOOK` seconds between, which is much."""

Names = dict[str, set[str]]
"""By folder, the names in it of which a change may be one of the configuration."""


async def watch(files: Callable[[], Iterable[str]], changed: Callable[[], Awaitable[object]]) -> None:
    """Call *changed* when one of *files*, asked for each time, may have changed, and every `LOOK` seconds, for ever."""
    busy: set[str] = set()
    while True:
        try:
            await _watch(files, changed, busy)
        except Exception as error:
            # A folder that has gone, or no more watches to be had (fs.inotify.max_user_watches).
            _log.debug("the configuration is looked at every %g s: %s", LOOK, type(error).__name__)
            await asyncio.sleep(LOOK)
            await changed()


async def _watch(files: Callable[[], Iterable[str]], changed: Callable[[], Awaitable[object]], busy: set[str]) -> None:
    """The same until something else is to be watched. Folders are added to *busy* that turn out to be."""
    # Links are followed anew: what they led to may have been replaced together with them.
    watched = names(files())
    entries = {os.path.join(folder, name) for folder in watched for name in watched[folder]}
    beside: Counter[str] = Counter()
    stopping = threading.Event()
    # In a thread of ours: the library's own way into asyncio takes longer to load than a call may wait.
    changes = watchfiles.watch(
        *paths(watched, busy),
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
        while (told := await asyncio.to_thread(next, changes, None)) is not None:
            places = {path for _, path in told}
            if told and not any(
                each in entries or each in watched or os.path.dirname(each) in entries for each in places
            ):
                beside.update({os.path.dirname(each) for each in places})
                found = {folder for folder, times in beside.items() if times >= BUSY}
                if found:
                    busy |= found
                    return
                continue
            if not told:
                beside.clear()
            await changed()
            # Where a file is watched itself, another one may be under its name now.
            if names(files()) != watched or (told and busy):
                return
    finally:
        stopping.set()


def paths(watched: Names, busy: Iterable[str]) -> list[str]:
    """What the system is asked to watch: folders, but of *busy* ones what there is of the names."""
    found = []
    for folder, among in watched.items():
        if folder in busy:
            found += [path for name in among if os.path.exists(path := os.path.join(folder, name))]
        else:
            found.append(folder)
    return sorted(found)


def names(files: Iterable[str]) -> Names:
    """Where a change of *files* shows: in their folders, and those of all links on the way; of missing ones, above."""
    found: Names = {}

    def note(path: str) -> None:
        # By its real name: when a link leads elsewhere, that is another folder to watch.
        found.setdefault(os.path.realpath(os.path.dirname(path)), set()).add(os.path.basename(path))

    for file in files:
        seen: set[str] = set()
        path = os.path.abspath(file)
        while path not in seen:
            seen.add(path)
            # A link may be a folder above the file, as `..data` is.
            above = os.path.dirname(path)
            while above != os.path.dirname(above):
                if os.path.islink(above):
                    note(above)
                above = os.path.dirname(above)
            there = path
            while not os.path.isdir(os.path.dirname(there)):
                there = os.path.dirname(there)
            note(there)
            if not os.path.islink(path):
                break
            path = os.path.normpath(os.path.join(os.path.dirname(path), os.readlink(path)))
    return found
