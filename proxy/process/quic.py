"""
The way to HTTP/3, for a process that is to serve it: everything about QUIC is loaded here and nowhere before.

A process that does not serve HTTP/3 needs no library for it, neither in memory nor installed.
"""

import socket
from typing import TYPE_CHECKING

from proxy.app import Gateway
from proxy.http.connections import ClientConnections
from proxy.process.certificate import Certificate
from proxy.process.sockets import Unservable
from proxy.settings import Tls

if TYPE_CHECKING:
    from proxy.http3.door import Door


REMEMBERED = 86400
"""Seconds a client may remember that HTTP/3 is spoken here."""


def alternative(public: socket.socket) -> bytes:
    """The header line by which answers over TCP tell of the door behind this socket (RFC 7838 section 3)."""
    return b'Alt-Svc: h3=":%d"; ma=%d\r\n' % (public.getsockname()[1], REMEMBERED)


def open_door(gateway: Gateway, connections: ClientConnections, public: socket.socket, secret: bytes) -> "Door":
    """
    The door of a gateway that is served over *connections*; *public* and *secret* as for `Door`. `Unservable` where the
    library is not installed.
    """
    try:
        from proxy.http3.door import Door
    except ModuleNotFoundError as missing:
        if missing.name is None or missing.name.partition(".")[0] != "aioquic":
            raise
        raise Unservable("server.http3 needs aioquic: pip install 'hapax[http3]'") from None
    return Door(public, secret, connections, gateway.front.refuse, gateway.settings.server, gateway.served)


def certificate_of(door: "Door", gateway: Gateway) -> Certificate:
    """What that door's clients are shown, which follows its files."""
    rules = gateway.settings.server.http3
    return Certificate(Tls(cert_file=rules.tls_cert_file, key_file=rules.tls_key_file), door.read_certificate)
