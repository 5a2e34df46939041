"""Early data: what may be asked with the first packet, what must be asked again, and how much of it is taken."""

import json
from typing import Any

import pytest
from aioquic.quic.packet import QuicPacketType
from aioquic.tls import SessionTicket

from proxy.http3.early import EarlyData, Tickets, is_too_early
from tests.conftest import RunningGateway
from tests.http3.conftest import QuicFactory, quic_port
from tests.rigs.quic import Client, Reply, connect

CALL = {"model": "sim-fast", "messages": [{"role": "user", "content": "Hello"}]}


async def ticket_of(running: RunningGateway) -> SessionTicket:
    """What a client gets with its first connection."""
    tickets: list[SessionTicket] = []
    async with connect(quic_port(running), tickets=tickets) as client:
        assert (await client.ask("GET", "/live")).status == 200
    return tickets[0]


def ask_early(client: Client, method: str, path: str, body: bytes | None = None) -> Reply:
    """A request that goes with the first packet."""
    fields = [("content-type", "application/json")] if body else []
    return client.send(method, path, *fields, body=body)


async def early(running: RunningGateway, method: str, path: str, body: bytes | None = None) -> tuple[Reply, Client]:
    async with connect(quic_port(running), ticket=await ticket_of(running), wait=False) as client:
        return await ask_early(client, method, path, body).whole(), client


async def test_a_get_in_early_data_is_answered(quic: QuicFactory) -> None:
    reply, client = await early(await quic(), "GET", "/live")
    assert (reply.status, client.early_accepted) == (200, True)


async def test_a_post_in_early_data_is_to_be_sent_again(quic: QuicFactory) -> None:
    running = await quic()
    ended = running.observed()
    call = json.dumps(CALL).encode()
    async with connect(quic_port(running), ticket=await ticket_of(running), wait=False) as client:
        reply = await ask_early(client, "POST", "/v1/chat/completions", call).whole()
        assert (reply.status, client.early_accepted) == (425, True)
        error = reply.json()["error"]
        assert (error["code"], error["request_id"]) == ("too_early", reply.header("x-request-id"))
        # Which a browser does by itself (RFC 8470 section 5.2).
        again = await ask_early(client, "POST", "/v1/chat/completions", call).whole()
        assert again.status == 200
    running.caught_up()
    assert [(each.status, each.error_code) for each in ended] == [(200, ""), (425, "too_early"), (200, "")]


async def test_a_post_in_early_data_is_answered_where_the_operator_allows_it(quic: QuicFactory) -> None:
    running = await quic(http3={"allow_0rtt_replay": True})
    reply, client = await early(running, "POST", "/v1/chat/completions", json.dumps(CALL).encode())
    assert (reply.status, client.early_accepted) == (200, True)


async def test_a_ticket_works_once_so_that_a_copy_of_a_first_packet_does_nothing(quic: QuicFactory) -> None:
    running = await quic(http3={"allow_0rtt_replay": True})
    ticket = await ticket_of(running)
    for accepted in (True, False):
        async with connect(quic_port(running), ticket=ticket, wait=False) as client:
            assert (await ask_early(client, "GET", "/live").whole()).status == 200
            assert client.early_accepted is accepted


async def test_no_early_data_is_taken_where_it_is_switched_off(quic: QuicFactory) -> None:
    running = await quic(http3={"enable_0rtt": False})
    tickets: list[SessionTicket] = []
    async with connect(quic_port(running), tickets=tickets) as client:
        assert (await client.ask("GET", "/live")).status == 200
    assert tickets == []


@pytest.mark.parametrize(("most", "status"), [(4000, 425), (0, 200)])
async def test_early_data_beyond_its_limit_is_read_after_the_handshake(
    quic: QuicFactory, most: int, status: int
) -> None:
    """A request of 2,000 bytes: its end comes when nothing is early any more, and its beginning with it."""
    running = await quic(http3={"max_0rtt_size": most})
    body = json.dumps({**CALL, "user": "u" * 2000}).encode()
    reply, client = await early(running, "POST", "/v1/chat/completions", body)
    assert (reply.status, client.early_accepted) == (status, True)


def packets(*kinds: QuicPacketType) -> bytes:
    """A datagram of packets of 100 bytes after their head, as the door sees them: nothing in them can be read."""
    first = {QuicPacketType.INITIAL: 0xC0, QuicPacketType.ZERO_RTT: 0xD0, QuicPacketType.HANDSHAKE: 0xE0}
    made = b""
    for kind in kinds:
        token = b"\0" if kind is QuicPacketType.INITIAL else b""
        made += (
            bytes([first[kind]])
            + b"\0\0\0\1"
            + b"\x08"
            + b"d" * 8
            + b"\x08"
            + b"s" * 8
            + token
            + b"\x40\x74"
            + b"x" * 116
        )
    return made


INITIAL, ZERO_RTT, HANDSHAKE = QuicPacketType.INITIAL, QuicPacketType.ZERO_RTT, QuicPacketType.HANDSHAKE


@pytest.mark.parametrize(
    ("most", "came", "kept"),
    [
        (100, [INITIAL, ZERO_RTT], [INITIAL, ZERO_RTT]),
        (99, [INITIAL, ZERO_RTT], [INITIAL]),
        (150, [INITIAL, ZERO_RTT, ZERO_RTT, HANDSHAKE], [INITIAL, ZERO_RTT, HANDSHAKE]),
        (0, [ZERO_RTT], []),
        (0, [INITIAL, HANDSHAKE], [INITIAL, HANDSHAKE]),
    ],
)
def test_packets_of_early_data_are_counted_and_the_rest_is_left_alone(
    most: int, came: list[QuicPacketType], kept: list[QuicPacketType]
) -> None:
    left = EarlyData(most).within(packets(*came))
    assert left.rstrip(b"\0") == packets(*kept)
    assert len(left) == len(packets(*came))


def test_padding_behind_the_packets_stays() -> None:
    datagram = packets(INITIAL) + bytes(1000)
    assert EarlyData(0).within(datagram) == datagram


def test_the_limit_is_that_of_a_connection() -> None:
    early_data = EarlyData(150)
    assert [any(early_data.within(packets(ZERO_RTT))) for _ in range(3)] == [True, False, False]


def test_the_oldest_ticket_makes_room() -> None:
    tickets = Tickets(most=2)
    for label in (b"1", b"2", b"3"):
        tickets.keep(_ticket(label))
    assert [tickets.take(label) is not None for label in (b"1", b"2", b"3", b"3")] == [False, True, True, False]


def _ticket(label: bytes) -> Any:
    class Ticket:
        ticket = label

    return Ticket()


@pytest.mark.parametrize(
    ("method", "allowed", "expected"),
    [
        *[(method, False, False) for method in ("GET", "HEAD", "OPTIONS")],
        *[(method, False, True) for method in ("POST", "DELETE", "UNKNOWN")],
        ("POST", True, False),
    ],
)
def test_what_changes_something_is_too_early_unless_allowed(method: str, allowed: bool, expected: bool) -> None:
    assert is_too_early(method, allowed) is expected
