"""Each section of the configuration is in force from the next call on, and what goes on meanwhile does not notice."""

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from proxy.observe.log import Logs
from proxy.process.listener import Listener
from proxy.settings import Settings, SettingsError
from tests.conftest import GatewayFactory, RunningGateway, provider
from tests.rigs.collector import span_collector
from tests.rigs.simulator import Simulator

from .wire import ask, becomes, chat, connect, get, request

KEY, OTHER, ADMIN = "hpx_client_4be19d0c77aa21", "hpx_client_90d27fa1b6c3e8", "hpx_admin_0f2d9be1c5a877"
KEYED = f"X-API-Key: {KEY}\r\n"
WHOLE = b"data: [DONE]\n\n\r\n0\r\n\r\n"


def auth(**limits: int) -> dict[str, Any]:
    return {"admin_key": ADMIN, "keys": [{"name": "me", "key": KEY, "limits": limits}]}


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


async def test_a_stream_goes_on_while_every_section_changes(gateway: GatewayFactory, simulator: Simulator) -> None:
    running = await gateway({"auth": auth()})
    async with connect(running.port) as wire:
        wire.send(chat("sim-1:tokens=30,pace=20ms", stream=True, head=KEYED))
        await wire.until(b"data: ")
        await running.reload(
            providers={"new": provider(simulator)},
            models={"m": {"targets": ["new/sim-fast"]}},
            auth={"keys": [{"name": "other", "key": OTHER}]},
            limits={"default": {"concurrent": 1}},
            queue={"enabled": True, "max_running": 1},
            routes=[{"path": "/v1/chat/completions", "handler": "relay", "methods": ["GET"]}],
            server={"max_body_bytes": "1KiB", "read_timeout": "1s", "cors": {"allow_origins": ["https://a.example"]}},
            metrics={"enabled": False},
            tracing={"otlp_endpoint": "http://127.0.0.1:9"},
            failover={"retries": 0},
            circuit_breaker={"failure_threshold": 1},
            health_check={"enabled": False},
            processing={"response_formatting": {"max_length": 1}},
            health={"memory_limit": "1GiB"},
        )
        assert (await wire.until(WHOLE)).endswith(WHOLE)
    # The next call meets what is in force: its key is none any more.
    assert (await ask(running.port, chat(head=KEYED))).code == "invalid_api_key"
    assert (await ask(running.port, chat("m", head=f"X-API-Key: {OTHER}\r\n"))).code == "method_not_allowed"


async def test_routes_and_pages_come_and_go(gateway: GatewayFactory) -> None:
    running = await gateway({})
    assert (await ask(running.port, get("/status"))).code == "unknown_url"
    assert (await ask(running.port, get("/metrics"))).status == 200
    await running.reload(
        routes=[{"path": "/health/status", "handler": "health", "headers": {"X-Team": "a"}}],
        metrics={"prometheus": {"enabled": False}},
    )
    assert (await ask(running.port, get("/metrics"))).code == "unknown_url"
    assert (await ask(running.port, get("/health/status"))).code == "bad_request"
    assert (await ask(running.port, get("/health/status", head="X-Team: a\r\n"))).status == 200
    assert "/health/status" in running.listener.gateway.under_way.routes
    await running.reload(routes=[], metrics={})
    assert (await ask(running.port, get("/health/status"))).code == "unknown_url"
    assert (await ask(running.port, get("/metrics"))).status == 200


async def test_origins_that_may_call_change(gateway: GatewayFactory) -> None:
    running = await gateway({"auth": auth()})
    preflight = "Origin: https://app.example\r\nAccess-Control-Request-Method: POST\r\n"
    asked = request("/v1/models", method="OPTIONS", head=preflight)
    assert (await ask(running.port, asked)).status != 204
    await running.reload(server={"cors": {"allow_origins": ["https://app.example"]}})
    answer = await ask(running.port, asked)
    assert (answer.status, answer.header("access-control-allow-origin")) == (204, "https://app.example")
    await running.reload(server={"cors": {}})
    assert (await ask(running.port, asked)).status != 204


