"""
What calls of one worker hold of one shared limit, and what Redis has still to be told of it.

Arithmetic with the time as an argument; `holding_kinds` has the kinds in use. It sends nothing: `holdings` says what is
to be told, and `redis_script` keeps what all workers share.
"""

import math
from abc import ABC, abstractmethod

from proxy.limits.limit import Limit, Refusal, Standing

REMEMBERED = 2.0
"""Seconds without a decision after which a limit may be forgotten."""

Field = str | int | float


class Holding(ABC):
    """What all kinds have in common."""

    __slots__ = ("change", "ends", "key", "left", "limit", "reserved", "told", "touched")

    def __init__(self, limit: Limit, key: str, ends: float = math.inf) -> None:
        """*key* is its name in Redis; after *ends*, in monotonic seconds, another one takes its place."""
        self.limit = limit
        """As it was last asked for: a reload changes it under the same name."""
        self.key = key
        self.ends = ends
        self.reserved = 0
        """Units held by calls under way."""
        self.told = 0
        """Units Redis has down as held by this worker."""
        self.change = 0
        """Units Redis has to be told of: back to a bucket, negative for a debt, or spent from a budget."""
        self.left = float(limit.capacity)
        """What Redis had left for all workers when it was last asked."""
        self.touched = 0.0
        """When it was last looked at by a decision, in monotonic seconds."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.limit.id}: {self.reserved} reserved, {self.left} left>"

    @property
    def in_use(self) -> bool:
        """Redis has something down as this worker's, or will."""
        return bool(self.told or self.reserved or self.change)

    @property
    def owes(self) -> bool:
        """There is something to tell Redis."""
        return self.told != self.reserved or self.change != 0

    def outdated(self, now: float) -> bool:
        """Forgetting it loses nothing: Redis knows the same, and no call asks."""
        return not self.in_use and now - self.touched > REMEMBERED

    @abstractmethod
    def fields(self, stamp: float) -> list[Field]:
        """What Redis is told of it, which counts as told from then on. *stamp*: now, in seconds since 1970."""

    def answered(self, left: float, spent: int, now: float) -> None:
        """What Redis answered to `fields`: units *left* for all, and how many were *spent*, -1 if it does not know."""
        self.left = left

    def admit(self, amount: int) -> None:
        """Redis let a call have *amount*."""
        self.reserved += amount
        self.told += amount

    @abstractmethod
    def settle(self, amount: int, used: int, now: float, local: bool) -> None:
        """A call that reserved *amount* is over and has *used* so much; *local*: it was admitted without Redis."""

    def admit_alone(self, amount: int, now: float, workers: int, outage: int) -> None:
        """A call was admitted without Redis; the rest as for `refusal_alone`."""
        self.reserved += amount

    @abstractmethod
    def refusal_alone(self, amount: int, now: float, workers: int, outage: int) -> Refusal | None:
        """Why a call is not admitted without Redis; *workers* share the limit, in the *outage*th time alone."""

    @abstractmethod
    def standing(self, now: float, alone: bool) -> Standing:
        """What is left, as far as this worker knows."""
