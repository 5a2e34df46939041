"""How a stream of HTTP/3 ends before its time: its client leaves, reads too slowly, or its answer breaks off."""

import asyncio
import json
import socket
import time
from typing import Any

import pytest
from aioquic.quic.packet_builder import QuicPacketBuilder
from aioquic.quic.recovery import QuicPacketSpace
from aioquic.quic.stream import QuicStream

from proxy.http3.stream import MOST_UNTAKEN
from tests.http3.conftest import QuicFactory, quic_port
from tests.rigs.clock import at_most
from tests.rigs.quic import Client, connect
from tests.rigs.simulator import Fin, Repeat, Send, Simulator
from tests.spec.loop import lag_watched, until

LIMIT = 0.1
"""Seconds between a client's leaving and the end of what was done for it."""
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def event(text: str) -> bytes:
    data = b'data: {"choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n' % text.encode()
    return b"%x\r\n%b\r\n" % (len(data), data)


class SlowReader(Client):
    """One that lets its window stand still."""

    reads = False

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        widen = self._quic._write_stream_limits

        def as_told(builder: QuicPacketBuilder, space: QuicPacketSpace, stream: QuicStream) -> None:
            if self.reads or stream.stream_id in (2, 3, 6, 7, 10, 11):
                widen(builder, space, stream)

        self._quic._write_stream_limits = as_told  # type: ignore[method-assign]

    def read(self) -> None:
        self.reads = True
        self.transmit()


@pytest.mark.parametrize("how", ["leave", "break_off", "close"])
@pytest.mark.parametrize(
    "call",
    [{"model": "sim-fault:silence"}, {"model": "sim-1:stall@3,pace=1ms", "stream": True}],
    ids=["before the head", "in a stream"],
)
async def test_a_client_that_leaves_ends_its_call_at_once(
    quic: QuicFactory, simulator: Simulator, how: str, call: dict[str, Any]
) -> None:
    running = await quic()
    ended = running.observed()
    async with lag_watched() as lag, connect(quic_port(running)) as client:
        asked = simulator.ledger.seen
        body = json.dumps({"messages": [{"role": "user", "content": "Hello"}], **call}).encode()
        # Its body is not whole on the wire where it is broken off: what is read of it is.
        reply = client.send("POST", "/v1/chat/completions", ("content-type", "application/json"), body=body)
        await simulator.seen(asked + 1)
        if "stream" in call:
            await reply.begun()
        began = time.monotonic()
        if how == "leave":
            client.leave(reply)
        elif how == "break_off":
            client.break_off(reply)
            client.leave(reply)
        else:
            client.close()
        await simulator.ledger[-1].closed()
        took = time.monotonic() - began
        await until(lambda: not running.listener.gateway.under_way.count)
    assert took - lag.worst < at_most(LIMIT)
    running.caught_up()
    assert [each.outcome.value for each in ended] == ["client_gone"]


async def test_a_request_that_is_broken_off_is_no_request(quic: QuicFactory, simulator: Simulator) -> None:
    running = await quic()
    ended = running.observed()
    async with connect(quic_port(running)) as client:
        asked = client.send(
            "POST", "/v1/chat/completions", ("content-type", "application/json"), body=b"{", whole=False
        )
        await until(lambda: running.listener.gateway.under_way.count)
        client.break_off(asked)
        assert (await asked.whole()).end == "H3_REQUEST_CANCELLED"
        await until(lambda: not running.listener.gateway.under_way.count)
        assert (await client.ask("GET", "/live")).status == 200
    running.caught_up()
    assert [each.outcome.value for each in ended] == ["client_gone", "ok"]


async def test_a_client_that_leaves_before_its_call_has_begun_is_answered_nothing(quic: QuicFactory) -> None:
    running = await quic()
    async with connect(quic_port(running)) as client:
        client.http.send_headers(
            0, [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"a"), (b":path", b"/live")]
        )
        # Both in one packet.
        client._quic.reset_stream(0, 0x10C)
        client._quic.stop_stream(0, 0x10C)
        client.transmit()
        assert (await client.ask("GET", "/live")).status == 200
        (connection,) = running.listener.door._visitors._open  # type: ignore[union-attr]
        await until(lambda: connection.idle)


async def test_an_answer_that_breaks_off_says_so_and_has_no_good_end(quic: QuicFactory) -> None:
    running = await quic()
    ended = running.observed()
    async with connect(quic_port(running)) as client:
        reply = await client.chat(model="sim-fault:rst@5", stream=True).whole()
        assert reply.end == "H3_INTERNAL_ERROR"
        *_, content, error, rest = reply.body.split(b"\n\n")
        assert b'"content"' in content
        told = json.loads(error.removeprefix(b"data: "))["error"]
        assert told["request_id"] == reply.header("x-request-id")
        assert rest == b""
        assert (await client.ask("GET", "/live")).status == 200
    running.caught_up()
    assert [each.outcome.value for each in ended] == ["cut", "ok"]


