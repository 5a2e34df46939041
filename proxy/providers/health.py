"""
What the active checks of one provider have found: healthy or not, after how many failures, how fast.

It judges results that are handed in; sending a check and its rhythm are left to `checks`. Calls do not count here, and
a good check does not close a breaker.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HealthChange:
    """A provider became healthy or stopped being it."""

    healthy: bool
    at: float
    """Monotonic seconds."""
    checks: int
    """Checks in a row that ended the same way and brought this about."""


class ActiveHealth:
    """The health of one provider; unknown counts as healthy, since a start must not look like an outage."""

    def __init__(self, failure_threshold: int, success_threshold: int = 1) -> None:
        """Checks in a row: *failure_threshold* bad ones make it unhealthy, *success_threshold* good ones restore it."""
        self.failure_threshold = failure_threshold
        self._success_threshold = success_threshold
        self.healthy = True
        self.consecutive_fails = 0
        """Bad checks since the last good one."""
        self.error_count = 0
        """Bad checks since it was last well: the good check that finds or makes it healthy sets this to 0."""
        self.last_check: float | None = None
        """When the last check ended, in monotonic seconds; None before the first."""
        self.latency_ms = 0
        """Milliseconds the last check took, whole ones as the health pages show them."""
        self._successes = 0
        self._changes: list[HealthChange] = []

    def __repr__(self) -> str:
        if self.last_check is None:
            return "<ActiveHealth unknown>"
        word = "healthy" if self.healthy else "unhealthy"
        return f"<ActiveHealth {word} [{self.consecutive_fails} failed in a row, {self.latency_ms} ms]>"

    def record(self, ok: bool, now: float, latency: float) -> None:
        """A check ended well or not after *latency* seconds."""
        self.last_check = now
        self.latency_ms = round(latency * 1000)
        if ok:
            self.consecutive_fails = 0
            self._successes += 1
            if not self.healthy and self._successes >= self._success_threshold:
                self._change(True, now, self._successes)
            if self.healthy:
                self.error_count = 0
        else:
            self._successes = 0
            self.consecutive_fails += 1
            self.error_count += 1
            if self.healthy and self.consecutive_fails >= self.failure_threshold:
                self._change(False, now, self.consecutive_fails)

    def take_transitions(self) -> list[HealthChange]:
        """The changes since the last time this was asked, each told once."""
        taken, self._changes = self._changes, []
        return taken

    def _change(self, healthy: bool, now: float, checks: int) -> None:
        self.healthy = healthy
        self._changes.append(HealthChange(healthy, now, checks))
