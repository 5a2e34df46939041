"""
The pings of a connection with requests under way: who merely waits for an answer sends nothing, and would be taken for
a client that is gone.

An idle connection is not kept alive by us.
"""

import asyncio
from collections.abc import Callable

from proxy.http3.quic import Quic

PINGS = 3
"""How often within the idle timeout a client is asked whether it is still there."""


class Pulse:
    """That of one connection."""

    def __init__(self, quic: Quic, is_needed: Callable[[], bool], wake: Callable[[], None]) -> None:
        """*is_needed* tells whether a request is under way, *wake* sends what there is to send."""
        self._quic = quic
        self._is_needed = is_needed
        self._wake = wake
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def keep_up(self) -> None:
        """A request is under way."""
        if self._timer is None:
            self._timer = self._loop.call_later(self._quic.patience / PINGS, self._beat)

    def stop(self) -> None:
        """The connection is over."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _beat(self) -> None:
        self._timer = None
        if self._is_needed():
            self._quic.send_ping(0)
            self._wake()
            self.keep_up()
