"""
An outage as operators live through it: the only provider falls silent, Prometheus sees calls fail beside probes that do
not, Alertmanager writes to the operator on call, the provider comes back, and the end is told as the beginning was.

The files are those of deploy/; the test puts its own addresses in, and seconds in the place of their minutes.
"""

import asyncio
import json
import urllib.request
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from proxy.core import tasks
from tests.conftest import provider
from tests.rigs.built import ROOT
from tests.rigs.hapax import hapax
from tests.rigs.mail import Mailbox, mailbox
from tests.rigs.prometheus import Server, alertmanager, prometheus
from tests.rigs.simulator import Simulator
from tests.spec.wire import ask, chat, get

ADMIN, KEY = "hpx_admin_5b1e77d0c2a94f", "hpx_client_90c3f1aa7be2d4"
ON_CALL = "oncall@example.com"
DEADLINE = 45.0
PAUSE = 0.02
"""Seconds between two calls of the client, so that it leaves the machine some time."""
OF_AN_OUTAGE = ("CriticalErrorRate", "NoHealthyProvider", "ApiDown")


@dataclass
class Operators:
    """Where their mail and their channel's messages arrive, and where their runbooks lie."""

    mail: Mailbox
    url: str
    channel: list[dict[str, Any]] = field(default_factory=list)

    async def hear(self, request: web.BaseRequest) -> web.Response:
        """Take a message for a channel, as Slack does, or show a runbook."""
        if request.method == "GET":
            return web.Response(text=(ROOT / "docs" / request.path.lstrip("/")).read_text())
        self.channel.append(json.loads(await request.read()))
        return web.Response(text="ok")

    def told(self, state: str, alert: str) -> bool:
        """The operator on call has been told, by mail and in the channel."""
        title = f"[{state}] {alert} "
        mailed = any(subject.startswith(title) for subject in self.mail.subjects(ON_CALL))
        shown = [each["attachments"][0]["title"] for each in self.channel if each["channel"] == "#critical-alerts"]
        return mailed and any(each.startswith(title) for each in shown)

    async def hear_of(self, state: str, *alerts: str) -> None:
        """Wait until they have been told of all *alerts*."""
        try:
            async with asyncio.timeout(DEADLINE):
                while not all(self.told(state, alert) for alert in alerts):  # noqa: ASYNC110 - nothing tells
                    await asyncio.sleep(PAUSE)
        except TimeoutError:
            raise AssertionError(f"{state} {alerts}, and heard: {self.mail.subjects(ON_CALL)}") from None


@asynccontextmanager
async def operators() -> AsyncIterator[Operators]:
    async with mailbox() as mail:
        found = Operators(mail, "")
        runner = web.ServerRunner(web.Server(found.hear))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        found.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield found
        await runner.cleanup()


async def traffic(port: int) -> None:
    """One client that calls and calls, and a load balancer that asks four times as often."""
    while True:
        await ask(port, chat("sim-fast", head=f"X-API-Key: {KEY}\r\n", stream=True))
        for path in ("/live", "/ready", "/live", "/ready"):
            await ask(port, get(path))
        await asyncio.sleep(PAUSE)


async def reads(server: Server, expression: str, value: str) -> None:
    """Wait until Prometheus has one sample of *expression*, with that value."""
    async with asyncio.timeout(DEADLINE):
        while [sample["value"][1] for sample in await server.query(expression)] != [value]:  # noqa: ASYNC110
            await asyncio.sleep(PAUSE)


def opened(url: str) -> list[str]:
    """The lines of the page there."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode()).splitlines()


async def test_an_outage_is_told_from_the_first_failed_calls_to_its_end(simulator: Simulator, tmp_path: Path) -> None:
    settings = {
        "server": {"drain_delay": "0s"},
        "providers": {"sim": provider(simulator)},
        "circuit_breaker": {"timeout": "250ms"},
        "failover": {"retries": 0},
        "health_check": {"interval": "250ms"},
        "auth": {"admin_key": ADMIN, "keys": [{"name": "web", "key": KEY}]},
        "store": {"url": ""},
    }
    async with AsyncExitStack() as stack:
        people = await stack.enter_async_context(operators())
        gateway = await stack.enter_async_context(hapax(tmp_path, settings))
        manager = await stack.enter_async_context(alertmanager(tmp_path, people.url, people.mail.port))
        told = manager.url.removeprefix("http://")
        runbooks = f"{people.url}/runbooks"
        server = await stack.enter_async_context(
            prometheus(tmp_path, f"127.0.0.1:{gateway.port}", ADMIN, told, runbooks=runbooks, hastened=True)
        )
        calling = tasks.start(traffic(gateway.port), "traffic")
        stack.callback(calling.cancel)
        await reads(server, "hapax:errors:ratio5m", "0")
        assert people.mail.messages == []

        await simulator.stop()
        await people.hear_of("CRITICAL", *OF_AN_OUTAGE)
        # Probes, of which there are four for each call, were answered all the while and are no calls.
        await reads(server, "hapax:errors:ratio5m", "1")

        text = people.mail.texts("[CRITICAL] CriticalErrorRate ")[0]
        assert "Status: firing, severity: critical" in text
        page, _, anchor = text.partition("What to do: ")[2].split()[0].partition("#")
        assert page == f"{people.url}/runbooks/alerts.md"
        assert "## CriticalErrorRate" in await asyncio.to_thread(opened, page)
        assert anchor == "criticalerrorrate"

        await simulator.start(port=simulator.port)
        await people.hear_of("RESOLVED", *OF_AN_OUTAGE)
        await reads(server, 'count(ALERTS{alertstate="firing",severity="critical"}) or vector(0)', "0")
        assert "Status: resolved" in people.mail.texts("[RESOLVED] CriticalErrorRate ")[0]