async def test_levels_of_limits_stay_where_they_are(gateway: GatewayFactory) -> None:
    running = await gateway({"auth": auth(requests_per_minute=3)})
    for _ in range(2):
        assert (await ask(running.port, chat(head=KEYED))).status == 200
    await running.reload(auth=auth(requests_per_minute=3), limits={"default": {"concurrent": 5}})
    assert (await ask(running.port, chat(head=KEYED))).header("x-ratelimit-remaining-requests") == "0"
    assert (await ask(running.port, chat(head=KEYED))).code == "rate_limit_exceeded"
    await running.reload(auth=auth(requests_per_minute=600_000))
    # It fills up as fast as the new limit says: a hundred in ten milliseconds.
    refused = await ask(running.port, chat(head=KEYED))
    assert refused.status == 200 or refused.header("retry-after") == "1"
    assert (await ask(running.port, chat(head=KEYED))).status == 200


async def test_calls_that_wait_run_when_the_queue_is_switched_off_and_places_are_given_back(
    gateway: GatewayFactory,
) -> None:
    queue = {"enabled": True, "max_running": 1, "max_wait": "60s"}
    running = await gateway({"queue": queue})
    admission = running.listener.gateway.admission
    async with connect(running.port) as first, connect(running.port) as second:
        first.send(chat("sim-1:forever,pace=10ms", stream=True))
        await first.until(b"data: ")
        line = admission.queue
        assert line is not None
        second.send(chat())
        await becomes(lambda: line.waiting == 1)
        await running.reload(queue={})
        assert (await second.response()).status == 200
        assert admission.queue is None
        assert line.running == 1
        # Switched on again it knows who still has a place.
        await running.reload(queue=queue)
        assert admission.queue is line
        first.abort()
        await becomes(lambda: line.running == 0)
    assert (await ask(running.port, chat())).status == 200


async def test_the_size_of_the_queue_is_remembered_in_another_file(gateway: GatewayFactory, tmp_path: Path) -> None:
    queue = {"enabled": True, "initial_size": 7, "state_path": str(tmp_path / "one"), "save_interval": "60s"}
    running = await gateway({"queue": queue})
    await running.reload(queue={**queue, "state_path": str(tmp_path / "two")})
    await becomes(lambda: (tmp_path / "one").exists())
    assert json.loads((tmp_path / "one").read_text())["max_size"] == 7
    await running.reload(queue={**queue, "state_path": str(tmp_path / "two"), "initial_size": 9})
    await becomes(lambda: (tmp_path / "two").exists() and json.loads((tmp_path / "two").read_text())["max_size"] == 9)


async def test_limits_of_a_connection_hold_for_new_ones(gateway: GatewayFactory) -> None:
    running = await gateway({})
    long = f"X-Long: {'a' * 3000}\r\n"
    async with connect(running.port) as wire:
        wire.send(get("/live"))
        assert (await wire.response("GET")).status == 200
        await running.reload(server={"max_header_bytes": "2KiB", "max_body_bytes": "1KiB", "read_timeout": "100ms"})
        # Head by head: the bound of a head that is whole is the configuration's, whichever connection it comes on.
        wire.send(get("/live", head=long))
        assert (await wire.response("GET")).code == "headers_too_large"
    assert (await ask(running.port, get("/live", head=long))).code == "headers_too_large"
    assert (await ask(running.port, chat(user="a" * 2000))).code == "request_too_large"
    async with connect(running.port) as silent:
        assert await silent.to_end() == (b"", "fin")


