"""
The last exchanges, each with all that was tried for it, for an operator who asks what became of one; an observer.

In memory only: what is kept for good is the ledger's.
"""

from collections import deque
from collections.abc import Sequence

from proxy.core.exchange import Exchange

REMEMBERED = 1000
"""Exchanges whose trail is kept."""


class Trails:
    """The exchanges, the oldest first."""

    def __init__(self) -> None:
        self._exchanges: deque[Exchange] = deque(maxlen=REMEMBERED)

    def ended(self, exchanges: Sequence[Exchange]) -> None:
        """Remember them, and forget the oldest."""
        for exchange in exchanges:
            if exchange.attempts or exchange.skipped or exchange.shared:
                # It was written by now, if the settings want that, and is kept nowhere else.
                exchange.content = None
                self._exchanges.append(exchange)

    def find(self, request_id: str) -> Exchange | None:
        """The exchange of that id, if it is still remembered; of those that a client gave the same id the last one."""
        return next((each for each in reversed(self._exchanges) if each.id == request_id), None)
