"""
A target that fails is left alone, found again with one probe, and comes back slowly; nothing else counts as failing.

Through the whole gateway, counted at the providers.
"""

import asyncio
from typing import Any

import pytest

from proxy.core import clock
from tests.conftest import GatewayFactory, RunningGateway
from tests.rigs.simulator import Simulator

from .wire import ask, becomes, calls, chat, connect, target

THRESHOLD = 3


def settings(simulator: Simulator, backup: Simulator | None, timeout: str = "1h", **failover: Any) -> dict[str, Any]:
    """A model served by `bad`, and by `good` after it where there is a *backup*."""
    providers = {"bad": target(simulator)}
    targets = ["bad/sim-fast"]
    if backup is not None:
        providers["good"] = target(backup)
        targets.append("good/sim-fast")
    return {
        "providers": providers,
        "models": {"model": {"targets": targets}},
        "circuit_breaker": {"failure_threshold": THRESHOLD, "timeout": timeout},
        "failover": {"budget": 1, **failover},
        "health_check": {"enabled": False},
    }


def state(running: RunningGateway, name: str = "bad/sim-fast") -> float:
    return running.metric("circuit_breaker_state", name=name)


async def ask_often(running: RunningGateway, times: int, **fields: Any) -> list[int]:
    return [(await ask(running.port, chat("model", **fields))).status for _ in range(times)]


async def test_every_breaker_is_on_the_page_before_the_first_call(
    simulator: Simulator, backup: Simulator, gateway: GatewayFactory
) -> None:
    running = await gateway(settings(simulator, backup))
    registry = running.listener.gateway.metrics.registry
    for name in ("bad", "good", "bad/sim-fast", "good/sim-fast"):
        assert registry.get_sample_value("circuit_breaker_state", {"name": name}) == 0.0


@pytest.mark.parametrize("path", [{"timeout": "50ms"}, {}], ids=["path", "client"])
async def test_a_call_in_a_hurry_takes_no_target_from_others(
    simulator: Simulator, gateway: GatewayFactory, path: dict[str, str]
) -> None:
    """One caller that waits for next to nothing could keep a provider from all others."""
    routes = [{"path": "/chat/completions", "handler": "relay", **path}] if path else []
    running = await gateway({**settings(simulator, None), "routes": routes})
    simulator.direct("headers=5s")
    head = "" if path else "x-stainless-timeout: 0.05\r\n"
    for _ in range(2 * THRESHOLD):
        assert (await ask(running.port, chat("model", head=head))).status == 504
    assert state(running) == 0.0
    assert running.metric("circuit_breaker_failures_total", name="bad/sim-fast") == 0


async def test_a_target_that_is_slower_than_it_may_be_fails_however_long_the_client_waits(
    simulator: Simulator, gateway: GatewayFactory
) -> None:
    hurry = settings(simulator, None)
    hurry["providers"]["bad"]["timeouts"] = {"first_token": "40ms"}
    running = await gateway(hurry)
    simulator.direct("headers=5s")
    for _ in range(THRESHOLD):
        assert (await ask(running.port, chat("model", head="x-stainless-timeout: 0.1\r\n"))).status == 504
    assert state(running) == 2.0


async def test_a_target_that_keeps_failing_is_skipped_and_not_touched(
    simulator: Simulator, backup: Simulator, gateway: GatewayFactory
) -> None:
    running = await gateway(settings(simulator, backup))
    simulator.direct("status=502")
    assert await ask_often(running, 20) == [200] * 20
    print(f"\n20 calls: {len(calls(simulator))} met the broken target, {len(calls(backup))} the good one")
    assert len(calls(simulator)) == THRESHOLD
    assert len(calls(backup)) == 20
    assert state(running) == 2
    assert running.metric("circuit_breaker_trips_total", name="bad/sim-fast") == 1


async def test_a_stream_that_dies_after_its_first_content_counts(
    simulator: Simulator, backup: Simulator, gateway: GatewayFactory
) -> None:
    running = await gateway(settings(simulator, backup))
    simulator.direct("rst@3")
    await ask_cut(running, THRESHOLD)
    assert state(running) == 2


async def ask_cut(running: RunningGateway, times: int) -> None:
    for _ in range(times):
        async with connect(running.port) as wire:
            wire.send(chat("model", stream=True))
            received, _ = await wire.to_end()
            assert b'{"error":' in received


