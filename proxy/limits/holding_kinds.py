"""
The three kinds of holdings: of a token bucket, of a number of places, and of a budget in one period.

Each knows what it tells Redis, how a call that ends changes it, and how to decide while Redis cannot be asked. None of
them knows of the others.
"""

import math
from datetime import datetime

from proxy.limits.bucket import Bucket
from proxy.limits.holding import Field, Holding
from proxy.limits.limit import UNKNOWN_WAIT, Limit, Refusal, Standing

BUDGET_REMEMBERED = 3600.0
"""Seconds a budget is remembered after its last use: without Redis and the ledger, only this worker knows it."""
TIGHT = 0.25
"""Share of the places left below which one that is free is told at once: another worker may have need of it."""


class BucketHolding(Holding):
    """Of a token bucket. What calls hold has left the bucket; what they did not use comes back to it."""

    __slots__ = ("_outage", "_seen", "_share")

    def __init__(self, limit: Limit, key: str, ends: float = math.inf) -> None:
        super().__init__(limit, key, ends)
        self._seen = math.nan
        self._share: Bucket | None = None
        self._outage = 0

    @property
    def owes(self) -> bool:
        return self.change != 0

    def fields(self, stamp: float) -> list[Field]:
        change, self.change = self.change, 0
        return ["b", self.limit.capacity, self.limit.rate, 0, change, -1, 0, 0]

    def answered(self, left: float, spent: int, now: float) -> None:
        super().answered(left, spent, now)
        self._seen = now

    def admit(self, amount: int) -> None:
        self.reserved += amount

    def settle(self, amount: int, used: int, now: float, local: bool) -> None:
        if not local:
            self.reserved -= amount
            self.change += amount - used
        elif self._share is not None:
            # An outage that is over leaves nothing to correct: the share was never part of what is shared.
            self._share.change(used - min(amount, self._share.capacity), now)

    def admit_alone(self, amount: int, now: float, workers: int, outage: int) -> None:
        share = self._share_in(outage, workers, now)
        share.change(min(amount, share.capacity), now)

    def refusal_alone(self, amount: int, now: float, workers: int, outage: int) -> Refusal | None:
        limit = self.limit
        share = self._share_in(outage, workers, now)
        # A call that is larger than the share takes all of it.
        wanted = min(amount, share.capacity)
        if share.level(now) >= wanted - limit.forgiven and amount <= limit.capacity:
            return None
        # The wait for all of it, so that what is forgiven is there when the client comes back.
        return Refusal(limit, share.wait(wanted, now), never=amount > limit.capacity)

    def _share_in(self, outage: int, workers: int, now: float) -> Bucket:
        """What this worker decides over in the *outage*th time alone."""
        share = self._share
        if share is None or self._outage != outage:
            # It begins with a part of what was left, so that losing Redis often is no way to more.
            known = self._level(now)
            share = self._share = Bucket(max(1.0, self.limit.capacity / workers), self.limit.rate / workers, now)
            self._outage = outage
            share.change(share.capacity - max(known / workers, min(known, 1.0)), now)
        return share

    def outdated(self, now: float) -> bool:
        # A share that is full again is the same as none.
        return super().outdated(now) and (self._share is None or self._share.level(now) >= self._share.capacity)

    def standing(self, now: float, alone: bool) -> Standing:
        limit = self.limit
        if alone and self._share is not None:
            return Standing(limit, math.floor(self._share.level(now) + limit.forgiven), self._share.reset(now))
        level = min(limit.capacity, self._level(now) + self.change)
        return Standing(limit, math.floor(level + limit.forgiven), (limit.capacity - level) / limit.rate)

    def _level(self, now: float) -> float:
        if math.isnan(self._seen):
            return self.limit.capacity
        return min(self.limit.capacity, self.left + max(0.0, now - self._seen) * self.limit.rate)


