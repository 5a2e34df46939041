"""
The UDP socket of HTTP/3, and the connections behind it: each packet finds its own by the id it is addressed to.

That is how a connection goes on when its client's address changes, and when another process takes over the socket. What
is asked on connections is their own affair.
"""

import asyncio
import logging
import os
import socket
from typing import Any, cast

from aiohttp import web
from aioquic.buffer import Buffer  # type: ignore[attr-defined]  # it is of C, without types
from aioquic.quic.configuration import SMALLEST_MAX_DATAGRAM_SIZE
from aioquic.quic.packet import (
    QuicHeader,
    QuicPacketType,
    encode_quic_retry,
    encode_quic_version_negotiation,
    pull_quic_header,
)
from aioquic.quic.retry import QuicRetryTokenHandler

from proxy.http.connections import Served
from proxy.http3.connection import ClientConnection
from proxy.http3.ids import LENGTH, ConnectionIds
from proxy.http3.packets import Packets
from proxy.http3.quic import Quic
from proxy.http3.stream import Application
from proxy.http3.terms import Terms, terms_of
from proxy.http3.visitors import Visitors
from proxy.settings.server import Server as Rules

MOST_UNCONFIRMED = 64
"""Handshakes under way above which a client must first show that it is where it says it is (RFC 9000 section 8.1.2)."""
_log = logging.getLogger("hapax")


