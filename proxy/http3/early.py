"""
Early data: what a client that comes back sends with its first packet, before it has proved that it is there.

An attacker can send such a packet a second time (RFC 8446 section 8). Tickets are therefore taken once, and what is
asked early is judged here; the answer to what must not be is `too_early`.
"""

from collections import OrderedDict

from aioquic.buffer import Buffer  # type: ignore[attr-defined]  # it is of C, without types
from aioquic.quic.packet import QuicPacketType, pull_quic_header
from aioquic.tls import SessionTicket

from proxy.http3.ids import LENGTH

MOST_TICKETS = 10_000
"""Tickets kept, about 2 kB each; the oldest makes room, and its client begins anew."""
SAFE = frozenset(("GET", "HEAD", "OPTIONS"))
"""Methods that change nothing however often they are sent (RFC 9110 section 9.2.1)."""
_TAG = 16
"""Bytes at the end of a packet by which it is authenticated (RFC 9001 section 5.3)."""


class Tickets:
    """The tickets given to clients, by which they resume. Not shared: after a restart every client begins anew."""

    def __init__(self, most: int = MOST_TICKETS) -> None:
        self._most = most
        self._tickets: OrderedDict[bytes, SessionTicket] = OrderedDict()

    def keep(self, ticket: SessionTicket) -> None:
        """A client was given this one."""
        self._tickets[ticket.ticket] = ticket
        if len(self._tickets) > self._most:
            self._tickets.popitem(last=False)

    def take(self, label: bytes) -> SessionTicket | None:
        """The ticket a client shows. It works once: a first packet that comes again finds none, and no early data."""
        return self._tickets.pop(label, None)


class EarlyData:
    """How much of it one connection may send."""

    def __init__(self, most: int) -> None:
        """*most*: bytes."""
        self._left = most

    def within(self, datagram: bytes) -> bytes:
        """
        *datagram* with padding for the early data that is too much: the client sends that again once its handshake is
        over (RFC 9001 section 4.6.2), when it is early no more. Its length says that the path takes so much (RFC 9000
        section 14.1), and stays.
        """
        buffer = Buffer(data=datagram)
        kept = b""
        while not buffer.eof():
            start = buffer.tell()
            try:
                header = pull_quic_header(buffer, host_cid_length=LENGTH)
            except ValueError:
                # Padding behind the packets.
                break
            end = start + header.packet_length
            if header.packet_type is QuicPacketType.ZERO_RTT:
                self._left -= max(0, end - buffer.tell() - _TAG)
            if header.packet_type is not QuicPacketType.ZERO_RTT or self._left >= 0:
                kept += datagram[start:end]
            buffer.seek(end)
        return kept + bytes(len(datagram) - len(kept))


def is_too_early(method: str, allow_replay: bool) -> bool:
    """Whether a request that came as early data must be sent again after the handshake (RFC 8470 section 3)."""
    return not allow_replay and method not in SAFE
