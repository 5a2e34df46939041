"""What an exchange holds of its caller's limits, of places and of the queue, until its end. Values only."""

from dataclasses import dataclass

from proxy.limits.limit import Reservation
from proxy.limits.policy import Applying
from proxy.limits.queue import Queue


@dataclass(slots=True)
class Held:
    """What an exchange holds until its end."""

    applying: Applying
    unpriced: bool = False
    """No price list says what it costs, and its answer tells no tokens either."""
    reservation: Reservation | None = None
    place: Reservation | None = None
    """Its places among calls at once, of a session, which keeps them when what else it has reserved is settled."""
    running: Queue | None = None
    """The queue in whose running part it has a place."""
    lender: "Held | None" = None
    """The session that has lent its places to this response, until that ends."""
