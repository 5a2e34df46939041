"""
Which target and which key a call goes to: shares by policy, rests that a provider asked for, keys in turn, and room.

Through the whole gateway, counted at the providers.
"""

import asyncio
import time
from collections import Counter
from typing import Any

import pytest

from tests.conftest import GatewayFactory, RunningGateway
from tests.rigs.clock import at_most
from tests.rigs.simulator import Simulator

from .wire import ask, calls, chat, target

CALLS = 400


def settings(first: dict[str, Any], second: dict[str, Any], balance: str = "preference", **more: Any) -> dict[str, Any]:
    """A model that both providers serve."""
    return {
        "providers": {"first": first, "second": second},
        "models": {"sim-*": {"balance": balance}},
        "failover": {"budget": 1},
        "health_check": {"enabled": False},
        **more,
    }


def share(first: Simulator, second: Simulator) -> float:
    """The first one's part of all calls."""
    mine, others = len(calls(first)), len(calls(second))
    return mine / (mine + others)


async def ask_all(running: RunningGateway, times: int, data: bytes, at_once: int) -> Counter[int]:
    """So many calls, some of them at once; how often each status came."""
    seen: Counter[int] = Counter()
    left = iter(range(times))

    async def one_after_the_other() -> None:
        for _ in left:
            seen[(await ask(running.port, data)).status] += 1

    await asyncio.gather(*(one_after_the_other() for _ in range(at_once)))
    return seen


async def test_preference_keeps_to_the_first(simulator: Simulator, backup: Simulator, gateway: GatewayFactory) -> None:
    running = await gateway(settings(target(simulator), target(backup)))
    assert await ask_all(running, 50, chat(), 5) == {200: 50}
    assert share(simulator, backup) == 1.0


async def test_round_robin_gives_each_target_the_same(
    simulator: Simulator, backup: Simulator, gateway: GatewayFactory
) -> None:
    running = await gateway(settings(target(simulator), target(backup), "round_robin"))
    await ask_all(running, CALLS, chat(), 10)
    print(f"\nround_robin: {share(simulator, backup):.1%}")
    assert share(simulator, backup) == 0.5


async def test_weighted_follows_the_weights(simulator: Simulator, backup: Simulator, gateway: GatewayFactory) -> None:
    running = await gateway(settings(target(simulator, weight=3), target(backup, weight=1), "weighted"))
    await ask_all(running, CALLS, chat(), 10)
    print(f"\nweighted 3 to 1: {share(simulator, backup):.1%}")
    # Four standard deviations of 400 draws.
    assert share(simulator, backup) == pytest.approx(0.75, abs=0.09)


async def test_a_target_without_weight_is_for_emergencies(
    simulator: Simulator, backup: Simulator, gateway: GatewayFactory
) -> None:
    running = await gateway(settings(target(simulator, weight=0), target(backup, weight=1), "weighted"))
    await ask_all(running, 50, chat(), 5)
    assert share(simulator, backup) == 0.0
    backup.direct("status=503")
    assert (await ask(running.port, chat())).status == 200


@pytest.mark.parametrize("policy", ["least_requests", "fastest"])
async def test_a_slow_target_gets_less(
    policy: str, simulator: Simulator, backup: Simulator, gateway: GatewayFactory
) -> None:
    running = await gateway(settings(target(simulator), target(backup), policy))
    simulator.direct("headers=500ms")
    backup.direct("headers=10ms")
    await ask_all(running, CALLS, chat(), 20)
    print(f"\n{policy}, fifty times slower: {share(simulator, backup):.1%}")
    assert share(simulator, backup) < (0.35 if policy == "least_requests" else 0.2)


async def test_refusals_do_not_look_fast(simulator: Simulator, backup: Simulator, gateway: GatewayFactory) -> None:
    running = await gateway(settings(target(simulator), target(backup), "fastest"))
    simulator.direct("status=503")
    backup.direct("headers=30ms")
    await ask_all(running, 200, chat(), 10)
    print(f"\nfastest, one refuses at once: {share(simulator, backup):.1%}")
    assert share(simulator, backup) < 0.1