async def test_processing_changes_and_its_counts_go_on(gateway: GatewayFactory) -> None:
    running = await gateway({})
    asked = request("/v1/completion", {"input": "hello", "model": "sim-echo"})
    whole = (await ask(running.port, asked)).json["content"]
    await running.reload(processing={"response_formatting": {"max_length": 2}})
    assert (await ask(running.port, asked)).json["content"] == whole[:2]
    assert running.metric("hapax_processing_answers_total", outcome="ok") == 2


async def test_health_looks_at_what_the_settings_say_now(gateway: GatewayFactory) -> None:
    running = await gateway({})
    await running.listener.gateway.checks.known.wait()
    health = running.listener.gateway.health
    before = health.checkup
    assert (await ask(running.port, get("/ready"))).status == 200
    await running.reload(failover={"retries": 1})
    assert health.checkup is before
    await running.reload(health={"memory_limit": "1MiB"})
    assert (await ask(running.port, get("/ready"))).status == 503
    assert running.metric("hapax_memory_limit_bytes") == 2**20


async def test_a_price_list_is_read_again_and_a_bad_one_changes_nothing(
    gateway: GatewayFactory, tmp_path: Path
) -> None:
    prices = tmp_path / "prices.yaml"
    running = await gateway({"store": {"url": "", "prices": ""}})

    async def cost() -> int | None:
        kept = running.observed()
        await ask(running.port, chat("sim-fast"))
        running.caught_up()
        return kept[-1].cost

    def write(usd: int) -> None:
        prices.write_text(f"ours: {{models: {{sim-fast: {{input: {usd}, output: 0}}}}}}\n")

    write(1000)
    await running.reload(store={"url": "", "prices": str(prices)})
    first = await cost()
    write(2000)
    await running.reload(failover={"retries": 1})
    assert first
    assert await cost() == 2 * first
    prices.write_text("ours: {models: {sim-fast: {input: x}}}\n")
    with pytest.raises(SettingsError, match=r"^store\.prices: "):
        await running.reload(failover={"retries": 0})
    assert running.listener.gateway.settings.failover.retries == 1
    assert await cost() == 2 * first


async def test_metrics_are_sent_elsewhere_and_no_count_is_told_twice(gateway: GatewayFactory) -> None:
    told: dict[int, list[bytes]] = {}
    receivers = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]

    def sum_of(index: int) -> int:
        receiver, heard = receivers[index], told.setdefault(index, [])
        try:
            while True:
                heard.append(receiver.recv(65536))
        except BlockingIOError:
            lines = b"".join(heard).splitlines()
        name = b"hapax_http_requests_total:"
        return sum(
            int(line[len(name) :].split(b"|")[0]) for line in lines if line.startswith(name) and b"/live" in line
        )

    try:
        for receiver in receivers:
            receiver.bind(("127.0.0.1", 0))
            receiver.setblocking(False)
        one, two = (f"127.0.0.1:{each.getsockname()[1]}" for each in receivers)
        running = await gateway({"metrics": {"statsd": {"address": one, "interval": "20ms"}}})
        for _ in range(3):
            await ask(running.port, get("/live"))
        await becomes(lambda: sum_of(0) == 3)
        await running.reload(metrics={"statsd": {"address": two, "interval": "20ms"}})
        for _ in range(4):
            await ask(running.port, get("/live"))
        await becomes(lambda: sum_of(0) + sum_of(1) == 7)
        assert sum_of(1) >= 4 or sum_of(0) == 3
        await running.reload(metrics={})
        assert running.listener.gateway.outlets.exporters == []
    finally:
        for receiver in receivers:
            receiver.close()


async def test_spans_go_to_the_collector_that_is_named_now(gateway: GatewayFactory) -> None:
    async with span_collector() as first, span_collector() as second:
        running = await gateway({"tracing": {"otlp_endpoint": first.url}})
        await ask(running.port, chat())
        await running.reload(tracing={"otlp_endpoint": second.url})
        # What was collected for the first is sent there at once, not lost.
        await first.spans(2)
        await ask(running.port, chat())
        await running.reload(tracing={})
        await second.spans(2)
        assert running.listener.gateway.traces is None
        await ask(running.port, chat())
        assert len(first.taken) == len(second.taken) == 2


