"""
How long each phase of an attempt may take.

Numbers only; `attempt` keeps the time.
"""

import math
from dataclasses import dataclass


@dataclass(slots=True)
class Clocks:
    """Seconds each phase may take."""

    first_token: float
    """Before the first content of a stream: from the request, or from the last sign of life since."""
    idle: float
    """Without a sign of life once the answer has begun."""
    total: float
    """From the request to the end of an answer that is not streamed, or to the first content of one that is."""
    patience: float = math.inf
    """Time without content after which another target is asked beside this one, if there is one; `inf`: never."""
    strict: bool = False
    """`first_token` holds even for the last target there is; otherwise that one may take as long as `total`."""
    stream: float = math.inf
    """From the first content of a stream to its end, however lively it is; `inf`: no limit."""

    def within(self, left: float) -> "Clocks":
        """The same with no more than *left* seconds in all."""
        # The moment that has passed since the exchange began is no reason to make new ones.
        if left >= self.total - 0.01:
            return self
        return Clocks(self.first_token, self.idle, max(0.0, left), self.patience, self.strict, self.stream)