class PlaceHolding(Holding):
    """Of a number of places."""

    __slots__ = ()

    def fields(self, stamp: float) -> list[Field]:
        self.told = self.reserved
        return ["p", self.limit.capacity, 0, self.reserved, 0, -1, 0, 0]

    @property
    def tight(self) -> bool:
        """So few places are left that one which is free must not wait for the next tick."""
        return self.owes and self.left <= self.limit.capacity * TIGHT

    def settle(self, amount: int, used: int, now: float, local: bool) -> None:
        self.reserved -= amount

    def refusal_alone(self, amount: int, now: float, workers: int, outage: int) -> Refusal | None:
        if self.reserved + amount <= max(1, self.limit.capacity // workers) and amount <= self.limit.capacity:
            return None
        return Refusal(self.limit, None, never=amount > self.limit.capacity)

    def standing(self, now: float, alone: bool) -> Standing:
        if alone:
            return Standing(self.limit, self.limit.capacity - self.reserved, 0.0)
        return Standing(self.limit, int(self.left) + self.told - self.reserved, 0.0)


class SpendHolding(Holding):
    """Of a budget in one period. What calls hold stands beside what was spent, until it is spent."""

    __slots__ = ("_sent", "began", "doubted", "end", "known", "missing", "of_ledger", "seeded")

    def __init__(self, limit: Limit, key: str, ends: float, began: datetime, end: datetime) -> None:
        """*began* and *end*: the period, in UTC."""
        super().__init__(limit, key, ends)
        self.began = began
        self.end = end
        self.known: int | None = None
        """What was spent in the period by all workers, as far as this one knows, by itself up to now; None: no idea."""
        self.seeded = False
        """`known` is good enough to tell Redis, should it not know."""
        self.of_ledger = False
        """The ledger has told `known`, as it may have told others."""
        self.doubted = False
        """Redis has lost its data since some of `change` was spent: another worker may have told it of that."""
        self.missing = False
        """Redis has said that it does not know what was spent, or not whether this worker's part is in it."""
        self._sent = 0

    @property
    def owes(self) -> bool:
        # Until it is known what was spent before, nothing can be added to it.
        return self.told != self.reserved or (self.change != 0 and (self.seeded or not self.missing))

    def fields(self, stamp: float) -> list[Field]:
        spent = self._sent = self.change
        self.change = 0
        self.told = self.reserved
        # The script adds what was spent since the last message by itself.
        seed = max(0, self.known - spent) if self.missing and self.seeded and self.known is not None else -1
        within = self.doubted if seed < 0 else self.of_ledger
        rest = (self.reserved, spent, seed, int(self.began.timestamp()), int(within))
        return ["s", self.limit.capacity, self.end.timestamp() - stamp, *rest]

    def answered(self, left: float, spent: int, now: float) -> None:
        super().answered(left, spent, now)
        self.missing = spent < 0
        if spent >= 0:
            self.known = spent + self.change
            self.seeded = self.doubted = False
        else:
            self.change += self._sent

    def outdated(self, now: float) -> bool:
        return super().outdated(now) and (now >= self.ends or now - self.touched > BUDGET_REMEMBERED)

    def learn(self, spent: int | None, of_ledger: bool) -> None:
        """
        What was spent before as the ledger says, or, where there is none, as far as is known; what this worker knows
        better stays.
        """
        self.of_ledger = of_ledger and spent is not None
        if spent is not None:
            self.known = max(spent, self.known or 0)
        self.seeded = self.known is not None

    def settle(self, amount: int, used: int, now: float, local: bool) -> None:
        self.reserved -= amount
        self.change += used
        if self.known is not None:
            self.known += used

    def refusal_alone(self, amount: int, now: float, workers: int, outage: int) -> Refusal | None:
        if self.known is None:
            return Refusal(self.limit, UNKNOWN_WAIT, unknown=True)
        if self.known + self.reserved + amount <= self.limit.capacity:
            return None
        return Refusal(self.limit, max(0.0, self.ends - now), never=amount > self.limit.capacity)

    def standing(self, now: float, alone: bool) -> Standing:
        if alone:
            left = self.limit.capacity - (self.known or 0) - self.reserved
        else:
            left = int(self.left) + self.told - self.reserved - self.change
        return Standing(self.limit, left, max(0.0, self.ends - now))
