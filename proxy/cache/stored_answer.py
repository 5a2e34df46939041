"""
A whole answer that was kept: its headers, its bytes and when they came, and what it cost.

It never holds a failure, nor anything about the exchange that asked for it. Where it is kept, it does not know.
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from proxy.core.headers import Header

BLOCK = 64 * 1024
"""Bytes handed to a client together, where the pace of an answer does not matter."""
OVERHEAD = 512
"""Bytes of memory an answer takes beside what is counted one by one."""

_STEP = struct.Struct("<II")
_OF_ONE_CALL = frozenset(
    (b"x-hapax-attempts", b"x-upstream-request-id", b"request-id", b"openai-processing-ms", b"content-length")
)
"""Headers that tell of the call that was answered first, and nothing of the answer."""


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """An answer with status 200."""

    headers: tuple[Header, ...]
    """As a client gets them, without those of one call."""
    body: bytes
    steps: bytes
    """When its bytes came: pairs of milliseconds since its beginning and of how much had come by then."""
    streamed: bool
    """It is an event stream."""
    emitted: int
    """Pieces of content in it, where it is a stream."""
    made: float
    """When it was whole, in seconds since 1970."""
    model: str
    """The public model it is an answer of."""
    principal: str
    """The name of the key that asked for it first."""
    cost: int | None
    """Micro-USD it cost; None when its price is not known."""

    @property
    def size(self) -> int:
        """Bytes of memory it takes, roughly."""
        headers = sum(len(name) + len(value) for name, value in self.headers)
        return OVERHEAD + len(self.body) + len(self.steps) + headers + len(self.model) + len(self.principal)

    def age(self, now: float) -> int:
        """How old it is at *now*, seconds since 1970, in whole seconds (RFC 9111 section 5.1)."""
        # Another machine's clock may be ahead.
        return max(0, int(now - self.made))

    def blocks(self) -> Iterator[bytes]:
        """Its bytes, those together that came one after the other, so that events stay whole; mostly up to `BLOCK`."""
        begun = end = 0
        for _, size in _STEP.iter_unpack(self.steps):
            if end > begun and size - begun > BLOCK:
                yield self.body[begun:end]
                begun = end
            end = size
        yield self.body[begun:end]

    def paced(self) -> Iterator[tuple[float, bytes]]:
        """Its bytes as they came, each piece with the seconds since the beginning."""
        begun = 0
        for milliseconds, end in _STEP.iter_unpack(self.steps):
            yield milliseconds / 1000, self.body[begun:end]
            begun = end


def lasting(headers: Iterable[Header]) -> tuple[Header, ...]:
    """Those of *headers* that belong to the answer, and not to the call that was answered first."""
    return tuple(header for header in headers if header[0].lower() not in _OF_ONE_CALL)


class Steps:
    """When the pieces of an answer came, while it comes."""

    def __init__(self) -> None:
        self._packed = bytearray()
        self._last = -1
        self._begun = self._size = 0

    def note(self, seconds: float, size: int) -> None:
        """*size* bytes have come in all, the last of them *seconds* after the beginning."""
        milliseconds = min(int(seconds * 1000), 2**32 - 1)
        if milliseconds == self._last and size - self._begun <= BLOCK:
            # One step with the bytes before them.
            del self._packed[-_STEP.size :]
        else:
            self._last, self._begun = milliseconds, self._size
        self._size = size
        self._packed += _STEP.pack(milliseconds, size)

    def packed(self) -> bytes:
        """As `StoredAnswer.steps` has them."""
        return bytes(self._packed)
