"""
The way to HTTP/3, for a process that is to serve it: everything about QUIC is loaded here and nowhere before.

A process that does not serve HTTP/3 needs no library for it, neither in memory nor installed.
"""

import socket
from typing import TYPE_CHECKING

from proxy.gateway.gateway import Gateway
from proxy.http.connections import ClientConnections
from proxy.process.sockets import Unservable
from proxy.process.tls import tls_of
from proxy.settings import Settings, Tls

if TYPE_CHECKING:
    from proxy.http3.door import Door
    from proxy.http3.terms import Terms


REMEMBERED = 86400
"""Seconds a client may remember that HTTP/3 is spoken here."""


def alternative(public: socket.socket) -> bytes:
    """The header line by which answers over TCP tell of the door behind this socket (RFC 7838 section 3)."""
    return b'Alt-Svc: h3=":%d"; ma=%d\r\n' % (public.getsockname()[1], REMEMBERED)


def terms(settings: Settings) -> "Terms":
    """What new connections of a door get by these settings. `OSError`: the certificate cannot be used."""
    from proxy.http3.terms import terms_of

    http3 = settings.server.http3
    # A pair that does not fit together only TLS itself finds out.
    tls_of(Tls(cert_file=http3.tls_cert_file, key_file=http3.tls_key_file))
    return terms_of(settings.server)


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
        raise Unservable("server.http3 needs aioquic: pip install aioquic") from None
    return Door(public, secret, connections, gateway.refuse, gateway.settings.server, gateway.served)
