"""The door of HTTP/3: that every setting has its effect, who is let in, and whom packets reach."""

import asyncio
import json
import socket
import subprocess
import sys
from pathlib import Path

import aioquic.quic.configuration
import aioquic.quic.connection
import pytest

from proxy.http3 import door
from proxy.process.banner import banner
from proxy.process.sockets import Unservable
from proxy.settings import Loaded, Settings
from tests.conftest import GatewayFactory
from tests.http3.conftest import QuicFactory, quic_port
from tests.rigs.quic import connect, issue
from tests.rigs.simulator import Simulator
from tests.spec.loop import until


async def test_so_many_requests_of_a_client_are_under_way_at_once(quic: QuicFactory) -> None:
    running = await quic(http3={"max_bi_streams_concurrent": 2})
    async with connect(quic_port(running)) as client:
        stalled = [client.chat(model="sim-1:stall@3,pace=1ms", stream=True) for _ in range(2)]
        for each in stalled:
            await each.begun()
        third = client.send("GET", "/live")
        # The client's own doing: its limit is in the handshake.
        assert client._quic._streams[third.stream_id].is_blocked
        client.leave(stalled[0])
        assert (await third.whole()).status == 200
        client.leave(stalled[1])
        await until(lambda: not running.listener.gateway.under_way.count)


@pytest.mark.parametrize(
    ("http3", "told"),
    [
        ({}, (100, 100, 6 * 2**20, 15 * 2**20, 30.0)),
        (
            {
                "max_bi_streams_concurrent": 7,
                "max_uni_streams_concurrent": 5,
                "max_stream_receive_window": "64KiB",
                "max_connection_receive_window": "128KiB",
                "idle_timeout": "7s",
            },
            (7, 5, 65536, 131072, 7.0),
        ),
        (
            {"max_bi_streams_concurrent": 0, "max_uni_streams_concurrent": 0, "idle_timeout": 0},
            (100, 100, 6 * 2**20, 15 * 2**20, 30.0),
        ),
    ],
    ids=["as they are", "others", "none"],
)
async def test_a_client_is_told_its_limits(
    quic: QuicFactory, http3: dict[str, object], told: tuple[int, int, int, int, float]
) -> None:
    running = await quic(http3=http3)
    async with connect(quic_port(running)) as client:
        seen = client._quic
        assert told == (
            seen._remote_max_streams_bidi,
            seen._remote_max_streams_uni,
            seen._remote_max_stream_data_bidi_remote,
            seen._remote_max_data,
            seen._remote_max_idle_timeout,
        )


async def test_the_receive_buffer_is_as_large_as_asked(quic: QuicFactory) -> None:
    running = await quic(http3={"udp_receive_buffer_size": 50_000})
    assert running.listener.door is not None
    public = running.listener.door._packets._public
    # Linux doubles it, for what it keeps beside each packet (socket(7)).
    assert public.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 100_000


async def test_it_is_at_the_port_it_was_given(quic: QuicFactory) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    running = await quic(http3={"port": port})
    async with connect(port) as client:
        assert (await client.ask("GET", "/live")).status == 200
    with pytest.raises(
        Unservable, match=rf"server.http3.port: cannot listen on 127.0.0.1:{port}: Address already in use"
    ):
        await quic(http3={"port": port})
    assert quic_port(running) == port


async def test_a_certificate_whose_files_change_is_shown_to_new_connections(quic: QuicFactory, tmp_path: Path) -> None:
    running = await quic()
    async with connect(quic_port(running)) as old:
        issue(tmp_path)
        await running.listener.put_in_force(await running.listener.prepare(running.listener.gateway.settings))
        async with connect(quic_port(running)) as new:
            shown = [each._quic.tls._peer_certificate.serial_number for each in (old, new)]
            assert shown[0] != shown[1]
        assert (await old.ask("GET", "/live")).status == 200


async def test_no_more_are_let_in_than_there_may_be(quic: QuicFactory) -> None:
    running = await quic(server={"max_connections": 1})
    async with connect(quic_port(running)) as first:
        stream = first.chat(model="sim-1:stall@3,pace=1ms", stream=True)
        await stream.begun()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5), connect(quic_port(running)):
                pass
        first.leave(stream)
        await until(lambda: not running.listener.gateway.under_way.count)
        # Now it waits for nothing, and makes room.
        async with connect(quic_port(running)) as second:
            assert (await second.ask("GET", "/live")).status == 200
            await first.until(lambda: first.terminated)
    assert running.listener.gateway.served.turned_away["all"] >= 2


async def test_one_address_has_so_many_connections(quic: QuicFactory) -> None:
    running = await quic(server={"max_connections_per_address": 1})
    async with connect(quic_port(running)) as first:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5), connect(quic_port(running)):
                pass
        assert (await first.ask("GET", "/live")).status == 200
    assert running.listener.gateway.served.turned_away["address"]


async def test_handshakes_that_are_not_over_use_up_nothing_of_an_address(quic: QuicFactory) -> None:
    running = await quic(server={"max_connections_per_address": 1})
    door = running.listener.door
    assert door is not None
    # The first packet of another one, who may have written any address on it.
    forged = aioquic.quic.connection.QuicConnection(
        configuration=aioquic.quic.configuration.QuicConfiguration(alpn_protocols=["h3"], server_name="hapax.test")
    )
    forged.connect(("127.0.0.1", quic_port(running)), now=0.0)
    for packet, _ in forged.datagrams_to_send(now=0.0):
        door.take(packet, ("127.0.0.1", 9))
    assert door._visitors.unconfirmed == 1
    async with connect(quic_port(running)) as client:
        assert (await client.ask("GET", "/live")).status == 200


