"""A gateway that was stopped leaves its store as one file, however many workers had it open."""

import asyncio
import os
import signal
import sqlite3
from contextlib import suppress
from pathlib import Path

import pytest

from tests.rigs.hapax import hapax
from tests.spec.test_workers import workers as workers_of
from tests.spec.wire import ask, chat, get

KEY, ADMIN = "hapax-client-4b1e9d7730aa65c2", "hapax-admin-9f2b6c1de04a7788"


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_stopped_gateway_leaves_one_file_with_every_row_in_it(
    tmp_path: Path, workers: int, number: signal.Signals
) -> None:
    settings = {
        "server": {"workers": workers, "drain_delay": "0s"},
        "providers": {"sim": {"type": "simulator"}},
        "auth": {"admin_key": ADMIN, "keys": [{"name": "web", "key": KEY}]},
        "store": {"url": "sqlite:///hapax.db"},
    }
    async with hapax(tmp_path, settings) as gateway:
        calls = [ask(gateway.port, chat("sim-fast", head=f"X-API-Key: {KEY}\r\n")) for _ in range(40)]
        assert {answer.status for answer in await asyncio.gather(*calls)} == {200}
        used = await ask(gateway.port, get("/v1/usage", head=f"X-API-Key: {KEY}\r\n"))
        assert used.status == 200
        assert "hapax.db-wal" in os.listdir(tmp_path)
        gateway.signal(number)
        code, errors = await gateway.ended()
    assert (code, errors) == (0, b"")
    assert sorted(name for name in os.listdir(tmp_path) if "hapax.db" in name) == ["hapax.db"]
    database = sqlite3.connect(tmp_path / "hapax.db")
    assert database.execute("SELECT count(*) FROM usage WHERE outcome = 'ok'").fetchone()[0] >= 40
    database.close()


async def test_a_worker_that_was_killed_leaves_no_log_behind_either(tmp_path: Path) -> None:
    settings = {
        "server": {"workers": 2, "drain_delay": "0s"},
        "providers": {"sim": {"type": "simulator"}},
        "store": {"url": "sqlite:///hapax.db"},
        "logging": {"level": "error", "output": "stderr"},
    }
    async with hapax(tmp_path, settings) as gateway:
        for _ in range(5):
            assert (await ask(gateway.port, chat("sim-fast"))).status == 200
        children = workers_of(gateway)
        gateway.signal(signal.SIGTERM)
        # As the kernel does where memory is short, in the middle of the end.
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        await gateway.ended()
    assert sorted(name for name in os.listdir(tmp_path) if "hapax.db" in name) == ["hapax.db"]
