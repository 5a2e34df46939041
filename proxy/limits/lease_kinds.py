"""
The three kinds of leases: of a token bucket, of a number of places, and of a budget in one period.

Each knows what it tells Redis, how a call that ends changes it, and how to decide while Redis cannot be asked. None of
them knows of the others.
"""

import asyncio
import math
from datetime import datetime

from proxy.limits.bucket import Bucket
from proxy.limits.lease import Field, Lease
from proxy.limits.limit import UNKNOWN_WAIT, Limit, Refusal, Standing

BUDGET_REMEMBERED = 3600.0
"""Seconds a budget is remembered after its last use: without Redis and the ledger, only this worker knows it."""
TIGHT = 0.25
"""Share of the places left below which a free one goes back at once: another worker may have need of it."""


class BucketLease(Lease):
    """Of a token bucket. What is lent has left the bucket; Redis keeps room for it until it is back or spent."""

    __slots__ = ("_outage", "_seen", "_share")

    def __init__(self, limit: Limit, key: str, ends: float = math.inf) -> None:
        super().__init__(limit, key, ends)
        self._seen = math.nan
        self._share: Bucket | None = None
        self._outage = 0

    def fields(self, surrender: bool, stamp: float) -> list[Field]:
        kept = 0 if surrender else min(self.idle, 2 * self.want)
        back = self.back + self.idle - kept
        self.back = 0
        self.idle = self.low = self.lent = kept
        limit = self.limit
        return ["b", limit.capacity, limit.rate, 0, kept, back, max(0, self.want - kept), -1, 0]

    @property
    def owed(self) -> int:
        # What calls hold has left the bucket for good.
        return self.lent

    def lend(self, lent: int, left: float, spent: int, now: float) -> None:
        super().lend(lent, left, spent, now)
        self._seen = now

    def settle(self, amount: int, used: int, now: float, local: bool) -> None:
        if local:
            # An outage that is over leaves nothing to correct: the share was never part of what is shared.
            if self._share is not None:
                self._share.change(used - min(amount, self._share.capacity), now)
            return
        self.reserved -= amount
        if used <= amount:
            # No more than Redis keeps room for; beyond that the bucket itself has to take it, if it is not full.
            kept = min(amount - used, self.lent - self.idle)
            self.idle += kept
            self.back += amount - used - kept
        else:
            paid = min(used - amount, self.idle)
            self.idle -= paid
            self.back -= used - amount - paid

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
        level = min(limit.capacity, self._level(now) + self.idle)
        return Standing(limit, math.floor(level + limit.forgiven), (limit.capacity - level) / limit.rate)

    def _level(self, now: float) -> float:
        if math.isnan(self._seen):
            return self.limit.capacity
        return min(self.limit.capacity, self.left + max(0.0, now - self._seen) * self.limit.rate)


class PlaceLease(Lease):
    """Of a number of places. A place that a call has left waits here for the next one, a tick at most."""

    __slots__ = ()

    def tick(self) -> bool:
        # Places that had no use for a whole tick go; asking in advance would only take them from the peers.
        unused = min(self.low, self.idle)
        super().tick()
        self.want = self.idle - unused
        return unused > 0

    def fields(self, surrender: bool, stamp: float) -> list[Field]:
        self.idle = self.low = 0 if surrender else min(self.idle, self.want)
        self.lent = self.reserved + self.idle
        return ["p", self.limit.capacity, 0, self.reserved, self.idle, 0, 0, -1, 0]

    def admit(self, amount: int) -> None:
        super().admit(amount)
        self.lent += amount

    @property
    def tight(self) -> bool:
        """So few places are left that idle ones must not wait for the next tick."""
        return self.idle > 0 and self.left <= self.limit.capacity * TIGHT

    def settle(self, amount: int, used: int, now: float, local: bool) -> None:
        self.reserved -= amount
        # Places taken without Redis are not Redis's to be lent.
        self.idle = max(0, min(self.idle + amount, self.lent - self.reserved))

    def refusal_alone(self, amount: int, now: float, workers: int, outage: int) -> Refusal | None:
        if self.reserved + amount <= max(1, self.limit.capacity // workers) and amount <= self.limit.capacity:
            return None
        return Refusal(self.limit, None, never=amount > self.limit.capacity)

    def standing(self, now: float, alone: bool) -> Standing:
        left = self.limit.capacity - self.reserved if alone else int(self.left) + self.idle
        return Standing(self.limit, left, 0.0)


class SpendLease(Lease):
    """Of a budget in one period. What calls hold and what is lent stands beside what was spent, until it is spent."""

    __slots__ = ("_told", "asking", "began", "end", "known", "missing", "seeded")

    def __init__(self, limit: Limit, key: str, ends: float, began: datetime, end: datetime) -> None:
        """*began* and *end*: the period, in UTC."""
        super().__init__(limit, key, ends)
        self.began = began
        self.end = end
        self.known: int | None = None
        """What was spent in the period by all workers, as far as this one knows, by itself up to now; None: no idea."""
        self.seeded = False
        """`known` is good enough to tell Redis, which does not know."""
        self.missing = False
        """Redis does not know what was spent."""
        self.asking: asyncio.Task[None] | None = None
        """The question to the ledger, while it is not answered."""
        self._told = 0

    def fields(self, surrender: bool, stamp: float) -> list[Field]:
        spent = self._told = self.back
        self.back = 0
        self.idle = self.low = 0 if surrender else min(self.idle, 2 * self.want)
        self.lent = self.reserved + self.idle
        # The script adds what was spent since the last message by itself.
        seed = max(0, self.known - spent) if self.seeded and self.known is not None else -1
        want = max(0, self.want - self.idle)
        until_end = self.end.timestamp() - stamp
        began = int(self.began.timestamp())
        return ["s", self.limit.capacity, until_end, self.reserved, self.idle, spent, want, seed, began]

    def lend(self, lent: int, left: float, spent: int, now: float) -> None:
        super().lend(lent, left, spent, now)
        self.missing = spent < 0
        if spent >= 0:
            self.known = spent + self.back
            self.seeded = False
        else:
            self.back += self._told

    def tick(self) -> bool:
        # Until it is known what was spent before, nothing can be added to it.
        return super().tick() and (self.seeded or not self.missing)

    def admit(self, amount: int) -> None:
        super().admit(amount)
        self.lent += amount

    def outdated(self, now: float) -> bool:
        return super().outdated(now) and (now >= self.ends or now - self.touched > BUDGET_REMEMBERED)

    def learn(self, spent: int | None) -> None:
        """What the ledger says was spent; what this worker knows better stays."""
        if spent is not None:
            self.known = max(spent, self.known or 0)
        self.seeded = self.known is not None

    def settle(self, amount: int, used: int, now: float, local: bool) -> None:
        self.reserved -= amount
        self.back += used
        if self.known is not None:
            self.known += used
        # Not yet told, so it still counts as held there.
        self.idle = max(0, min(self.idle + amount - used, self.lent - self.reserved - self.back))

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
            left = int(self.left) + self.idle
        return Standing(self.limit, left, max(0.0, self.ends - now))
