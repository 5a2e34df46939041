"""
The dashboards are what their generator makes, and each panel has data in a live Prometheus or says why it has none.

Two gateways: one under traffic of every kind, and one that is asked nothing.
"""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.grafana.generator.__main__ import FOLDER, files
from tests.rigs.hapax import Hapax, hapax
from tests.rigs.prometheus import DEPLOY, Server, prometheus
from tests.spec.wire import ask, connect, get, request

from .traffic import ADMIN, PRICES, SETTINGS, traffic

DEADLINE = 60.0
INTERVAL = "1s"
"""Between two scrapes: what a page may take on a machine with other work."""
# No collector is there: spans wait, and traces have their ids all the same.
BUSY: dict[str, Any] = {**SETTINGS, "tracing": {"otlp_endpoint": "http://127.0.0.1:9"}}
IDLE: dict[str, Any] = {
    "providers": {"one": {"type": "simulator"}},
    "health_check": {"interval": "500ms"},
    "auth": {"admin_key": ADMIN},
    "store": {"url": ""},
}
STILL_EMPTY = {("hapax-providers", "Probes that fail"), ("hapax-system", "Certificates expire in")}
"""Panels that have nothing to show under the traffic of these tests, and say why."""


class World:
    """What runs."""

    gateway: Hapax
    prometheus: Server


@asynccontextmanager
async def world_of(folder: Path, settings: dict[str, Any], *, busy: bool) -> AsyncIterator[World]:
    """A gateway and Prometheus, once that has scraped it often enough for rates, with traffic or without."""
    world = World()
    (folder / "prices.yaml").write_text(yaml.safe_dump(PRICES))
    async with AsyncExitStack() as stack:
        world.gateway = await stack.enter_async_context(hapax(folder, settings))
        world.prometheus = await stack.enter_async_context(
            prometheus(folder, f"127.0.0.1:{world.gateway.port}", ADMIN, interval=INTERVAL)
        )
        async with connect(world.gateway.port) as kept_open, asyncio.timeout(DEADLINE):
            kept_open.send(get("/live"))
            # A rate needs two samples of a series, the second one larger.
            while not await world.prometheus.query('count_over_time(hapax_build_info{job="hapax"}[5m]) >= 4'):
                if busy:
                    await traffic(world.gateway.port)
                await asyncio.sleep(0.3)
            if busy:
                file, head = folder / "hapax.yaml", f"X-API-Key: {ADMIN}\r\n"
                file.write_text(file.read_text().replace("500ms", "400ms"))
                assert (await ask(world.gateway.port, request("/admin/reload", b"", head=head))).status == 200
        yield world


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as running:
        yield running


@pytest.fixture(scope="module")
def busy(runner: asyncio.Runner, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    build = world_of(tmp_path_factory.mktemp("busy"), BUSY, busy=True)
    yield runner.run(build.__aenter__())
    runner.run(build.__aexit__(None, None, None))


@pytest.fixture(scope="module")
def idle(runner: asyncio.Runner, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    build = world_of(tmp_path_factory.mktemp("idle"), IDLE, busy=False)
    yield runner.run(build.__aenter__())
    runner.run(build.__aexit__(None, None, None))


DASHBOARDS = [json.loads(file.read_text()) for file in sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))]
Panel = tuple[str, str]
"""Dashboard and title."""


def panels() -> Iterator[tuple[Panel, dict[str, Any]]]:
    """Every panel that asks for something."""
    for dashboard in DASHBOARDS:
        for panel in dashboard["panels"]:
            if panel["type"] != "row":
                yield (dashboard["uid"], panel["title"]), panel


def asked(expression: str) -> str:
    """*expression* as Grafana asks it, with everything chosen and a few minutes shown."""
    filled = expression.replace("$__rate_interval", "1m").replace("$__range", "5m")
    return re.sub(r"\$(instance|provider|model|key|team)", ".*", filled)


def why_empty(panel: dict[str, Any]) -> str:
    return str(panel["fieldConfig"]["defaults"].get("noValue", ""))


async def is_empty(server: Server, panel: dict[str, Any]) -> bool:
    """Whether no query of the panel has a value now."""
    answers = await asyncio.gather(*(server.query(asked(target["expr"])) for target in panel["targets"]))
    return not any(sample["value"][1] != "NaN" for answer in answers for sample in answer)


async def empty(server: Server, expected: set[Panel]) -> set[Panel]:
    """
    Panels without data; *expected* is what they come to, sooner or later: a scrape that was late leaves all of them
    empty for a moment.
    """
    left, until = dict(panels()), time.monotonic() + DEADLINE / 2
    while left.keys() != expected and time.monotonic() < until:
        left = {name: panel for name, panel in left.items() if await is_empty(server, panel)}
    return set(left)


def test_the_files_are_what_the_generator_makes() -> None:
    """`make generated` makes them anew."""
    made = dict(files())
    assert {file.name: file.read_text() for file in FOLDER.glob("*.json")} == made


