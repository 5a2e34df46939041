"""A connection over QUIC: heads that do not come, clients that wait or are gone, and an end in good order."""

import asyncio
import json
from types import SimpleNamespace
from typing import cast

import pytest
from aioquic.buffer import encode_uint_var
from aioquic.h3.connection import ErrorCode

from proxy.core import tasks
from proxy.http3.connection import ClientConnection
from tests.conftest import RunningGateway
from tests.http3.conftest import QuicFactory, quic_port
from tests.rigs.quic import Client, connect
from tests.rigs.simulator import Simulator
from tests.spec.loop import until
from tests.spec.wire import calls

HEAD = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"localhost"), (b":path", b"/live")]


def ours(running: RunningGateway) -> ClientConnection:
    """Our side of the only connection."""
    assert running.listener.door is not None
    (connection,) = running.listener.door._visitors._open
    return connection


async def test_a_head_that_does_not_come_in_time_is_no_request(quic: QuicFactory) -> None:
    running = await quic(server={"read_timeout": "200ms"})
    async with connect(quic_port(running)) as client:
        reply = client.send("GET", "/live", whole=False)
        assert (await reply.whole()).status == 200
        slow = client.replies[4] = type(reply)(4)
        # The first two bytes of a HEADERS frame of 100.
        client._quic.send_stream_data(4, b"\x01\x40")
        client.transmit()
        assert (await slow.whole()).end == "H3_REQUEST_REJECTED"
        assert (await client.ask("GET", "/live")).status == 200
        await until(lambda: ours(running).idle)


async def test_a_body_that_does_not_come_in_time_is_told_so(quic: QuicFactory) -> None:
    running = await quic(server={"read_timeout": "200ms"})
    async with connect(quic_port(running)) as client:
        fields = ("content-type", "application/json"), ("content-length", "100")
        reply = await client.send("POST", "/v1/chat/completions", *fields, body=b"{", whole=False).whole()
        assert (reply.status, reply.json()["error"]["code"]) == (408, "request_timeout")
        assert (await client.ask("GET", "/live")).status == 200


async def test_a_head_that_does_not_end_is_read_to_a_limit(quic: QuicFactory) -> None:
    running = await quic(server={"max_header_bytes": "4KiB"})
    async with connect(quic_port(running)) as client:
        reply = client.replies[0] = type(client.chat())(0)
        client._quic.send_stream_data(4, b"\x01\x80\x10\x00\x00" + b"x" * 10_000)
        client.replies[4] = reply
        client.transmit()
        assert (await reply.whole()).status == 431
        assert reply.json()["error"]["code"] == "headers_too_large"
        assert (await client.ask("GET", "/live")).status == 200
        client._quic.reset_stream(4, 0x10C)
        client.transmit()
        await until(lambda: ours(running).idle and 4 not in ours(running)._deaf)


async def test_a_stream_that_ends_before_its_head_is_no_request(quic: QuicFactory) -> None:
    running = await quic()
    async with connect(quic_port(running)) as client:
        reply = client.replies[0] = type(client.send("GET", "/live"))(0)
        client._quic.send_stream_data(4, b"", end_stream=True)
        client.replies[4] = reply
        client.transmit()
        assert (await reply.whole()).end == "H3_REQUEST_INCOMPLETE"
        await until(lambda: ours(running).idle)


async def test_an_idle_connection_ends_after_the_idle_timeout(quic: QuicFactory) -> None:
    running = await quic(http3={"idle_timeout": "300ms"})
    async with connect(quic_port(running)) as client:
        assert (await client.ask("GET", "/live")).status == 200
        assert running.listener.gateway.served.open == 1
        await client.until(lambda: client.terminated)
        await until(lambda: not running.listener.gateway.served.open)


async def test_a_client_that_waits_for_its_answer_is_not_idle(quic: QuicFactory, simulator: Simulator) -> None:
    """It has nothing to send for several times the idle timeout."""
    running = await quic(http3={"idle_timeout": "1s"})
    async with connect(quic_port(running)) as client:
        reply = client.chat(model="sim-1:ttft=3s,pace=1ms", stream=True)
        assert (await reply.whole()).end == "fin"
        assert reply.body.endswith(b"data: [DONE]\n\n")