async def test_half_open_lets_one_probe_through_and_no_more(
    simulator: Simulator, backup: Simulator, gateway: GatewayFactory
) -> None:
    running = await gateway(settings(simulator, backup, timeout="1s"))
    simulator.direct("status=502")
    await ask_often(running, THRESHOLD)
    assert state(running) == 2
    await becomes(lambda: state(running) == 1)
    # The probe is under way until all the others have been asked.
    simulator.direct("headers=2s")
    before = len(calls(simulator))
    answers = await asyncio.gather(*(ask(running.port, chat("model")) for _ in range(100)))
    assert [answer.status for answer in answers] == [200] * 100
    print(f"\n100 calls while half-open: {len(calls(simulator)) - before} probe")
    assert len(calls(simulator)) - before == 1
    assert state(running) == 0


async def test_a_probe_that_fails_shuts_the_target_out_again(
    simulator: Simulator, backup: Simulator, gateway: GatewayFactory
) -> None:
    running = await gateway(settings(simulator, backup, timeout="2s"))
    simulator.direct("status=502")
    await ask_often(running, THRESHOLD)
    await becomes(lambda: state(running) == 1)
    assert await ask_often(running, 10) == [200] * 10
    assert len(calls(simulator)) == THRESHOLD + 1
    assert state(running) == 2


async def test_a_probe_whose_client_leaves_gives_its_place_back(
    simulator: Simulator, backup: Simulator, gateway: GatewayFactory
) -> None:
    running = await gateway(settings(simulator, backup, timeout="100ms"))
    simulator.direct("status=502")
    await ask_often(running, THRESHOLD)
    await becomes(lambda: state(running) == 1)
    simulator.direct("silence")
    for _ in range(20):
        asked = simulator.ledger.seen
        async with connect(running.port) as wire:
            wire.send(chat("model"))
            await simulator.seen(asked + 1)
        await running.listener.gateway.under_way.idle.wait()
    simulator.direct("")
    assert await ask_often(running, 1) == [200]
    assert state(running) == 0


async def test_a_target_that_came_back_gets_its_share_bit_by_bit(
    simulator: Simulator, backup: Simulator, gateway: GatewayFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = await gateway(settings(simulator, backup, timeout="200ms"))
    simulator.direct("status=502")
    await ask_often(running, THRESHOLD)
    simulator.direct("")
    await becomes(lambda: state(running) == 1)
    # The clock stands still while calls are made, however long they take.
    stopped, passed = clock.now(), 0.0
    monkeypatch.setattr(clock, "now", lambda: stopped + passed)
    await ask_often(running, 1)
    shares = []
    for passed in (0.0, 1.0, 4.0):
        before = len(calls(simulator))
        await ask_often(running, 200)
        shares.append((len(calls(simulator)) - before) / 200)
        print(f"\n{passed:.1f} s after closing: {shares[-1]:.0%} of the calls")
    assert 0 < shares[0] < 0.3
    assert shares[0] < shares[1] < shares[2] == 1
    assert state(running) == 0


async def test_refusals_rate_limits_and_clients_that_leave_do_not_count(
    simulator: Simulator, gateway: GatewayFactory
) -> None:
    running = await gateway(settings(simulator, None, retries=0))
    for status in (400, 404, 413, 422):
        simulator.direct(f"status={status}")
        assert await ask_often(running, 10) == [status] * 10
    simulator.direct("silence")
    for _ in range(20):
        asked = simulator.ledger.seen
        async with connect(running.port) as wire:
            wire.send(chat("model"))
            await simulator.seen(asked + 1)
        await running.listener.gateway.under_way.idle.wait()
    simulator.direct("status=429,retry_after=3600")
    assert (await ask(running.port, chat("model"))).status == 429
    assert state(running) == 0
    assert running.metric("circuit_breaker_failures_total", name="bad/sim-fast") == 0


async def test_the_only_target_is_never_shut_out(simulator: Simulator, gateway: GatewayFactory) -> None:
    running = await gateway(settings(simulator, None, retries=0))
    simulator.direct("status=502")
    assert await ask_often(running, 10) == [502] * 10
    assert len(calls(simulator)) == 10
    assert state(running) == 2
    simulator.direct("")
    assert await ask_often(running, 1) == [200]


async def test_one_broken_model_does_not_shut_out_its_provider(
    simulator: Simulator, backup: Simulator, gateway: GatewayFactory
) -> None:
    options = settings(simulator, backup)
    options["models"]["model"]["targets"][0] = "bad/sim-fault:status=502"
    options["models"]["other"] = {"targets": ["bad/sim-fast", "good/sim-fast"]}
    running = await gateway(options)
    await ask_often(running, 10)
    before = len(calls(simulator))
    assert [(await ask(running.port, chat("other"))).status for _ in range(10)] == [200] * 10
    assert len(calls(simulator)) == before + 10
    assert state(running, "bad/sim-fault:status=502") == 2
    assert state(running) == 0
