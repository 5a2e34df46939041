"""
The listening sockets of a gateway: opened once, so that workers share them, and come and go without a refused client.

Every worker accepts from the same socket. With one socket for each (SO_REUSEPORT) a worker that ends takes along the
connections the kernel had given it and it had not accepted (measured: 55 of 100 reset, against 0).
"""

import os
import socket

from proxy.settings import Metrics, Settings


class Unservable(Exception):
    """The gateway must not serve with these settings and keys; the message says why and what to do."""


class Sockets:
    """Those of one configuration."""

    def __init__(self, settings: Settings) -> None:
        """Opens them: `OSError` when the clients' address cannot be had, `Unservable` when one of the others cannot."""
        server = settings.server
        self.clients = _open(server.host, server.port)
        self.metrics: socket.socket | None = None
        self.http3: socket.socket | None = None
        self.secret = os.urandom(16)
        """By which processes that read from the one for HTTP/3, one after the other, know each other's connections."""
        try:
            if settings.metrics.port:
                self.metrics = metrics_socket(settings)
            if server.http3.enabled:
                self.http3 = _beside("server.http3.port", server.host, server.http3.port, socket.SOCK_DGRAM)
                # The system may give less (net.core.rmem_max), which costs packets in a burst and nothing else.
                self.http3.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, server.http3.udp_receive_buffer_size)
        except Unservable:
            self.close()
            raise

    @property
    def all(self) -> list[socket.socket]:
        """Whichever there are."""
        return [each for each in (self.clients, self.metrics, self.http3) if each is not None]

    def close(self) -> None:
        """Listen no more, in this process."""
        for each in self.all:
            each.close()


def moves_metrics(before: Metrics, after: Metrics) -> bool:
    """Whether the port for metrics is another one, or comes or goes."""
    if not before.port and not after.port:
        return False
    return (before.host, before.port) != (after.host, after.port)


def metrics_socket(settings: Settings) -> socket.socket:
    """One bound to `metrics.port`, which must not be 0; `Unservable` when it cannot be."""
    return _beside("metrics.port", settings.metrics.host, settings.metrics.port, socket.SOCK_STREAM)


def _beside(setting: str, host: str, port: int, kind: socket.SocketKind) -> socket.socket:
    try:
        return _open(host, port, kind)
    except OSError as error:
        raise Unservable(f"{setting}: cannot listen on {host}:{port}: {error.strerror or error}") from None


def _open(host: str, port: int, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
    family, _, protocol, _, address = socket.getaddrinfo(host, port, type=kind, flags=socket.AI_PASSIVE)[0]
    listening = socket.socket(family, kind, protocol)
    try:
        if kind is socket.SOCK_STREAM:
            # For UDP it would let a second process take half of the packets.
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except BaseException:
        listening.close()
        raise
    return listening
