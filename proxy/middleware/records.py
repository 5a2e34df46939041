"""
Ended exchanges on their way to those that read them: log, metrics, trails, traces and the ledger.

They are handed over many at a time: a reader's code and its tables then come into the processor's caches once for all
of them, while between the parts of every single request the same work costs three times as much. Where no other call
is under way it delays none, and is done at once. It keeps nothing for longer than `DELAY`, and changes no record.
"""

import asyncio
import logging
from collections.abc import Sequence

from proxy.core.exchange import Exchange, Observer

_log = logging.getLogger("hapax")

DELAY = 0.004
"""Seconds a record waits at most."""
MOST = 64
"""Records handed over at once; about 2 kB each, so that they do not push other things out of the caches."""


class Records:
    """The records that no observer has read yet."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = observers
        self._ended: list[Exchange] = []
        self._timer: asyncio.Handle | None = None
        self.handed_over_total = 0
        """Exchanges that every observer has been told of."""

    def add(self, exchange: Exchange, alone: bool) -> None:
        """One exchange has ended and was settled. *alone*: no other is under way."""
        ended = self._ended
        ended.append(exchange)
        if len(ended) >= MOST:
            self.hand_over()
        elif alone:
            asyncio.get_running_loop().call_soon(self.hand_over)
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(DELAY, self.hand_over)

    def replace(self, observers: Sequence[Observer]) -> None:
        """Others from now on; those before are told of what has ended by now."""
        self.hand_over()
        self._observers = observers

    def hand_over(self) -> None:
        """Let every observer read what has ended by now; for a page that is about to ask one of them."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        ended, self._ended = self._ended, []
        if not ended:
            return
        self.handed_over_total += len(ended)
        for observer in self._observers:
            try:
                observer.ended(ended)
            except Exception as error:
                # What one observer cannot read, the rest still can.
                _log.error("%s cannot read records: %s", type(observer).__name__, type(error).__name__, exc_info=error)
