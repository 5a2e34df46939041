"""
What a worker sends to Redis in one go, and the calls that wait for what comes back.

Plain values; `lease_book` writes and reads them, `redis` sends them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from proxy.limits.lease import Field, Lease
from proxy.limits.limit import Claim


@dataclass(slots=True, eq=False)
class Ask:
    """A call that waits for a decision."""

    claims: Sequence[Claim]
    answer: Any
    """The future of who waits for it, or anything with `done` and `set_result`."""
    deadline: float
    """In the loop's time; then it is decided without Redis."""
    leases: list[Lease] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Message:
    """What is sent to the script in one go; sent again, it has no further effect."""

    number: int
    mode: int
    leases: list[Lease]
    asks: list[Ask]
    arguments: list[Field]
