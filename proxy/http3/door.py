"""
The UDP socket of HTTP/3, and the connections behind it: each packet finds its own by the id it is addressed to.

That is how a connection goes on when its client's address changes, and why one process reads the socket. New
connections are bounded here like those over TCP. What is asked on them is their own affair.
"""

import asyncio
import logging
import os
import socket
from collections import Counter
from itertools import islice
from typing import Any, cast

from aiohttp import web
from aioquic.buffer import Buffer  # type: ignore[attr-defined]
from aioquic.quic.configuration import SMALLEST_MAX_DATAGRAM_SIZE, QuicConfiguration
from aioquic.quic.packet import (
    QuicHeader,
    QuicPacketType,
    encode_quic_retry,
    encode_quic_version_negotiation,
    pull_quic_header,
)
from aioquic.quic.retry import QuicRetryTokenHandler

from proxy.http.address import within
from proxy.http.connections import LOOKED_AT, Served
from proxy.http.files import affordable_connections
from proxy.http3.connection import ClientConnection
from proxy.http3.early import CONNECTION_ID, Tickets
from proxy.http3.quic import Quic
from proxy.http3.stream import Application
from proxy.http3.terms import Bounds
from proxy.settings.server import Server as Rules

H3 = "h3"
"""How metrics call it."""
MOST_UNCONFIRMED = 64
"""Handshakes under way above which a client must first show that it is where it says it is (RFC 9000 section 8.1.2)."""
REMEMBERED = 86400
"""Seconds a client may remember that HTTP/3 is spoken here."""

_log = logging.getLogger("hapax")