async def test_a_client_that_is_gone_without_a_word_ends_its_call(quic: QuicFactory) -> None:
    running = await quic(http3={"idle_timeout": "300ms"})
    ended = running.observed()
    async with connect(quic_port(running)) as client:
        await client.chat(model="sim-1:stall@3,pace=1ms", stream=True).begun()
        # Nothing that comes is read any more, so nothing is acknowledged.
        client.datagram_received = lambda data, addr: None  # type: ignore[method-assign]
        await until(lambda: not running.listener.gateway.under_way.count)
    running.caught_up()
    assert [each.outcome.value for each in ended] == ["client_gone"]


async def test_a_drain_says_so_first_and_lets_what_is_under_way_end(quic: QuicFactory) -> None:
    running = await quic()
    async with connect(quic_port(running)) as client:
        stream = client.chat(model="sim-1:tokens=5,pace=100ms", stream=True)
        await stream.begun()
        draining = tasks.start(running.listener.drain(0.3, 10), "drain")
        await client.until(lambda: client.went_away)
        # Asked all the same before the door closes, it is answered.
        assert (await client.ask("GET", "/ready")).status == 503
        assert client.went_away == [2**62 - 4]
        await client.until(lambda: len(client.went_away) == 2)
        assert client.went_away[1] == client._quic.get_next_available_stream_id()
        late = client.send("GET", "/live")
        assert (await late.whole()).end == "H3_REQUEST_REJECTED"
        assert (await stream.whole()).end == "fin"
        assert stream.body.endswith(b"data: [DONE]\n\n")
        await client.until(lambda: client.terminated)
        assert client.terminated is not None
        assert client.terminated.error_code == 0x100
        await draining


async def test_who_connects_while_it_drains_is_answered_and_told(quic: QuicFactory) -> None:
    running = await quic()
    draining = tasks.start(running.listener.drain(1, 10), "drain")
    await until(lambda: running.listener.gateway.under_way.draining)
    async with connect(quic_port(running)) as client:
        assert (await client.ask("GET", "/live")).status == 200
        await client.until(lambda: client.went_away)
        await draining
        await client.until(lambda: client.terminated)


async def test_what_has_not_ended_in_time_is_cut_with_a_word(quic: QuicFactory) -> None:
    running = await quic()
    async with connect(quic_port(running)) as client:
        stream = client.chat(model="sim-1:forever,pace=5ms", stream=True)
        await stream.begun()
        await running.listener.drain(0, 0.3)
        assert (await stream.whole()).end == "H3_INTERNAL_ERROR"
        assert b'"code":"shutting_down"' in stream.body.split(b"\n\n")[-2]


async def test_no_one_is_let_in_once_the_door_is_shut(quic: QuicFactory) -> None:
    running = await quic()
    await running.listener.drain(0, 1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5), connect(quic_port(running)):
            pass


async def test_a_stop_at_once_tells_clients(quic: QuicFactory) -> None:
    running = await quic()
    async with connect(quic_port(running)) as client:
        stream = client.chat(model="sim-1:stall@3,pace=1ms", stream=True)
        await stream.begun()
        await running.listener.stop()
        assert (await stream.whole()).end == "connection closed"


async def test_a_client_goes_on_from_another_address(quic: QuicFactory) -> None:
    """As one that leaves a wireless network in the middle of a stream (RFC 9000 section 9)."""
    running = await quic()
    ended = running.observed()
    async with connect(quic_port(running)) as client:
        stream = client.chat(model="sim-1:tokens=20,pace=50ms", stream=True)
        await stream.begun()
        before = client._transport.get_extra_info("sockname")[1]
        old = await move(client)
        after = client._transport.get_extra_info("sockname")[1]
        assert before != after
        assert (await client.ask("GET", "/live")).status == 200
        assert (await stream.whole()).end == "fin"
        assert stream.body.endswith(b"data: [DONE]\n\n")
        assert ours(running).quic.get_peer_address()[1] == after
        assert running.listener.gateway.served.open == 1
        old.close()
    running.caught_up()
    assert {each.outcome.value for each in ended} == {"ok"}


