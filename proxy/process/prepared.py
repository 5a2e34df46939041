"""
Another configuration of a listener, made and not in force: all that may fail is done here, while it can be taken back.

What is in force, and how another takes its place, is `listener`'s.
"""

import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from proxy.gateway.configured import Configured
from proxy.gateway.gateway import Gateway
from proxy.process.certificate import expiries
from proxy.process.quic import terms
from proxy.process.sockets import Unservable, metrics_socket, moves_metrics
from proxy.process.tls import tls_of
from proxy.settings import Problem, Settings, SettingsError

if TYPE_CHECKING:
    from proxy.http3.terms import Terms


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a configuration asks for."""

    configured: Configured
    tls: ssl.SSLContext | None
    listening: list[socket.socket]
    """Copies of the sockets that clients are accepted on, for those to come; empty where they are met as before."""
    metrics: socket.socket | None
    """The socket of another `metrics.port`, bound; None where that stays as it is, or there is none."""
    http3: "Terms | None"
    """What new connections over QUIC get; None where HTTP/3 is not served."""
    certificates: dict[str, float]
    """When each certificate expires, see `certificate`."""

    def close(self) -> None:
        """It is not put in force after all: let go of its sockets."""
        for each in self.listening:
            each.close()
        if self.metrics is not None:
            self.metrics.close()


async def prepared(
    gateway: Gateway,
    settings: Settings,
    listening: Sequence[socket.socket],
    metrics: socket.socket | None,
    serves_http3: bool,
) -> Prepared:
    """
    What *settings* ask of *gateway*, which accepts clients on *listening*; `SettingsError` for what cannot be had.
    *metrics*: the socket of another `metrics.port`, where it has been opened; it is closed when this fails.
    """
    before = gateway.settings
    accepting: list[socket.socket] = []
    try:
        context = tls_of(settings.server.tls)
        if metrics is None and moves_metrics(before.metrics, settings.metrics) and settings.metrics.port:
            metrics = metrics_socket(settings)
        http3 = terms(settings) if serves_http3 else None
        certificates = expiries(settings.server)
        if context is not None or before.server.tls is not None:
            # A certificate may be another one under the same name.
            accepting = copies(listening)
        configured = await gateway.prepare(settings)
        return Prepared(configured, context, accepting, metrics, http3, certificates)
    except BaseException as error:
        for each in (*accepting, *([] if metrics is None else [metrics])):
            each.close()
        if isinstance(error, OSError):
            reason = error.strerror or str(error)
            raise SettingsError([Problem("server.tls", f"the certificate cannot be used: {reason}")]) from None
        if isinstance(error, ValueError | Unservable):
            path, _, words = str(error).partition(": ")
            raise SettingsError([Problem(path, words) if words else Problem("", path)]) from None
        raise


def copies(sockets: Sequence[socket.socket]) -> list[socket.socket]:
    """Of sockets that clients are accepted on: what the kernel has accepted is in the queue of both."""
    made: list[socket.socket] = []
    try:
        for each in sockets:
            made.append(each.dup())
    except OSError:
        for copy in made:
            copy.close()
        raise
    return made