async def test_a_target_that_asks_for_rest_gets_it_and_then_traffic(
    simulator: Simulator, backup: Simulator, gateway: GatewayFactory
) -> None:
    running = await gateway(settings(target(simulator), target(backup)))
    simulator.direct("status=429,retry_after=1")
    began = time.monotonic()
    assert (await ask(running.port, chat())).status == 200
    simulator.direct("")
    asked = 0
    while len(calls(simulator)) == 1:
        assert (await ask(running.port, chat())).status == 200
        asked += 1
    rested = time.monotonic() - began
    print(f"\nrested {rested:.2f} s of 1 s, {asked - 1} calls went elsewhere meanwhile")
    assert 1.0 <= rested < at_most(1.1)
    assert asked > 1
    before = len(calls(simulator))
    await ask_all(running, 10, chat(), 1)
    assert len(calls(simulator)) == before + 10
    assert running.metric("circuit_breaker_failures_total", name="first/sim-fast") == 0


async def test_where_there_is_no_other_target_the_rest_is_waited_for(
    simulator: Simulator, gateway: GatewayFactory
) -> None:
    running = await gateway({"failover": {"budget": 1}})
    simulator.direct("status=429,retry_after_ms=400,times=1")
    began = time.monotonic()
    assert (await ask(running.port, chat())).status == 200
    print(f"\nanswered after {time.monotonic() - began:.2f} s of a rest of 0.4 s")
    assert 0.4 <= time.monotonic() - began < at_most(0.6)


def key_of(record: Any) -> str:
    return (record.header("authorization") or b"").decode().removeprefix("Bearer ")


async def test_keys_are_used_in_turn(simulator: Simulator, gateway: GatewayFactory) -> None:
    keys = ["sk-a", "sk-b", "sk-c"]
    running = await gateway({"providers": {"first": target(simulator, api_keys=keys)}})
    await ask_all(running, 30, chat(), 1)
    assert [key_of(record) for record in calls(simulator)] == keys * 10


async def test_a_key_that_rests_does_not_stop_the_others(simulator: Simulator, gateway: GatewayFactory) -> None:
    running = await gateway({"providers": {"first": target(simulator, api_keys=["sk-a", "sk-b"])}})
    simulator.direct("status=429,retry_after=60,times=1")
    began = time.monotonic()
    assert await ask_all(running, 10, chat(), 1) == {200: 10}
    assert time.monotonic() - began < at_most(1.0)
    assert [key_of(record) for record in calls(simulator)] == ["sk-a"] + ["sk-b"] * 10


async def test_a_key_that_is_refused_is_parked_and_no_client_hears_of_it(gateway: GatewayFactory) -> None:
    async with Simulator(api_key="sk-good") as strict:
        provider = target(strict, api_keys=["sk-bad", "sk-good"])
        running = await gateway({"providers": {"first": provider}, "health_check": {"enabled": False}})
        await running.listener.gateway.checks.known.wait()
        assert await ask_all(running, 10, chat(), 1) == {200: 10}
        used = Counter(key_of(record) for record in calls(strict))
        print(f"\nkeys used: {dict(used)}")
        assert used == {"sk-bad": 1, "sk-good": 10}
        assert running.metric("hapax_provider_keys_parked", provider="first") == 1
        assert running.metric("circuit_breaker_failures_total", name="first/sim-fast") == 0


async def test_a_full_target_leaves_the_rest_to_the_next(
    simulator: Simulator, backup: Simulator, gateway: GatewayFactory
) -> None:
    running = await gateway(settings(target(simulator, max_concurrency=3), target(backup)))
    # Long enough for all the others to be asked meanwhile.
    simulator.direct("headers=2s")
    assert await ask_all(running, 20, chat(), 20) == {200: 20}
    print(f"\n20 at once, room for 3: {len(calls(simulator))} and {len(calls(backup))}")
    assert (len(calls(simulator)), len(calls(backup))) == (3, 17)


async def test_no_target_with_room_left_is_a_503_at_once(simulator: Simulator, gateway: GatewayFactory) -> None:
    running = await gateway({"providers": {"first": target(simulator, max_concurrency=2)}})
    simulator.direct("headers=2s")
    answers = [await each for each in asyncio.as_completed([ask(running.port, chat()) for _ in range(5)])]
    # Those who are refused need not wait for those who are answered.
    assert [answer.status for answer in answers] == [503] * 3 + [200] * 2
    refused = answers[0]
    assert refused.code == "upstream_unavailable"
    assert refused.header("retry-after") is not None
    assert running.metric("hapax_provider_in_flight", provider="first") == 0
