"""
The last calls, each with all that was tried for it, for an operator who asks what became of them; an observer.

In memory only: what is kept for good is the ledger's.
"""

from collections import deque
from collections.abc import Iterator, Sequence

from proxy.core.exchange import Exchange
from proxy.core.housekeeping import is_call

REMEMBERED = 1000
"""Calls that are kept."""


class Trails:
    """The calls, the oldest first."""

    def __init__(self) -> None:
        self._exchanges: deque[Exchange] = deque(maxlen=REMEMBERED)
        self._total = 0

    def ended(self, exchanges: Sequence[Exchange]) -> None:
        """Remember them, and forget the oldest."""
        for exchange in exchanges:
            if is_call(exchange):
                # It was written by now, if the settings want that, and is kept nowhere else.
                exchange.content = None
                self._exchanges.append(exchange)
                self._total += 1

    def find(self, request_id: str) -> Exchange | None:
        """The call of that id, if it is still remembered; of those that a client gave the same id the last one."""
        return next((each for each in reversed(self._exchanges) if each.id == request_id), None)

    def newest_first(self) -> Iterator[tuple[int, Exchange]]:
        """The calls, each with its place among all there were; the first is 1."""
        number = self._total
        for exchange in reversed(self._exchanges):
            yield number, exchange
            number -= 1

    @property
    def complete_since(self) -> float:
        """The moment, in monotonic seconds, behind which no call is missing here; 0 where none was forgotten yet."""
        return self._exchanges[0].ended if self._total > len(self._exchanges) else 0.0
