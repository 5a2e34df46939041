"""Stores in processes of their own: a script as text, run with the interpreter of the tests."""

import asyncio
import os
import sys
import textwrap
from pathlib import Path

from tests.rigs.process import Finished, run

ROOT = Path(__file__).parents[2]

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error", "PYTHONDEVMODE": ""}


async def run_script(script: str, *arguments: str, timeout: float = 120) -> Finished:
    """The end of a process that ran *script* with *arguments*."""
    command = (sys.executable, "-c", textwrap.dedent(script), *arguments)
    return await run(*command, env=ENVIRONMENT, timeout=timeout)


async def run_scripts(script: str, *arguments: str, times: int) -> list[Finished]:
    """The same *times* times at once; each is given its number as the last argument."""
    return await asyncio.gather(*(run_script(script, *arguments, str(number)) for number in range(times)))


async def begin_script(script: str, *arguments: str) -> asyncio.subprocess.Process:
    """A process that runs *script*, with its standard output as a pipe; the caller ends it."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", textwrap.dedent(script), *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        env=ENVIRONMENT,
    )
