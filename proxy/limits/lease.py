"""
What one worker has been lent of one limit, and what it still owes: spent here, without asking, by the next call.

Arithmetic with the time as an argument. It sends nothing; `lease_book` says when something is to be asked or given
back, and `redis_script` keeps what all workers share.
"""

import math
from abc import ABC, abstractmethod

from proxy.limits.limit import Limit, Refusal, Standing

AHEAD = 4.0
"""Ticks whose use is borrowed in advance."""
QUIET = 5
"""Ticks without any use after which everything lent goes back."""
RARE = 2
"""Ticks between two calls from which on nothing is lent for the next one."""
LENT_FROM = 256
"""Units that must be left of a limit before any of them is lent."""
REMEMBERED = 2.0
"""Seconds without a decision after which a limit may be forgotten."""

Field = str | int | float


class Lease(ABC):
    """What all kinds have in common; `lease_kinds` has those in use."""

    __slots__ = (
        "_pace",
        "_quiet",
        "active",
        "back",
        "ends",
        "idle",
        "key",
        "left",
        "lent",
        "limit",
        "low",
        "reserved",
        "touched",
        "used",
        "want",
    )

    def __init__(self, limit: Limit, key: str, ends: float = math.inf) -> None:
        """*key* is its name in Redis; after *ends*, in monotonic seconds, another one takes its place."""
        self.limit = limit
        """As it was last asked for: a reload changes it under the same name."""
        self.key = key
        self.ends = ends
        self.idle = 0
        """Units that may be spent here at once."""
        self.lent = 0
        """Units that Redis has down as this worker's, whatever became of them since."""
        self.reserved = 0
        """Units held by calls under way."""
        self.back = 0
        """Units to be told to Redis: back to a bucket, or spent from a budget."""
        self.left = float(limit.capacity)
        """What Redis had left for all workers when it was last asked."""
        self.used = 0
        """Units reserved since the last tick."""
        self.low = 0
        """The fewest idle units since the last tick: those had no use."""
        self.want = 0
        """Units to have in advance."""
        self.active = False
        """Among those that ticks look at."""
        self.touched = 0.0
        """When it was last looked at by a decision, in monotonic seconds."""
        self._pace = 0.0
        self._quiet = QUIET

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.limit.id}: {self.idle} idle, {self.reserved} reserved, {self.left} left>"

    @property
    def holds(self) -> bool:
        """There is something that Redis has to be told, or that a call will settle."""
        return bool(self.lent or self.reserved or self.back)

    @property
    def owed(self) -> int:
        """Units Redis has down as this worker's that no call holds."""
        return self.lent - self.reserved

    def tick(self) -> bool:
        """A tick has passed: measure the use, and say whether there is something to give back or to ask for."""
        self._pace = (self._pace + self.used) / 2
        if self.used:
            # Nothing in advance for who comes once in a while: it would only have to be given back.
            self.want = int(self._pace * AHEAD) if self._quiet < RARE else 0
            self._quiet = 0
            self.used = 0
        else:
            self._quiet += 1
            if self._quiet >= QUIET:
                self.want = 0
        self.low = self.idle
        if self._quiet >= QUIET and self.owed > 0:
            return True
        return self.back != 0 or self.idle > 2 * self.want or (self.want > 2 * self.idle and self.left >= LENT_FROM)

    @property
    def at_rest(self) -> bool:
        """Nothing to do until it is used again."""
        return self._quiet >= RARE and not self.back and self.owed <= 0

    def outdated(self, now: float) -> bool:
        """Forgetting it loses nothing: Redis knows the same, and no call asks."""
        return not self.active and not self.holds and now - self.touched > REMEMBERED

    @abstractmethod
    def fields(self, surrender: bool, stamp: float) -> list[Field]:
        """
        What Redis is told of it, after which everything told is off its hands. If *surrender*, nothing that is idle is
        kept: the calls that go with it are decided over all there is. *stamp*: now, in seconds since 1970.
        """

    def lend(self, lent: int, left: float, spent: int, now: float) -> None:
        """What Redis answered to `fields`."""
        self.idle += lent
        self.lent += lent
        self.left = left

    def admit(self, amount: int) -> None:
        """Redis let a call have *amount*."""
        self.reserved += amount

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
