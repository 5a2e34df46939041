"""
How long each phase of an attempt may take.

Numbers only; `attempt` keeps the time.
"""

import math
from dataclasses import dataclass


@dataclass(init=False, slots=True)
class Clocks:
    """Seconds each phase may take."""

    first_token: float
    """From the request to the first content of a stream."""
    idle: float
    """Without progress once the answer has begun: an event with data in a stream, any byte elsewhere."""
    total: float
    """From the request to the end of an answer that is not streamed, or to the first content of one that is."""
    patience: float
    """Silence after which another target is asked beside this one, if there is one."""
    strict: bool
    """`first_token` holds even for the last target there is; otherwise that one may take as long as `total`."""

    def __init__(
        self, first_token: float, idle: float, total: float, patience: float = math.inf, strict: bool = False
    ) -> None:
        self.first_token = first_token
        self.idle = idle
        self.total = total
        self.patience = patience
        self.strict = strict

    def within(self, left: float) -> "Clocks":
        """The same with no more than *left* seconds in all."""
        # The moment that has passed since the exchange began is no reason to make new ones.
        if left >= self.total - 0.01:
            return self
        return Clocks(self.first_token, self.idle, max(0.0, left), self.patience, self.strict)
