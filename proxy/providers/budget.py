"""
How many extra attempts the traffic may cost: retries, or hedges, as a share of all requests.

A token bucket in which every request leaves a fraction of a token and every extra attempt takes a whole one. It does
not say whether an attempt makes sense, and no attempt waits for tokens: with none left, the first error stands.
"""

EPSILON = 1e-9
"""Tokens; ten deposits of a tenth must buy one attempt, though in floating point they are a little less than 1."""


class RetryBudget:
    """Tokens for extra attempts. Over any time: granted <= reserve + trickle * seconds + ratio * requests."""

    def __init__(self, ratio: float, reserve: float = 20.0, trickle: float = 1.0, cap: float = 100.0) -> None:
        """
        *ratio* tokens per request. The floor for quiet times, when a share of few requests is less than one attempt:
        *reserve* tokens at the start and *trickle* tokens per second. Never more than *cap*, so that a quiet hour does
        not pay for a storm.
        """
        self._ratio = ratio
        self._trickle = trickle
        self._cap = cap
        self._tokens = reserve
        self._filled_at: float | None = None
        self.granted_total = 0
        self.refused_total = 0

    def __repr__(self) -> str:
        return f"<RetryBudget {self._tokens:.1f} tokens [{self.granted_total} granted, {self.refused_total} refused]>"

    def note_request(self, now: float) -> None:
        """A client's request came in, whatever becomes of it; its extra attempts are not noted."""
        self._fill(now, self._ratio)

    def withdraw(self, now: float) -> bool:
        """Take the token of one extra attempt; False when it must not be made."""
        self._fill(now, 0.0)
        if self._tokens < 1.0 - EPSILON:
            self.refused_total += 1
            return False
        self._tokens = max(0.0, self._tokens - 1.0)
        self.granted_total += 1
        return True

    def tokens(self, now: float) -> float:
        """What is left, for an operator to see."""
        self._fill(now, 0.0)
        return self._tokens

    def _fill(self, now: float, deposit: float) -> None:
        elapsed = 0.0 if self._filled_at is None else now - self._filled_at
        self._filled_at = now
        self._tokens = min(self._cap, self._tokens + self._trickle * elapsed + deposit)
