"""Calls beyond what runs at once wait their turn: bounded, fair over keys, and gone when their client is."""

import asyncio
import json
import signal
from pathlib import Path
from typing import Any

import yaml

from tests.conftest import GatewayFactory, RunningGateway
from tests.rigs.hapax import hapax
from tests.rigs.simulator import Simulator

from .wire import Wire, ask, bearing, becomes, calls, chat, connect, target

A, B = "hpx_holder_a_0123456789", "hpx_holder_b_0123456789"
KEYS = {"keys": [{"name": "a", "key": A}, {"name": "b", "key": B}]}


def queue(**rules: Any) -> dict[str, Any]:
    return {"auth": KEYS, "queue": {"enabled": True, "max_running": 1, **rules}}


def waiting(running: RunningGateway) -> int:
    line = running.listener.gateway.accounting.queue
    assert line is not None
    return line.waiting


async def occupy(wire: Wire, simulator: Simulator, count: int = 1) -> None:
    """Take the only place, and keep it until the connection is aborted."""
    wire.send(chat("sim-1:silence", head=bearing(A)))
    await becomes(lambda: len(calls(simulator)) == count)


async def test_a_call_waits_for_a_place_and_is_told_where_it_stood(
    gateway: GatewayFactory, simulator: Simulator
) -> None:
    running = await gateway(queue())
    async with connect(running.port) as first, connect(running.port) as second, connect(running.port) as third:
        await occupy(first, simulator)
        second.send(chat(head=bearing(A)))
        await becomes(lambda: waiting(running) == 1)
        third.send(chat(head=bearing(A)))
        await becomes(lambda: waiting(running) == 2)
        assert running.metric("hapax_queue_waiting") == 2
        first.abort()
        positions = [(await wire.response()).header("x-hapax-queue-position") for wire in (second, third)]
    assert positions == ["0", "1"]
    assert (running.metric("hapax_queue_waiting"), running.metric("hapax_queue_running")) == (0, 0)
    assert running.metric("hapax_queue_wait_seconds_count") == 2
    assert (await ask(running.port, chat(head=bearing(A)))).header("x-hapax-queue-position") is None


async def test_a_flood_of_one_key_delays_another_keys_call_by_one_turn(
    gateway: GatewayFactory, simulator: Simulator
) -> None:
    running = await gateway(queue())
    async with connect(running.port) as first:
        await occupy(first, simulator)
        flood = [asyncio.ensure_future(ask(running.port, chat(head=bearing(A)))) for _ in range(20)]  # noqa: TID251 - held
        await becomes(lambda: waiting(running) == 20)
        single = asyncio.ensure_future(ask(running.port, chat("sim-echo", head=bearing(B))))  # noqa: TID251 - held
        await becomes(lambda: waiting(running) == 21)
        first.abort()
        assert (await single).status == 200
        assert all(answer.status == 200 for answer in await asyncio.gather(*flood))
    models = [request.model for request in calls(simulator)]
    assert models.index("sim-echo") == 2, "behind the call that ran and one of the flood"


async def test_beyond_the_size_calls_are_refused_with_a_wait(gateway: GatewayFactory, simulator: Simulator) -> None:
    running = await gateway(queue(initial_size=1))
    async with connect(running.port) as first, connect(running.port) as second:
        await occupy(first, simulator)
        second.send(chat(head=bearing(A)))
        await becomes(lambda: waiting(running) == 1)
        refused = await ask(running.port, chat(head=bearing(B)))
        assert (refused.status, refused.code) == (503, "queue_full")
        assert refused.json["error"]["message"] == "Queue is full; try again."
        assert 1 <= int(refused.header("retry-after") or 0) <= 60
        first.abort()
        assert (await second.response()).status == 200
    assert running.metric("hapax_queue_full_total") == 1


