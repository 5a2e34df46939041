"""Signals at any moment: a hangup while the gateway starts ends nothing, and what it was sent for is not lost."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest
import yaml

from proxy import tasks
from tests.rigs.built import python_path
from tests.spec.loop import until
from tests.spec.wire import ask, get

HANGUP = 1 << (signal.SIGHUP - 1)


def holds_hangups(pid: int) -> bool:
    """Whether a process has SIGHUP held back, as the kernel tells."""
    status = Path(f"/proc/{pid}/status").read_text()
    (held,) = (line.split()[1] for line in status.splitlines() if line.startswith("SigBlk:"))
    return bool(int(held, 16) & HANGUP)


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_hangup_before_it_serves_is_obeyed_once_it_does(workers: int, tmp_path: Path) -> None:
    settings = {
        "server": {"workers": workers, "drain_delay": "0s"},
        "providers": {"sim": {"type": "simulator"}},
        "auth": {"admin_key": "hapax-admin-9f2b6c1de04a7788"},
        "store": {"url": ""},
    }
    (tmp_path / "hapax.yaml").write_text(yaml.safe_dump(settings))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "proxy", "serve", "--port", "0", "--config", "hapax.yaml"),
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": python_path()},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        await until(lambda: holds_hangups(process.pid))
        first = tasks.start(process.stdout.readline(), "banner")
        while not first.done():
            process.send_signal(signal.SIGHUP)
            await asyncio.wait({first}, timeout=0.02)
        port = int(first.result().rpartition(b":")[2])
        assert (await ask(port, get("/live"))).status == 200
        while b"configuration reloaded" not in await process.stderr.readline():
            pass
        process.send_signal(signal.SIGTERM)
        _, said = await process.communicate()
        assert process.returncode == 0, said.decode()
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
