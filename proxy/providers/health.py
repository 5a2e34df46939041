"""
What the active checks of one provider have found: healthy or not, after how many failures, how fast.

It judges results that are handed in; sending a check and its rhythm are left to `checks`. Calls do not count here, and
a good check does not close a breaker.
"""


class ActiveHealth:
    """The health of one provider; unknown counts as healthy, since a start must not look like an outage."""

    def __init__(self, failure_threshold: int) -> None:
        """*failure_threshold* bad checks in a row make it unhealthy; one good one restores it."""
        self.failure_threshold = failure_threshold
        self.healthy = True
        self.consecutive_fails = 0
        """Bad checks since the last good one."""
        self.last_check: float | None = None
        """When the last check ended, in monotonic seconds; None before the first."""
        self.latency_ms = 0
        """Milliseconds the last check took, whole ones as the health pages show them."""

    def __repr__(self) -> str:
        if self.last_check is None:
            return "<ActiveHealth unknown>"
        word = "healthy" if self.healthy else "unhealthy"
        return f"<ActiveHealth {word} [{self.consecutive_fails} failed in a row, {self.latency_ms} ms]>"

    def record(self, ok: bool, now: float, latency: float) -> bool:
        """A check ended well or not after *latency* seconds; whether the provider's health changed by it."""
        self.last_check = now
        self.latency_ms = round(latency * 1000)
        before = self.healthy
        if ok:
            self.consecutive_fails = 0
            self.healthy = True
        else:
            self.consecutive_fails += 1
            if self.consecutive_fails >= self.failure_threshold:
                self.healthy = False
        return self.healthy is not before
