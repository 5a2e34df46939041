"""
A program in a terminal of its own: keys that are pressed there, what it writes, and what stands on its screen.

It reads screens as rich's Live draws them, from the upper left corner on, and emulates no more than that: what a
program writes is told as it is, with the escape sequences that a terminal would obey.
"""

import asyncio
import codecs
import os
import re
import termios
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from .built import python_path

PATIENCE = 30.0
"""Seconds after which something that should have come long ago is taken as missing."""
INTERRUPT, END_OF_FILE = "\x03", "\x04"
"""Ctrl-C and Ctrl-D."""
HOME, ALTERNATE, NORMAL = "\x1b[H", "\x1b[?1049h", "\x1b[?1049l"
HIDDEN, SHOWN = "\x1b[?25l", "\x1b[?25h"
"""The cursor (xterm's ctlseqs, DECTCEM)."""
_CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")


def environment(**more: str) -> dict[str, str]:
    """The variables of a program that is to know nothing of this machine's settings and keys."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return {**kept, "PYTHONPATH": python_path(), "LANG": "C.UTF-8", "TERM": "xterm-256color", **more}


class Terminal:
    """It, with a program in it."""

    def __init__(self, process: asyncio.subprocess.Process, descriptor: int) -> None:
        self.written = ""
        """All that the program has written so far, and what was typed where the terminal echoes it."""
        self.process = process
        self._descriptor = descriptor
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._read_up_to = 0
        self._came = asyncio.Event()
        self._open = True
        os.set_blocking(descriptor, False)
        asyncio.get_running_loop().add_reader(descriptor, self._read)

    @property
    def screen(self) -> list[str]:
        """The lines of the last frame that is whole; none before there is one."""
        frames = self.written.split(HOME)[1:]
        height, _ = termios.tcgetwinsize(self._descriptor)
        whole = [frame for frame in frames if frame.count("\n") >= height - 1]
        return _CONTROL.sub("", whole[-1]).replace("\r", "").split("\n")[:height] if whole else []

    @property
    def frames(self) -> int:
        """How many were drawn, the one under way included."""
        return self.written.count(HOME)

    @property
    def modes(self) -> list[Any]:
        """The terminal's settings (tcgetattr), also once the program has ended."""
        return termios.tcgetattr(self._descriptor)

    def press(self, keys: str) -> None:
        """Press *keys*; Enter is `\\r`."""
        os.write(self._descriptor, keys.encode())

    def resize(self, width: int, height: int) -> None:
        """As a window that is made larger or smaller; the system tells the program (SIGWINCH)."""
        termios.tcsetwinsize(self._descriptor, (height, width))

    async def writes(self, text: str) -> str:
        """Wait until *text* is written, after what was waited for before; what was written up to its end."""
        found = await self._comes(lambda: text in self.written[self._read_up_to :])
        assert found, f"never written: {text!r} in {self.written!r}"
        start = self._read_up_to
        self._read_up_to = self.written.index(text, start) + len(text)
        return self.written[start : self._read_up_to]

    async def shows(self, words: str, times: int = 1) -> str:
        """Wait until *words* stand on the screen at least so many times; all of it then."""
        return await self.becomes(lambda screen: screen.count(words) >= times, words)

    async def becomes(self, true: Callable[[str], bool], what: str = "") -> str:
        """Wait until something is *true* of the screen; all of it then."""
        found = await self._comes(lambda: true("\n".join(self.screen)))
        assert found, f"never: {what!r} in\n" + ("\n".join(self.screen) or self.written)
        return "\n".join(self.screen)

    async def ended(self) -> int:
        """Wait until the program has ended, and all is read that it wrote; its exit code."""
        assert await self._comes(lambda: not self._open), f"never ended: {self.written!r}"
        async with asyncio.timeout(PATIENCE):
            return await self.process.wait()

    async def interrupts(self, comes: Callable[[], Awaitable[object]]) -> None:
        """
        Press Ctrl-C at a prompt of Python's `input`, until what it does *comes*. One that is pressed between the prompt
        and the wait for a line is noticed with the next one only; both together are one then.
        """
        for _ in range(5):
            self.press(INTERRUPT)
            with suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE / 5):
                    await comes()
                    return
        raise AssertionError(f"no Ctrl-C is obeyed: {self.written!r}")

    def leave(self) -> None:
        """Look no more."""
        self._end()
        os.close(self._descriptor)

    async def _comes(self, true: Callable[[], bool]) -> bool:
        """Whether it is so within `PATIENCE` seconds, and before the program ends."""
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                while not true():
                    if not self._open:
                        return False
                    self._came.clear()
                    await self._came.wait()
                return True
        return False

    def _read(self) -> None:
        try:
            more = os.read(self._descriptor, 65536)
        except OSError:
            # No program has the other side open any more: Linux says EIO.
            more = b""
        self.written += self._decoder.decode(more)
        if not more:
            self._end()
        self._came.set()

    def _end(self) -> None:
        if self._open:
            self._open = False
            asyncio.get_running_loop().remove_reader(self._descriptor)


@asynccontextmanager
async def in_terminal(
    *command: str, env: Mapping[str, str], cwd: Path, width: int = 80, height: int = 24
) -> AsyncIterator[Terminal]:
    """*command* in a new terminal, which is its controlling one; killed in the end unless it has ended."""
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (height, width))
    process = await asyncio.create_subprocess_exec(
        # A session of its own, whose terminal this is: only so does Ctrl-C reach the program, which must not ignore it,
        # as what is started in the background does.
        *("setsid", "--ctty", "env", "--default-signal=INT", *command),
        cwd=cwd,
        env=dict(env),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    terminal = Terminal(process, ours)
    try:
        yield terminal
    finally:
        if process.returncode is None:
            process.kill()
        terminal.leave()
        await process.wait()
