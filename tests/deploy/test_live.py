"""
Prometheus scrapes a gateway under traffic with faults: every rule has data, and an alert arrives.

One world for all of it, since Prometheus takes five seconds to begin.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from tests.rigs.hapax import Hapax, hapax
from tests.rigs.prometheus import DEPLOY, Server, alertmanager, prometheus
from tests.spec.wire import connect, get

from .traffic import ADMIN, PRICES, SETTINGS, traffic

DEADLINE = 30.0
EMPTY = {
    ("alerts", "hapax_certificate_expiry_timestamp_seconds"): "this gateway has no certificate",
    ("alerts", "hapax_spans_dropped_total"): "this gateway records no traces",
}
"""What has no data by nature, and why."""


ZERO = {
    "hapax_cache_failures_total": "Redis that does not take or give a stored answer",
    "hapax_config_reloads_total": "a reload",
    "hapax_connections_turned_away_total": "more connections than server.max_connections",
    "hapax_deduplicated_requests_total": "identical calls at the same moment",
    "hapax_event_loop_lag_seconds": "a loop that was held up when it was looked at last",
    "hapax_extra_attempts_refused_total": "more failures than failover.budget allows to try again",
    "hapax_hedges_total": "failover.patience",
    "hapax_ledger_buffered": "rows that wait while the page is asked for",
    "hapax_ledger_dropped_total": "a store that is away for long",
    "hapax_ledger_failures_total": "a store that is away",
    "hapax_log_dropped_total": "a reader of the log that is too slow",
    "hapax_objects_dropped_total": "a store that is away for long",
    "hapax_objects_waiting": "owners that wait while the page is asked for",
    "hapax_processing_answers_total": "a call of the native endpoint",
    "hapax_processing_changes_total": "a call of the native endpoint, and processing.response_formatting",
    "hapax_processing_seconds_total": "a call of the native endpoint",
    "hapax_processing_templates_total": "a call of the native endpoint",
    "hapax_provider_drained": "an operator who drains one",
    "hapax_provider_in_flight": "an attempt that is under way while the page is asked for",
    "hapax_provider_keys_parked": "a provider that refuses a key",
    "hapax_provider_keys_spent": "an account without money",
    "hapax_queue_full_total": "more calls than queue.initial_size",
    "hapax_queue_running": "a call that is under way while the page is asked for",
    "hapax_queue_timeouts_total": "calls that wait for queue.max_wait",
    "hapax_queue_waiting": "a call that waits while the page is asked for",
    "hapax_resumes_total": "a model with `resume`",
    "hapax_state_failures_total": "Redis that is away",
    "hapax_state_fallbacks_total": "Redis that is away",
    "hapax_state_round_trips_total": "limits over Redis",
    "hapax_store_errors_total": "a store that is away",
    "hapax_unpriced_total": "a model without a price",
    "hapax_upstream_connections": "a connection that is open while the page is asked for",
    "hapax_worker_restarts_total": "a worker that dies",
    "llm_router_queue_size": "a call that waits while the page is asked for",
}
"""What may be 0 throughout, and what raises it."""


class World:
    """What runs."""

    gateway: Hapax
    prometheus: Server

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []
        """Alerts the webhook heard of."""


@asynccontextmanager
async def built(folder: Path) -> AsyncIterator[World]:
    world = World()

    async def hear(request: web.BaseRequest) -> web.Response:
        world.told += json.loads(await request.read())["alerts"]
        return web.Response()

    (folder / "prices.yaml").write_text(yaml.safe_dump(PRICES))
    runner = web.ServerRunner(web.Server(hear))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(runner.cleanup)
        world.gateway = await stack.enter_async_context(hapax(folder, SETTINGS))
        manager = await stack.enter_async_context(alertmanager(folder, f"http://127.0.0.1:{runner.addresses[0][1]}"))
        world.prometheus = await stack.enter_async_context(
            prometheus(folder, f"127.0.0.1:{world.gateway.port}", ADMIN, manager.url.removeprefix("http://"))
        )
        async with connect(world.gateway.port) as kept_open, asyncio.timeout(DEADLINE):
            kept_open.send(get("/live"))
            # A rate needs two samples of a series, the second one larger.
            seen = 0
            while seen < 3:
                await traffic(world.gateway.port)
                await asyncio.sleep(0.3)
                seen += bool(await world.prometheus.query('hapax_http_requests_total{job="hapax"}'))
        yield world


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as running:
        yield running


@pytest.fixture(scope="module")
def world(runner: asyncio.Runner, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    build = built(tmp_path_factory.mktemp("live"))
    yield runner.run(build.__aenter__())
    runner.run(build.__aexit__(None, None, None))


def rules() -> Iterator[tuple[str, str, str]]:
    """The recorded series, and the series that alerts read: most thresholds are not passed here."""
    for group in yaml.safe_load((DEPLOY / "prometheus" / "rules.yml").read_text())["groups"]:
        for rule in group["rules"]:
            yield "rules", rule["record"], rule["expr"]
    for group in yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())["groups"]:
        for rule in group["rules"]:
            for series in re.findall(r"(?:hapax|llm_router|circuit_breaker)_\w+|\w+:[\w:]+|up(?={)", rule["expr"]):
                yield "alerts", series, series


def test_every_rule_finds_data_in_a_gateway_with_traffic(runner: asyncio.Runner, world: World) -> None:
    async def empty() -> set[tuple[str, str]]:
        asked = [*rules()]
        answers = await asyncio.gather(*(world.prometheus.query(expression) for _, _, expression in asked))
        return {
            (where, title)
            for (where, title, _), answer in zip(asked, answers, strict=True)
            if not any(sample["value"][1] != "NaN" for sample in answer)
        }

    assert runner.run(empty()) == set(EMPTY)


def test_what_is_zero_throughout_is_raised_by_something_that_does_not_happen_here(
    runner: asyncio.Runner, world: World
) -> None:
    """A series that nothing could ever raise would be a panel of nothing."""

    async def families(condition: str) -> set[str]:
        ours = '{job="hapax",__name__=~"(hapax|llm_router|gen_ai|circuit_breaker)_.*"}'
        answer = await world.prometheus.query(f"max by (__name__) ({ours}) {condition}")
        return {re.sub(r"_(bucket|sum|count)$", "", sample["metric"]["__name__"]) for sample in answer}

    async def never() -> set[str]:
        return await families("== 0") - await families("!= 0")

    assert runner.run(never()) - ZERO.keys() == set()


def test_the_scraped_page_counts_what_the_clients_saw(runner: asyncio.Runner, world: World) -> None:
    async def outcomes() -> set[str]:
        return {sample["metric"]["outcome"] for sample in await world.prometheus.query("hapax_exchanges_total > 0")}

    assert {"ok", "refused", "cut"} <= runner.run(outcomes())


def test_a_gateway_that_dies_wakes_who_is_on_call(runner: asyncio.Runner, world: World) -> None:
    async def alarm() -> dict[str, Any]:
        world.gateway.process.kill()
        async with asyncio.timeout(DEADLINE):
            while True:
                for alert in world.told:
                    if alert["labels"]["alertname"] == "ServiceDown" and alert["status"] == "firing":
                        return alert
                await asyncio.sleep(0.02)

    alert = runner.run(alarm())
    assert alert["labels"]["severity"] == "critical"
    assert alert["annotations"]["summary"] == f"Gateway 127.0.0.1:{world.gateway.port} is down"
