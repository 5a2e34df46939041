"""`/admin/logging`: level and sampling are changed while the gateway runs, for a while, at each worker, audited."""

import asyncio
import json
import logging
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from proxy.core.traceparent import SAMPLED
from proxy.settings.live import NONE, LiveChange
from tests.conftest import GatewayFactory, RunningGateway
from tests.rigs.hapax import Hapax, hapax
from tests.rigs.simulator import Simulator
from tests.spec.loop import until
from tests.spec.wire import Response, ask, becomes, chat, get, request, target

ADMIN, KEY = "hapax-admin-9f2b6c1de04a7788", "hapax-client-4b1e9d7730aa65c2"
ADMINED = f"Authorization: Bearer {ADMIN}\r\n"
KEYED = f"Authorization: Bearer {KEY}\r\n"
AUTH = {"admin_key": ADMIN, "keys": [{"name": "me", "key": KEY}]}
TRACED = {"auth": AUTH, "tracing": {"otlp_endpoint": "http://127.0.0.1:1", "sample_ratio": 0.0}}


async def put(port: int, body: Any, head: str = ADMINED) -> Response:
    return await ask(port, request("/admin/logging", body, method="PUT", head=head))


async def shown(port: int, path: str = "/admin/logging") -> Any:
    return (await ask(port, get(path, head=ADMINED))).json


def process(simulator: Simulator, workers: int = 1) -> dict[str, Any]:
    return {
        "server": {"drain_delay": "0s", "workers": workers},
        "providers": {"sim": target(simulator)},
        "auth": AUTH,
        "store": {"url": ""},
        "logging": {"dir": "logs", "level": "info"},
    }


def lines(folder: Path, stream: str) -> list[dict[str, Any]]:
    file = folder / "logs" / f"{stream}.log"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def test_a_change_holds_until_its_end_and_is_none_from_then_on() -> None:
    live = LiveChange("debug", None, 100.0)
    assert live.at(99.9) is live
    assert live.at(100.0) is NONE
    assert LiveChange("debug").at(1e12).level == "debug"
    assert LiveChange(**live.plain()) == live
    assert live.told() == {"level": "debug", "sample_ratio": None, "until": "1970-01-01T00:01:40.000Z"}
    assert NONE.told() is None


async def test_the_level_changes_at_once_and_falls_back_by_itself(simulator: Simulator, tmp_path: Path) -> None:
    async with hapax(tmp_path, process(simulator)) as running:
        await ask(running.port, chat(head=KEYED + "X-Request-ID: before\r\n"))
        told = (await put(running.port, {"level": "debug", "for": "1s"})).json
        assert (told["level"], told["configured"]) == ("debug", {"level": "info", "sample_ratio": None})
        assert told["live"]["until"] > "20"
        await ask(running.port, chat(head=KEYED + "X-Request-ID: during\r\n"))
        await becomes(lambda: any(each["event"] == "logging_restored" for each in changes(tmp_path)))
        assert (await shown(running.port))["live"] is None
        await ask(running.port, chat(head=KEYED + "X-Request-ID: after\r\n"))
        running.signal(signal.SIGTERM)
        await running.ended()
    debugged = {each.get("request_id") for each in lines(tmp_path, "application") if each["level"] == "debug"}
    assert "during" in debugged
    assert not debugged & {"before", "after"}


def changes(folder: Path) -> list[dict[str, Any]]:
    """The lines of the audit log about the level."""
    return [each for each in lines(folder, "audit") if each["event"].startswith("logging_")]


async def test_a_change_is_audited_with_who_before_and_after_and_stands_in_the_configuration(
    simulator: Simulator, tmp_path: Path
) -> None:
    async with hapax(tmp_path, process(simulator)) as running:
        await put(running.port, {"level": "error"}, ADMINED + "X-Request-ID: mine\r\n")
        assert (await shown(running.port, "/admin/config"))["live"] == {
            "level": "error",
            "sample_ratio": None,
            "until": None,
        }
        ended = await ask(running.port, request("/admin/logging", method="DELETE", head=ADMINED))
        assert (ended.json["level"], ended.json["live"]) == ("info", None)
        assert (await shown(running.port, "/admin/config"))["live"] is None
        running.signal(signal.SIGTERM)
        await running.ended()
    changed, restored = changes(tmp_path)
    live = {"level": "error", "sample_ratio": None, "until": None}
    assert (changed["event"], changed["before"], changed["after"]) == ("logging_changed", None, live)
    assert (changed["by"], changed["client_ip"], changed["request_id"]) == ("admin", "127.0.0.1", "mine")
    assert (restored["event"], restored["before"], restored["after"]) == ("logging_restored", live, None)


