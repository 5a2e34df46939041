"""
The connections to one provider: those that wait to be used again, and how a new one comes about.

What becomes of a call stands in `http_call`. Nothing here follows redirects, keeps cookies or reads proxy variables.
"""

import asyncio
import ipaddress
import random
import socket
import ssl
from collections import deque
from functools import lru_cache
from typing import cast
from urllib.parse import urlsplit

import aiohappyeyeballs

from proxy.core import clock
from proxy.upstream.connection import Connection
from proxy.upstream.http_call import HttpCall
from proxy.upstream.tunnel import ForwardProxy, address_in
from proxy.upstream.wire import Sink

KEEP_ALIVE = 15.0
"""Seconds an idle connection may wait, shortened at random by up to a third so that they do not all end at once."""
RECEIVE_BUFFER = 128 * 1024
"""Bytes the kernel is asked to hold of an answer, besides those that have been read; Linux takes twice as many."""
READ_SIZE = 64 * 1024
"""
Bytes one read brings at most without TLS: what a client that does not read makes us hold, beside its own write buffer.
"""
DNS_TTL = 60.0
"""Seconds an answer of the resolver is used; when the resolver fails, the last answer serves on."""
HAPPY_EYEBALLS_DELAY = 0.25
"""Seconds before the next address is tried beside a silent one (RFC 8305)."""


@lru_cache(maxsize=1)
def verified_tls() -> ssl.SSLContext:
    """Certificates and host names are checked, TLS 1.2 is the least; SSL_CERT_FILE adds a private authority."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


class Connections:
    """The pool of one provider's base URL."""

    def __init__(
        self,
        base_url: str,
        connect_timeout: float,
        keep_alive: float = KEEP_ALIVE,
        forward_proxy: ForwardProxy | None = None,
    ) -> None:
        """
        *connect_timeout* in seconds covers name lookup, TCP, the tunnel and TLS together. With a *forward_proxy* it is
        that one which looks up the provider's name.
        """
        self._host, self._port = address_in(base_url)
        self._tls = verified_tls() if urlsplit(base_url).scheme == "https" else None
        self._forward_proxy = forward_proxy
        self._next_hop = (forward_proxy.host, forward_proxy.port) if forward_proxy else (self._host, self._port)
        self._connect_timeout = connect_timeout
        self._keep_alive = keep_alive
        # The mutable state: connections waiting to be used again, calls still connecting, and every open connection.
        self._idle: deque[Connection] = deque()
        self._connecting: set[HttpCall] = set()
        self._open: set[Connection] = set()
        self._opened_total = 0
        self._read_buffer = memoryview(bytearray(READ_SIZE))
        self._addresses: list[aiohappyeyeballs.AddrInfoType] = []
        self._resolved_at = 0.0
        self._sweep: asyncio.TimerHandle | None = None
        self._all_closed = asyncio.Event()

    def __repr__(self) -> str:
        return (
            f"<Connections {self._host}:{self._port} "
            f"[{len(self._open)} open, {len(self._idle)} idle, {len(self._connecting)} connecting]>"
        )

    @property
    def counts(self) -> tuple[int, int, int]:
        """Connections in use and idle now, and how many were made so far."""
        idle = len(self._idle)
        return len(self._open) - idle, idle, self._opened_total

    def send(self, request: bytes, sink: Sink, repeatable: bool = True, body: bytes = b"") -> HttpCall:
        """
        Send a complete request: *request*, and the rest of it in *body* where that is too large to be copied. One that
        is not *repeatable* gets a fresh connection: it must never meet a stale one and have to be sent again.
        """
        call = HttpCall(self._connect, self._connecting, request, sink, complete=True, body=body)
        connection = self._take_idle() if repeatable else None
        if connection is not None:
            call.use(connection)
        else:
            call.connect()
        return call

    def send_streamed(self, head: bytes, sink: Sink) -> HttpCall:
        """
        Send a request whose body follows through the call's `write` and `finish`. It always gets a fresh connection:
        its body cannot be sent twice, so it must not meet a stale one.
        """
        call = HttpCall(self._connect, self._connecting, head, sink, complete=False)
        call.connect()
        return call

    async def close(self) -> None:
        """Close every connection and stop connecting."""
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        connecting = [call.cancel() for call in list(self._connecting)]
        await asyncio.gather(*(task for task in connecting if task is not None), return_exceptions=True)
        self._idle.clear()
        if self._open:
            self._all_closed.clear()
            for connection in list(self._open):
                connection.abandon()
            await self._all_closed.wait()

    def _take_idle(self) -> Connection | None:
        now = clock.now()
        while self._idle:
            # The most recently used first: the rest may age and close.
            connection = self._idle.pop()
            if connection.usable and connection.expires > now:
                return connection
            connection.abandon()
        return None

    def _released(self, connection: Connection, reusable: bool) -> None:
        if not reusable:
            if connection.transport is None:
                self._open.discard(connection)
                if connection in self._idle:
                    self._idle.remove(connection)
                if not self._open:
                    self._all_closed.set()
            return
        connection.expires = clock.now() + self._keep_alive * (1.0 - random.random() / 3)
        self._idle.append(connection)
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(self._keep_alive, self._close_expired)

    def _close_expired(self) -> None:
        self._sweep = None
        now = clock.now()
        while self._idle and self._idle[0].expires <= now:
            self._idle.popleft().abandon()
        if self._idle:
            self._sweep = asyncio.get_running_loop().call_later(self._keep_alive, self._close_expired)

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(self._connect_timeout):
            sock = await aiohappyeyeballs.start_connection(
                await self._resolve(), happy_eyeballs_delay=HAPPY_EYEBALLS_DELAY, interleave=1
            )
            try:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
                if self._forward_proxy is not None:
                    await self._forward_proxy.open(sock, self._host, self._port)
                _, connection = await loop.create_connection(
                    lambda: Connection(self._released, self._read_buffer),
                    sock=sock,
                    ssl=self._tls,
                    server_hostname=self._host if self._tls else None,
                )
            except BaseException:
                sock.close()
                raise
        if connection.transport is not None:
            # It may have been lost already, and would then never be taken out again.
            self._open.add(connection)
            self._opened_total += 1
        return connection

    async def _resolve(self) -> list[aiohappyeyeballs.AddrInfoType]:
        now = clock.now()
        if self._addresses and now - self._resolved_at < DNS_TTL:
            return self._addresses
        host, port = self._next_hop
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            pass
        else:
            family = socket.AF_INET if address.version == 4 else socket.AF_INET6
            self._addresses = [(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port))]
            self._resolved_at = float("inf")
            return self._addresses
        try:
            found = await asyncio.get_running_loop().getaddrinfo(
                host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
            )
            self._addresses = cast(list[aiohappyeyeballs.AddrInfoType], found)
        except OSError:
            if not self._addresses:
                raise
        self._resolved_at = now
        return self._addresses
