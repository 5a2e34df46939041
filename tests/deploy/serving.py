"""`hapax serve` as a container or a unit starts it: told by its environment where its configuration is."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.rigs.built import ROOT
from tests.rigs.hapax import banner
from tests.spec.wire import ask, request


def moved(file: Path, folder: Path, *places: str) -> Path:
    """A copy of the configuration in *file*, in *folder*, which stands in the place of each of *places* in it."""
    text = file.read_text()
    for place in places:
        text = text.replace(place, str(folder))
    copy = folder / "config.yaml"
    copy.write_text(text)
    return copy


@asynccontextmanager
async def starting(folder: Path, **environ: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process in *folder* with *environ*, from its birth on; ended by SIGTERM, unless it has ended."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "proxy", "serve", "--port", "0"),
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environ},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


@asynccontextmanager
async def serving(folder: Path, **environ: str) -> AsyncIterator[int]:
    """The port of a process that serves."""
    async with starting(folder, **environ) as process:
        yield await banner(process)


async def keyed(port: int, admin: str) -> str:
    """The header of a client whose key the holder of the *admin* key has just made over HTTP."""
    made = await ask(port, request("/admin/keys", {"name": "web"}, head=f"X-API-Key: {admin}\r\n"))
    assert made.status == 201
    return f"X-API-Key: {made.json['key']}\r\n"
