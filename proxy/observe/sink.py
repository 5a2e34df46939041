"""
Where lines go: a stream or a file, written by a thread of its own so that a slow disk or a full pipe holds up no call.

What does not fit into the buffer is dropped and counted. Several processes may write to the same place. It knows no
formats.
"""

import fcntl
import os
import select
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from proxy.core import clock

CAPACITY = 4 * 1024 * 1024
"""Bytes that may wait: some seconds of lines at full load."""
GATHER = 0.05
"""Seconds a line waits for others at most: how much later than the client an operator knows."""
STOP_WITHIN = 2.0
"""Seconds that the last lines are waited for."""
LOOK = 1.0
"""Seconds between two looks whether another program moved the file away."""


class File:
    """A file that is rotated when it grows too large, and opened anew when it was moved away."""

    def __init__(self, path: Path, max_bytes: int, backup_count: int) -> None:
        """*backup_count* older ones are kept, as `path.1` and so on. `OSError` when it cannot be opened."""
        self._path = path
        self._max_bytes = max_bytes
        self._backup_count = backup_count
        self._looked_at = clock.now()
        self._size = 0
        self._open()

    def write(self, data: bytes) -> None:
        """Append whole lines."""
        if self._size and self._size + len(data) > self._max_bytes:
            with _alone_in(self._path.parent):
                # Another process may have done it while we waited.
                if self._moved():
                    self.reopen()
                else:
                    self._rotate()
        elif clock.now() > self._looked_at + LOOK and self._moved():
            self.reopen()
        _write_all(self._descriptor, data)
        # Not what we added to it: others may have added as well.
        self._size = os.lseek(self._descriptor, 0, os.SEEK_CUR)

    def reopen(self) -> None:
        """Go on in the file that has the name now."""
        before = self._descriptor
        self._open()
        os.close(before)

    def close(self) -> None:
        """Write no more."""
        os.close(self._descriptor)

    def ready(self) -> bool:
        """Whether it takes a line without waiting: a file does."""
        return True

    def _open(self) -> None:
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        status = os.fstat(self._descriptor)
        self._size, self._inode = status.st_size, status.st_ino

    def _moved(self) -> bool:
        self._looked_at = clock.now()
        try:
            return os.stat(self._path).st_ino != self._inode
        except OSError:
            return True

    def _rotate(self) -> None:
        before = self._descriptor
        for number in range(self._backup_count, 0, -1):
            older = self._path.with_name(f"{self._path.name}.{number}")
            newer = self._path if number == 1 else self._path.with_name(f"{self._path.name}.{number - 1}")
            with suppress(FileNotFoundError):
                newer.replace(older)
        if not self._backup_count:
            self._path.unlink(missing_ok=True)
        self._open()
        # Only now: where a step fails, the number must not be that of another open file.
        os.close(before)


class Stream:
    """Standard output or standard error, which this process did not open."""

    def __init__(self, descriptor: int, shared: bool = False) -> None:
        """*shared*: other processes write there too, and no line of theirs may come into the middle of one of ours."""
        self._descriptor = descriptor
        self._shared = shared

    def write(self, data: bytes) -> None:
        """Append whole lines; waits while its reader does not read."""
        for part in _undivided(data) if self._shared else (data,):
            _write_all(self._descriptor, part)

    def ready(self) -> bool:
        """Whether it takes a line without waiting."""
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        return bool(poll.poll(0))

    def reopen(self) -> None:
        """It has no name to be found under."""

    def close(self) -> None:
        """It is not ours to close."""


class Sink:
    """Takes lines without waiting, and hands them to its thread, those of `GATHER` seconds together."""

    def __init__(self, target: File | Stream) -> None:
        self._target = target
        self._waiting: list[bytes] = []
        self._lines = 0
        self._size = 0
        """Bytes that wait or are being written."""
        self._reopening = False
        self._lock = threading.Lock()
        self._wanted = threading.Event()
        """Something waits."""
        self._stopping = threading.Event()
        self.dropped_total = 0
        """Lines there was no room for, or the target did not take."""
        # A daemon: a pipe that is not read must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="log sink", daemon=True)
        self._thread.start()

    def put(self, data: bytes, lines: int = 1) -> None:
        """Write *data*, which is so many whole lines, soon."""
        with self._lock:
            if self._size + len(data) > CAPACITY:
                self.dropped_total += lines
                return
            self._size += len(data)
            self._lines += lines
            self._waiting.append(data)
            first = len(self._waiting) == 1
        if first:
            self._wanted.set()

    def reopen(self) -> None:
        """Open the file by its name again, after what waits."""
        self._reopening = True
        self._wanted.set()

    def stop(self) -> None:
        """Write what waits, within `STOP_WITHIN` seconds, and close."""
        self.retire()
        self._thread.join(STOP_WITHIN)

    def retire(self) -> None:
        """Write what waits, and close, without being waited for."""
        self._stopping.set()
        self._wanted.set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wanted.wait()
            # Each time the thread runs it stands in the event loop's way, so that it runs seldom.
            self._stopping.wait(GATHER)
            self._wanted.clear()
            self._write()
        self._write()
        with suppress(OSError):
            self._target.close()

    def _write(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, []
            lines, self._lines = self._lines, 0
        data = b"".join(waiting)
        lost = 0
        try:
            if data:
                self._target.write(data)
        except OSError:
            # A full disk, or a pipe whose reader is gone. There is nowhere left to say so but the counter.
            lost = lines
        with self._lock:
            self._size -= len(data)
            self.dropped_total += lost
        if self._reopening:
            self._reopening = False
            with suppress(OSError):
                self._target.reopen()


class DirectSink:
    """Writes lines at once, for a process without threads and with few lines; what would have to wait is dropped."""

    def __init__(self, target: File | Stream) -> None:
        self._target = target
        self.dropped_total = 0
        """Lines the target did not take."""

    def put(self, data: bytes, lines: int = 1) -> None:
        """Write *data*, which is so many whole lines."""
        try:
            if self._target.ready():
                self._target.write(data)
                return
        except OSError:
            pass
        self.dropped_total += lines

    def reopen(self) -> None:
        """Open the file by its name again."""
        with suppress(OSError):
            self._target.reopen()

    def stop(self) -> None:
        """Close."""
        with suppress(OSError):
            self._target.close()

    def retire(self) -> None:
        """The same: nothing waits here."""
        self.stop()


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """While no other process is so in *folder*."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _undivided(data: bytes) -> Iterator[bytes]:
    """
    *data* in parts of whole lines that a pipe takes as a whole or not yet (pipe(7)); a longer line is one by itself.
    """
    start = 0
    while len(data) - start > select.PIPE_BUF:
        end = data.rfind(b"\n", start, start + select.PIPE_BUF) + 1 or data.find(b"\n", start) + 1 or len(data)
        yield data[start:end]
        start = end
    yield data[start:]


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
