"""What Alertmanager makes of alerts: who hears of them, and which of them mute others."""

import asyncio
import json
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.rigs.prometheus import Server, alertmanager
from tests.spec.wire import becomes


@pytest.fixture
async def told() -> AsyncIterator[tuple[str, list[tuple[str, dict[str, Any]]]]]:
    """A webhook's address, and what it was told: receiver and message."""
    messages: list[tuple[str, dict[str, Any]]] = []

    async def hear(request: web.BaseRequest) -> web.Response:
        messages.append((request.path.lstrip("/"), json.loads(await request.read())))
        return web.Response()

    runner = web.ServerRunner(web.Server(hear))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}", messages
    await runner.cleanup()


async def post(server: Server, *alerts: dict[str, str]) -> None:
    body = json.dumps([{"labels": labels, "annotations": {"summary": "s"}} for labels in alerts]).encode()
    asked = urllib.request.Request(f"{server.url}/api/v2/alerts", body, {"Content-Type": "application/json"})

    def send() -> None:
        urllib.request.urlopen(asked, timeout=5).close()

    await asyncio.to_thread(send)


async def test_a_critical_alert_mutes_the_warning_of_its_family_and_no_other(
    told: tuple[str, list[tuple[str, dict[str, Any]]]], tmp_path: Path
) -> None:
    webhook, messages = told
    async with alertmanager(tmp_path, webhook) as manager:
        await post(
            manager,
            {"alertname": "CriticalErrorRate", "severity": "critical", "family": "errors", "service": "hapax"},
            {"alertname": "HighErrorRate", "severity": "warning", "family": "errors", "service": "hapax"},
            {"alertname": "HighQueueSize", "severity": "warning", "family": "queue", "service": "hapax"},
        )
        await becomes(lambda: len(messages) == 2)
        heard = {(receiver, message["commonLabels"]["alertname"]) for receiver, message in messages}
        assert heard == {("oncall", "CriticalErrorRate"), ("warnings", "HighQueueSize")}
        states = {
            alert["labels"]["alertname"]: alert["status"]["state"] for alert in await manager.get("/api/v2/alerts")
        }
        assert states["HighErrorRate"] == "suppressed"
