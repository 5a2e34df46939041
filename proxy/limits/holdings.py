"""
All that one worker holds of shared limits, the messages it sends about them, and what it makes of the answers.

It sends nothing itself and reads no clock but the one for the dates of budgets, which it is given: `redis` carries its
messages, and a test may do so in any order.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import reduce
from itertools import islice

from proxy.limits import period
from proxy.limits.holding import Field, Holding
from proxy.limits.holding_kinds import BucketHolding, PlaceHolding, SpendHolding
from proxy.limits.limit import Claim, Limit, Refusal, Reservation, Standing, What
from proxy.limits.memory import further
from proxy.limits.redis_message import Ask, Message
from proxy.limits.redis_script import JOIN, LEAVE

MOST_TOLD = 256
"""Holdings told about in one message, besides those of the calls in it."""
SWEEP, SWEEP_PART = 256, 32
"""Limits looked at in one tick to see whether they may be forgotten: so many, or one in so many if that is more."""


class Holdings:
    """The holdings of a worker, by limit."""

    def __init__(self, worker: str, prefix: str, ttl: float, wall: Callable[[], datetime]) -> None:
        """*ttl* in seconds: so long Redis believes the worker alive after its last message."""
        self.worker = worker
        self.workers = 1
        """Workers alive when Redis was last asked."""
        self.outage = 0
        """Times Redis was lost."""
        self.alone = True
        """Redis cannot be asked now."""
        self.due: dict[Holding, None] = {}
        """Those about which there is something to tell."""
        self.urgent = False
        """Another worker may need what is among them."""
        self._prefix = prefix
        self._ttl = ttl
        self._wall = wall
        self._holdings: dict[str, Holding] = {}
        self._number = 0
        self._born = 0
        """Since when Redis has its data, in seconds since 1970; 0 before the first answer."""

    def __len__(self) -> int:
        """How many limits are remembered."""
        return len(self._holdings)

    def take_alone(self, claims: Sequence[Claim], now: float) -> Reservation | Refusal | None:
        """Decide without Redis, over this worker's share; None while what was spent of a budget is not known."""
        refused: list[Refusal] = []
        holdings = []
        for limit, amount in claims:
            holding = self.holding(limit, now)
            holdings.append(holding)
            found = holding.refusal_alone(amount, now, self.workers, self.outage)
            if found is not None:
                if found.unknown:
                    return None
                refused.append(found)
        if refused:
            return reduce(further, refused)
        for holding, (_, amount) in zip(holdings, claims, strict=True):
            holding.admit_alone(amount, now, self.workers, self.outage)
        return Reservation(claims, True, holdings)

    def settle(self, reservation: Reservation, used: Mapping[What, int], now: float) -> None:
        """Take back what a call held, and note what it used."""
        if reservation.settled:
            return
        reservation.settled = True
        self.leave(reservation, now)
        for holding, (limit, amount) in zip(reservation.about, reservation.claims, strict=True):
            if limit.what is not What.CONCURRENT:
                holding.settle(amount, used.get(limit.what, amount), now, reservation.local)
                self.note(holding)

    def leave(self, reservation: Reservation, now: float) -> None:
        """Take back the places a call held."""
        if reservation.left:
            return
        reservation.left = True
        for holding, (limit, amount) in zip(reservation.about, reservation.claims, strict=True):
            if limit.what is What.CONCURRENT:
                holding.settle(amount, amount, now, reservation.local)
                self.note(holding)
                if not self.alone and holding.tight:
                    self.urgent = True

    def note(self, holding: Holding) -> None:
        """Something has changed about *holding* that Redis may have to be told."""
        if holding.owes:
            self.due[holding] = None

    def standing(self, limit: Limit, now: float) -> Standing:
        """What is left of *limit*, as far as this worker knows."""
        return self.holding(limit, now).standing(now, self.alone)

    def spent(self, budget: Limit) -> int | None:
        """What all workers have spent of *budget* in its period, and this one's calls hold; None: no idea."""
        holding = self._holdings.get(budget.id)
        if not isinstance(holding, SpendHolding) or holding.known is None or self._wall() >= holding.end:
            return None
        return holding.known + holding.reserved

    def holding(self, limit: Limit, now: float) -> Holding:
        """What is held of *limit*; of a budget, in the present period."""
        holding = self._holdings.get(limit.id)
        if holding is None:
            holding = self._holdings[limit.id] = self._new(limit, now)
        elif holding.ends <= now or (isinstance(holding, SpendHolding) and self._wall() >= holding.end):
            # Calls of the period that is over are still to be settled. Dates may jump, seconds do not.
            holding.ends = min(holding.ends, now)
            self._holdings[holding.key] = holding
            holding = self._holdings[limit.id] = self._new(limit, now)
        holding.limit = limit
        holding.touched = now
        return holding

    def unknown(self, claims: Sequence[Claim], now: float) -> SpendHolding | None:
        """The budget among *claims* of which this worker does not know what was spent."""
        for limit, _ in claims:
            holding = self.holding(limit, now)
            if isinstance(holding, SpendHolding) and holding.known is None:
                return holding
        return None

    def message(self, asks: Sequence[Ask], now: float) -> Message:
        """*asks* to be decided, together with what there is to tell about holdings that are due."""
        asked: dict[Holding, int] = {}
        calls: list[Field] = [len(asks)]
        for ask in asks:
            ask.holdings = [self.holding(limit, now) for limit, _ in ask.claims]
            calls.append(len(ask.claims))
            for holding, (_, amount) in zip(ask.holdings, ask.claims, strict=True):
                calls += (asked.setdefault(holding, len(asked) + 1), amount)
                self.due.pop(holding, None)
        message = self._write(0, [*asked, *self._due()], asks)
        message.arguments += calls
        return message

    def joining(self, besides: Message | None) -> Message:
        """
        A message with which this worker is believed alive again. Everything it holds, but for what the message
        *besides* tells, is due from then on; as much as fits goes with it.
        """
        told = set() if besides is None else set(besides.holdings)
        self.due = {each: None for each in self._holdings.values() if each.in_use and each not in told}
        return self._without_calls(JOIN)

    def leaving(self) -> Message:
        """The last message: whatever Redis has down for this worker is free from then on."""
        return self._without_calls(LEAVE)

    def read(
        self, message: Message, answer: bytes, now: float
    ) -> list[tuple[Ask, Reservation | Refusal | SpendHolding]]:
        """
        What Redis decided: for each call a reservation, a refusal, or the budget whose spending is not known. The
        caller settles a reservation its call does not need any more. Raises `ValueError` when *answer* is no answer.
        """
        # All of it is read before any of it counts.
        numbers = [float(word) for word in answer.split()]
        verdicts = 2 + 2 * len(message.holdings)
        blocked: list[tuple[int, float]] = []
        rest = iter(numbers[verdicts:])
        for index in rest:
            blocked.append((int(index), next(rest, math.nan) if index else 0.0))
        if len(numbers) < verdicts or len(blocked) != len(message.asks):
            raise ValueError("not an answer to this message")
        self.workers = max(1, int(numbers[0]))
        self._note_loss(int(numbers[1]))
        for at, holding in enumerate(message.holdings):
            holding.answered(numbers[2 + 2 * at], int(numbers[3 + 2 * at]), now)
        decisions = [
            (ask, self._decision(message, ask, *verdict)) for ask, verdict in zip(message.asks, blocked, strict=True)
        ]
        for holding in message.holdings:
            # Calls have ended since it was written.
            self.note(holding)
        return decisions

    def _note_loss(self, born: int) -> None:
        """Redis has its data since *born*: what is to be told from before that, it may have been told by others."""
        if born != self._born:
            self._born = born
            for holding in self._holdings.values():
                if isinstance(holding, SpendHolding) and holding.change:
                    holding.doubted = True

    def sweep(self, now: float) -> None:
        """Forget what was not used for long, a part in each tick: those seen and kept go to the end."""
        for id in list(islice(self._holdings, max(SWEEP, len(self._holdings) // SWEEP_PART))):
            holding = self._holdings.pop(id)
            if not holding.outdated(now):
                self._holdings[id] = holding

    def _decision(self, message: Message, ask: Ask, index: int, wait: float) -> Reservation | Refusal | SpendHolding:
        if index == 0:
            for holding, (_, amount) in zip(ask.holdings, ask.claims, strict=True):
                holding.admit(amount)
            return Reservation(ask.claims, False, ask.holdings)
        holding = message.holdings[index - 1]
        if isinstance(holding, SpendHolding) and wait == -2:
            return holding
        limit, amount = ask.claims[ask.holdings.index(holding)]
        return Refusal(limit, None if wait == -1 else wait, never=amount > limit.capacity)

    def _write(self, mode: int, holdings: list[Holding], asks: Sequence[Ask]) -> Message:
        """A message without its calls."""
        prefix, worker = self._prefix, self.worker
        self._number += 1
        arguments: list[Field] = [3 + len(holdings), f"{prefix}:workers", f"{prefix}:born", f"{prefix}:told:{worker}"]
        arguments += [holding.key for holding in holdings]
        arguments += (worker, self._number, self._ttl, mode, self._born, len(holdings))
        stamp = self._wall().timestamp()
        for holding in holdings:
            arguments += holding.fields(stamp)
        return Message(holdings, list(asks), arguments)

    def _without_calls(self, mode: int) -> Message:
        message = self._write(mode, self._due(), ())
        message.arguments.append(0)
        return message

    def _due(self) -> list[Holding]:
        """As many of the holdings that are due as fit into a message; they are due no more."""
        due = list(islice(self.due, MOST_TOLD))
        for holding in due:
            del self.due[holding]
        self.urgent = self.urgent and bool(self.due)
        return due

    def _new(self, limit: Limit, now: float) -> Holding:
        if limit.what is What.CONCURRENT:
            return PlaceHolding(limit, f"{self._prefix}:p:{limit.id}")
        if limit.what is What.BUDGET:
            moment = self._wall()
            began, end = period.began(limit.per, moment), period.ends(limit.per, moment)
            key = f"{self._prefix}:s:{limit.id}:{began:%Y-%m-%dT%H}"
            return SpendHolding(limit, key, now + (end - moment).total_seconds(), began, end)
        return BucketHolding(limit, f"{self._prefix}:b:{limit.id}")
