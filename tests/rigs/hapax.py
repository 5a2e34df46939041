"""`hapax serve` as an operator runs it: a process of its own, its configuration in a file, its end by signals."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.rigs.built import python_path

START_DEADLINE = 60.0


class Hapax:
    """One process that serves."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.process = process
        self.port = port

    @property
    def resident(self) -> int:
        """Bytes of memory it has now."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def signal(self, number: signal.Signals) -> float:
        """Send a signal; returns the moment."""
        self.process.send_signal(number)
        return time.monotonic()

    async def ended(self) -> tuple[int, bytes]:
        """Wait for its end; its exit code and what it wrote to stderr."""
        _, errors = await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode, errors


@asynccontextmanager
async def starting(
    folder: Path, settings: dict[str, Any], name: str = "hapax"
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process with *settings* as its file, from its birth on; killed in the end unless it has ended."""
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump({"logging": {"level": "error"}, **settings}))
    kept = {key: value for key, value in os.environ.items() if key in ("PATH", "HOME", "SYSTEMROOT", "LANG")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "proxy", "serve", "--port", "0", "--config", file.name),
        cwd=folder,
        env={**kept, "PYTHONPATH": python_path()},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def banner(process: asyncio.subprocess.Process) -> int:
    """Wait until *process* serves, as its banner says; returns the port."""
    assert process.stdout is not None
    async with asyncio.timeout(START_DEADLINE):
        return int((await process.stdout.readline()).rpartition(b":")[2])


@asynccontextmanager
async def hapax(folder: Path, settings: dict[str, Any], name: str = "hapax") -> AsyncIterator[Hapax]:
    """A process that answers, with *settings* as its file; killed in the end unless it has ended."""
    async with starting(folder, settings, name) as process:
        yield Hapax(process, await banner(process))
