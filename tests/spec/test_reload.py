"""Providers and models change while calls are under way: only the calls after it notice."""

from typing import Any

import pytest

from proxy.relay import upstreams
from proxy.settings import Settings
from tests.conftest import GatewayFactory, RunningGateway
from tests.rigs.simulator import Simulator
from tests.spec.wire import ask, becomes, calls, chat, connect, target

OLD, NEW = "sk-provider-old-1f0c9b", "sk-provider-new-77d2ae"
STREAM = {"stream": True}


async def reloaded(running: RunningGateway, **sections: Any) -> list[str]:
    """Put *sections* in force beside what was in force before; returns what waits for a restart."""
    gateway = running.listener.gateway
    before = gateway.settings.model_dump(exclude_unset=True)
    server = {**before["server"], **sections.pop("server", {})}
    return await gateway.reload(Settings.model_validate({**before, **sections, "server": server}))


async def test_a_rotated_key_is_used_from_the_next_call_on_and_a_stream_ends_on_the_old_one(
    simulator: Simulator, gateway: GatewayFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstreams, "GONE_LOOK", 0.01)
    running = await gateway({"providers": {"sim": target(simulator, api_key=OLD)}})
    behind = running.listener.gateway.upstreams
    old = behind.pool.provider("sim")
    async with connect(running.port) as wire:
        wire.send(chat("sim-1:tokens=40,pace=10ms", **STREAM))
        await wire.until(b"data: ")
        assert await reloaded(running, providers={"sim": target(simulator, api_key=NEW)}) == []
        assert (await ask(running.port, chat())).status == 200
        assert old in behind.endpoints
        await wire.until(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    assert [call.header("authorization") for call in calls(simulator)] == [
        f"Bearer {OLD}".encode(),
        f"Bearer {NEW}".encode(),
    ]
    await becomes(lambda: old not in behind.endpoints)
    assert len(behind.endpoints) == len(behind.clocks) == 1


async def test_a_provider_that_stays_as_it_was_keeps_its_breaker_and_its_figures(
    simulator: Simulator, backup: Simulator, gateway: GatewayFactory
) -> None:
    settings: dict[str, Any] = {
        "providers": {"first": target(simulator), "second": target(backup)},
        "models": {"both": {"targets": ["first/sim-fault:status=503", "second/sim-fast"]}},
        "circuit_breaker": {"failure_threshold": 1, "timeout": "1h"},
    }
    running = await gateway(settings)
    pool = running.listener.gateway.pool
    assert (await ask(running.port, chat("both"))).header("x-hapax-provider") == "second"
    first = pool.provider("first")
    assert [str(target.breaker.state(0.0)) for target in pool.targets("both")] == ["open", "closed"]
    await reloaded(running, providers={"first": target(simulator), "second": target(backup, weight=2)})
    assert pool.provider("first") is first
    assert [str(target.breaker.state(0.0)) for target in pool.targets("both")] == ["open", "closed"]
    assert (first.request_count, pool.provider("second").request_count) == (1, 0)
    assert (await ask(running.port, chat("both"))).header("x-hapax-attempts") == "1"
    await reloaded(running, circuit_breaker={"failure_threshold": 3})
    assert [str(target.breaker.state(0.0)) for target in pool.targets("both")] == ["closed", "closed"]


async def test_a_call_that_waits_for_a_provider_which_is_taken_out_goes_to_the_one_put_in(
    simulator: Simulator, backup: Simulator, gateway: GatewayFactory
) -> None:
    running = await gateway({"providers": {"old": target(simulator)}, "failover": {"initial_delay": "2s", "budget": 1}})
    async with connect(running.port) as wire:
        simulator.direct("status=500")
        wire.send(chat())
        await becomes(lambda: calls(simulator) and not running.listener.gateway.pool.provider("old").in_flight)
        await reloaded(running, providers={"new": target(backup)})
        answer = await wire.response()
    assert (answer.status, answer.header("x-hapax-provider")) == (200, "new")


async def test_models_and_rules_of_failover_change_as_well_and_what_waits_is_named(
    simulator: Simulator, gateway: GatewayFactory
) -> None:
    running = await gateway({"failover": {"retries": 0}})
    assert (await ask(running.port, chat("fast"))).status == 404
    waiting = await reloaded(
        running,
        models={"fast": {"targets": ["sim/sim-fast"]}, "faulty": {"targets": ["sim/sim-fault:status=500,times=1"]}},
        failover={"retries": 1, "initial_delay": "1ms"},
        server={"max_body_bytes": "1MiB", "workers": 2},
        state={"url": "redis://127.0.0.1:1/0"},
    )
    assert waiting == ["server.workers", "state.url"]
    assert (await ask(running.port, chat("fast"))).status == 200
    assert (await ask(running.port, chat("faulty"))).status == 200
    # What waits is named again by the next reload, as long as it differs.
    assert await reloaded(running, server={"workers": 2}) == ["server.workers"]
    assert await reloaded(running) == []


async def test_a_provider_is_probed_from_the_reload_on_that_names_it(
    simulator: Simulator, backup: Simulator, gateway: GatewayFactory
) -> None:
    running = await gateway({"providers": {"sim": target(simulator)}})
    await running.listener.gateway.checks.known.wait()
    asked = simulator.ledger.seen
    await reloaded(running, providers={"sim": target(simulator), "more": {**target(backup), "models": []}})
    await becomes(lambda: running.listener.gateway.checks.facts()["more"]["last_check"])
    assert simulator.ledger.seen == asked
    assert (await ask(running.port, chat())).status == 200