class Door(asyncio.DatagramProtocol):
    """What reads the socket, once it is open."""

    def __init__(self, server: web.Server, refuse: Any, rules: Rules, served: Served) -> None:
        """
        *server* is aiohttp's for the application, *refuse* answers what never gets to it, *served* is told of
        connections. `OSError` when the certificate cannot be read.
        """
        http3 = rules.http3
        self._files = http3.tls_cert_file, http3.tls_key_file
        self._configuration = QuicConfiguration(
            alpn_protocols=["h3"],
            connection_id_length=CONNECTION_ID,
            idle_timeout=http3.idle_timeout or 30.0,
            is_client=False,
            max_data=http3.max_connection_receive_window,
            max_stream_data=http3.max_stream_receive_window,
        )
        self.read_certificate()
        self._streams = http3.max_bi_streams_concurrent or 100, http3.max_uni_streams_concurrent or 100
        tickets = Tickets() if http3.enable_0rtt else None
        self._resumption: dict[str, Any] = (
            {} if tickets is None else {"session_ticket_fetcher": tickets.take, "session_ticket_handler": tickets.keep}
        )
        self._application = Application(server.request_handler, server.request_factory, refuse)
        self._bounds = Bounds(
            rules.read_timeout,
            rules.write_timeout,
            rules.max_header_bytes,
            http3.max_0rtt_size,
            http3.allow_0rtt_replay,
        )
        self._most = rules.max_connections or affordable_connections()
        self._most_of_one = rules.max_connections_per_address
        self._is_proxy = within(rules.trusted_proxies)
        self._served = served
        served.by_protocol[H3] = 0
        self._loop = asyncio.get_running_loop()
        self._retry = QuicRetryTokenHandler()
        self._by_id: dict[bytes, ClientConnection] = {}
        self._ids: dict[ClientConnection, set[bytes]] = {}
        # In the order they came.
        self._open: dict[ClientConnection, None] = {}
        self._of_address: Counter[str] = Counter()
        self._unconfirmed: set[ClientConnection] = set()
        self._transport: asyncio.DatagramTransport | None = None
        self._announced = self._shut = False
        self._all_closed = asyncio.Event()
        self._all_closed.set()
        self.port = 0
        """The UDP port, once it is open."""

    # What a server does with it.

    async def open(self, bound: socket.socket) -> None:
        """Read from this socket, which is the door's from now on."""
        await self._loop.create_datagram_endpoint(lambda: self, sock=bound)

    @property
    def alternative(self) -> bytes:
        """The header line by which an answer over TCP tells of this door (RFC 7838 section 3)."""
        return b'Alt-Svc: h3=":%d"; ma=%d\r\n' % (self.port, REMEMBERED)

    def read_certificate(self) -> None:
        """Have new connections get the certificate as its files are now."""
        certificate, key = self._files
        fresh = QuicConfiguration(is_client=False)
        fresh.load_cert_chain(certificate, key)
        known = self._configuration
        known.certificate, known.certificate_chain = fresh.certificate, fresh.certificate_chain
        known.private_key = fresh.private_key

    def announce_end(self) -> None:
        """Ask every client, and those still to come, to make its next requests elsewhere."""
        self._announced = True
        for connection in list(self._open):
            connection.announce_end()

    def shut(self) -> None:
        """Let no new connection in, and no new request; connections close after their last answer."""
        self._shut = True
        for connection in list(self._open):
            connection.end_soon()

    async def emptied(self) -> None:
        """Wait until every connection is closed, which is when the last bytes have arrived."""
        await self._all_closed.wait()

    def stop(self) -> None:
        """Close everything at once."""
        self._shut = True
        for connection in list(self._open):
            connection.drop()
        if self._transport is not None:
            self._transport.close()

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)
        self.port = self._served.udp_port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: Any) -> None:
        try:
            header = pull_quic_header(Buffer(data=data), host_cid_length=CONNECTION_ID)
        except ValueError:
            return
        known = self._by_id.get(header.destination_cid)
        if known is None and len(data) >= SMALLEST_MAX_DATAGRAM_SIZE and header.version is not None:
            known = self._greet(header, addr)
        if known is None:
            return
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
        self._unconfirmed.discard(connection)
        if self._announced:
            connection.announce_end()

    def closed(self, connection: ClientConnection) -> None:
        """One side has closed it, and nothing is sent on it any more; may be told more than once."""
        if connection not in self._open:
            return
        del self._open[connection]
        self._unconfirmed.discard(connection)
        self._served.by_protocol[H3] -= 1
        self._served.on_closed(H3, self._loop.time() - connection.opened)
        self._of_address[connection.address] -= 1
        if not self._of_address[connection.address]:
            del self._of_address[connection.address]
        if not self._open:
            self._all_closed.set()

    def ended(self, connection: ClientConnection) -> None:
        """No packet to it can come any more."""
        for connection_id in self._ids.pop(connection, ()):
            del self._by_id[connection_id]

    # New connections.

    def _greet(self, header: QuicHeader, address: Any) -> ClientConnection | None:
        """The connection that a client's first packet makes; None where it makes none."""
        assert self._transport is not None
        versions = self._configuration.supported_versions
        if header.packet_type is QuicPacketType.VERSION_NEGOTIATION:
            # Answered, two servers could be made to answer each other for ever.
            return None
        if header.version not in versions:
            self._transport.sendto(
                encode_quic_version_negotiation(
                    source_cid=header.destination_cid, destination_cid=header.source_cid, supported_versions=versions
                ),
                address,
            )
            return None
        if header.packet_type is not QuicPacketType.INITIAL or self._shut or not self._has_room(str(address[0])):
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
        if len(self._unconfirmed) >= MOST_UNCONFIRMED:
            self._ask_back(header, address)
            return None
        return self._let_in(header, address, header.destination_cid, None)

    def _ask_back(self, header: QuicHeader, address: Any) -> None:
        """Have the client show that it gets what is sent to its address, at the cost of a round trip."""
        assert self._transport is not None
        assert header.version is not None
        retried = os.urandom(CONNECTION_ID)
        token = self._retry.create_token(
            address=address,
            original_destination_connection_id=header.destination_cid,
            retry_source_connection_id=retried,
            now=self._loop.time(),
        )
        again = encode_quic_retry(
            version=header.version,
            source_cid=retried,
            destination_cid=header.source_cid,
            original_destination_cid=header.destination_cid,
            retry_token=token,
        )
        self._transport.sendto(again, address)

    def _let_in(self, header: QuicHeader, address: Any, original: bytes, retried: bytes | None) -> ClientConnection:
        assert self._transport is not None
        quic = Quic(
            self._configuration,
            *self._streams,
            original_destination_connection_id=original,
            retry_source_connection_id=retried,
            **self._resumption,
        )
        connection = ClientConnection(quic, self._application, self._bounds, self, str(address[0]))
        connection.connection_made(self._transport)
        self._ids[connection] = set()
        self.issued(header.destination_cid, connection)
        self.issued(quic.host_cid, connection)
        self._open[connection] = None
        self._unconfirmed.add(connection)
        self._of_address[connection.address] += 1
        self._served.by_protocol[H3] += 1
        self._all_closed.clear()
        return connection

    def _has_room(self, address: str) -> bool:
        """Whether there may be one more connection; the oldest without a request makes room for it."""
        if self._most_of_one and self._of_address[address] >= self._most_of_one and not self._is_proxy(address):
            self._served.turned_away["address"] += 1
            return False
        if len(self._open) < self._most:
            return True
        self._served.turned_away["all"] += 1
        dispensable = next((each for each in islice(self._open, LOOKED_AT) if each.idle), None)
        if dispensable is not None:
            dispensable.drop()
        return dispensable is not None
