"""
How a process that serves is stopped: no call is refused, nothing is cut in silence.

Real processes, real signals. The balancer here is a client's: it asks `/ready` and sends calls to those that say yes.
"""

import asyncio
import itertools
import random
import signal
import time
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from proxy.core import tasks
from tests.conftest import GatewayFactory
from tests.rigs.clock import at_most
from tests.rigs.hapax import Hapax, hapax
from tests.rigs.simulator import Simulator

from .loop import until
from .wire import ask, chat, connect, get, target

DELAY, TIMEOUT = 1.5, 1.5
CYCLES = 20
STREAMS = 200


def settings(simulator: Simulator, **server: Any) -> dict[str, Any]:
    return {"server": server, "providers": {"sim": target(simulator)}}


async def until_ready(port: int) -> None:
    while (await ask(port, get("/ready"))).status != 200:  # noqa: ASYNC110 - another process says so
        await asyncio.sleep(0.01)


async def until_refused(port: int) -> float:
    """The moment from which no connection is accepted any more."""
    while True:
        try:
            async with connect(port):
                await asyncio.sleep(0.005)
        except ConnectionError:
            return time.monotonic()


async def test_a_term_signal_stops_the_process_in_order(simulator: Simulator, tmp_path: Path) -> None:
    server = {"drain_delay": f"{DELAY}s", "shutdown_timeout": f"{TIMEOUT}s"}
    async with hapax(tmp_path, settings(simulator, **server)) as process, AsyncExitStack() as stack:
        port = process.port
        await until_ready(port)
        endless, ending, silent = [await stack.enter_async_context(connect(port)) for _ in range(3)]
        endless.send(chat("sim-1:forever", stream=True))
        ending.send(chat("sim-1:tokens=4,pace=150ms", stream=True))
        silent.send(chat("sim-fault:silence"))
        await endless.until(b"content")
        await simulator.seen(simulator.ledger.seen)
        asked = process.signal(signal.SIGTERM)

        while (await ask(port, get("/ready"))).status == 200:  # noqa: ASYNC110 - another process says so
            await asyncio.sleep(0.005)
        unready = time.monotonic() - asked
        late = await ask(port, chat("sim-fast"))
        assert late.status == 200
        assert late.header("connection") == "close"
        accepted = await until_refused(port) - asked
        rest, _ = await ending.to_end()
        assert rest.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
        told = await silent.response()
        assert (told.status, told.code) == (503, "shutting_down")
        rest, how = await endless.to_end()
        cut = time.monotonic() - asked
        assert (rest[-2:], how) == (b"\r\n", "fin")
        assert b'data: {"error":' in rest
        assert b'"code":"shutting_down"' in rest
        assert not rest.endswith(b"0\r\n\r\n")
        code, errors = await process.ended()
        gone = time.monotonic() - asked

    print(f"\nunready after {unready:.3f} s, accepting {accepted:.3f} s, cut after {cut:.3f} s, gone {gone:.3f} s")
    assert unready < at_most(0.1)
    assert DELAY - 0.1 < accepted < DELAY + at_most(0.1)
    assert DELAY + TIMEOUT - 0.1 < cut < DELAY + TIMEOUT + at_most(0.1)
    assert gone < cut + at_most(1)
    assert code == 0
    assert b"Traceback" not in errors


async def test_a_process_without_streams_does_not_wait_for_them(simulator: Simulator, tmp_path: Path) -> None:
    server = {"drain_delay": "50ms", "shutdown_timeout": "30s"}
    async with hapax(tmp_path, settings(simulator, **server)) as process, connect(process.port) as idle:
        idle.send(get("/live"))
        await idle.response("GET")
        asked = process.signal(signal.SIGTERM)
        assert await process.ended() == (0, b"")
        assert await idle.to_end() == (b"", "fin")
        print(f"\nidle process gone after {time.monotonic() - asked:.3f} s")
        assert time.monotonic() - asked < at_most(1.0)


async def test_a_second_term_signal_ends_the_process_now(simulator: Simulator, tmp_path: Path) -> None:
    server = {"drain_delay": "30s", "shutdown_timeout": "30s"}
    async with hapax(tmp_path, settings(simulator, **server)) as process, connect(process.port) as wire:
        wire.send(chat("sim-1:forever", stream=True))
        await wire.until(b"content")
        process.signal(signal.SIGTERM)
        while (await ask(process.port, get("/ready"))).status == 200:  # noqa: ASYNC110 - another process says so
            await asyncio.sleep(0.005)
        asked = process.signal(signal.SIGTERM)
        code, _ = await process.ended()
        print(f"\ngone {time.monotonic() - asked:.3f} s after the second signal")
        assert time.monotonic() - asked < at_most(1.0)
        assert code == 0
        rest, _ = await wire.to_end()
        assert not rest.endswith(b"0\r\n\r\n")


