"""
How fast a target answers of late: a peak-sensitive moving average of the time to its first content.

First content and not the end, since how long an answer is says nothing about the target. It measures nothing itself
and compares nothing: `balance` does.
"""

import math

DECAY = 10.0
"""Seconds after which a peak has lost 63 % of its height (Finagle's default)."""
PATIENCE = 6.0
"""With calls in flight, silence forgets this many times slower: see `score`."""
PENALTY = 5.0
"""Seconds a refusal counts as (linkerd's penalty); doubled while refusals keep coming."""
MAX_PENALTY = 60.0
"""Seconds a refusal counts as at most."""


class PeakEwma:
    """Goes up to a worse sample at once, and down to better ones with time."""

    def __init__(self, decay: float = DECAY) -> None:
        """*decay* in seconds."""
        self._decay = decay
        self._value = 0.0
        self._at: float | None = None

    def __repr__(self) -> str:
        return "<PeakEwma unknown>" if self._at is None else f"<PeakEwma {self._value * 1000:.0f} ms>"

    def observe(self, seconds: float, now: float) -> None:
        """An answer's first content came after *seconds*."""
        if seconds < self._value:
            seconds += (self._value - seconds) * self._weight(now, self._decay)
        self._value = seconds
        self._at = now

    def penalise(self, now: float) -> None:
        """A 429, a 5xx or a loss: however fast it came, it must not look fast."""
        remembered = self._value * self._weight(now, self._decay)
        self._value = max(remembered, min(MAX_PENALTY, max(PENALTY, 2 * remembered)))
        self._at = now

    def score(self, now: float, in_flight: int) -> float:
        """
        What the next call may expect, for comparing targets; less is better.

        In silence a bad value fades, so that a target not chosen is asked again one day. With calls in flight the
        first of them to return will tell, and it fades slowly, so that one call goes out to find out and not a
        hundred. A target never heard of counts as fast while idle and as slow while it owes us an answer.
        """
        if self._at is None:
            return PENALTY * (in_flight + 1) if in_flight else 0.0
        decay = self._decay * PATIENCE if in_flight else self._decay
        return self._value * self._weight(now, decay) * (in_flight + 1)

    def _weight(self, now: float, decay: float) -> float:
        return 0.0 if self._at is None else math.exp(-max(0.0, now - self._at) / decay)
