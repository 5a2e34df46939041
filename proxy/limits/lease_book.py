"""
All that one worker holds of shared limits, the messages it sends about them, and what it makes of the answers.

It sends nothing itself and reads no clock but the one for the dates of budgets, which it is given: `redis` carries its
messages, and a test may do so in any order.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from itertools import islice

from proxy.limits import period
from proxy.limits.lease import Field, Lease
from proxy.limits.lease_kinds import BucketLease, PlaceLease, SpendLease
from proxy.limits.lease_message import Ask, Message
from proxy.limits.limit import Claim, Limit, Refusal, Reservation, Standing, What
from proxy.limits.redis_script import JOIN, LEAVE

MOST_TOLD = 256
"""Leases told about in one message, besides those of the calls in it."""
SWEEP, SWEEP_PART = 256, 32
"""Limits looked at in one tick to see whether they may be forgotten: so many, or one in so many if that is more."""


class LeaseBook:
    """The leases of a worker, by limit."""

    def __init__(self, worker: str, prefix: str, ttl: float, wall: Callable[[], datetime]) -> None:
        """*ttl* in seconds: so long Redis believes the worker alive after its last message."""
        self.worker = worker
        self.workers = 1
        """Workers alive when Redis was last asked."""
        self.outage = 0
        """Times Redis was lost."""
        self.alone = True
        """Redis cannot be asked now."""
        self.due: dict[Lease, None] = {}
        """Leases about which there is something to tell."""
        self._prefix = prefix
        self._ttl = ttl
        self._wall = wall
        self._leases: dict[str, Lease] = {}
        self.active: dict[Lease, None] = {}
        """Leases in use, which ticks look at."""
        self._number = 0

    def __len__(self) -> int:
        """How many limits are remembered."""
        return len(self._leases)

    def take(self, claims: Sequence[Claim], now: float) -> Reservation | None:
        """Admit a call from what is lent; None if that does not cover it. *now* in monotonic seconds."""
        leases = self._leases
        taken: list[Lease] = []
        for limit, amount in claims:
            lease = leases.get(limit.id)
            if lease is None or lease.idle < amount or lease.ends <= now:
                break
            lease.limit = limit
            lease.idle -= amount
            taken.append(lease)
        else:
            for lease, (_, amount) in zip(taken, claims, strict=True):
                lease.reserved += amount
                lease.used += amount
                lease.touched = now
                if lease.idle < lease.low:
                    lease.low = lease.idle
            return Reservation(claims, False, taken)
        for lease, (_, amount) in zip(taken, claims, strict=False):
            lease.idle += amount
        return None

    def take_alone(self, claims: Sequence[Claim], now: float) -> Reservation | Refusal | None:
        """Decide without Redis, over this worker's share; None while what was spent of a budget is not known."""
        refusal: Refusal | None = None
        leases = []
        for limit, amount in claims:
            lease = self.lease(limit, now)
            leases.append(lease)
            found = lease.refusal_alone(amount, now, self.workers, self.outage)
            if found is not None:
                if found.unknown:
                    return None
                refusal = further(refusal, found)
        if refusal is not None:
            return refusal
        for lease, (_, amount) in zip(leases, claims, strict=True):
            lease.admit_alone(amount, now, self.workers, self.outage)
        return Reservation(claims, True, leases)

    def settle(self, reservation: Reservation, used: Mapping[What, int], now: float) -> None:
        """Take back what a call held, and note what it used."""
        if reservation.settled:
            return
        reservation.settled = True
        self.leave(reservation, now)
        for lease, (limit, amount) in zip(reservation.about, reservation.claims, strict=True):
            if limit.what is not What.CONCURRENT:
                lease.settle(amount, used.get(limit.what, amount), now, reservation.local)
                if not lease.active and lease.holds:
                    self._activate(lease)

    def leave(self, reservation: Reservation, now: float) -> None:
        """Take back the places a call held."""
        if reservation.left:
            return
        reservation.left = True
        for lease, (limit, amount) in zip(reservation.about, reservation.claims, strict=True):
            if limit.what is What.CONCURRENT:
                lease.settle(amount, amount, now, reservation.local)
                if not lease.active and lease.holds:
                    self._activate(lease)
                if not self.alone and lease.tight:
                    # Others may need the place now.
                    lease.want = 0
                    self.due[lease] = None

    def standing(self, limit: Limit, now: float) -> Standing:
        """What is left of *limit*, as far as this worker knows."""
        return self.lease(limit, now).standing(now, self.alone)

    def lease(self, limit: Limit, now: float) -> Lease:
        """The lease of *limit*; of a budget, the one of the present period."""
        lease = self._leases.get(limit.id)
        if lease is None or lease.ends <= now or (isinstance(lease, SpendLease) and self._wall() >= lease.end):
            lease = self._leases[limit.id] = self._new(limit, now)
        lease.limit = limit
        lease.touched = now
        return lease

    def unknown(self, claims: Sequence[Claim], now: float) -> SpendLease | None:
        """The budget among *claims* of which this worker does not know what was spent."""
        for limit, _ in claims:
            lease = self.lease(limit, now)
            if isinstance(lease, SpendLease) and lease.known is None:
                return lease
        return None

    def tick(self, now: float) -> None:
        """A tick has passed: find out about which leases there is something to tell."""
        wall = self._wall()
        for lease in list(self.active):
            if isinstance(lease, SpendLease) and wall >= lease.end:
                # Dates may jump, seconds do not.
                lease.ends = min(lease.ends, now)
            if lease.tick():
                self.due[lease] = None
            elif lease.at_rest:
                del self.active[lease]
                lease.active = False
        self.sweep(now)

    def message(self, asks: Sequence[Ask], now: float) -> Message:
        """*asks* to be decided, together with what there is to tell about leases that are due."""
        asked: dict[Lease, int] = {}
        for ask in asks:
            ask.leases = [self.lease(limit, now) for limit, _ in ask.claims]
            for lease in ask.leases:
                asked.setdefault(lease, len(asked) + 1)
        told = [lease for lease in self._due() if lease not in asked]
        message = self._write(0, list(asked) + told, len(asked), asks)
        calls: list[Field] = [len(asks)]
        for ask in asks:
            calls.append(len(ask.claims))
            for lease, (_, amount) in zip(ask.leases, ask.claims, strict=True):
                calls += (asked[lease], amount)
        message.arguments += calls
        return message

    def joining(self, besides: Message | None) -> Message:
        """
        A message with which this worker is believed alive again. Everything it holds, but for what the message
        *besides* tells, is due from then on; as much as fits goes with it.
        """
        told = set() if besides is None else set(besides.leases)
        self.due = {lease: None for lease in self._held() if lease not in told}
        return self._alone(JOIN)

    def surrender(self) -> None:
        """Everything that the calls under way do not need goes back, as soon as there are messages."""
        self.due = dict.fromkeys(self._held())
        for lease in self.due:
            lease.want = 0

    def leaving(self) -> Message:
        """The last message: whatever Redis has down for this worker is free from then on."""
        return self._alone(LEAVE)

    def read(self, message: Message, answer: bytes, now: float) -> list[tuple[Ask, Reservation | Refusal | SpendLease]]:
        """
        What Redis decided: for each call a reservation, a refusal, or the budget whose spending is not known. The
        caller settles a reservation its call does not need any more. Raises `ValueError` when *answer* is no answer.
        """
        # All of it is read before any of it counts.
        numbers = [float(word) for word in answer.split()]
        verdicts = 1 + 3 * len(message.leases)
        blocked: list[tuple[int, float]] = []
        rest = iter(numbers[verdicts:])
        for index in rest:
            blocked.append((int(index), next(rest, math.nan) if index else 0.0))
        if len(numbers) < verdicts or len(blocked) != len(message.asks):
            raise ValueError("not an answer to this message")
        self.workers = max(1, int(numbers[0]))
        for at, lease in enumerate(message.leases):
            lent, left, spent = numbers[1 + 3 * at : 4 + 3 * at]
            lease.lend(int(lent), left, int(spent), now)
            if lease.holds:
                self._activate(lease)
        return [
            (ask, self._decision(message, ask, *verdict)) for ask, verdict in zip(message.asks, blocked, strict=True)
        ]

    def _decision(self, message: Message, ask: Ask, index: int, wait: float) -> Reservation | Refusal | SpendLease:
        if index == 0:
            for lease, (_, amount) in zip(ask.leases, ask.claims, strict=True):
                lease.admit(amount)
                lease.used += amount
                self._activate(lease)
            return Reservation(ask.claims, False, ask.leases)
        lease = message.leases[index - 1]
        if isinstance(lease, SpendLease) and wait == -2:
            return lease
        limit, amount = ask.claims[ask.leases.index(lease)]
        return Refusal(limit, None if wait == -1 else wait, never=amount > limit.capacity)

    def _write(self, mode: int, leases: list[Lease], surrendering: int, asks: Sequence[Ask]) -> Message:
        """A message without its calls; the first *surrendering* leases keep nothing."""
        prefix, worker = self._prefix, self.worker
        self._number += 1
        arguments: list[Field] = [3 + len(leases), f"{prefix}:workers", f"{prefix}:born", f"{prefix}:told:{worker}"]
        arguments += [lease.key for lease in leases]
        arguments += (worker, self._number, self._ttl, mode, len(leases))
        stamp = self._wall().timestamp()
        for at, lease in enumerate(leases):
            arguments += lease.fields(at < surrendering, stamp)
        return Message(self._number, mode, leases, list(asks), arguments)

    def _alone(self, mode: int) -> Message:
        message = self._write(mode, self._due(), 0, ())
        message.arguments.append(0)
        return message

    def _due(self) -> list[Lease]:
        """As many of the leases that are due as fit into a message; they are due no more."""
        due = list(islice(self.due, MOST_TOLD))
        for lease in due:
            del self.due[lease]
        return due

    def _held(self) -> list[Lease]:
        leases = [lease for lease in self._leases.values() if lease.holds]
        # Budgets of a period that is over still have calls to settle.
        return leases + [
            lease for lease in self.active if lease.holds and self._leases.get(lease.limit.id) is not lease
        ]

    def _activate(self, lease: Lease) -> None:
        if not lease.active:
            lease.active = True
            self.active[lease] = None

    def _new(self, limit: Limit, now: float) -> Lease:
        if limit.what is What.CONCURRENT:
            return PlaceLease(limit, f"{self._prefix}:p:{limit.id}")
        if limit.what is What.BUDGET:
            moment = self._wall()
            began, end = period.began(limit.per, moment), period.ends(limit.per, moment)
            key = f"{self._prefix}:s:{limit.id}:{began:%Y-%m-%dT%H}"
            return SpendLease(limit, key, now + (end - moment).total_seconds(), began, end)
        return BucketLease(limit, f"{self._prefix}:b:{limit.id}")

    def sweep(self, now: float) -> None:
        """Forget what was not used for long, a part in each tick: those seen and kept go to the end."""
        for id in list(islice(self._leases, max(SWEEP, len(self._leases) // SWEEP_PART))):
            lease = self._leases.pop(id)
            if not lease.outdated(now):
                self._leases[id] = lease


def further(known: Refusal | None, found: Refusal) -> Refusal:
    """Of two limits in the way, the one that will be there for longer: a client told of it comes back once."""
    if known is None or (found.never and not known.never):
        return found
    if known.never or found.wait is None:
        return known
    return found if known.wait is None or found.wait > known.wait else known
