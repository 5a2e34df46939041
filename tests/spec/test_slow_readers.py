"""
Clients that ask and do not read cost little, stop the provider, and are dropped in the end.

The gateway is a process of its own, so that its memory can be read.
"""

import asyncio
import socket
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.conftest import GatewayFactory
from tests.rigs.clock import at_most
from tests.rigs.hapax import hapax
from tests.rigs.simulator import Repeat, Send, Simulator, Step

from .wire import Wire, calls, chat, connect, target

STALLED = 200
WRITE_TIMEOUT = 20.0
MOST = 256 * 1024


def event(text: str) -> bytes:
    data = b'data: {"choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n' % text.encode()
    return b"%x\r\n%b\r\n" % (len(data), data)


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
FLOOD: list[Step] = [Send(HEAD), Repeat((Send(event("x" * 30000) * 4),))]
"""A stream without end, as fast as it is taken."""


async def deaf_client(port: int, data: bytes) -> socket.socket:
    """A client that sends a request and reads nothing."""
    loop = asyncio.get_running_loop()
    peer = socket.socket()
    peer.setblocking(False)
    # As little as the system allows in the kernel's own buffers.
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    await loop.sock_connect(peer, ("127.0.0.1", port))
    await loop.sock_sendall(peer, data)
    return peer


async def test_two_hundred_clients_that_never_read_cost_little_and_are_dropped(
    simulator: Simulator, backup: Simulator, tmp_path: Path
) -> None:
    providers = {"fast": target(simulator), "steady": target(backup, models=["steady"])}
    models = {"steady": {"targets": ["steady/sim-1:forever,pace=10ms"]}}
    settings: dict[str, Any] = {"server": {"write_timeout": f"{WRITE_TIMEOUT}s"}, "providers": providers}
    async with hapax(tmp_path, {**settings, "models": models}) as process, connect(process.port) as other:
        other.send(chat("steady", stream=True))
        await other.until(b"content")
        before = process.resident
        simulator.script(FLOOD, match="sim-flood", times=STALLED)
        flood = chat("sim-flood", stream=True)
        clients = [await deaf_client(process.port, flood) for _ in range(STALLED)]
        # Each provider's connection stands still once the buffers on the way are full.
        async with asyncio.timeout(WRITE_TIMEOUT):
            await stalled(simulator)
        per_stream = (process.resident - before) / STALLED
        records = calls(simulator)
        assert len(records) == STALLED
        assert not any(record.ending for record in records)
        sent = [record.bytes_sent for record in records]
        gaps = await gaps_of(other)
        assert [record.bytes_sent for record in records] == sent

        since = time.monotonic()
        await asyncio.gather(*(record.closed() for record in records))
        dropped = time.monotonic() - since
        for client in clients:
            client.close()
        await other.until(b"content")

    print(
        f"\n{per_stream / 1024:.0f} KiB of memory per stalled stream, all dropped {dropped:.1f} s after the last "
        f"stood still, beside them events of a steady stream {gaps[len(gaps) // 2] * 1000:.0f} ms apart, "
        f"at worst {gaps[-1] * 1000:.0f} ms"
    )
    assert per_stream <= MOST
    assert dropped <= at_most(WRITE_TIMEOUT * 1.1 + 0.2)
    assert gaps[len(gaps) // 2] < at_most(0.05)
    assert gaps[-1] < at_most(0.5)


async def stalled(simulator: Simulator) -> None:
    """Return when all streams have begun and none has moved for two seconds."""
    sent, since = 0, time.monotonic()
    while sent == 0 or time.monotonic() - since < 2.0 or len(calls(simulator)) < STALLED:
        await asyncio.sleep(0.05)
        now = sum(record.bytes_sent for record in calls(simulator))
        if now != sent:
            sent, since = now, time.monotonic()


async def gaps_of(wire: Wire) -> list[float]:
    """Seconds between events of a steady stream, sorted."""
    while len(await wire.reader.read(65536)) > 1000:  # what waited while this client did not read
        pass
    moments = [time.monotonic()]
    for _ in range(50):
        await wire.until(b"content")
        moments.append(time.monotonic())
    return sorted(later - earlier for earlier, later in pairwise(moments))


async def test_a_client_that_reads_slowly_is_not_one_that_stalls(simulator: Simulator, gateway: GatewayFactory) -> None:
    slow = 2.0
    running = await gateway({"server": {"write_timeout": f"{slow}s"}})
    peer = await deaf_client(running.port, chat("sim-fast:forever", stream=True))
    loop = asyncio.get_running_loop()
    began = stopped = loop.time()
    while stopped - began < 2 * slow:
        await asyncio.sleep(0.1)
        assert await loop.sock_recv(peer, 16384)
        stopped = loop.time()
    assert running.listener.gateway.under_way.count == 1
    await running.listener.gateway.under_way.idle.wait()
    took = loop.time() - stopped
    peer.close()
    print(f"\na slow reader was served for {2 * slow} s, and dropped {took:.2f} s after it stopped")
    assert 0.6 * slow < took < at_most(1.4 * slow)