async def test_an_interrupt_skips_the_delay_and_lets_streams_end(simulator: Simulator, tmp_path: Path) -> None:
    server = {"drain_delay": "30s", "shutdown_timeout": "30s"}
    async with hapax(tmp_path, settings(simulator, **server)) as process, connect(process.port) as wire:
        wire.send(chat("sim-1:tokens=80,pace=50ms", stream=True))
        await wire.until(b"content")
        asked = process.signal(signal.SIGINT)
        # The stream takes longer than that on any machine.
        assert await until_refused(process.port) - asked < at_most(0.2)
        rest, _ = await wire.to_end()
        assert rest.endswith(b"\r\n0\r\n\r\n")
        assert await process.ended() == (0, b"")


class Balancer:
    """Knows who is ready because it keeps asking."""

    def __init__(self) -> None:
        self.ready: list[int] = []
        self.over = False
        self._rng = random.Random(1)

    def pick(self) -> int:
        return self._rng.choice(self.ready)

    async def watch(self, port: int) -> None:
        """Ask until no process answers there any more."""
        while not self.over:
            try:
                ready = (await ask(port, get("/ready"))).status == 200
            except (OSError, asyncio.IncompleteReadError):
                ready = False
            if ready != (port in self.ready):
                (self.ready.append if ready else self.ready.remove)(port)
                if not ready:
                    return
            await asyncio.sleep(0.1)


async def keep_calling(balancer: Balancer, seen: Counter[str], data: bytes, end: bytes, pause: float = 0.0) -> None:
    """One call after the other, each on a connection of its own."""
    while not balancer.over:
        try:
            async with connect(balancer.pick()) as wire:
                wire.send(data)
                answer, _ = await wire.to_end()
        except OSError:
            seen["refused"] += 1
            continue
        if answer.startswith(b"HTTP/1.1 200") and answer.endswith(end):
            seen["whole"] += 1
        elif b'"error":' in answer:
            seen["told"] += 1
        else:
            seen["silent"] += 1
        await asyncio.sleep(pause)


@pytest.mark.timeout(600)
async def test_twenty_rolling_restarts_refuse_no_call_and_cut_nothing_in_silence(
    simulator: Simulator, tmp_path: Path
) -> None:
    balancer = Balancer()
    # Long enough for a balancer that asks ten times a second, on a machine that has much else to do.
    server = {"drain_delay": "8s", "shutdown_timeout": "60s"}
    names = (f"process{number}" for number in itertools.count())
    streams: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    stream = chat("sim-1:tokens=8,pace=400ms", stream=True, head="Connection: close\r\n")
    call = chat("sim-fast", head="Connection: close\r\n")
    began = time.monotonic()
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:

        async def fresh() -> Hapax:
            process = await stack.enter_async_context(hapax(tmp_path, settings(simulator, **server), next(names)))
            await until_ready(process.port)
            group.create_task(balancer.watch(process.port))
            await until(lambda: process.port in balancer.ready)
            return process

        serving = [await fresh(), await fresh()]
        for _ in range(STREAMS):
            group.create_task(keep_calling(balancer, streams, stream, b"data: [DONE]\n\n\r\n0\r\n\r\n"))
        for _ in range(2):
            group.create_task(keep_calling(balancer, calls, call, b"}", pause=0.02))
        endings = []
        for _ in range(CYCLES):
            leaving = serving.pop(0)
            leaving.signal(signal.SIGTERM)
            endings.append(group.create_task(leaving.ended()))
            serving.append(await fresh())
        ended = await asyncio.gather(*endings)
        balancer.over = True
        assert ended == [(0, b"")] * CYCLES

    print(f"\n{CYCLES} restarts in {time.monotonic() - began:.1f} s: streams {dict(streams)}, calls {dict(calls)}")
    for seen in (streams, calls):
        assert set(seen) == {"whole"}
    # However fast the machine restarts them, every client has seen several processes go.
    assert streams["whole"] >= STREAMS * 2


async def test_who_has_connected_before_the_door_closes_is_heard(gateway: GatewayFactory) -> None:
    running = await gateway()
    async with connect(running.port) as wire, connect(running.port):
        await until(lambda: running.listener.gateway.served.open == 2)
        draining = tasks.start(running.listener.drain(0.0, 60.0), "drain")
        await until(lambda: running.listener.gateway.under_way.closing)
        wire.send(chat())
        answer = await wire.response()
        assert (answer.status, answer.header("connection")) == (200, "close")
        # The other client never says anything, and does not hold up the drain.
        async with asyncio.timeout(at_most(3)):
            await draining
