"""Packets reach the process whose they are, whichever has read them."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from proxy.core import tasks
from proxy.http3.packets import Packets
from proxy.process.server import Listener
from proxy.process.sockets import Sockets
from proxy.settings import Settings
from tests.conftest import RunningGateway, provider
from tests.http3.conftest import quic_port
from tests.rigs.quic import Client, connect, issue
from tests.rigs.simulator import Simulator
from tests.spec.loop import until


def bound() -> socket.socket:
    end = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    end.bind(("127.0.0.1", 0))
    return end


@pytest.fixture
async def two() -> AsyncIterator[tuple[Packets, Packets, list[Any], list[Any]]]:
    """Two that share a socket, of which the second reads; what each takes, and what was passed on to the first."""
    public = bound()
    taken: list[Any] = []
    passed_on: list[Any] = []

    def never(data: bytes, address: Any) -> None:
        raise AssertionError(data)

    old = Packets(public.dup(), never, lambda data, address: passed_on.append((data, address)))
    old.stop_reading()
    new = Packets(public, lambda data, address: taken.append((data, address)), never)
    yield old, new, taken, passed_on
    old.close()
    new.close()


async def test_a_packet_that_is_passed_on_says_where_it_came_from(two: Any) -> None:
    old, new, taken, passed_on = two
    with bound() as client:
        client.sendto(b"hello", ("127.0.0.1", new.port))
        await until(lambda: taken)
        ((data, address),) = taken
        assert (data, address) == (b"hello", client.getsockname())
        new.pass_on(old.own_port, data, address)
        await until(lambda: passed_on)
        assert passed_on == [(b"hello", client.getsockname())]
        # Both answer from the address that the client knows.
        for each in (old, new):
            each.sendto(b"yes", address)
        client.settimeout(10)
        assert [client.recvfrom(100) for _ in range(2)] == [(b"yes", ("127.0.0.1", new.port))] * 2


async def test_what_another_program_sends_to_its_own_port_is_passed_over(two: Any) -> None:
    old, _, _, passed_on = two
    with bound() as stranger:
        for junk in (b"", b"x", b"\xff\xff", b"\0\x03abc", b"\0\x02[]", b"\0\x041234rest"):
            stranger.sendto(junk, ("127.0.0.1", old.own_port))
        stranger.sendto(b'\0\x12["127.0.0.1", 443]end', ("127.0.0.1", old.own_port))
        await until(lambda: (b"end", ("127.0.0.1", 443)) in passed_on)


async def test_a_packet_that_finds_the_buffer_full_waits_for_room(two: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _, new, _, _ = two
    full = iter([True, True, False, False, False])

    class Full:
        def __init__(self, real: socket.socket) -> None:
            self.real = real

        def sendto(self, data: bytes, address: Any) -> int:
            if next(full):
                raise BlockingIOError
            return self.real.sendto(data, address)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.real, name)

    monkeypatch.setattr(new, "_public", Full(new._public))
    with bound() as client:
        client.settimeout(10)
        for data in (b"1", b"2", b"3"):
            new.sendto(data, client.getsockname())
        loop = asyncio.get_running_loop()
        client.setblocking(False)
        assert [await loop.sock_recv(client, 100) for _ in range(3)] == [b"1", b"2", b"3"]


async def test_a_process_takes_over_and_no_stream_ends(simulator: Simulator, tmp_path: Path) -> None:
    """As at a reload of several workers: the new one reads, the old one ends what it has begun."""
    section = {"enabled": True, "port": 0, **issue(tmp_path)}
    settings = Settings.model_validate(
        {
            "server": {"port": 0, "http3": section},
            "providers": {"sim": provider(simulator)},
            "store": {"url": ""},
        }
    )
    first = Sockets(settings)
    second = Sockets(settings)
    assert first.http3 is not None
    assert second.http3 is not None
    second.http3.close()
    second.http3, second.secret = first.http3.dup(), first.secret
    old, new = Listener(settings, sockets=first), Listener(settings, sockets=second)
    await old.start()
    port = quic_port(RunningGateway(old))
    async with connect(port) as client:
        stream = client.chat(model="sim-1:tokens=30,pace=30ms", stream=True)
        await stream.begun()
        await new.start()
        # Both read for a moment, and each passes on what is the other's.
        async with connect(port) as early:
            assert (await early.ask("GET", "/live")).status == 200
        ending = tasks.start(old.end(0.0, asyncio.Event().wait(), replaced=True), "end of the old one")
        await client.until(lambda: client.went_away)
        async with connect(port) as late:
            assert (await late.chat(stream=True).whole()).end == "fin"
            assert new.gateway.served.by_protocol["h3"] == 1
        assert (await stream.whole()).end == "fin"
        assert stream.body.endswith(b"data: [DONE]\n\n")
        await closed(client)
    await ending
    await new.stop()
    for each in (old, new):
        RunningGateway(each).nothing_held()


async def closed(client: Client) -> None:
    await client.until(lambda: client.terminated)
    assert client.terminated is not None
    assert client.terminated.error_code == 0x100