class Door:
    """That of one process."""

    def __init__(
        self, public: socket.socket, secret: bytes, server: web.Server, refuse: Any, rules: Rules, served: Served
    ) -> None:
        """
        *public* is the socket that clients know, read from now on; *secret* is shared with the processes that read it
        before and after. *server* is aiohttp's for the application, *refuse* answers what never gets to it, *served* is
        told of connections. `OSError` when the certificate cannot be read.
        """
        self._terms = terms_of(rules)
        self._application = Application(server.request_handler, server.request_factory, refuse)
        self._visitors = Visitors(rules, served)
        self._loop = asyncio.get_running_loop()
        self._retry = QuicRetryTokenHandler()
        self._by_id: dict[bytes, ClientConnection] = {}
        self._ids: dict[ClientConnection, set[bytes]] = {}
        self._announced = self._shut = False
        self._packets = Packets(public, self.take, self.take_passed_on)
        self._new_ids = ConnectionIds(secret, self._packets.own_port)
        self.port = served.udp_port = self._packets.port
        """The UDP port."""

    # What a server does with it.

    def obey(self, terms: Terms) -> None:
        """Have connections that come from now on get these."""
        self._terms = terms

    def announce_end(self) -> None:
        """Ask every client, and those still to come, to make its next requests elsewhere."""
        self._announced = True
        for connection in self._visitors.all:
            connection.announce_end()

    def shut(self) -> None:
        """Let no new connection in, and no new request; connections close after their last answer."""
        self._shut = True
        for connection in self._visitors.all:
            connection.end_soon()

    async def emptied(self) -> None:
        """Wait until every connection is closed, which is when the last bytes have arrived."""
        await self._visitors.gone.wait()

    def stop(self) -> None:
        """Close everything at once."""
        self._shut = True
        for connection in self._visitors.all:
            connection.drop()
        self._packets.close()

    def hand_over(self) -> None:
        """Another process reads the socket from now on, and passes on what is for connections of this one."""
        self._packets.stop_reading()

    # What comes.

    def take(self, data: bytes, addr: Any) -> None:
        """A packet that a client sent from *addr*."""
        try:
            header = pull_quic_header(Buffer(data=data), host_cid_length=LENGTH)
        except ValueError:
            return
        known = self._by_id.get(header.destination_cid)
        if known is None and (port := self._new_ids.elsewhere(header.destination_cid)) is not None:
            self._packets.pass_on(port, data, addr)
            return
        if known is None and len(data) >= SMALLEST_MAX_DATAGRAM_SIZE and header.version is not None:
            known = self._greet(header, addr)
        if known is not None:
            self._hand(known, data, addr)

    def take_passed_on(self, data: bytes, addr: Any) -> None:
        """A packet that another process has read, for one of our connections or none."""
        try:
            header = pull_quic_header(Buffer(data=data), host_cid_length=LENGTH)
        except ValueError:
            return
        known = self._by_id.get(header.destination_cid)
        if known is not None:
            self._hand(known, data, addr)

    def _hand(self, known: ClientConnection, data: bytes, addr: Any) -> None:
        try:
            known.datagram_received(data, addr)
        except Exception as fault:
            # Of the library or ours: it ends the connection it came with, and no other.
            _log.error("internal error in a connection over QUIC: %s", type(fault).__name__, exc_info=fault)
            known.drop()

    # What a connection tells.

    def issued(self, connection_id: bytes, connection: ClientConnection) -> None:
        """Packets to this id are the connection's from now on."""
        self._by_id[connection_id] = connection
        self._ids[connection].add(connection_id)

    def retired(self, connection_id: bytes) -> None:
        """They are no more."""
        connection = self._by_id.pop(connection_id, None)
        if connection is not None:
            self._ids[connection].discard(connection_id)

    def completed(self, connection: ClientConnection) -> None:
        """Its handshake is over: the client is where it says it is."""
        if not self._visitors.confirm(connection):
            connection.drop()
        elif self._announced:
            connection.announce_end()

    def closed(self, connection: ClientConnection) -> None:
        """One side has closed it, and nothing is sent on it any more; may be told more than once."""
        self._visitors.leave(connection)

    def ended(self, connection: ClientConnection) -> None:
        """No packet to it can come any more."""
        for connection_id in self._ids.pop(connection, ()):
            del self._by_id[connection_id]

    # New connections.

    def _greet(self, header: QuicHeader, address: Any) -> ClientConnection | None:
        """The connection that a client's first packet makes; None where it makes none."""
        versions = self._terms.configuration.supported_versions
        if header.packet_type is QuicPacketType.VERSION_NEGOTIATION:
            # Answered, two servers could be made to answer each other for ever.
            return None
        if header.version is None or header.version not in versions:
            self._packets.sendto(
                encode_quic_version_negotiation(
                    source_cid=header.destination_cid, destination_cid=header.source_cid, supported_versions=versions
                ),
                address,
            )
            return None
        if header.packet_type is not QuicPacketType.INITIAL or self._shut:
            return None
        if not self._visitors.has_room(str(address[0])):
            return None
        if header.token:
            asked = header.destination_cid
            try:
                original = self._retry.validate_token(
                    address=address, destination_cid=asked, token=header.token, now=self._loop.time()
                )
            except ValueError:
                # One of an earlier process, which counts for none (RFC 9000 section 8.1.3).
                pass
            else:
                return self._let_in(header, address, original, asked)
        if self._visitors.unconfirmed >= MOST_UNCONFIRMED:
            self._ask_back(header, header.version, address)
            return None
        return self._let_in(header, address, header.destination_cid, None)

    def _ask_back(self, header: QuicHeader, version: int, address: Any) -> None:
        """Have the client show that it gets what is sent to its address, at the cost of a round trip."""
        retried = os.urandom(LENGTH)
        token = self._retry.create_token(
            address=address,
            original_destination_connection_id=header.destination_cid,
            retry_source_connection_id=retried,
            now=self._loop.time(),
        )
        again = encode_quic_retry(
            version=version,
            source_cid=retried,
            destination_cid=header.source_cid,
            original_destination_cid=header.destination_cid,
            retry_token=token,
        )
        self._packets.sendto(again, address)

    def _let_in(self, header: QuicHeader, address: Any, original: bytes, retried: bytes | None) -> ClientConnection:
        terms = self._terms
        quic = Quic(
            terms.configuration,
            self._new_ids.make,
            *terms.streams,
            original_destination_connection_id=original,
            retry_source_connection_id=retried,
            **terms.resumption,
        )
        connection = ClientConnection(quic, self._application, terms.bounds, self, str(address[0]))
        # All that it does with it is to send.
        connection.connection_made(cast(asyncio.DatagramTransport, self._packets))
        self._ids[connection] = set()
        self.issued(header.destination_cid, connection)
        self.issued(quic.host_cid, connection)
        self._visitors.enter(connection)
        return connection