async def test_where_a_packet_says_it_comes_from_is_believed_once_that_address_has_answered(quic: QuicFactory) -> None:
    """A sender can be forged, and limits and logs go by the client's address (RFC 9000 section 9.3)."""
    running = await quic()
    door = running.listener.door
    assert door is not None
    async with connect(quic_port(running)) as client:
        assert (await client.ask("GET", "/live")).status == 200
        home = client._transport.get_extra_info("sockname")
        sent: list[bytes] = []
        transport = client._transport
        client._transport = cast(asyncio.DatagramTransport, SimpleNamespace(sendto=lambda data, to: sent.append(data)))
        client.send("GET", "/live")
        client._transport = transport
        for packet in sent:
            door.take(packet, ("127.0.0.9", 9))
        assert ours(running).quic.get_peer_address() == ("127.0.0.9", 9)
        (stream,) = ours(running)._streams.values()
        assert stream.peername is not None
        assert stream.peername[:2] == home[:2]


async def move(client: Client) -> asyncio.DatagramTransport:
    """Have the client send from another port from now on; returns what it had before."""
    old = client._transport
    await client._loop.create_datagram_endpoint(lambda: client, local_addr=("127.0.0.1", 0))
    assert client._transport is not old
    client.change_connection_id()
    return old


async def test_what_is_no_packet_of_ours_is_passed_over(quic: QuicFactory) -> None:
    running = await quic()
    door = running.listener.door
    assert door is not None
    for data in (b"", b"x", b"\xc0" * 1300, b"\xc0\0\0\0\x01\x08" + b"d" * 1300, bytes(1300)):
        door.take(data, ("127.0.0.1", 9))
    assert not door._visitors._open
    async with connect(quic_port(running)) as client:
        assert (await client.ask("GET", "/live")).status == 200


async def test_a_client_that_breaks_the_protocol_is_told_and_its_calls_end(quic: QuicFactory) -> None:
    running = await quic()
    async with connect(quic_port(running)) as client:
        stream = client.chat(model="sim-1:stall@3,pace=1ms", stream=True)
        await stream.begun()
        number = client._quic.get_next_available_stream_id()
        # A DATA frame before any head.
        client._quic.send_stream_data(number, b"\x00\x01x")
        client.transmit()
        await client.until(lambda: client.terminated)
        assert client.terminated is not None
        assert client.terminated.error_code == 0x105
        await until(lambda: not running.listener.gateway.under_way.count)


async def test_calls_of_many_clients_side_by_side(quic: QuicFactory) -> None:
    running = await quic()

    async def one(number: int) -> None:
        async with connect(quic_port(running)) as client:
            replies = [client.chat(model=f"sim-fast:id={number}-{each}", stream=bool(each % 2)) for each in range(5)]
            for each, reply in enumerate(replies):
                await reply.whole()
                assert (reply.status, reply.end) == (200, "fin")
                first = reply.body.removeprefix(b"data: ").partition(b"\n\n")[0]
                assert json.loads(first)["id"] == f"chatcmpl-{number}-{each}"

    async with asyncio.TaskGroup() as group:
        for number in range(8):
            group.create_task(one(number))


async def test_a_body_longer_than_it_says_reaches_no_provider_and_ends_the_connection(
    quic: QuicFactory, simulator: Simulator
) -> None:
    running = await quic()
    async with connect(quic_port(running)) as client:
        fields = ("content-type", "application/octet-stream"), ("content-length", "10")
        client.send("POST", "/v1/files", *fields, body=b"0123456789GET /smuggled HTTP/1.1\r\n\r\n", whole=False)
        await client.until(lambda: client.terminated)
        assert client.terminated is not None
        assert client.terminated.error_code == ErrorCode.H3_MESSAGE_ERROR
    await until(lambda: not running.listener.gateway.under_way.count)
    assert [call for call in calls(simulator) if b"smuggled" in call.target + call.body] == []


async def test_trailers_without_an_end_are_not_kept(quic: QuicFactory) -> None:
    running = await quic()
    async with connect(quic_port(running)) as client:
        fields = ("content-type", "application/json"), ("content-length", "100")
        reply = client.send("POST", "/v1/chat/completions", *fields, body=b"{", whole=False)
        client._quic.send_stream_data(reply.stream_id, b"\x01" + encode_uint_var(2**30) + b"x" * 200_000)
        client.transmit()
        await client.until(lambda: client.terminated)
        assert client.terminated is not None
        assert client.terminated.error_code == ErrorCode.H3_EXCESSIVE_LOAD
