"""
When a client leaves, everything done for it stops at once, in whatever phase its call is.

Half of the clients leave with FIN, half with a reset. Measured is the time until the provider sees its connection
closed, or, where there is none, until the exchange has ended.
"""

import asyncio
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from proxy.providers.budget import RetryBudget
from tests.conftest import GatewayFactory, RunningGateway
from tests.rigs.clock import at_most
from tests.rigs.simulator import Request, Simulator

from .loop import lag_watched, until
from .wire import PATIENCE, Wire, calls, chat, connect, target

TRIES = 50
LIMIT = 0.1
PATIENT: dict[str, Any] = {
    "health_check": {"enabled": False, "timeout": "1h"},
    "failover": {"initial_delay": "1h", "max_delay": "1h", "budget": 1},
    "circuit_breaker": {"failure_threshold": 1000},
}
"""Nothing but the client's leaving ends a call."""
CLOCKS = {"connect": "1h", "first_token": "1h", "idle": "1h", "total": "10h"}

IDLE = [(0, 0)] * 4
"""Connections in use per provider, and those coming up, when no call is under way; probes have their own."""

Closed = Awaitable[object]
Reach = Callable[["Stage", Wire, int], Awaitable[list[Closed]]]
"""Brings a call into a phase; returns what comes true when each of the provider's connections is closed."""


class Deaf:
    """A server that accepts connections and reads nothing from them."""

    def __init__(self) -> None:
        self.accepted: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def __aenter__(self) -> "Deaf":
        # A limit of nothing: the reader stops reading when it holds more.
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=1)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *error: object) -> None:
        self._server.close()
        for _, writer in self.accepted:
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted.append((reader, writer))

    async def closed(self) -> None:
        """The newest connection has been closed by its client."""
        try:
            while await self.accepted[-1][0].read(65536):
                pass
        except ConnectionError:
            pass


class Stage:
    """The gateway, and the providers behind it."""

    def __init__(self, running: RunningGateway, simulator: Simulator, backup: Simulator, deaf: Deaf) -> None:
        self.running = running
        self.simulator = simulator
        self.backup = backup
        self.deaf = deaf

    @property
    def gateway(self) -> Any:
        return self.running.listener.gateway

    def busy(self) -> list[tuple[int, int]]:
        """Connections in use per provider, and those coming up."""
        pools = [endpoint._connections for endpoint in self.gateway.upstreams.endpoints.values()]
        return [(sum(not each.usable for each in pool._open), len(pool._connecting)) for pool in pools]

    async def asked(self, wire: Wire, data: bytes, *, of: int = 1) -> list[Closed]:
        """Send *data*, wait until so many simulators have been asked, and watch their connections."""
        return [record.closed() for record in await self.ask(wire, data, of=of)]

    async def ask(self, wire: Wire, data: bytes, *, of: int = 1) -> list[Request]:
        """Send *data* and wait until so many simulators have been asked."""
        simulators = (self.simulator, self.backup)[:of]
        before = [len(calls(simulator)) for simulator in simulators]
        wire.send(data)
        await until(lambda: all(len(calls(each)) > n for each, n in zip(simulators, before, strict=True)))
        return [calls(simulator)[-1] for simulator in simulators]

    async def accepted(self, wire: Wire, data: bytes) -> list[Closed]:
        """Send *data* and wait until the deaf one has accepted a connection for it."""
        before = len(self.deaf.accepted)
        wire.send(data)
        await until(lambda: len(self.deaf.accepted) > before)
        return [self.deaf.closed()]

    async def no_target_running(self) -> list[Closed]:
        """The call waits, and no target is being asked."""
        await until(lambda: self.gateway.under_way.count == 1)
        await until(lambda: not any(provider.in_flight for provider in self.gateway.pool.providers))
        return []


@pytest.fixture
async def stage(simulator: Simulator, backup: Simulator, gateway: GatewayFactory) -> AsyncIterator[Stage]:
    async with Deaf() as deaf:
        address = f"127.0.0.1:{deaf.port}/v1"
        providers = {
            "first": target(simulator, timeouts=CLOCKS),
            "second": target(backup, models=["sim-hedged*"], timeouts=CLOCKS),
            "handshake": target(simulator, base_url=f"https://{address}", models=["handshake"], timeouts=CLOCKS),
            "deaf": target(simulator, base_url=f"http://{address}", models=["deaf"], timeouts=CLOCKS),
        }
        models = {"hedged": {"targets": ["first/sim-fault:silence", "second/sim-fault:silence"]}}
        failover = {**PATIENT["failover"], "patience": "10ms"}
        running = await gateway({**PATIENT, "failover": failover, "providers": providers, "models": models})
        found = Stage(running, simulator, backup, deaf)
        # All were asked for their models, and the deaf owe the answer.
        await until(lambda: len(deaf.accepted) == 2 and found.busy() == IDLE)
        yield found


async def connecting(stage: Stage, wire: Wire, number: int) -> list[Closed]:
    return await stage.accepted(wire, chat("handshake"))


