"""
A target: a provider and the model name to ask it for, with everything that decides whether it is asked now.

It holds state and predicates; who asks, in which order and what came of it is decided elsewhere.
"""

import random

from proxy.providers.breaker import Breaker, Judgement, Permit
from proxy.providers.keys import KeyRing
from proxy.providers.latency import PeakEwma
from proxy.providers.provider import Provider

LONGEST_REST = 300.0
"""Seconds a provider may at most ask to be left alone (Linkerd's clamp)."""
UNWELL = 5.0
"""Seconds until an unhealthy provider may be well again, by a guess: how often the probes look then."""


class Rests:
    """How long a target rests after a 429 that named no time: each time longer, until it has answered. Seconds."""

    def __init__(self, first: float = 0.5, multiplier: float = 2.0, longest: float = 5.0) -> None:
        self.first = first
        self.multiplier = multiplier
        self.longest = longest

    def after(self, refusals: int) -> float:
        """The rest after so many of them in a row."""
        # (A power of that many would not be a number any more.)
        return float(min(self.first * self.multiplier ** min(refusals - 1, 30), self.longest))


DEFAULT_RESTS = Rests()


class Target:
    """One provider's model."""

    def __init__(self, provider: Provider, model: str | None, breaker: Breaker) -> None:
        """*model* is None for calls that name none, such as `GET /v1/files`."""
        self.provider = provider
        self.model = model
        self.breaker = breaker
        self.latency = PeakEwma()
        """Time to first content."""
        self.in_flight = 0
        self.keys = KeyRing(provider.key_count, provider.parked_until)
        """Which of the provider's keys goes next, and which of them rest for this model."""
        self.prefills = provider.prefills
        """It continues a trailing assistant message; unlearned by a refusal."""
        self.limited = False
        """Its last rest began with a 429, not with another refusal that asked for time."""
        self.proven = False
        """It has given a whole answer."""
        self._told_until = 0.0
        """The end of the last rest whose length the provider named."""
        self._guessed_until = 0.0
        """The end of the last rest whose length it did not name."""
        self._refused = 0
        """429s in a row that named no time, those during a rest not counted."""

    def __repr__(self) -> str:
        return f"<Target {self} [{self.in_flight} in flight, {self.breaker!r}]>"

    def __str__(self) -> str:
        return f"{self.provider.name}/{self.model}" if self.model else self.provider.name

    @property
    def weight(self) -> int:
        """Its share under weighted balancing."""
        return self.provider.weight

    def share(self, now: float) -> float:
        """How much of its usual traffic it may take: less than 1 for a while after its breaker closed."""
        return self.breaker.share(now)

    def awaits_probe(self, now: float) -> bool:
        """Its breaker is open, and the next call would show whether it is back."""
        return self.breaker.awaits_probe(now)

    @property
    def full(self) -> bool:
        """The provider has as many calls under way as it may: none while it is drained."""
        return self.provider.full

    def resting(self, now: float) -> bool:
        """Every key was refused and has to wait."""
        return not self.keys.available(now)

    def healthy(self, now: float) -> bool:
        """Neither the probes nor the traffic speak against it."""
        return self.provider.health.healthy and self.breaker.available(now)

    def available(self, now: float) -> bool:
        """May be asked now."""
        return self.healthy(now) and not self.full and not self.resting(now)

    def blocked_by(self, now: float) -> str:
        """In a word, for the decision trail; empty when it is available."""
        if self.provider.drained:
            return "drained"
        if not self.provider.health.healthy:
            return "unhealthy"
        if not self.breaker.available(now):
            return f"breaker {self.breaker.state(now)}"
        if self.resting(now):
            return "parked" if self.provider.parked(now) else "resting"
        return "full" if self.full else ""

    def rests_as_told(self, now: float) -> bool:
        """It rests because its provider asked for it, and for how long is known: it may be waited for."""
        return now < self.returns_at(now) <= self._told_until

    def rests_untold(self, now: float) -> bool:
        """It rests because its provider refused a call without saying for how long."""
        return now < self.returns_at(now) <= self._guessed_until

    def returns_at(self, now: float) -> float:
        """When it stops resting; *now* when it does not rest."""
        return self.keys.next_at(now)

    def back_at(self, now: float) -> float:
        """When it may be asked again, as far as is known now; *now* when it may be asked already."""
        unwell = 0.0 if self.provider.health.healthy else now + UNWELL
        return max(self.keys.next_at(now), self.breaker.available_at(now), unwell)

    def begin(self, now: float, key: int | None = None) -> tuple[Permit | None, int]:
        """
        Take part in one more attempt: the breaker's permit (None when it is asked against its breaker's advice,
        because no other target is left) and the index of the key to use: *key*, unless any will do. Every call is
        matched by one of `end`.
        """
        self.in_flight += 1
        self.provider.in_flight += 1
        self.provider.request_count += 1
        return self.breaker.allow(now), (self.keys.pick(now) or 0) if key is None else key

    def end(self, permit: Permit | None, verdict: Judgement, now: float, rng: random.Random) -> None:
        """The attempt is over."""
        self.in_flight -= 1
        self.provider.in_flight -= 1
        if verdict is Judgement.FAILURE:
            self.provider.error_count += 1
        elif verdict is Judgement.SUCCESS:
            self.proven = True
        if permit is not None:
            self.breaker.record(permit, now, verdict, rng)

    def answered(self) -> None:
        """It has given an answer: what it refused before is over."""
        self._refused = 0

    def rest(self, key: int, seconds: float | None, now: float, rests: Rests = DEFAULT_RESTS) -> None:
        """Leave *key* alone for as long as the provider said, or when it did not say for a while that grows."""
        if seconds is None:
            if self.keys.rests(key, now):
                # Calls that were under way together and are refused together are one refusal.
                return
            self._refused += 1
            until = self._guessed_until = now + rests.after(self._refused)
        else:
            until = now + min(seconds, LONGEST_REST)
            self._told_until = max(self._told_until, until)
        self.keys.rest(key, until)