async def test_the_port_for_metrics_comes_moves_and_goes(gateway: GatewayFactory) -> None:
    running = await gateway({})
    ports = [free_port(), free_port()]
    async with ClientSession() as client:
        for port in ports:
            await running.reload(metrics={"port": port})
            async with client.get(f"http://127.0.0.1:{port}/metrics") as page:
                assert b"hapax_build_info" in await page.read()
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            with pytest.raises(SettingsError, match=r"^metrics\.port: cannot listen on "):
                await running.reload(metrics={"port": taken.getsockname()[1]})
        async with client.get(f"http://127.0.0.1:{ports[1]}/live") as page:
            assert page.status == 200
        await running.reload(metrics={})
    for port in ports:
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)


async def test_lines_go_where_and_in_the_form_the_settings_say_now(simulator: Simulator, tmp_path: Path) -> None:
    def settings(**logging: Any) -> Settings:
        return Settings.model_validate(
            {
                "server": {"port": 0},
                "store": {"url": ""},
                "providers": {"sim": provider(simulator)},
                "logging": {"dir": str(tmp_path / "one"), **logging},
            }
        )

    logs = Logs(settings().logging)
    listener = Listener(settings(), logs)
    await listener.start()
    try:
        for name, changes in (
            ("json", {}),
            ("text", {"format": "text"}),
            ("quiet", {"level": "error"}),
            ("elsewhere", {"dir": str(tmp_path / "two")}),
            ("content", {"dir": str(tmp_path / "two"), "log_content": True}),
        ):
            running = RunningGateway(listener)
            await listener.put_in_force(await listener.prepare(settings(**changes)))
            await ask(listener.port, chat(head=f"X-Request-ID: {name}\r\n"))
            running.caught_up()
        with pytest.raises(SettingsError, match=r"^logging\.dir: "):
            await listener.prepare(settings(dir="/proc/hapax"))
    finally:
        await listener.stop()
        logs.stop()
    one, two = ((tmp_path / name / "access.log").read_text().splitlines() for name in ("one", "two"))
    assert [json.loads(one[0])["request_id"], len(one)] == ["json", 2]
    assert " info    POST sim-fast -> " in one[1]
    assert [json.loads(line)["request_id"] for line in two] == ["elsewhere", "content"]
    said = (tmp_path / "two" / "application.log").read_text()
    assert [json.loads(line)["request_id"] for line in said.splitlines() if '"event":"content"' in line] == ["content"]


async def test_a_program_that_has_the_gateway_as_its_own_reloads_it_and_says_so(gateway: GatewayFactory) -> None:
    running = await gateway({"auth": auth()})
    inner = running.listener.gateway
    whole = inner.settings.model_dump(exclude_unset=True)
    admin = f"X-API-Key: {ADMIN}\r\n"
    wanted = Settings.model_validate({**whole, "failover": {"retries": 7}, "state": {"url": "redis://127.0.0.1:1/0"}})
    assert await inner.reload(wanted) == ["state.url"]
    told = (await ask(running.port, get("/admin/config", head=admin))).json
    assert told["last_reload"]["changed"] == ["failover.retries"]
    assert (told["source"], told["needs_restart"]) == ("the program", ["state.url"])
    assert told["values"]["failover.retries"]["value"] == 7
    assert told["values"]["auth.admin_key"]["value"] == "**********"
    assert running.metric("hapax_config_reloads_total", outcome="applied") == 1
    assert (await ask(running.port, request("/admin/reload", head=admin))).code == "reload_refused"
    for path, method in (("/admin/config", "GET"), ("/admin/reload", "POST")):
        assert (await ask(running.port, request(path, method=method, head=KEYED))).code == "admin_key_required"
