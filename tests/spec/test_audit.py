"""Each change over HTTP, and each reload, is in the audit log: who made it, how it was before and how it is now."""

import json
import logging
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import GatewayFactory, provider
from tests.rigs.hapax import hapax
from tests.rigs.simulator import Simulator

from .wire import ask, becomes, get, request, target

ADMIN = "hapax-admin-9f2b6c1de04a7788"
OPERATOR = f"X-API-Key: {ADMIN}\r\nX-Request-ID: mine\r\nX-Correlation-ID: ticket-7\r\n"
WHO = {"by": "admin", "client_ip": "127.0.0.1", "request_id": "mine", "correlation_id": "ticket-7"}


def told(caplog: pytest.LogCaptureFixture) -> dict[str, dict[str, Any]]:
    """The lines of the audit log, by event."""
    records = [record.__dict__["fields"] for record in caplog.records if record.name == "hapax.audit"]
    return {each["event"]: each for each in records}


async def test_a_key_is_told_as_it_was_and_as_it_is_and_never_its_secret(
    gateway: GatewayFactory, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "hapax.audit")
    running = await gateway({"auth": {"admin_key": ADMIN}, "store": {"url": f"sqlite:///{tmp_path}/hapax.db"}})
    made = await ask(running.port, request("/admin/keys", {"name": "web", "team": "shop"}, head=OPERATOR))
    turned = await ask(running.port, request("/admin/keys/web/rotate", {"overlap": "1h"}, head=OPERATOR))
    await ask(running.port, request("/admin/keys/web", method="DELETE", head=OPERATOR))
    lines = told(caplog)
    for event in ("key_created", "key_rotated", "key_revoked"):
        assert WHO.items() <= lines[event].items()
        assert lines[event]["key"] == "web"
    created, rotated, revoked = (lines[f"key_{done}"] for done in ("created", "rotated", "revoked"))
    assert (created["before"], created["after"]["team"]) == (None, "shop")
    assert rotated["before"] == created["after"]
    assert (rotated["before"]["prefix"], rotated["after"]["prefix"]) == (made.json["prefix"], turned.json["prefix"])
    assert (revoked["before"]["status"], revoked["after"]["status"]) == ("rotating", "revoked")
    assert made.json["key"] not in str(lines)
    assert turned.json["key"] not in str(lines)


async def test_a_provider_and_stored_answers_are_told_as_they_were_and_as_they_are(
    simulator: Simulator, gateway: GatewayFactory, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "hapax.audit")
    running = await gateway(
        {"auth": {"admin_key": ADMIN}, "providers": {"a": provider(simulator)}, "cache": {"enabled": True}}
    )
    await ask(running.port, request("/admin/providers/a/drain", head=OPERATOR))
    await ask(running.port, request("/admin/cache?model=sim-1", method="DELETE", head=OPERATOR))
    lines = told(caplog)
    drained, cleared = lines["provider_drained"], lines["cache_cleared"]
    assert (drained["before"], drained["after"]) == (
        {"drained": False, "breakers": {}},
        {"drained": True, "breakers": {}},
    )
    assert (cleared["before"], cleared["after"], cleared["model"]) == ({"answers": 0}, {"answers": 0}, "sim-1")
    assert WHO.items() <= drained.items()
    assert WHO.items() <= cleared.items()


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_reload_is_told_with_its_cause_who_asked_and_each_value_before_and_after(
    simulator: Simulator, tmp_path: Path, workers: int
) -> None:
    whole: dict[str, Any] = {
        "server": {"drain_delay": "0s", "workers": workers},
        "providers": {"sim": target(simulator, api_key="sk-provider-0001-secret")},
        "auth": {"admin_key": ADMIN},
        "store": {"url": ""},
        "logging": {"dir": "logs", "level": "info"},
        "failover": {"retries": 1},
    }

    def lines(event: str, stream: str = "audit") -> list[dict[str, Any]]:
        file = tmp_path / "logs" / f"{stream}.log"
        found = [json.loads(line) for line in file.read_text().splitlines()]
        return [each for each in found if each.get("event") == event]

    async with hapax(tmp_path, whole) as running:
        whole["providers"]["sim"]["api_key"] = "sk-provider-0002-secret"
        whole["failover"]["retries"] = 3
        (tmp_path / "beside.yaml").write_text(yaml.safe_dump(whole))
        (tmp_path / "beside.yaml").replace(tmp_path / "hapax.yaml")
        await becomes(lambda: lines("configuration_reloaded"))
        (watched,) = lines("configuration_reloaded")
        assert (watched["by"], watched["cause"]) == ("watch", "watch")
        assert (watched["before"]["failover.retries"], watched["after"]["failover.retries"]) == (1, 3)
        before, after = (watched[when]["providers.sim.api_key"] for when in ("before", "after"))
        assert before != after
        assert before.startswith("**********")
        assert watched["before"]["hash"] != watched["after"]["hash"]
        assert (await ask(running.port, request("/admin/reload", head=OPERATOR))).status == 200
        await becomes(lambda: len(lines("configuration_reloaded")) == 2)
        asked = lines("configuration_reloaded")[1]
        assert ({**WHO, "cause": "admin"}).items() <= asked.items()
        running.signal(signal.SIGHUP)
        await becomes(lambda: len(lines("configuration_reloaded")) == 3)
        assert lines("configuration_reloaded")[2]["by"] == "signal"
        (tmp_path / "hapax.yaml").write_text("server: {port: -1}")
        assert (await ask(running.port, request("/admin/reload", head=OPERATOR))).status == 409
        await becomes(lambda: any(each["cause"] == "admin" for each in lines("reload_refused", "error")))
        assert (await ask(running.port, get("/admin/config", head=OPERATOR))).json["last_reload"]["by"] == "admin"
    assert "-secret" not in "".join(file.read_text() for file in (tmp_path / "logs").iterdir())
