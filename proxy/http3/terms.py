"""What a connection is given by its door: what is asked of every client, and whom it tells of its ids and its end."""

from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from aioquic.quic.configuration import QuicConfiguration

from proxy.http3.early import Tickets
from proxy.http3.ids import LENGTH
from proxy.settings.server import Server as Rules

Connection = TypeVar("Connection", contravariant=True)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is asked of every client."""

    read_timeout: float
    """Seconds in which a head must have come."""
    write_timeout: float
    """Seconds in which some byte must have been taken."""
    max_header_bytes: int
    max_early_bytes: int
    allow_replay: bool
    """What came as early data is answered whatever it asks."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What new connections get."""

    configuration: QuicConfiguration
    streams: tuple[int, int]
    """Streams a client may have open: of both directions, and of one."""
    resumption: dict[str, Any]
    """Where its tickets are kept and found, as aioquic's connection wants it; empty where none are given."""
    bounds: Bounds


def terms_of(rules: Rules) -> Terms:
    """Those of the settings. `OSError` or `ValueError` for a certificate that cannot be read."""
    http3 = rules.http3
    configuration = QuicConfiguration(
        alpn_protocols=["h3"],
        connection_id_length=LENGTH,
        idle_timeout=http3.idle_timeout or 30.0,
        is_client=False,
        max_data=http3.max_connection_receive_window,
        max_stream_data=http3.max_stream_receive_window,
    )
    configuration.load_cert_chain(http3.tls_cert_file, http3.tls_key_file)
    tickets = Tickets() if http3.enable_0rtt else None
    return Terms(
        configuration,
        (http3.max_bi_streams_concurrent or 100, http3.max_uni_streams_concurrent or 100),
        {} if tickets is None else {"session_ticket_fetcher": tickets.take, "session_ticket_handler": tickets.keep},
        Bounds(
            rules.read_timeout,
            rules.write_timeout,
            rules.max_header_bytes,
            http3.max_0rtt_size,
            http3.allow_0rtt_replay,
        ),
    )


class Registry(Protocol[Connection]):
    """Where connections are found by their ids."""

    def issued(self, connection_id: bytes, connection: Connection) -> None:
        """Packets to this id are the connection's from now on."""

    def retired(self, connection_id: bytes) -> None:
        """They are no more."""

    def completed(self, connection: Connection) -> None:
        """Its handshake is over: the client is where it says it is."""

    def closed(self, connection: Connection) -> None:
        """One side has closed it, and nothing is sent on it any more; may be told more than once."""

    def ended(self, connection: Connection) -> None:
        """No packet to it can come any more."""
