"""
A pseudo-terminal with a program at it: a test types, presses Ctrl-C, and reads what is shown.

What is shown is not interpreted: a test sees the escape sequences that a terminal would obey.
"""

import asyncio
import os
import termios
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from .built import python_path

PATIENCE = 30.0
"""Seconds after which what should have been shown long ago is taken as missing."""
INTERRUPT, END_OF_FILE = "\x03", "\x04"
"""Ctrl-C and Ctrl-D."""


def environment(**more: str) -> dict[str, str]:
    """The variables of a program that is to know nothing of this machine's settings and keys."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return {**kept, "PYTHONPATH": python_path(), "LANG": "C.UTF-8", "TERM": "xterm", **more}


class Terminal:
    """What one program shows."""

    def __init__(self, process: asyncio.subprocess.Process, descriptor: int) -> None:
        self.shown = ""
        """All of it so far."""
        self.process = process
        self._descriptor = descriptor
        self._seen = 0
        self._more = asyncio.Event()
        self._open = True
        os.set_blocking(descriptor, False)
        asyncio.get_running_loop().add_reader(descriptor, self._read)

    def types(self, text: str) -> None:
        """Type *text*; a line ends with `\\r`, as the Enter key says it."""
        os.write(self._descriptor, text.encode())

    async def shows(self, text: str) -> str:
        """Wait until *text* is shown, after what was waited for before; what was shown up to its end."""
        try:
            async with asyncio.timeout(PATIENCE):
                while (at := self.shown.find(text, self._seen)) < 0:
                    assert self._open, f"the program has ended, and never showed {text!r}: {self.shown!r}"
                    self._more.clear()
                    await self._more.wait()
        except TimeoutError:
            raise AssertionError(f"{text!r} is not shown: {self.shown!r}") from None
        start, self._seen = self._seen, at + len(text)
        return self.shown[start : self._seen]

    async def ended(self) -> int:
        """Wait for the program's end; its exit code. All that it showed can be read then."""
        async with asyncio.timeout(PATIENCE):
            while self._open:
                self._more.clear()
                await self._more.wait()
            return await self.process.wait()

    async def interrupts(self, comes: Callable[[], Awaitable[object]]) -> None:
        """
        Press Ctrl-C at a prompt of Python's `input`, until what it does *comes*. One that is pressed between the prompt
        and the wait for a line is noticed with the next one only; both together are one then.
        """
        while True:
            self.types(INTERRUPT)
            with suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE / 5):
                    await comes()
                    return

    def leave(self) -> None:
        """Look no more."""
        if self._open:
            self._open = False
            asyncio.get_running_loop().remove_reader(self._descriptor)
        os.close(self._descriptor)

    def _read(self) -> None:
        try:
            more = os.read(self._descriptor, 65536)
        except OSError:
            # The other side is closed: Linux says EIO.
            more = b""
        if more:
            self.shown += more.decode("utf-8", "replace")
        else:
            self._open = False
            asyncio.get_running_loop().remove_reader(self._descriptor)
        self._more.set()


@asynccontextmanager
async def terminal(*command: str, cwd: Path, env: Mapping[str, str], columns: int = 120) -> AsyncIterator[Terminal]:
    """A terminal so many letters wide with *command* at it; killed in the end unless it has ended."""
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (40, columns))
    process = await asyncio.create_subprocess_exec(
        # A session of its own, whose terminal this is: only so does Ctrl-C reach the program.
        *("setsid", "--ctty", *command),
        cwd=cwd,
        env=dict(env),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = Terminal(process, ours)
    try:
        yield shown
    finally:
        if process.returncode is None:
            process.kill()
        shown.leave()
        await process.wait()
