"""
What a worker sends to Redis in one go, and the calls that wait for what comes back.

Plain values; `holdings` writes and reads them, `outbox` sends them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from proxy.limits.holding import Field, Holding
from proxy.limits.limit import Claim


@dataclass(slots=True, eq=False)
class Ask:
    """A call that waits for a decision."""

    claims: Sequence[Claim]
    answer: Any
    """The future the call waits for, or anything with `done` and `set_result`."""
    deadline: float
    """In the loop's time; then it is decided without Redis."""
    holdings: list[Holding] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Message:
    """What is sent to the script in one go; sent again, it has no further effect."""

    holdings: list[Holding]
    asks: list[Ask]
    arguments: list[Field]
