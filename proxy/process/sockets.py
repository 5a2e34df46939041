"""
The listening sockets of a gateway: opened once, so that workers share them, and come and go without a refused client.

Every worker accepts from the same socket. With one socket for each (SO_REUSEPORT) a worker that ends takes along the
connections the kernel had given it and it had not accepted (measured: 55 of 100 reset, against 0).
"""

import socket

from proxy.settings import Metrics, Settings


class Unservable(Exception):
    """The gateway must not serve with these settings and keys; the message says why and what to do."""


class Sockets:
    """Those of one configuration."""

    def __init__(self, settings: Settings) -> None:
        """Opens them: `OSError` when the clients' address cannot be had, `Unservable` when that for metrics cannot."""
        self.clients = _open(settings.server.host, settings.server.port)
        self.metrics: socket.socket | None = None
        if settings.metrics.port:
            try:
                self.metrics = metrics_socket(settings)
            except Unservable:
                self.clients.close()
                raise

    @property
    def all(self) -> list[socket.socket]:
        """Whichever there are."""
        return [self.clients] if self.metrics is None else [self.clients, self.metrics]

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
    host, port = settings.metrics.host, settings.metrics.port
    try:
        return _open(host, port)
    except OSError as error:
        raise Unservable(f"metrics.port: cannot listen on {host}:{port}: {error.strerror or error}") from None


def _open(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except BaseException:
        listening.close()
        raise
    return listening
