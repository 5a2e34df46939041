"""
When an event stream is committed to its client: with its first content, and after that by whole events alone.

Before the first content an answer can still be exchanged for another target's; half an event is held until its rest
has come, so that an answer that breaks off breaks between events. No byte is changed, and none is lost at a good end.
"""

from proxy.core.sse import Scanner

MAX_HELD = 64 * 1024
"""Bytes held back at most; a preamble or an event that is longer passes as it comes."""

BOUNDARIES = (b"\n\n", b"\n\r\n", b"\r\r")
"""How an event ends, whichever line endings the provider uses."""


class Commit:
    """What of a stream may pass to the client now."""

    def __init__(self, scanner: Scanner) -> None:
        self._scanner = scanner
        self._held = b""
        self._edge = b""
        """The last two bytes of a part of an event that has passed: the blank line that ends it may come in two."""
        self._signs = 0
        """How many signs of life have been held."""
        self.made = False
        """The first content has come, or more than can be held."""
        self.split = False
        """Part of an event has passed without its rest."""

    def feed(self, chunk: bytes, at_work: bool = False) -> bytes:
        """
        Scan *chunk* and return what may pass now, perhaps nothing; raises `sse.EventTooLarge`. *at_work*: the provider
        has been busy for so long that a sign of life commits as content does.
        """
        scanner = self._scanner
        scanner.feed(chunk)
        ready = self._held + chunk if self._held else chunk
        if not self.made:
            signs, self._signs = self._signs, scanner.signs
            if not scanner.content and not (at_work and scanner.signs != signs) and not self._overflows(len(ready)):
                self._held = ready
                return b""
            self.made = True
        if scanner.stopped or scanner.between_events:
            self._held = b""
            self.split = self.split and scanner.stopped and scanner.stop_start < scanner.fed - len(ready)
            return ready
        last = last_boundary(ready)
        if self.split and not last:
            last = max(0, last_boundary(self._edge + ready) - len(self._edge))
        if (self.split and not last) or len(ready) - last > MAX_HELD:
            self._held = b""
            self._edge = (self._edge + ready)[-2:]
            self.split = True
            return ready
        self.split = False
        self._held = ready[last:]
        return ready[:last]

    def rest(self) -> bytes:
        """What is still held, at a good end: trailing bytes belong to the answer too."""
        held, self._held = self._held, b""
        return held

    def _overflows(self, held: int) -> bool:
        # Had they come one by one, all but the last of an event's bytes would have been held before it was read.
        scanner = self._scanner
        return (scanner.stop_end - 1 if scanner.stopped else held) > MAX_HELD


def last_boundary(data: bytes) -> int:
    """Where the last whole event of *data* ends; 0 when none does."""
    return max(data.rfind(mark) + len(mark) if mark in data else 0 for mark in BOUNDARIES)