async def test_a_call_that_waits_too_long_is_told_so(gateway: GatewayFactory, simulator: Simulator) -> None:
    running = await gateway(queue(max_wait="50ms"))
    async with connect(running.port) as first:
        await occupy(first, simulator)
        refused = await ask(running.port, chat(head=bearing(A)))
        assert (refused.status, refused.code) == (503, "queue_timeout")
    assert waiting(running) == 0
    assert running.metric("hapax_queue_timeouts_total") == 1


async def test_the_time_in_the_line_is_not_taken_from_the_provider(
    gateway: GatewayFactory, simulator: Simulator
) -> None:
    running = await gateway(
        {**queue(), "providers": {"sim": target(simulator, timeouts={"total": "400ms"})}, "failover": {"retries": 0}}
    )
    async with connect(running.port) as first:
        await occupy(first, simulator)
        # It gets its place when the silent one's 400 ms are over, and then has 400 ms of its own.
        assert (await ask(running.port, chat(head=bearing(A)))).status == 200


async def test_a_client_that_leaves_the_line_is_never_served(gateway: GatewayFactory, simulator: Simulator) -> None:
    running = await gateway(queue())
    async with connect(running.port) as first:
        await occupy(first, simulator)
        async with connect(running.port) as second:
            second.send(chat("sim-echo", head=bearing(A)))
            await becomes(lambda: waiting(running) == 1)
        await becomes(lambda: waiting(running) == 0)
    await becomes(lambda: running.metric("hapax_queue_running") == 0)
    assert [request.model for request in calls(simulator)] == ["sim-1:silence"]


async def test_a_refused_call_gives_back_what_it_held_of_its_limits(
    gateway: GatewayFactory, simulator: Simulator
) -> None:
    limited = {"keys": [{"name": "a", "key": A, "limits": {"requests_per_minute": 2, "concurrent": 5}}]}
    running = await gateway({**queue(initial_size=1, max_wait="20ms"), "auth": limited})
    async with connect(running.port) as first:
        await occupy(first, simulator)
        for _ in range(5):
            assert (await ask(running.port, chat(head=bearing(A)))).code == "queue_timeout"


async def test_stopping_sends_those_who_wait_away(gateway: GatewayFactory, simulator: Simulator) -> None:
    running = await gateway(queue())
    async with connect(running.port) as first, connect(running.port) as second:
        await occupy(first, simulator)
        second.send(chat(head=bearing(A)))
        await becomes(lambda: waiting(running) == 1)
        await running.listener.drain(0.0, 0.05)
        assert (await second.response()).code == "shutting_down"


async def test_the_size_survives_a_restart_and_a_reload_changes_it(simulator: Simulator, tmp_path: Path) -> None:
    state = tmp_path / "state" / "queue.state"
    settings = {
        "server": {"drain_delay": "0s"},
        "providers": {"sim": target(simulator)},
        "store": {"url": ""},
        "queue": {"enabled": True, "initial_size": 7, "state_path": str(state), "save_interval": "50ms"},
    }

    def saved() -> Any:
        return json.loads(state.read_text()) if state.exists() else {}

    async with hapax(tmp_path, settings) as running:
        await becomes(lambda: saved().get("max_size") == 7)
        settings["queue"]["initial_size"] = 9  # type: ignore[index]
        (tmp_path / "hapax.yaml").write_text(yaml.safe_dump({"logging": {"level": "error"}, **settings}))
        running.signal(signal.SIGHUP)
        await becomes(lambda: saved().get("max_size") == 9)
        running.signal(signal.SIGTERM)
        code, told = await running.ended()
        assert code == 0
        # The reload stands in the audit log, whatever the level, and there is nothing else.
        assert [json.loads(line)["event"] for line in told.splitlines()] == ["configuration_reloaded"]
    assert saved().keys() == {"max_size", "queue_length", "last_saved"}
    settings["queue"]["initial_size"] = 3  # type: ignore[index]
    async with hapax(tmp_path, settings) as again:
        before = saved()["last_saved"]
        await becomes(lambda: saved()["last_saved"] != before)
        assert saved()["max_size"] == 9, "what was decided at run time wins over the file it was configured with"
        again.signal(signal.SIGTERM)
        await again.ended()