async def test_many_handshakes_at_once_have_clients_show_where_they_are(
    quic: QuicFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "MOST_UNCONFIRMED", 0)
    running = await quic()
    async with connect(quic_port(running)) as client:
        assert client._quic._retry_count == 1
        assert (await client.ask("GET", "/live")).status == 200


async def test_a_token_of_another_process_counts_for_none(quic: QuicFactory) -> None:
    running = await quic()
    async with connect(quic_port(running), token=b"t" * 60) as client:
        assert (await client.ask("GET", "/live")).status == 200


async def test_a_version_that_is_not_spoken_is_answered_with_those_that_are(quic: QuicFactory) -> None:
    running = await quic()
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setblocking(False)
        client.connect(("127.0.0.1", quic_port(running)))
        await loop.sock_sendall(client, b"\xc0\xba\xba\xba\xba\x08dddddddd\x08ssssssss" + bytes(1300))
        async with asyncio.timeout(10):
            answer = await loop.sock_recv(client, 2000)
        # Version 0 and the ids the other way round (RFC 8999 section 6); versions 1 and 2.
        assert answer[1:] == b"\0\0\0\0\x08ssssssss\x08dddddddd" + b"\0\0\0\1" + bytes.fromhex("6b3343cf")


async def test_connections_are_counted_like_others(quic: QuicFactory) -> None:
    running = await quic()
    served = running.listener.gateway.served
    async with connect(quic_port(running)) as client:
        assert served.by_protocol == {"http1": 0, "h3": 1}
        assert running.metric("llm_router_active_connections", type="client", protocol="h3") == 1
        await client.ask("GET", "/live")
    await until(lambda: not served.open)
    assert running.metric("llm_router_connection_duration_seconds_count", type="client", protocol="h3") == 1
    assert running.listener.door is not None
    await until(lambda: not running.listener.door or not running.listener.door._by_id)


async def test_a_fault_in_one_connection_ends_no_other(
    quic: QuicFactory, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = await quic()
    async with connect(quic_port(running)) as first, connect(quic_port(running)) as second:
        assert running.listener.door is not None
        one, _ = running.listener.door._visitors._open

        def fail(data: bytes, addr: object) -> None:
            raise KeyError("a secret")

        monkeypatch.setattr(one, "datagram_received", fail)
        reply = first.send("GET", "/live")
        assert (await reply.whole()).end == "connection closed"
        assert (await second.ask("GET", "/live")).status == 200
    assert "internal error in a connection over QUIC: KeyError" in caplog.messages


async def test_the_banner_says_where_it_is(quic: QuicFactory) -> None:
    running = await quic()
    said = banner(Loaded(Settings(), "", None, []), running.listener.gateway, running.listener.url)
    assert f"  HTTP/3         at UDP port {quic_port(running)}" in said.splitlines()


async def test_windows_stay_as_wide_as_they_were(quic: QuicFactory, simulator: Simulator) -> None:
    window = 60_000
    running = await quic(http3={"max_stream_receive_window": window, "max_connection_receive_window": window})
    async with connect(quic_port(running)) as client:
        for _ in range(2):
            asked = client.send(
                "POST",
                "/v1/chat/completions",
                ("content-type", "application/json"),
                body=json.dumps(
                    {"model": "sim-fast", "messages": [{"role": "user", "content": "x" * 500_000}]}
                ).encode(),
            )
            stream = client._quic._streams[asked.stream_id]
            widest = 0
            while not asked.end:
                widest = max(widest, stream.max_stream_data_remote - stream.sender.highest_offset)
                await asyncio.sleep(0)
            assert asked.status == 200
            assert widest <= window
            assert client._quic._remote_max_data - client._quic._remote_max_data_used <= window
    assert simulator.ledger[-1].length > 500_000


async def test_a_gateway_without_it_opens_no_door(gateway: GatewayFactory) -> None:
    running = await gateway({"server": {"http3": {"enabled": False, "port": 0}}})
    assert running.listener.door is None


def test_nothing_of_quic_is_loaded_before_it_is_asked_for() -> None:
    look = "import sys; import proxy.process.supervisor, proxy.cli; print([n for n in sys.modules if 'quic' in n])"
    found = subprocess.run([sys.executable, "-c", look], check=True, capture_output=True, text=True)
    assert found.stdout == "['proxy.process.quic']\n"


def test_without_the_library_the_start_says_what_to_install(tmp_path: Path) -> None:
    http3 = {"enabled": True, "port": 0, **issue(tmp_path)}
    settings = {"server": {"port": 0, "http3": http3}, "store": {"url": ""}}
    (tmp_path / "hapax.yaml").write_text(json.dumps(settings))
    start = "import sys; sys.modules['aioquic'] = None; from proxy.cli import main; main()"
    command = [sys.executable, "-c", start, "serve", "--config", str(tmp_path / "hapax.yaml")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "needs the extra `http3`, which is not installed: pip install aioquic" in " ".join(ended.stderr.split())
