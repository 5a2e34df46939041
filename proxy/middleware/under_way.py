"""
The exchanges under way in this process, and whether it still takes others.

It counts and tells; what ends is told to it by `front`, when the process ends is decided in `process.server`.
"""

import asyncio
from collections.abc import Sequence

from proxy.core.exchange import Exchange


class UnderWay:
    """Exchanges that have begun and not ended."""

    def __init__(self) -> None:
        self._exchanges: dict[int, Exchange] = {}
        self.routes: Sequence[str] = ()
        """Every route there is."""
        self.draining = False
        """The process is about to stop: every answer closes its connection."""
        self.closing = False
        """No new connection is accepted any more: a connection ends with its exchange."""
        self.idle = asyncio.Event()
        """No exchange is under way."""
        self.idle.set()

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._exchanges)

    def by_route(self) -> dict[str, int]:
        """The same by route; every route there is, so that a series exists before its first call."""
        counts = dict.fromkeys(self.routes, 0)
        for exchange in self._exchanges.values():
            counts[exchange.route] = counts.get(exchange.route, 0) + 1
        return counts

    def begin(self, exchange: Exchange) -> None:
        """It is under way from now on."""
        if not self._exchanges:
            self.idle.clear()
        self._exchanges[id(exchange)] = exchange

    def end(self, exchange: Exchange) -> None:
        """It has ended."""
        del self._exchanges[id(exchange)]
        if not self._exchanges:
            self.idle.set()
