"""
Every command of the runbooks works, shows what its page promises, and prints no key: run as written, in a folder with a
gateway, its files and its log. One of its providers keeps silent for some calls, another one refuses its key.
"""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.rigs.built import ROOT, python_path
from tests.rigs.hapax import Hapax, hapax
from tests.rigs.process import stop
from tests.spec.wire import ask, chat

RUNBOOKS = ROOT / "docs" / "runbooks"
KEY, ADMIN = "hpx_client_4be19d0c77aa21", "hpx_admin_0f2d9be1c5a877"
OURS = "sk-Zx8Kq2vLw7Rt4Yb9Nm3Pc6Hd1Jf5Gs0A"
SLOW, REFUSED = "sim-fault:stall@1", "sim-fault:status=401"
SETTINGS: dict[str, Any] = {
    "server": {"drain_delay": "0s"},
    "providers": {
        "sim": {
            "type": "simulator",
            "api_key": OURS,
            "timeouts": {"connect": "5s", "first_token": "200ms", "idle": "60s", "total": "600s"},
        }
    },
    "models": {"refused": {"targets": [f"elsewhere/{REFUSED}"]}},
    "queue": {"enabled": True},
    "auth": {"admin_key": ADMIN, "keys": [{"name": "web", "key": KEY}]},
    "store": {"url": "sqlite:///hapax.db"},
    "logging": {"dir": "logs"},
    "health_check": {"interval": "1s"},
}


PROMISES = [
    ("alerts.md", "last_error", r'"last_error": \{\s+"at": "20\d\d-\S+Z",\s+"code": "upstream_auth_error"'),
    ("database.md", "--keep 24", r"backups/hapax-\S+Z\.db holds 0 keys and \d+ calls, .* 1 backup kept\."),
    ("database.md", "hapax restore", r"\d+ calls restored from backups/hapax-"),
    (
        "invalid-key.md",
        "parked_keys",
        r'^\{"provider":"elsewhere","parked_keys":\[1\],"last_error":\{"at":"\S+Z","code":"upstream_auth_error",'
        r'"class":"refused before any work","reason":"status 401","status":401\}\}$',
    ),
    (
        "invalid-key.md",
        "hapax check",
        r"providers\.elsewhere\.api_key: looks like a placeholder .* put its key in its place",
    ),
    ("invalid-key.md", "--online", r"elsewhere"),
    ("latency.md", "/admin/calls", rf'^\{{"latency_ms":\d{{3,}}\.?\d*,.*"model":"{SLOW}"'),
    ("latency.md", "logs/", rf'"model":"{SLOW}"'),
    (
        "streaming-timeouts.md",
        "/admin/config",
        r'^\{"providers\.sim\.timeouts\.first_token":0\.2,"source":"hapax\.yaml:\d+"\}$',
    ),
    ("streaming-timeouts.md", "/admin/calls", rf'"model":"{SLOW}".*"error_code":"upstream_timeout"'),
    ("key-rotation.md", "keys_parked", r'hapax_provider_keys_parked\{provider="elsewhere"\} 1'),
    ("troubleshooting.md", "/admin/requests/$id", r'^"ok"$'),
]
"""Of a page, a command and what its output has to hold."""


def blocks() -> list[tuple[str, str]]:
    found = []
    for page in sorted(RUNBOOKS.glob("*.md")):
        for number, block in enumerate(re.findall(r"^```sh\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)):
            found.append((f"{page.name} {number + 1}", block))
    return found


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Hapax]]:
    folder = tmp_path_factory.mktemp("runbooks")
    elsewhere = subprocess.Popen(
        [sys.executable, "-m", "proxy", "simulate", "--port", "0"],
        env={"PYTHONPATH": python_path()},
        stdout=subprocess.PIPE,
    )
    assert elsewhere.stdout is not None
    url = "http" + elsewhere.stdout.readline().decode().partition("http")[2].split()[0].rstrip(";")
    account = {"type": "openai", "base_url": url, "api_key": "sk-your-key-here", "models": [REFUSED]}
    settings = {**SETTINGS, "providers": {**SETTINGS["providers"], "elsewhere": account}}
    (folder / "restored.yaml").write_text(yaml.safe_dump({**settings, "store": {"url": "sqlite:///restored.db"}}))
    with asyncio.Runner() as runner:
        serving = hapax(folder, settings)
        gateway = runner.run(serving.__aenter__())

        async def calls() -> None:
            head = f"X-API-Key: {KEY}\r\n"
            await asyncio.gather(
                *(ask(gateway.port, chat("sim-1", head=head, stream=True)) for _ in range(5)),
                ask(gateway.port, chat(SLOW, head=head, stream=True)),
                ask(gateway.port, chat("refused", head=head)),
            )

        runner.run(calls())
        yield folder, gateway
        runner.run(serving.__aexit__(None, None, None))
    stop(elsewhere)
    elsewhere.stdout.close()


def test_what_a_page_promises_is_promised_of_a_command_that_is_there() -> None:
    for page, command, _ in PROMISES:
        assert [where for where, commands in blocks() if where.startswith(page) and command in commands], command


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
    for key in (KEY, ADMIN, OURS, "sk-your-key-here"):
        assert key not in ran.stdout + ran.stderr, f"{where} prints a key"
    for page, command, promise in PROMISES:
        if where.startswith(page) and command in commands:
            assert re.search(promise, ran.stdout, re.MULTILINE), f"{where} does not show {promise}: {ran.stdout}"


def test_the_slowest_calls_come_first(world: tuple[Path, Hapax]) -> None:
    (commands,) = (
        commands for where, commands in blocks() if where.startswith("latency.md") and "/admin/calls" in commands
    )
    folder, gateway = world
    env = {"PATH": os.environ["PATH"], "HAPAX_URL": f"http://127.0.0.1:{gateway.port}", "HAPAX_ADMIN_KEY": ADMIN}
    ran = subprocess.run(["bash", "-c", commands], cwd=folder, env=env, capture_output=True, timeout=60, check=True)
    told = [json.loads(line)["latency_ms"] for line in ran.stdout.splitlines()]
    assert len(told) >= 7
    assert told == sorted(told, reverse=True)
