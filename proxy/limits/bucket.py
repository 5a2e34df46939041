"""
A token bucket: how much is left, and when enough will be again.

Arithmetic with the time as an argument; it reads no clock, knows no holders and takes nothing by itself.
"""


class Bucket:
    """
    The level of one bucket. It refills continuously, is full at its capacity, and may be in debt: a call that used more
    than it reserved is paid for by those after it.
    """

    __slots__ = ("_level", "capacity", "rate", "used_at")

    def __init__(self, capacity: float, rate: float, now: float) -> None:
        """Full. *rate* in units a second, above 0; *now* in monotonic seconds."""
        self.capacity = capacity
        self.rate = rate
        self._level = capacity
        self.used_at = now
        """When something was last taken, wanted or put back."""

    def __repr__(self) -> str:
        return f"<Bucket {self._level:.1f} of {self.capacity:g} at {self.used_at:.3f}, {self.rate:g}/s>"

    def level(self, now: float) -> float:
        """What is in it; negative while it is in debt. A clock that went backwards refills nothing."""
        elapsed = now - self.used_at
        if elapsed > 0:
            level = self._level + elapsed * self.rate
            return level if level < self.capacity else self.capacity
        return self._level

    def take(self, amount: float, forgiven: float, now: float) -> float | None:
        """Take *amount* out if it is there but for *forgiven* units; returns what is left, None when it is not."""
        # As in `level`, which this is not to call: every request comes here twice.
        level = self._level
        elapsed = now - self.used_at
        if elapsed > 0:
            self.used_at = now
            level += elapsed * self.rate
            if level > self.capacity:
                level = self.capacity
        if level < amount - forgiven:
            self._level = level
            return None
        self._level = level = level - amount
        return level

    def change(self, amount: float, now: float) -> None:
        """Take *amount* out, or put it back when it is negative; never above the brim."""
        level = self.level(now) - amount
        self._level = level if level < self.capacity else self.capacity
        if now > self.used_at:
            self.used_at = now

    def wait(self, amount: float, now: float) -> float:
        """Seconds until *amount* can be taken, if no other call takes anything; 0 when it can now."""
        missing = amount - self.level(now)
        return missing / self.rate if missing > 0 else 0.0

    def reset(self, now: float) -> float:
        """Seconds until it is full."""
        return (self.capacity - self.level(now)) / self.rate

    def resize(self, capacity: float, rate: float, now: float) -> None:
        """A new size from now on; what was left stays, as far as it fits."""
        self._level = min(capacity, self.level(now))
        self.used_at = max(now, self.used_at)
        self.capacity = capacity
        self.rate = rate
