"""What the protocol tests share: a gateway in a process of its own, and a loop for tests that are plain functions."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.rigs.built import python_path
from tests.rigs.simulator import Simulator

from .wire import PATIENCE, target

RunInLoop = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture
async def in_loop() -> RunInLoop:
    """Runs a coroutine in the loop of this test's fixtures, from a test that is a plain function."""
    return asyncio.get_running_loop().run_until_complete


@pytest.fixture
def clean_environment() -> dict[str, str]:
    """The environment of a process that finds the package and no configuration of this machine."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "SYSTEMROOT", "LANG")}
    return {**kept, "PYTHONPATH": python_path()}


@pytest.fixture
async def served(simulator: Simulator, tmp_path: Path, clean_environment: dict[str, str]) -> AsyncIterator[int]:
    """The port of `hapax serve` as a user starts it: its own process, its own event loop, signals and all."""
    settings = {
        "server": {"port": 0, "drain_delay": "0s"},
        "providers": {"sim": target(simulator)},
        "logging": {"level": "error"},
    }
    (tmp_path / "hapax.yaml").write_text(yaml.safe_dump(settings))
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "proxy", "serve", "--config", "hapax.yaml"),
        cwd=tmp_path,
        env=clean_environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(4 * PATIENCE):
            banner = await process.stdout.readline()
        yield int(banner.rpartition(b":")[2])
    finally:
        if process.returncode is None:
            process.terminate()
        async with asyncio.timeout(4 * PATIENCE):
            _, errors = await process.communicate()
    assert process.returncode == 0
    # Calls that fail by a provider's fault are all that may be told.
    assert {json.loads(line)["event"] for line in errors.splitlines()} <= {"calls_failed"}
