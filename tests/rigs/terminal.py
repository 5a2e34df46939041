"""
A program in a terminal of its own: keys that are pressed there, and what stands on its screen.

It reads screens as rich's Live draws them, from the upper left corner on, and emulates no more than that.
"""

import asyncio
import fcntl
import os
import pty
import re
import signal
import struct
import termios
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

PATIENCE = 30.0
"""Seconds after which something that should have come long ago is taken as missing."""
HOME, ALTERNATE, NORMAL = "\x1b[H", "\x1b[?1049h", "\x1b[?1049l"
HIDDEN, SHOWN = "\x1b[?25l", "\x1b[?25h"
"""The cursor (xterm's ctlseqs, DECTCEM)."""
_CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")


class Terminal:
    """It, with a program in it."""

    def __init__(self, master: int, slave: int, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self._master, self._slave = master, slave
        self._data = b""
        self._came = asyncio.Event()
        asyncio.get_running_loop().add_reader(master, self._read)

    def _read(self) -> None:
        self._data += os.read(self._master, 65536)
        self._came.set()

    @property
    def written(self) -> str:
        """All that the program has written."""
        return self._data.decode("utf-8", "replace")

    @property
    def screen(self) -> list[str]:
        """The lines of the last frame that is whole; none before there is one."""
        frames = self.written.split(HOME)[1:]
        height = struct.unpack("HHHH", fcntl.ioctl(self._slave, termios.TIOCGWINSZ, b"\0" * 8))[0]
        whole = [frame for frame in frames if frame.count("\n") >= height - 1]
        return _CONTROL.sub("", whole[-1]).replace("\r", "").split("\n")[:height] if whole else []

    @property
    def frames(self) -> int:
        """How many were drawn, the one under way included."""
        return self.written.count(HOME)

    @property
    def modes(self) -> list[Any]:
        """The terminal's settings (tcgetattr)."""
        return termios.tcgetattr(self._slave)

    def press(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def resize(self, width: int, height: int) -> None:
        """As a window that is made larger or smaller; the program is told."""
        _resize(self._slave, width, height)
        self.process.send_signal(signal.SIGWINCH)

    async def shows(self, words: str, times: int = 1) -> str:
        """Wait until *words* stand on the screen at least so many times; all of it then."""
        return await self.becomes(lambda screen: screen.count(words) >= times, words)

    async def becomes(self, true: Callable[[str], bool], what: str = "") -> str:
        """Wait until something is *true* of the screen; all of it then."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not true("\n".join(self.screen)):
                    self._came.clear()
                    await self._came.wait()
        except TimeoutError:
            raise AssertionError(f"never: {what!r} in\n" + ("\n".join(self.screen) or self.written)) from None
        return "\n".join(self.screen)

    async def ended(self) -> int:
        """Wait until the program has ended, and all is read that it wrote; its exit code."""
        async with asyncio.timeout(PATIENCE):
            code = await self.process.wait()
            # What it wrote last may be on its way.
            os.write(self._slave, b"\x1b[H.")
            while not self.written.endswith("\x1b[H."):
                self._came.clear()
                await self._came.wait()
        return code


@asynccontextmanager
async def in_terminal(
    *command: str, env: Mapping[str, str], width: int = 80, height: int = 24, cwd: str | None = None
) -> AsyncIterator[Terminal]:
    """*command* in a new terminal, which is its controlling one; killed in the end unless it has ended."""
    master, slave = pty.openpty()
    _resize(slave, width, height)
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=_control,
            env={"TERM": "xterm-256color", **env},
            cwd=cwd,
        )
        try:
            yield Terminal(master, slave, process)
        finally:
            asyncio.get_running_loop().remove_reader(master)
            if process.returncode is None:
                process.kill()
            await process.wait()
    finally:
        os.close(master)
        os.close(slave)


def _control() -> None:
    """Makes standard input the terminal from which Ctrl-C comes."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _resize(terminal: int, width: int, height: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
