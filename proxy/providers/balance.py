"""
In which order to try the targets that can take a call.

It orders what it is given and drops nobody: who is available is asked before, who has room is asked after. The first
target is chosen by policy; the rest is where the call goes should that one fail.
"""

import random
from collections.abc import Sequence
from typing import Protocol, TypeVar

from proxy.providers.latency import PeakEwma
from proxy.settings.models import Balance as Policy


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


C = TypeVar("C", bound=Candidate)


class Balance:
    """One policy, with the memory it needs; every public model has its own."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self._turn = 0

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
            first = self._turn % len(candidates)
            self._turn += new_call
            return _pass_over([*candidates[first:], *candidates[:first]], now, rng)
        if self.policy == "weighted":
            return _weightless_last(_pass_over(_drawn(candidates, rng), now, rng))
        if self.policy == "least_requests":
            loads = [_load(c) for c in candidates]
            return _weightless_last(_pass_over(_better_of_two(candidates, loads, rng), now, rng))
        scores = [c.latency.score(now, c.in_flight) for c in candidates]
        return _pass_over(_better_of_two(candidates, scores, rng), now, rng)


def _drawn(candidates: Sequence[C], rng: random.Random) -> list[C]:
    # Sorting by random() ** (1 / weight) is drawing by weight without putting back (Efraimidis and Spirakis, 2006).
    keys = [rng.random() ** (1 / c.weight) if c.weight else 0.0 for c in candidates]
    return [candidates[i] for i in sorted(range(len(keys)), key=keys.__getitem__, reverse=True)]


def _load(candidate: Candidate) -> float:
    # The call to be placed is counted too: idle, a big target is still a better choice than a small one.
    return (candidate.in_flight + 1) / candidate.weight if candidate.weight else float("inf")


def _better_of_two(candidates: Sequence[C], costs: Sequence[float], rng: random.Random) -> list[C]:
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