def test_under_traffic_every_panel_has_data_or_says_why_not(runner: asyncio.Runner, busy: World) -> None:
    assert runner.run(empty(busy.prometheus, STILL_EMPTY)) == STILL_EMPTY
    assert {name for name, panel in panels() if why_empty(panel)} >= STILL_EMPTY


def test_a_panel_says_why_it_is_empty_exactly_where_an_idle_gateway_leaves_it_empty(
    runner: asyncio.Runner, idle: World
) -> None:
    reasoned = {name for name, panel in panels() if why_empty(panel)}
    assert runner.run(empty(idle.prometheus, reasoned)) == reasoned


def test_every_variable_finds_values_to_choose_from(runner: asyncio.Runner, busy: World) -> None:
    async def values(query: str) -> set[str]:
        match = re.fullmatch(r"label_values\((\w+), (\w+)\)", query)
        assert match is not None, query
        series = await busy.prometheus.query(f"last_over_time({match[1]}[5m])")
        return {each["metric"].get(match[2], "") for each in series}

    for dashboard in DASHBOARDS:
        variables = {each["name"]: each for each in dashboard["templating"]["list"]}
        assert list(variables) == ["datasource", "instance", "provider", "model", "key", "team", "runbook"]
        chosen = {
            name: runner.run(values(variable["query"]))
            for name, variable in variables.items()
            if variable["type"] == "query"
        }
        assert chosen["provider"] == {"one", "two"}
        assert chosen["key"] >= {"web", "again"}
        assert "shop" in chosen["team"]
        assert chosen["model"] >= {"flaky", "away"}
        assert chosen["instance"] == {f"127.0.0.1:{busy.gateway.port}"}


def test_reloads_deploys_and_breakers_leave_marks_on_every_graph(runner: asyncio.Runner, busy: World) -> None:
    async def marked(expression: str) -> None:
        async with asyncio.timeout(DEADLINE / 2):
            while True:
                now = time.time()
                span = {"start": str(now - 120), "end": str(now), "step": "1"}
                answer = await busy.prometheus.get("/api/v1/query_range", query=asked(expression), **span)
                if answer["data"]["result"]:
                    return
                await asyncio.sleep(0.1)

    for dashboard in DASHBOARDS:
        annotations = {each["name"]: each["expr"] for each in dashboard["annotations"]["list"]}
        assert list(annotations) == ["Reloads", "Deploys", "Breakers"]
        for expression in annotations.values():
            runner.run(marked(expression))


def test_graphs_with_exemplars_lead_to_traces(runner: asyncio.Runner, busy: World) -> None:
    async def exemplars(series: str) -> list[str]:
        now = time.time()
        answer = await busy.prometheus.get(
            "/api/v1/query_exemplars", query=series, start=str(now - 120), end=str(now + 10)
        )
        return [exemplar["labels"]["trace_id"] for each in answer["data"] for exemplar in each["exemplars"]]

    leading = {
        re.sub(r".*rate\((\w+)\{.*", r"\1", target["expr"])
        for _, panel in panels()
        for target in panel["targets"]
        if target.get("exemplar")
    }
    assert leading == {"llm_router_inference_duration_seconds_bucket", "hapax_time_to_first_token_seconds_bucket"}
    for series in leading:
        traces = runner.run(exemplars(series))
        assert traces, series
        assert all(re.fullmatch(r"[0-9a-f]{32}", trace) for trace in traces)
    sources = yaml.safe_load((DEPLOY / "grafana" / "provisioning" / "datasources" / "prometheus.yml").read_text())
    metrics, traces = sources["datasources"]
    assert metrics["jsonData"]["exemplarTraceIdDestinations"] == [{"name": "trace_id", "datasourceUid": traces["uid"]}]


def test_states_are_words_and_tables_lead_to_the_runbook() -> None:
    timelines = {name: panel for name, panel in panels() if panel["type"] == "state-timeline"}
    for name, panel in timelines.items():
        (mapping,) = panel["fieldConfig"]["defaults"]["mappings"]
        assert all(each["text"] and each["color"] for each in mapping["options"].values()), name
    shown = timelines["hapax-providers", "Breakers"]["fieldConfig"]["defaults"]["mappings"][0]["options"]
    assert {value: each["text"] for value, each in shown.items()} == {"0": "closed", "1": "half-open", "2": "open"}
    alerts = dict(panels())["hapax-overview", "Alerts that fire"]
    links = [
        link
        for override in alerts["fieldConfig"]["overrides"]
        for each in override["properties"]
        if each["id"] == "links"
        for link in each["value"]
    ]
    assert [link["url"].partition("#")[0] for link in links] == ["${runbook}"]


def test_every_series_that_is_read_is_documented() -> None:
    from deploy.grafana.generator import series

    told = (DEPLOY.parent / "docs" / "metrics.md").read_text()
    names = {value for name, value in vars(series).items() if name.isupper() and isinstance(value, str)}
    assert {name for name in names if not name.startswith(("process_", "ALERTS")) and f"`{name}`" not in told} == set()
