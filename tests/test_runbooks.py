"""Every command of the runbooks works: run as written, in a folder with a gateway, its files and its log."""

import asyncio
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.rigs.built import ROOT
from tests.rigs.hapax import Hapax, hapax
from tests.spec.wire import ask, chat

RUNBOOKS = ROOT / "docs" / "runbooks"
KEY, ADMIN = "hpx_client_4be19d0c77aa21", "hpx_admin_0f2d9be1c5a877"
SETTINGS: dict[str, Any] = {
    "server": {"drain_delay": "0s"},
    "providers": {
        "sim": {
            "type": "simulator",
            "timeouts": {"connect": "5s", "first_token": "200ms", "idle": "60s", "total": "600s"},
        }
    },
    "queue": {"enabled": True},
    "auth": {"admin_key": ADMIN, "keys": [{"name": "web", "key": KEY}]},
    "store": {"url": "sqlite:///hapax.db"},
    "logging": {"dir": "logs"},
    "health_check": {"interval": "1s"},
}


def blocks() -> list[tuple[str, str]]:
    found = []
    for page in sorted(RUNBOOKS.glob("*.md")):
        for number, block in enumerate(re.findall(r"^```sh\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)):
            found.append((f"{page.name} {number + 1}", block))
    return found


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Hapax]]:
    folder = tmp_path_factory.mktemp("runbooks")
    (folder / "restored.yaml").write_text(yaml.safe_dump({**SETTINGS, "store": {"url": "sqlite:///restored.db"}}))
    with asyncio.Runner() as runner:
        serving = hapax(folder, SETTINGS)
        gateway = runner.run(serving.__aenter__())

        async def calls() -> None:
            head = f"X-API-Key: {KEY}\r\n"
            await asyncio.gather(
                *(ask(gateway.port, chat("sim-1", head=head, stream=True)) for _ in range(5)),
                ask(gateway.port, chat("sim-fault:stall@1", head=head, stream=True)),
            )

        runner.run(calls())
        yield folder, gateway
        runner.run(serving.__aexit__(None, None, None))


@pytest.mark.parametrize(("where", "commands"), blocks(), ids=[where for where, _ in blocks()])
def test_the_commands_of_a_runbook_work_as_written(world: tuple[Path, Hapax], where: str, commands: str) -> None:
    folder, gateway = world
    env = {
        **{name: os.environ[name] for name in ("HOME", "LANG") if name in os.environ},
        "PATH": f"{Path(os.sys.executable).parent}:{os.environ['PATH']}",  # type: ignore[attr-defined]
        "PYTHONPATH": str(ROOT),
        "HAPAX_URL": f"http://127.0.0.1:{gateway.port}",
        "HAPAX_ADMIN_KEY": ADMIN,
        "HAPAX_PID": str(gateway.process.pid),
        "KEY": KEY,
        "PROVIDER": "sim",
    }
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode in (0, 141), f"{where}: {ran.stdout}{ran.stderr}"
    assert ran.stdout.strip() or "kill" in commands, f"{where} says nothing"
    assert "null" not in ran.stdout.split(), ran.stdout
