"""
The file that remembers the size of the queue from one run to the next.

It is replaced as a whole, so a reader finds the old or the new one; a file that cannot be read or written is logged
and counted, and holds no call up. What is in the queue is not kept.
"""

import asyncio
import contextlib
import logging
import os
from pathlib import Path

import orjson

from proxy.core import clock, tasks
from proxy.limits.queue import Queue

FILE_MODE, DIRECTORY_MODE = 0o644, 0o755
MAX_BYTES = 64 * 1024
"""A longer file is not one of ours."""

_log = logging.getLogger("hapax")


class QueueFile:
    """Keeps the size of one queue in one file."""

    def __init__(self, path: str, interval: float) -> None:
        """*path*: `queue.state_path`. *interval*: seconds between two saves."""
        self._path = Path(path)
        self._interval = interval
        self._asked = asyncio.Event()
        self._stopping = False
        self._tasks = tasks.Tasks()
        self._failing = False
        self.load_failures = 0
        """Times a file was there and could not be used."""
        self.save_failures = 0
        """Saves that failed."""

    def restore(self) -> int | None:
        """The size that was saved, for use instead of the configured one; None when there is none to be had."""
        try:
            with self._path.open("rb") as file:
                size = orjson.loads(file.read(MAX_BYTES))["max_size"]
            if not isinstance(size, int) or isinstance(size, bool) or size < 1:
                raise ValueError("max_size is not a whole number above 0")
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            self.load_failures += 1
            _log.warning(
                "queue.state_path: the file cannot be used, so queue.initial_size applies; the next save replaces it",
                extra={"fields": {"path": str(self._path), "reason": _reason(error)}},
            )
            return None
        return size

    def start(self, queue: Queue) -> None:
        """Save *queue* every interval from now on."""
        self._tasks.start(self._run(queue), "saves of the queue's size")

    def save_soon(self) -> None:
        """The size has changed: do not wait for the interval."""
        self._asked.set()

    async def stop(self) -> None:
        """Save once more, and end."""
        self._stopping = True
        self._asked.set()
        await self._tasks.finish()

    async def _run(self, queue: Queue) -> None:
        # The one place that writes: two saves at once would share a temporary file.
        last = False
        while not last:
            await tasks.happens(self._asked, self._interval)
            self._asked.clear()
            last = self._stopping
            await self._save(queue)

    async def _save(self, queue: Queue) -> None:
        state = {"max_size": queue.size, "queue_length": queue.waiting, "last_saved": clock.iso(clock.wall())}
        try:
            await asyncio.to_thread(_replace, self._path, orjson.dumps(state))
        except OSError as error:
            self.save_failures += 1
            if not self._failing:
                self._failing = True
                _log.error(
                    "queue.state_path: the size of the queue cannot be saved; trying on",
                    extra={"fields": {"path": str(self._path), "reason": _reason(error)}},
                )
        else:
            if self._failing:
                self._failing = False
                _log.info("queue.state_path: the size of the queue is saved again")


def _replace(path: Path, data: bytes) -> None:
    """Put *data* at *path* in one step; raises `OSError`."""
    _make(path.parent)
    # Workers share the file, so each writes beside it under a name of its own, the same one after a crash.
    beside = path.parent / f".{path.name}.{os.getpid()}.tmp"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with open(os.open(beside, flags, FILE_MODE), "wb") as file:
            os.fchmod(file.fileno(), FILE_MODE)
            file.write(data)
            file.flush()
            # Without it a power cut may leave the new name with nothing in it.
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise


def _make(directory: Path) -> None:
    """The directory and those above it, each with the mode the umask leaves of 0755."""
    if not directory.is_dir():
        _make(directory.parent)
        directory.mkdir(DIRECTORY_MODE, exist_ok=True)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return "it is not the JSON object that was saved"