async def waiting_for_the_head(stage: Stage, wire: Wire, number: int) -> list[Closed]:
    return await stage.asked(wire, chat("sim-fault:silence", stream=True))


async def before_content(stage: Stage, wire: Wire, number: int) -> list[Closed]:
    closed = await stage.asked(wire, chat("sim-1:stall@1", stream=True))
    await until(lambda: calls(stage.simulator)[-1].bytes_sent)
    return closed


async def mid_stream(stage: Stage, wire: Wire, number: int) -> list[Closed]:
    closed = await stage.asked(wire, chat("sim-1:stall@3,pace=1ms", stream=True))
    await wire.until(b"\n\n")
    return closed


async def waiting_for_a_whole_answer(stage: Stage, wire: Wire, number: int) -> list[Closed]:
    return await stage.asked(wire, chat("sim-fault:stall@10"))


async def backing_off(stage: Stage, wire: Wire, number: int) -> list[Closed]:
    (closed,) = await stage.asked(wire, chat(f"sim-fault:fin,id=n{number}"))
    await closed
    return await stage.no_target_running()


async def waiting_as_told(stage: Stage, wire: Wire, number: int) -> list[Closed]:
    await stage.ask(wire, chat(f"sim-fault:status=429,retry_after=30,id=n{number}"))
    return await stage.no_target_running()


async def hedged(stage: Stage, wire: Wire, number: int) -> list[Closed]:
    # The share of calls that may be hedged is a few percent; here it is all of them.
    stage.gateway.relay._hedge_budget = RetryBudget(1.0)
    return await stage.asked(wire, chat("hedged", stream=True), of=2)


UPLOAD = (
    b"POST /v1/%b HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n"
)


async def uploading(stage: Stage, wire: Wire, number: int) -> list[Closed]:
    simulator = stage.simulator
    accepted = simulator.accepted
    wire.send(UPLOAD % (b"files", 2**24) + bytes(2**20))
    await until(lambda: simulator.accepted > accepted)
    return [max(simulator.connections, key=lambda each: each.connection.id).connection.closed()]


async def uploading_to_the_deaf(stage: Stage, wire: Wire, number: int) -> list[Closed]:
    boundary, length = b"xx", 2**25
    form = b'--xx\r\nContent-Disposition: form-data; name="model"\r\n\r\ndeaf\r\n--xx\r\n'
    form += b'Content-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    head = UPLOAD.replace(b"application/octet-stream", b"multipart/form-data; boundary=" + boundary)
    closed = await stage.accepted(wire, head % (b"audio/transcriptions", length) + form + bytes(length // 2))
    # All buffers on the way are full: the gateway reads no more from the client.
    await until(lambda: stage.gateway.under_way.count and _unread(stage))
    return closed


def _unread(stage: Stage) -> bool:
    return any(connection.held for connection in stage.running.listener.connections._open)


PHASES: list[Reach] = [
    connecting,
    waiting_for_the_head,
    before_content,
    mid_stream,
    waiting_for_a_whole_answer,
    backing_off,
    waiting_as_told,
    hedged,
    uploading,
    uploading_to_the_deaf,
]


def leave(wire: Wire, number: int) -> None:
    if number % 2:
        peer = wire.writer.get_extra_info("socket")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wire.abort()


@pytest.mark.parametrize("reach", PHASES, ids=lambda reach: reach.__name__)
async def test_a_client_that_leaves_stops_everything_done_for_it_within_100_ms(stage: Stage, reach: Reach) -> None:
    running, gateway = stage.running, stage.gateway
    worst = 0.0
    failures = 0
    async with lag_watched() as lag:
        for number in range(TRIES):
            async with connect(running.port) as wire:
                closed = await reach(stage, wire, number)
                failures = sum(each.breaker.failures_total for each in gateway.pool.all_targets)
                assert gateway.under_way.count == 1
                left = time.monotonic()
                leave(wire, number)
                async with asyncio.timeout(PATIENCE):
                    await asyncio.gather(*closed)
                    if not closed:
                        await gateway.under_way.idle.wait()
                worst = max(worst, time.monotonic() - left)
                await until(gateway.under_way.idle.is_set)

    print(f"\n{reach.__name__}: at worst {worst * 1000:.1f} ms (loop late by {lag.worst * 1000:.1f} ms)")
    assert worst < at_most(LIMIT) + lag.worst
    assert running.metric("hapax_exchanges_total", outcome="client_gone") == TRIES
    assert running.metric("hapax_http_active_requests", endpoint="/v1/chat/completions") == 0
    for provider in gateway.pool.providers:
        assert running.metric("hapax_provider_in_flight", provider=provider.name) == 0
    assert stage.busy() == IDLE
    for each in gateway.pool.all_targets:
        assert each.in_flight == 0
        assert running.metric("circuit_breaker_state", name=str(each)) == 0
    assert sum(each.breaker.failures_total for each in gateway.pool.all_targets) == failures
