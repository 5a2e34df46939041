"""
How many bytes were written lately, where what was written goes by itself when its time is over.

Counted by slices of that time, so that it costs the same however much is written. Pure.
"""

SLICES = 60
"""In how many steps what was written is counted out."""


class Written:
    """The bytes of one time."""

    def __init__(self, seconds: float) -> None:
        """*seconds*: after which what was written is gone."""
        self._slice = seconds / SLICES
        self._sizes: dict[int, int] = {}

    def note(self, size: int, now: float) -> None:
        """*size* bytes were written."""
        number = int(now / self._slice)
        self._sizes[number] = self._sizes.get(number, 0) + size
        self._forget(number)

    def size(self, now: float) -> int:
        """Bytes written within the time that ends *now*."""
        self._forget(int(now / self._slice))
        return sum(self._sizes.values())

    def clear(self) -> None:
        """All of it is gone."""
        self._sizes = {}

    def _forget(self, number: int) -> None:
        for old in [each for each in self._sizes if each < number - SLICES]:
            del self._sizes[old]