async def test_a_large_answer_that_breaks_off_arrives_as_far_as_it_came(
    quic: QuicFactory, simulator: Simulator
) -> None:
    """Many round trips lie between the last byte and the reset, which must not overtake it."""
    running = await quic()
    events = [event(f"{number:05}" + "x" * 20_000) for number in range(10)]
    simulator.script([Send(HEAD), *[Send(each) for each in events], Fin()], match="sim-large")
    async with connect(quic_port(running)) as client:
        reply = await client.chat(model="sim-large", stream=True).whole()
    assert reply.end == "H3_INTERNAL_ERROR"
    assert b"00009xxx" in reply.body
    assert b'"error"' in reply.body.split(b"\n\n")[-2]


async def test_a_slow_reader_stops_its_provider_and_goes_on_when_it_reads(
    quic: QuicFactory, simulator: Simulator
) -> None:
    running = await quic()
    simulator.script([Send(HEAD), Repeat((Send(event("x" * 30_000)),))], match="sim-flood")
    async with connect(quic_port(running), client=SlowReader, max_stream_data=10_000) as client:
        assert isinstance(client, SlowReader)
        asked = simulator.ledger.seen
        reply = client.chat(model="sim-flood", stream=True)
        await simulator.seen(asked + 1)
        (connection,) = running.listener.door._visitors._open  # type: ignore[union-attr]
        await until(lambda: connection.quic.untaken(reply.stream_id) > MOST_UNTAKEN)
        # Others on the same connection are not slowed, and while they come and go nothing more of the flood is read.
        helds = []
        for _ in range(30):
            assert (await client.ask("GET", "/live")).status == 200
            helds.append(connection.quic.untaken(reply.stream_id))
        held = helds[-1]
        assert helds[10:] == [held] * 20
        assert held < MOST_UNTAKEN + 300_000
        client.read()
        await reply.until(lambda each: len(each.body) > 2 * held)
        client.leave(reply)
        await until(lambda: not running.listener.gateway.under_way.count)


async def test_a_client_that_takes_nothing_is_given_up_after_the_write_timeout(
    quic: QuicFactory, simulator: Simulator
) -> None:
    running = await quic(server={"write_timeout": "1s"})
    ended = running.observed()
    simulator.script([Send(HEAD), Repeat((Send(event("x" * 30_000)),))], match="sim-flood")
    async with connect(quic_port(running), client=SlowReader, max_stream_data=10_000) as client:
        reply = client.chat(model="sim-flood", stream=True)
        # It is there, and asks for other things meanwhile.
        while not reply.end:
            assert (await client.ask("GET", "/live")).status == 200
        assert reply.end == "H3_REQUEST_CANCELLED"
        await until(lambda: not running.listener.gateway.under_way.count)
    running.caught_up()
    assert "client_gone" in [each.outcome.value for each in ended]


async def test_the_last_bytes_of_an_answer_are_not_kept_for_ever(quic: QuicFactory) -> None:
    running = await quic(server={"write_timeout": "500ms"})
    async with connect(quic_port(running), client=SlowReader, max_stream_data=2_000) as client:
        reply = client.chat(stream=True)
        await until(lambda: reply.status)
        while not reply.end:
            assert (await client.ask("GET", "/live")).status == 200
        assert reply.end == "H3_REQUEST_CANCELLED"
        (connection,) = running.listener.door._visitors._open  # type: ignore[union-attr]
        await until(lambda: connection.quic.delivered)


async def test_an_upload_waits_for_a_provider_that_does_not_read(quic: QuicFactory) -> None:
    """The client's window stands still, and moves on when the provider has gone."""
    window, form = 300_000, b'--xx\r\nContent-Disposition: form-data; name="model"\r\n\r\ndeaf\r\n--xx\r\n'
    form += b'Content-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    accepted: list[asyncio.StreamWriter] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(writer)

    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    listening.bind(("127.0.0.1", 0))
    deaf = await asyncio.start_server(accept, sock=listening, limit=1)
    base_url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
    running = await quic(
        http3={"max_stream_receive_window": window, "max_connection_receive_window": 2 * window},
        providers={"deaf": {"type": "compatible", "base_url": base_url, "models": ["deaf"]}},
        health_check={"enabled": False},
    )
    async with connect(quic_port(running)) as client:
        fields = ("content-type", "multipart/form-data; boundary=xx"), ("content-length", "8000000")
        asked = client.send("POST", "/v1/audio/transcriptions", *fields, body=form + bytes(6_000_000), whole=False)
        ours = client._quic._streams[asked.stream_id]
        await until(lambda: ours.sender.highest_offset == ours.max_stream_data_remote)
        (connection,) = running.listener.door._visitors._open  # type: ignore[union-attr]
        theirs = connection.quic._streams[asked.stream_id]
        # It was read from, and then it was not.
        await until(lambda: asked.stream_id in connection.quic._held)
        assert connection.quic._held[asked.stream_id] + window * 3 // 2 >= theirs.receiver.highest_offset > window
        assert theirs.receiver.highest_offset < 5_000_000
        assert (await client.ask("GET", "/live")).status == 200
        client.leave(asked)
        client.break_off(asked)
        await until(lambda: not running.listener.gateway.under_way.count)
        assert not connection.quic._held
    deaf.close()
    for writer in accepted:
        writer.transport.abort()
