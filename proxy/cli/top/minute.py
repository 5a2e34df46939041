"""
What the calls of the last minute amount to: all of them, and those of each provider and key.

Counted second by second, so that memory grows with providers and keys and not with calls. Times are kept to two
digits, which is what their percentiles are right within.
"""

from collections import Counter
from dataclasses import dataclass, field

from proxy.cli.top.calls import Call

SPAN = 60
"""Seconds that are counted."""
LIMITED = frozenset(("rate_limit_exceeded", "insufficient_quota"))
"""Errors by which a key hears that a limit or its budget is used up (docs/errors.md)."""

Owner = tuple[str, str]
"""What figures are of: `provider` or `key` and its name; twice nothing for all calls."""
ALL: Owner = ("", "")


@dataclass(slots=True)
class Figures:
    """Counts, each of calls unless it says otherwise."""

    calls: int = 0
    refused: int = 0
    """By this gateway: 4xx."""
    limited: int = 0
    """Turned away because a limit or the budget of the key was used up."""
    failed: int = 0
    """Without an answer, or cut."""
    gone: int = 0
    """Left by their client."""
    prompt: int = 0
    completion: int = 0
    """Tokens."""
    cost: int = 0
    """Millionths of a dollar."""
    attempts: int = 0
    lost: int = 0
    """Attempts that failed."""
    first: Counter[float] = field(default_factory=Counter)
    """Milliseconds to the first token, and how many calls took so long."""
    took: Counter[float] = field(default_factory=Counter)

    def count(self, call: Call) -> None:
        """One more call."""
        self.calls += 1
        self.refused += call.outcome == "refused"
        # A provider's limit fails a call, one of ours refuses it.
        self.limited += call.outcome == "refused" and call.error in LIMITED
        self.failed += call.outcome in ("failed", "cut")
        self.gone += call.outcome == "client_gone"
        self.prompt += call.prompt or 0
        self.completion += call.completion or 0
        self.cost += call.cost or 0
        self.took[rounded(call.took_ms)] += 1
        if call.first_ms is not None:
            self.first[rounded(call.first_ms)] += 1

    def subtract(self, other: "Figures") -> None:
        """Forget what *other* has counted."""
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) - getattr(other, name))
        for mine, theirs in ((self.first, other.first), (self.took, other.took)):
            mine.subtract(theirs)
            for value in theirs:
                if not mine[value]:
                    del mine[value]

    def copy(self) -> "Figures":
        """The same figures, which stay as they are."""
        counts = {name: getattr(self, name) for name in _COUNTS}
        return Figures(**counts, first=Counter(self.first), took=Counter(self.took))


_COUNTS = (
    *("calls", "refused", "limited", "failed", "gone"),
    *("prompt", "completion", "cost", "attempts", "lost"),
)


def rounded(milliseconds: float) -> float:
    """To two digits."""
    return float(f"{milliseconds:.2g}")


def quantile(times: Counter[float], share: float) -> float | None:
    """The time within which *share* of them lie; None where there are none."""
    left = share * times.total()
    for value in sorted(times):
        left -= times[value]
        if left <= 0:
            return value
    return None


class Minute:
    """Figures of each owner."""

    def __init__(self) -> None:
        self._seconds: dict[int, dict[Owner, Figures]] = {}
        self._sums: dict[Owner, Figures] = {}

    def add(self, call: Call, now: float) -> None:
        """Count *call*, unless it ended before the last minute. *now*: seconds since 1970."""
        # Clocks are not quite the same: what ended in the future has ended now.
        second = min(int(call.ended), int(now))
        if second <= int(now) - SPAN:
            return
        counted = self._seconds.setdefault(second, {})
        for kept in (counted, self._sums):
            kept.setdefault(ALL, Figures()).count(call)
            if call.key:
                kept.setdefault(("key", call.key), Figures()).count(call)
            if call.provider:
                kept.setdefault(("provider", call.provider), Figures()).count(call)
            for provider, failure in call.attempts:
                figures = kept.setdefault(("provider", provider), Figures())
                figures.attempts += 1
                figures.lost += bool(failure)

    def forget(self, now: float) -> None:
        """Let go what is more than a minute ago at *now*."""
        for second in [second for second in self._seconds if second <= int(now) - SPAN]:
            for owner, figures in self._seconds.pop(second).items():
                self._sums[owner].subtract(figures)
                if not self._sums[owner].calls and not self._sums[owner].attempts:
                    del self._sums[owner]

    def of(self, owner: Owner) -> Figures:
        """What was counted of *owner*."""
        return self._sums.get(owner, Figures()).copy()
