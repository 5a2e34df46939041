"""Signals at any moment: a hangup while the gateway starts ends nothing, and what it was sent for is not lost."""

import asyncio
import signal
from pathlib import Path

import pytest

from proxy.core import tasks
from tests.rigs.hapax import banner, starting
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
        "logging": {"level": "info"},
    }
    async with starting(tmp_path, settings) as process:
        assert process.stderr is not None
        await until(lambda: holds_hangups(process.pid))
        serving = tasks.start(banner(process), "banner")
        while not serving.done():
            process.send_signal(signal.SIGHUP)
            await asyncio.wait({serving}, timeout=0.02)
        assert (await ask(serving.result(), get("/live"))).status == 200
        while b"configuration reloaded" not in await process.stderr.readline():
            pass
        process.send_signal(signal.SIGTERM)
        _, said = await process.communicate()
        assert process.returncode == 0, said.decode()
