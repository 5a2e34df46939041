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


async def open_door(gateway: Gateway, connections: ClientConnections, bound: socket.socket) -> "Door":
    """
    The door of a gateway that is served over *connections*, reading from the socket *bound*; answers over TCP tell of
    it. `Unservable` where the library is not installed.
    """
    try:
        from proxy.http3.door import Door
    except ModuleNotFoundError as missing:
        if missing.name is None or missing.name.partition(".")[0] != "aioquic":
            raise
        raise Unservable("server.http3 needs aioquic: pip install 'hapax[http3]'") from None
    door = Door(connections, gateway.front.refuse, gateway.settings.server, gateway.served)
    await door.open(bound)
    gateway.front.alternative = door.alternative
    return door


def certificate_of(door: "Door", gateway: Gateway) -> Certificate:
    """What that door's clients are shown, which follows its files."""
    rules = gateway.settings.server.http3
    return Certificate(Tls(cert_file=rules.tls_cert_file, key_file=rules.tls_key_file), door.read_certificate)
