"""What a connection is given by its door: what is asked of every client, and whom it tells of its ids and its end."""

from dataclasses import dataclass
from typing import Protocol, TypeVar

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
