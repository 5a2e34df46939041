"""
Why calls fail now, and what the error log is told of it: each cause once a minute, with the number of calls.

A decision of records and times alone: it reads no clock and writes no line. What a client did wrong is no cause, nor is
an answer that takes longer than its client waits, or the end of a gateway that was told to stop.
"""

from dataclasses import dataclass
from typing import Any

from proxy.core.errors import KINDS
from proxy.core.exchange import Exchange, Outcome
from proxy.observe.ending import ending

PERIOD = 60.0
"""Seconds between two lines about one cause."""

Cause = tuple[str, str]
"""An error code, and the provider that was asked last; empty where none was."""


@dataclass(frozen=True, slots=True)
class Told:
    """What is to be said of a cause."""

    count: int
    """Calls that failed by it since it was last told of."""
    seconds: float
    """How long that was; 0 where the cause is new, or back after a while."""
    last: Exchange
    """The last of them."""

    @property
    def message(self) -> str:
        """A sentence for people."""
        calls = "a call" if self.count == 1 else f"{self.count} calls"
        where = f" at {self.last.provider}" if self.last.provider else ""
        return f"{calls} failed{where}: {self.last.error_code or self.last.outcome.value}"

    def fields(self) -> dict[str, Any]:
        """The same for machines."""
        call = self.last
        ended_by, phase = ending(call)
        return {
            "event": "calls_failed",
            "stage": "finalize",
            "error_code": call.error_code,
            "provider": call.provider,
            "model": call.model,
            "count": self.count,
            "seconds": round(self.seconds, 3),
            "request_id": call.id,
            "correlation_id": call.correlation_id,
            "trace_id": call.trace_id,
            "operation": call.route,
            "status": call.status,
            "ended_by": ended_by,
            "phase": phase,
            "reason": call.attempts[-1].reason if call.attempts else "",
        }


_TOLD = ("shutting_down", "internal_error")
"""Codes of which a line of its own is written where they arise."""


class _Standing:
    """What is known of one cause."""

    def __init__(self, told_at: float) -> None:
        self.told_at = told_at
        """When it was told of last."""
        self.untold = 0
        """Calls that failed since then."""
        self.last: Exchange | None = None
        """The last of these."""


class Failing:
    """The causes that are known."""

    def __init__(self) -> None:
        self._known: dict[Cause, _Standing] = {}
        self.waiting = 0
        """Calls that failed and of which nothing has been told yet."""

    def note(self, exchange: Exchange, now: float) -> Told | None:
        """A call has ended; what is to be said at once: of the first call of a cause, and after each minute of it."""
        if not is_fault(exchange):
            return None
        cause = (exchange.error_code, exchange.provider)
        standing = self._known.get(cause)
        if standing is None or (standing.last is None and now >= standing.told_at + PERIOD):
            # It is new, or back after a while.
            self._known[cause] = _Standing(now)
            return Told(1, 0.0, exchange)
        standing.untold += 1
        standing.last = exchange
        self.waiting += 1
        return self._take(standing, now) if now >= standing.told_at + PERIOD else None

    def due(self, now: float) -> list[Told]:
        """What is to be said by now of causes that nothing was told of for a minute."""
        found = [each for each in self._known.values() if now >= each.told_at + PERIOD]
        return [told for each in found if (told := self._take(each, now)) is not None]

    def rest(self, now: float) -> list[Told]:
        """All that has not been told yet."""
        return [told for each in self._known.values() if (told := self._take(each, now)) is not None]

    def _take(self, standing: _Standing, now: float) -> Told | None:
        last, count = standing.last, standing.untold
        if last is None:
            return None
        seconds, standing.told_at = now - standing.told_at, now
        standing.untold, standing.last = 0, None
        self.waiting -= count
        return Told(count, seconds, last)


def is_fault(exchange: Exchange) -> bool:
    """Whether a call failed by the fault of the gateway or of its providers."""
    if exchange.outcome not in (Outcome.FAILED, Outcome.CUT) or exchange.error_code in _TOLD:
        return False
    if exchange.shared:
        # The call that pays for the answer knows who was asked and why it failed, and stands for all that shared it.
        return False
    if exchange.attempts and exchange.attempts[-1].out_of_time:
        return False
    kind = KINDS.get(exchange.error_code)
    # Some of what only a client can mend has a status of 5xx.
    return kind is None or kind.type != "invalid_request_error"
