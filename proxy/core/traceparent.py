"""
The W3C trace context: the headers `traceparent` and `tracestate`, read, made and written.

A malformed header counts as absent and is never an error. Nothing here records a span.
"""

import os
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

SAMPLED = 0x01
"""The flag by which a caller says that it records its part of the trace."""
_KNOWN_FLAGS = 0x03
"""`sampled`, and level 2's `random`; flags that no level defines yet are not passed on."""
_FLAGS = [f"{flags:02x}" for flags in range(256)]
MOST_MEMBERS = 32
"""List members a `tracestate` may have."""

_TRACEPARENT = re.compile(r"[ \t]*([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?[ \t]*")
_MEMBER = re.compile(r"[a-z0-9][a-z0-9_\-*/@]{0,255}=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]")

# Not the module's own generator: a library that seeds that one would make our ids repeat.
_random = random.Random()
if hasattr(os, "register_at_fork"):
    # A forked process must not go on with its parent's numbers.
    os.register_at_fork(after_in_child=_random.seed)
_bits = _random.getrandbits


@dataclass(frozen=True, slots=True)
class Parent:
    """The caller's place in its trace."""

    trace_id: str
    """32 hexadecimal digits, as everywhere."""
    span_id: str
    """16 hexadecimal digits."""
    flags: int


def parse(offered: str) -> Parent | None:
    """What the value of a `traceparent` says; None when it is not valid."""
    match = _TRACEPARENT.fullmatch(offered)
    if match is None:
        return None
    version, trace_id, span_id, flags, rest = match.groups()
    # A later version may add fields at the end, this one has none, and ff will never be one.
    if version == "ff" or (version == "00" and rest is not None):
        return None
    if not trace_id.strip("0") or not span_id.strip("0"):
        return None
    return Parent(trace_id, span_id, int(flags, 16) & _KNOWN_FLAGS)


def parse_state(offered: Sequence[str]) -> str:
    """The `tracestate` that these headers make up together, in their order; empty when it is not valid."""
    members = [member for value in offered for each in value.split(",") if (member := each.strip(" \t"))]
    if len(members) > MOST_MEMBERS or not all(_MEMBER.fullmatch(member) for member in members):
        return ""
    return ",".join(members)


def header_lines(trace_id: str, span_id: str, flags: int, state: str) -> bytes:
    """The header lines that make span *span_id* the parent of whatever their receiver records."""
    lines = f"traceparent: 00-{trace_id}-{span_id}-{_FLAGS[flags]}\r\n"
    if state:
        lines += f"tracestate: {state}\r\n"
    return lines.encode("ascii")


def new_span_id() -> str:
    """16 random hexadecimal digits."""
    return _bits(64).to_bytes(8, "big").hex()


class Sampler:
    """Begins traces and says which of them are recorded."""

    def __init__(self, ratio: float) -> None:
        """*ratio*: share of new traces that are sampled, 0 to 1."""
        # The rightmost 56 bits of a trace id are its random part, by which all who sample decide alike.
        self._threshold = round((1.0 - ratio) * 2**56)

    def begin(self) -> tuple[str, str, int]:
        """Trace id, span id and flags of a new trace."""
        bits = _bits(192)
        digits = bits.to_bytes(24, "big").hex()
        return digits[:32], digits[32:], SAMPLED if (bits >> 64) & 0xFFFFFFFFFFFFFF >= self._threshold else 0


class Sampling:
    """The sampler in use, which may be changed while calls begin."""

    def __init__(self, ratio: float | None) -> None:
        """*ratio*: share of new traces that are sampled, 0 to 1; None where this gateway records none."""
        self.sampler: Sampler | None = None
        """None where no trace is recorded."""
        self.set(ratio)

    def set(self, ratio: float | None) -> None:
        """Sample by *ratio* from now on."""
        self.sampler = Sampler(ratio) if ratio is not None else None
