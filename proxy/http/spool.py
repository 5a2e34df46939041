"""
A body that is kept until it is known where it goes: in memory as far as it is small, then in a temporary file.

The file has no name, so that it is gone with its last user, however that ends. Nothing here makes the event loop wait
for a disk. It knows no forms.
"""

import asyncio
import logging
import os
import tempfile
import threading
from typing import BinaryIO

from proxy.core.errors import ProxyError

_log = logging.getLogger("hapax")

IN_MEMORY = 1024 * 1024
"""Bytes that are kept in memory."""
AT_ONCE = 256 * 1024
"""Bytes that are written together."""


class Spool:
    """The beginning of one body."""

    def __init__(self, most: int, folder: str) -> None:
        """*most*: bytes in all. *folder*: where the file lies; empty: where the system keeps its temporary ones."""
        self.size = 0
        self._most = most
        self._folder = folder
        self._waiting: list[bytes] = []
        self._waiting_size = 0
        self._file: BinaryIO | None = None
        self._closed = threading.Event()
        # Threads read and write; whichever comes last must find the file open or know that it is not.
        self._lock = threading.Lock()

    async def add(self, piece: bytes) -> None:
        """Keep *piece* as well; `ProxyError` 413 when that is too much, 503 when the disk takes no more."""
        self.size += len(piece)
        if self.size > self._most:
            raise ProxyError(
                "request_too_large",
                f"The form does not say its model within {self._most} bytes; send 'model' before the file.",
                param="model",
                close=True,
            )
        self._waiting.append(piece)
        self._waiting_size += len(piece)
        if self._waiting_size > (IN_MEMORY if self._file is None else AT_ONCE):
            await self._write()

    async def whole(self) -> bytes | None:
        """What was kept, if it is in memory; None when it is in the file, all of it."""
        if self._file is None:
            waiting, self._waiting = self._waiting, []
            return b"".join(waiting)
        if self._waiting:
            await self._write()
        return None

    async def read(self, at: int, size: int) -> bytes:
        """At most *size* bytes of the file from *at* on; `ConnectionError` when it has been closed."""
        return await asyncio.to_thread(self._read_now, at, size)

    def close(self) -> None:
        """Nothing of it is needed any more."""
        self._closed.set()
        self._waiting = []
        if self._file is not None:
            try:
                # To give a large file back takes a while.
                asyncio.get_running_loop().run_in_executor(None, self._close_now)
            except RuntimeError:
                self._close_now()

    async def _write(self) -> None:
        waiting, self._waiting, self._waiting_size = self._waiting, [], 0
        try:
            await asyncio.to_thread(self._write_now, waiting)
        except OSError as error:
            _log.error("an upload cannot be kept until its model comes: %s", error.strerror or type(error).__name__)
            raise ProxyError(
                "overloaded",
                "The gateway has no room to keep a form until its model comes; send 'model' before the file.",
                headers=(("Retry-After", "10"),),
                close=True,
            ) from None

    # In a thread.

    def _write_now(self, pieces: list[bytes]) -> None:
        with self._lock:
            if self._closed.is_set():
                return
            if self._file is None:
                # Closed when the call ends, not here.
                self._file = tempfile.TemporaryFile(buffering=0, dir=self._folder or None)  # noqa: SIM115 - closed by `close`
            for piece in pieces:
                rest = memoryview(piece)
                while rest and not self._closed.is_set():
                    rest = rest[os.write(self._file.fileno(), rest) :]
            if self._closed.is_set():
                # The call ended meanwhile, perhaps before there was a file.
                self._file.close()
                self._file = None

    def _read_now(self, at: int, size: int) -> bytes:
        with self._lock:
            if self._file is None or self._closed.is_set():
                raise ConnectionResetError
            return os.pread(self._file.fileno(), size, at)

    def _close_now(self) -> None:
        with self._lock:
            file, self._file = self._file, None
            if file is not None:
                file.close()
