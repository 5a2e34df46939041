"""
Limits kept in this process: token buckets, places and budgets, decided at once.

Exact for one process, and a share of the whole for each of several. What was spent before the process began is asked of
the ledger; nothing else here waits.
"""

import asyncio
import heapq
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import reduce

from proxy.core import clock
from proxy.limits import period
from proxy.limits.bucket import Bucket
from proxy.limits.limit import UNKNOWN_WAIT, Claim, Limit, Refusal, Reservation, Spent, Standing, What

MOST_BUCKETS = 40_000
"""Buckets that are remembered, at some 400 bytes each; a full one is the same as none."""

# Every call compares with these, and a name in this file is found sooner than a member of an enumeration.
_CONCURRENT, _BUDGET = What.CONCURRENT, What.BUDGET


@dataclass(slots=True)
class _Spending:
    """A budget in one of its periods."""

    period: datetime
    """When it began."""
    ends: float
    """The first moment after it, in seconds since 1970."""
    spent: int
    held: int = 0
    """Reserved by calls under way; they may outlast the period."""


class MemoryLimits:
    """The levels of all limits of one process."""

    available = True
    failures_total = 0
    fallbacks_total = 0
    round_trips_total = 0

    def __init__(
        self, spent: Spent, *, most_buckets: int = MOST_BUCKETS, wall: Callable[[], float] = time.time
    ) -> None:
        """*spent* is asked once for each budget; *wall* is the time that periods go by, in seconds since 1970."""
        self._ask_spent = spent
        self._most = most_buckets
        self._wall = wall
        self._buckets: dict[str, Bucket] = {}
        self._running: dict[str, int] = {}
        self._spending: dict[str, _Spending] = {}
        self._lookups: dict[str, asyncio.Lock] = {}

    def __len__(self) -> int:
        """How many buckets are remembered."""
        return len(self._buckets)

    def reserve_now(self, claims: Sequence[Claim], now: float) -> Reservation | Refusal | None:
        # On every call's path, so in one pass: what is there is taken at once, and given back if something else is not.
        refused: list[Refusal] = []
        standings: list[tuple[Limit, int, float]] = []
        buckets = self._buckets
        for limit, amount in claims:
            what = limit.what
            if what is _CONCURRENT:
                running = self._running.get(limit.id, 0) + amount
                if running <= limit.capacity:
                    self._running[limit.id] = running
                else:
                    refused.append(Refusal(limit, None, never=amount > limit.capacity))
            elif what is _BUDGET:
                spending = self._spending_of(limit)
                if spending is None:
                    self._give_back(claims[: claims.index((limit, amount))], refused, now)
                    return None
                if spending.spent + spending.held + amount <= limit.capacity:
                    spending.held += amount
                else:
                    wait = self._until_period_ends(limit, spending)
                    refused.append(Refusal(limit, wait, never=amount > limit.capacity))
            else:
                bucket = buckets.get(limit.id)
                if bucket is None or bucket.capacity != limit.capacity or bucket.rate != limit.rate:
                    bucket = self._bucket(limit, now)
                left = bucket.take(amount, limit.forgiven, now)
                if left is not None:
                    standings.append((limit, int(left + limit.forgiven), (limit.capacity - left) / limit.rate))
                else:
                    # The wait for all of it, so that what is forgiven is there when the client comes back.
                    refused.append(Refusal(limit, bucket.wait(amount, now), never=amount > limit.capacity))
        if refused:
            self._give_back(claims, refused, now)
        if len(buckets) > self._most:
            # Only now, so that none of this call's own is forgotten while it decides.
            self._forget(now)
        return reduce(further, refused) if refused else Reservation(claims, standings=standings)

    def obstacle(self, claims: Sequence[Claim], now: float) -> Refusal | None:
        decided = self.reserve_now(claims, now)
        if isinstance(decided, Refusal):
            return decided
        if decided is not None:
            self.settle(decided, dict.fromkeys(What, 0), now)
        return None

    async def reserve(self, claims: Sequence[Claim]) -> Reservation | Refusal:
        # Twice at most: every budget is known then, and none is ever forgotten.
        while (decided := self.reserve_now(claims, clock.now())) is None:
            for limit, _ in claims:
                if limit.what is _BUDGET and self._spending_of(limit) is None and not await self._look_up(limit):
                    return Refusal(limit, UNKNOWN_WAIT, unknown=True)
        return decided

    def leave(self, reservation: Reservation, now: float) -> None:
        if reservation.left:
            return
        reservation.left = True
        for limit, amount in reservation.claims:
            if limit.what is _CONCURRENT:
                self._leave(limit, amount)

    def settle(self, reservation: Reservation, used: Mapping[What, int], now: float) -> None:
        if reservation.settled:
            return
        reservation.settled = True
        if not reservation.left:
            self.leave(reservation, now)
        for limit, amount in reservation.claims:
            what = limit.what
            if what is _CONCURRENT:
                continue
            if what is _BUDGET:
                spending = self._of_now(limit, self._spending[limit.id])
                spending.held -= amount
                spending.spent += used.get(what, amount)
            elif (correction := used.get(what, amount) - amount) != 0:
                bucket = self._buckets.get(limit.id)
                if bucket is None:
                    bucket = self._bucket(limit, now)
                    if len(self._buckets) > self._most:
                        self._forget(now)
                # Its size may have changed since, and stays so.
                bucket.change(correction, now)

    def standing(self, limit: Limit, now: float) -> Standing:
        bucket = self._buckets.get(limit.id)
        if bucket is not None:
            if bucket.capacity != limit.capacity or bucket.rate != limit.rate:
                bucket.resize(limit.capacity, limit.rate, now)
            level = bucket.level(now)
            return Standing(limit, math.floor(level + limit.forgiven), (bucket.capacity - level) / bucket.rate)
        if limit.what is _CONCURRENT:
            return Standing(limit, limit.capacity - self._running.get(limit.id, 0), 0.0)
        if limit.what is _BUDGET:
            spending = self._spending_of(limit)
            left = limit.capacity if spending is None else limit.capacity - spending.spent - spending.held
            return Standing(limit, left, self._until_period_ends(limit, spending))
        return Standing(limit, limit.capacity, 0.0)

    def spent(self, budget: Limit) -> int | None:
        spending = self._spending_of(budget)
        return None if spending is None else spending.spent + spending.held

    async def start(self) -> None:
        """Nothing goes on in the background."""

    async def stop(self) -> None:
        """Nothing has to be told."""

    async def _look_up(self, limit: Limit) -> bool:
        """Ask the ledger what was spent of a budget, one caller at a time; whether that is known now."""
        async with self._lookups.setdefault(limit.id, asyncio.Lock()):
            if limit.id in self._spending:
                return True
            began = period.began(limit.per, _date(self._wall()))
            spent = await self._ask_spent(limit.holder, limit.unit, began)
            if spent is None:
                return False
            self._spending[limit.id] = _Spending(began, period.ends(limit.per, began).timestamp(), spent)
            self._lookups.pop(limit.id, None)
            return True

    def _give_back(self, claims: Sequence[Claim], refused: list[Refusal], now: float) -> None:
        """Undo what was taken for *claims*, all but those *refused*."""
        limits = [refusal.limit for refusal in refused]
        for limit, amount in claims:
            if any(limit is each for each in limits):
                continue
            if limit.what is _CONCURRENT:
                self._leave(limit, amount)
            elif limit.what is _BUDGET:
                self._spending[limit.id].held -= amount
            else:
                self._bucket(limit, now).change(-amount, now)

    def _leave(self, limit: Limit, amount: int) -> None:
        left = self._running[limit.id] - amount
        if left:
            self._running[limit.id] = left
        else:
            del self._running[limit.id]

    def _bucket(self, limit: Limit, now: float) -> Bucket:
        """The bucket of *limit*, of the size the limit has by now."""
        buckets = self._buckets
        bucket = buckets.get(limit.id)
        if bucket is None:
            bucket = buckets[limit.id] = Bucket(limit.capacity, limit.rate, now)
            return bucket
        if bucket.capacity != limit.capacity or bucket.rate != limit.rate:
            bucket.resize(limit.capacity, limit.rate, now)
        return bucket

    def _forget(self, now: float) -> None:
        """Make room: every full bucket goes, and those that were not used for longest if that is not enough."""
        full = [id for id, bucket in self._buckets.items() if bucket.level(now) >= bucket.capacity]
        for id in full:
            del self._buckets[id]
        # A tenth at a time, so that a flood of strangers does not make every call walk over all of them.
        surplus = len(self._buckets) - int(self._most * 0.9)
        for id in heapq.nsmallest(surplus, self._buckets, key=lambda id: self._buckets[id].used_at):
            del self._buckets[id]

    def _spending_of(self, limit: Limit) -> _Spending | None:
        """The budget in its present period; None while what was spent before this process began is not known."""
        spending = self._spending.get(limit.id)
        return None if spending is None else self._of_now(limit, spending)

    def _of_now(self, limit: Limit, spending: _Spending) -> _Spending:
        """*spending*, which is that of *limit*, begun anew where its period is over."""
        if (now := self._wall()) >= spending.ends:
            spending.period = period.began(limit.per, _date(now))
            spending.ends = period.ends(limit.per, spending.period).timestamp()
            spending.spent = 0
        return spending

    def _until_period_ends(self, limit: Limit, spending: _Spending | None) -> float:
        now = _date(self._wall())
        # A clock that was set back brings no earlier period back.
        within = now if spending is None else max(now, spending.period)
        return (period.ends(limit.per, within) - now).total_seconds()


def _date(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def further(known: Refusal, found: Refusal) -> Refusal:
    """Of two limits in the way, the one that will be there for longer: a client told of it comes back once."""
    if found.never and not known.never:
        return found
    if known.never or found.wait is None:
        return known
    return found if known.wait is None or found.wait > known.wait else known
