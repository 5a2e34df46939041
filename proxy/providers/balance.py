"""
In which order to try the targets that can take a call.

It orders the targets it is given and drops none: which are available is asked before, which have room is asked after.
The first target is chosen by policy; the rest is where the call goes should that one fail.
"""

import math
import random
from collections.abc import Sequence
from typing import Any, Generic, Protocol, TypeVar

from proxy.providers.latency import PeakEwma
from proxy.settings.models import BalancePolicy


class Candidate(Protocol):
    """What a policy may know of a target."""

    @property
    def in_flight(self) -> int: ...

    @property
    def weight(self) -> int: ...

    @property
    def latency(self) -> PeakEwma: ...

    def share(self, now: float) -> float:
        """Part of its usual traffic it should get now, above 0 and at most 1; less than 1 while it recovers."""

    def awaits_probe(self, now: float) -> bool:
        """It was out, and the next call it gets shows whether it is back."""


C = TypeVar("C", bound=Candidate)


REMEMBERED = 256
"""Candidates whose turns are kept; a glob of models has targets for every name a client invents."""


class Turns(Generic[C]):
    """
    Whose turn it is: each comes as often as its weight says, evenly spread (nginx's smooth weighted round robin). One
    that was away, or was passed over for its load, does not catch up on what it has missed.
    """

    def __init__(self) -> None:
        self._credit: dict[C, int] = {}

    def debts(self, candidates: Sequence[C], weights: Sequence[int]) -> list[int]:
        """For each of them a number; the least is next."""
        return [-self._credit.get(c, 0) - weight for c, weight in zip(candidates, weights, strict=True)]

    def take(self, chosen: C, candidates: Sequence[C], weights: Sequence[int]) -> None:
        """Of *candidates* it was the turn of *chosen*."""
        credit, whole = self._credit, sum(weights)
        if len(credit) > REMEMBERED:
            credit.clear()
        for candidate, weight in zip(candidates, weights, strict=True):
            gained = credit.get(candidate, 0) + weight - (whole if candidate is chosen else 0)
            credit[candidate] = max(-whole, min(whole, gained))


class Balance:
    """One policy, with the memory it needs; every public model has its own."""

    def __init__(self, policy: BalancePolicy) -> None:
        self.policy = policy
        self._turns: Turns[Any] = Turns()

    def __repr__(self) -> str:
        return f"<Balance {self.policy}>"

    def order(self, candidates: Sequence[C], now: float, rng: random.Random, new_call: bool = True) -> list[C]:
        """
        All *candidates*, given in order of preference, in the order to try them. Only a *new_call* takes a turn: what
        follows a failure must not decide who is first for the next caller.
        """
        if len(candidates) < 2:
            return list(candidates)
        if self.policy == "preference":
            return _pass_over(candidates, now, rng)
        if self.policy == "round_robin":
            weights = [1] * len(candidates)
            turn = _by(self._turns.debts(candidates, weights), candidates)
            if new_call:
                self._turns.take(turn[0], candidates, weights)
            return _pass_over(turn, now, rng)
        if self.policy == "weighted":
            return _weightless_last(_pass_over(_drawn(candidates, rng), now, rng))
        if self.policy == "least_requests":
            weights = [max(1, c.weight) for c in candidates]
            order = _weightless_last(_pass_over(self._by_load(candidates, weights, rng), now, rng))
            if new_call:
                self._turns.take(order[0], candidates, weights)
            return order
        # One that may be back is as good as one never heard of: what it did while it was out is no measure of it.
        scores = [0.0 if c.awaits_probe(now) else c.latency.score(now, c.in_flight) for c in candidates]
        return _pass_over(_better_of_two(candidates, scores, rng), now, rng)

    def _by_load(self, candidates: Sequence[C], weights: Sequence[int], rng: random.Random) -> list[C]:
        """The better of two by load; where all are loaded alike, as they are while calls come singly, in turn."""
        loads = [_load(c) for c in candidates]
        carrying = [load for load in loads if load < math.inf] or loads
        costs = list(zip(loads, self._turns.debts(candidates, weights), strict=True))
        return _by(costs, candidates) if min(carrying) == max(carrying) else _better_of_two(candidates, costs, rng)


def _drawn(candidates: Sequence[C], rng: random.Random) -> list[C]:
    # Sorting by random() ** (1 / weight) is drawing by weight without putting back (Efraimidis and Spirakis, 2006).
    keys = [rng.random() ** (1 / c.weight) if c.weight else 0.0 for c in candidates]
    return [candidates[i] for i in sorted(range(len(keys)), key=keys.__getitem__, reverse=True)]


def _load(candidate: Candidate) -> float:
    return candidate.in_flight / candidate.weight if candidate.weight else math.inf


def _by(keys: Sequence[Any], candidates: Sequence[C]) -> list[C]:
    return [candidates[i] for i in sorted(range(len(keys)), key=keys.__getitem__)]


def _better_of_two(candidates: Sequence[C], costs: Sequence[Any], rng: random.Random) -> list[C]:
    """
    The cheaper of two drawn at random, then the others from cheap to dear. Not the cheapest of all: workers that do
    not know each other would all run to it.
    """
    drawn = rng.sample(range(len(candidates)), len(candidates))
    first = min(drawn[:2], key=costs.__getitem__)
    drawn.remove(first)
    return [candidates[i] for i in (first, *sorted(drawn, key=costs.__getitem__))]


def _pass_over(order: Sequence[C], now: float, rng: random.Random) -> list[C]:
    """Move a recovering target behind the others, now and then: as often as its share is short of 1."""
    kept: list[C] = []
    passed: list[C] = []
    for candidate in order:
        share = candidate.share(now)
        (passed if share < 1.0 and rng.random() >= share else kept).append(candidate)
    return kept + passed


def _weightless_last(order: list[C]) -> list[C]:
    """Weight 0 is for emergencies: tried when all that carry weight have failed."""
    return sorted(order, key=lambda c: c.weight == 0)
