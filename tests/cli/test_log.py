"""`hapax log`: a running gateway is asked to tell more or less, and what it says is said."""

import asyncio
from pathlib import Path
from typing import Any

import yaml
from typer.testing import CliRunner

from proxy.cli.command import app
from tests.conftest import GatewayFactory

ADMIN = "hapax-admin-9f2b6c1de04a7788"


async def log(folder: Path, port: int, *arguments: str) -> Any:
    settings = {"server": {"port": port}, "auth": {"admin_key": ADMIN}, "store": {"url": ""}}
    (folder / "hapax.yaml").write_text(yaml.safe_dump(settings))
    whole = ["log", *arguments, "--config", str(folder / "hapax.yaml")]
    return await asyncio.to_thread(CliRunner().invoke, app, whole)


async def test_the_share_of_traces_is_changed_shown_and_put_back(gateway: GatewayFactory, tmp_path: Path) -> None:
    running = await gateway({"auth": {"admin_key": ADMIN}, "tracing": {"otlp_endpoint": "http://127.0.0.1:1"}})
    for arguments, said in (
        (("show",), "Level info, 100% of new traces, as configured.\n"),
        (("sampling", "0.25"), "Level info, 25% of new traces, until changed or restarted.\n"),
        (("reset",), "Level info, 100% of new traces, as configured.\n"),
    ):
        result = await log(tmp_path, running.port, *arguments)
        assert (result.exit_code, result.stdout, result.stderr) == (0, said, "")
    result = await log(tmp_path, running.port, "sampling", "0.5", "--for", "1h")
    assert result.stdout.startswith("Level info, 50% of new traces, until 20")


async def test_what_the_gateway_refuses_is_said(gateway: GatewayFactory, tmp_path: Path) -> None:
    running = await gateway({"auth": {"admin_key": ADMIN}})
    result = await log(tmp_path, running.port, "level", "loud")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "answered 400: level must be" in result.stderr
