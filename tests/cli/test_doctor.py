"""`hapax doctor`: what is missing before production, and what a running gateway shows."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from proxy.cli.command import app
from tests.conftest import GatewayFactory
from tests.rigs.simulator import Simulator
from tests.spec.wire import target

KEY, ADMIN = "hpx_client_4be19d0c77aa21", "hpx_admin_0f2d9be1c5a877"
GOOD: dict[str, Any] = {
    "providers": {
        name: {"type": "compatible", "base_url": f"http://{name}.example/v1", "api_key": "sk-provider-1f0c9b"}
        for name in ("one", "two")
    },
    "auth": {"admin_key": ADMIN, "keys": [{"name": "web", "key": KEY}]},
    "store": {"url": "sqlite:///hapax.db", "retention": "2160h"},
}


def examined(folder: Path, settings: dict[str, Any], *more: str) -> tuple[int, dict[str, dict[str, str]], str]:
    """Exit code, items by name, and all that was printed."""
    file = folder / "hapax.yaml"
    file.write_text(yaml.safe_dump(settings))
    result = CliRunner().invoke(app, ["doctor", "--config", str(file), "--json", *more])
    return result.exit_code, {item["name"]: item for item in json.loads(result.stdout)}, result.output


def test_a_good_configuration_lacks_nothing_and_says_what_only_people_can_see(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, items, _ = examined(tmp_path, GOOD)
    assert code == 0
    assert items["backup providers"] == {
        "name": "backup providers",
        "state": "ok",
        "found": "one, two",
        "advice": "",
    }
    assert {name for name, item in items.items() if item["state"] == "manual"} >= {"alerts", "dashboards", "backups"}


@pytest.mark.parametrize(
    ("change", "name", "state"),
    [
        ({"metrics": {"enabled": False}}, "metrics", "missing"),
        ({"health_check": {"enabled": False}}, "health checks", "missing"),
        ({"logging": {"level": "debug"}}, "log level", "warn"),
        ({"logging": {"log_content": True}}, "content log", "warn"),
        ({"providers": {"one": GOOD["providers"]["one"]}}, "backup providers", "missing"),
        ({"models": {"m": {"targets": ["one/m"]}}}, "models with one target", "warn"),
        ({"auth": {"keys": GOOD["auth"]["keys"]}}, "admin key", "missing"),
        ({"store": {"url": ""}}, "usage ledger", "missing"),
        ({"store": {"url": "sqlite:///no/such/folder/hapax.db"}}, "usage ledger", "missing"),
        ({"server": {"workers": 2}}, "shared state", "missing"),
    ],
)
def test_what_is_missing_is_named_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], name: str, state: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, items, _ = examined(tmp_path, {**GOOD, **change})
    assert items[name]["state"] == state
    assert items[name]["advice"]
    assert code == (1 if state == "missing" else 0)


async def test_a_running_gateway_is_looked_at_too_and_no_secret_is_printed(
    gateway: GatewayFactory, simulator: Simulator, tmp_path: Path
) -> None:
    running = await gateway(
        {
            "auth": GOOD["auth"],
            "providers": {"sim": target(simulator), "gone": {**target(simulator), "base_url": "http://127.0.0.1:1/v1"}},
            "health_check": {"failure_threshold": 1},
        }
    )
    await running.listener.gateway.checks.known.wait()
    code, items, output = await asyncio.to_thread(examined, tmp_path, GOOD, "--url", running.url, "--key", ADMIN)
    assert code == 0
    assert items["running"]["state"] == items["ready"]["state"] == items["metrics without a key"]["state"] == "ok"
    assert (items["providers healthy"]["state"], items["providers healthy"]["found"]) == ("warn", "gone")
    assert items["answers without a price"]["found"] == "0"
    assert ADMIN not in output
    assert KEY not in output
    code, items, _ = await asyncio.to_thread(examined, tmp_path, GOOD, "--url", "http://127.0.0.1:1")
    assert (code, items["running"]["state"]) == (1, "missing")


def test_the_table_has_a_line_for_each_item_and_the_sum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hapax.yaml").write_text(yaml.safe_dump({**GOOD, "metrics": {"enabled": False}}))
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 1
    assert "metrics.enabled: true" in result.stdout
    assert result.stdout.splitlines()[-1] == "1 missing"