async def test_every_worker_obeys_and_so_does_one_that_takes_anothers_place(
    simulator: Simulator, tmp_path: Path
) -> None:
    async with hapax(tmp_path, process(simulator, workers=2)) as running:
        told = (await put(running.port, {"level": "debug"})).json
        assert [each["level"] for each in told["workers"]] == ["debug", "debug"]
        before = pids(running)
        assert {each["pid"] for each in told["workers"]} == before
        victim = min(before)
        os.kill(victim, signal.SIGKILL)
        await becomes(lambda: len(pids(running)) == 2 and victim not in pids(running))
        seen: set[int] = set()

        async def look() -> None:
            while seen != pids(running):
                answer = await ask(running.port, get("/debug", head=ADMINED))
                level = (await shown(running.port))["level"]
                assert level == "debug"
                seen.add(answer.json["environment"]["pid"])

        async with asyncio.timeout(30):
            await look()


def pids(process: Hapax) -> set[int]:
    """The workers there are."""
    pid = process.process.pid
    return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


async def test_a_reload_does_not_end_it(simulator: Simulator, tmp_path: Path) -> None:
    async with hapax(tmp_path, process(simulator)) as running:
        await put(running.port, {"level": "debug"})
        running.signal(signal.SIGHUP)
        await becomes(lambda: any(each["event"] == "configuration_reloaded" for each in lines(tmp_path, "audit")))
        assert (await shown(running.port))["level"] == "debug"
        await ask(running.port, chat(head=KEYED + "X-Request-ID: after\r\n"))
        await becomes(
            lambda: any(
                each.get("request_id") == "after" and each["level"] == "debug"
                for each in lines(tmp_path, "application")
            )
        )


async def sampled(running: RunningGateway) -> bool:
    """Whether a call that begins now is recorded."""
    seen = running.observed()
    await ask(running.port, chat(head=KEYED))
    await until(lambda: seen)
    return bool(seen[0].trace_flags & SAMPLED)


async def test_the_share_of_traces_changes_for_the_next_call_and_outlasts_a_reload(
    simulator: Simulator, gateway: GatewayFactory
) -> None:
    running = await gateway(TRACED)
    assert not await sampled(running)
    told = (await put(running.port, {"sample_ratio": 1.0})).json
    assert (told["sample_ratio"], told["configured"]["sample_ratio"]) == (1.0, 0.0)
    assert await sampled(running)
    await running.reload(failover={"retries": 1})
    assert await sampled(running)
    await ask(running.port, request("/admin/logging", method="DELETE", head=ADMINED))
    assert not await sampled(running)


async def test_a_share_of_traces_falls_back_by_itself_and_that_is_audited(
    simulator: Simulator, gateway: GatewayFactory, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "hapax.audit")
    running = await gateway(TRACED)
    await put(running.port, {"sample_ratio": 1.0, "for": "50ms"})
    await until(lambda: "logging is as configured again" in caplog.messages)
    assert not await sampled(running)
    ended = caplog.records[-1].__dict__["fields"]
    assert (ended["by"], ended["after"], ended["in_force"]["sample_ratio"]) == ("gateway", None, 0.0)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, None),
        ({"for": "1m"}, None),
        ({"level": "loud"}, "level"),
        ({"sample_ratio": 1.5}, "sample_ratio"),
        ({"sample_ratio": 0.5, "for": "-1m"}, "for"),
        ({"sample_ratio": 0.5, "for": "0s"}, "for"),
        ({"sample_ratio": 0.5, "content": True}, "content"),
        ({"level": "debug"}, "level"),
    ],
)
async def test_what_cannot_be_changes_nothing(
    simulator: Simulator, gateway: GatewayFactory, body: Any, param: str | None
) -> None:
    """The last one, since a program has set up the log here."""
    running = await gateway(TRACED)
    refused = await put(running.port, body)
    assert (refused.status, refused.code, refused.json["error"]["param"]) == (400, "invalid_parameter", param)
    assert (await shown(running.port))["live"] is None


async def test_where_no_traces_are_recorded_their_share_cannot_be_changed(
    simulator: Simulator, gateway: GatewayFactory
) -> None:
    running = await gateway({"auth": AUTH})
    assert (await put(running.port, {"sample_ratio": 0.5})).status == 400
    assert (await shown(running.port))["sample_ratio"] is None


@pytest.mark.parametrize(("head", "status"), [(KEYED, 403), ("", 401)])
async def test_only_an_operator_may_look_and_change(
    simulator: Simulator, gateway: GatewayFactory, head: str, status: int
) -> None:
    running = await gateway(TRACED)
    assert (await put(running.port, {"sample_ratio": 0.5}, head)).status == status
    assert (await ask(running.port, get("/admin/logging", head=head))).status == status
