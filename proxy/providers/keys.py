"""
Which of a provider's API keys goes on the next request.

It counts keys and knows when each may be used again; the keys themselves are never in here, nor is what a refusal
means: its owner says how long a key rests or is parked.
"""


class KeyRing:
    """The keys of one provider, by position, used in turn."""

    def __init__(self, count: int, parked: list[float] | None = None) -> None:
        """
        A provider that needs no key has a ring of one. *parked* tells until when each key is parked, where several
        rings turn over the same keys: it is theirs together.
        """
        if count < 1:
            raise ValueError("a ring has at least one key")
        self._count = count
        self._next = 0
        # Monotonic seconds until which each key rests (a 429) or is parked (401, 403, spent).
        self._resting = [0.0] * count
        self._parked = [0.0] * count if parked is None else parked

    def __repr__(self) -> str:
        until = [f"{max(times):.1f}" for times in zip(self._resting, self._parked, strict=True)]
        return f"<KeyRing {self._count} keys [next {self._next}, usable from {', '.join(until)}]>"

    def pick(self, now: float) -> int | None:
        """The key whose turn it is, passing over those that may not be used; None when that is all of them."""
        for step in range(self._count):
            index = (self._next + step) % self._count
            if self.free_at(index) <= now:
                self._next = (index + 1) % self._count
                return index
        return None

    def first(self, now: float) -> int | None:
        """The first key that may be used, whichever's turn it is; None when that is none. Changes nothing."""
        for index in range(self._count):
            if self.free_at(index) <= now:
                return index
        return None

    def rest(self, index: int, until: float) -> None:
        """The provider asked for a pause of this key. Of several pauses the longest counts."""
        self._resting[index] = max(self._resting[index], until)

    def rests(self, index: int, now: float) -> bool:
        """The provider has asked for a pause of this key that is not over."""
        return self._resting[index] > now

    def available(self, now: float) -> bool:
        """Whether `pick` would find a key; changes nothing."""
        return self.next_at(now) <= now

    def next_at(self, now: float) -> float:
        """When the first key may be used: *now* if one may already, `inf` if all are parked until a reload."""
        return max(now, min(self.free_at(index) for index in range(self._count)))

    def free_at(self, index: int) -> float:
        """From when on the key at *index* may be used."""
        return max(self._resting[index], self._parked[index])
