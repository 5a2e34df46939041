"""
Which limits a call has to pass: those of its key, of its route and of its model, each for that one holder.

It turns settings into limits, once for every combination it meets, and remembers no levels.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from proxy.limits.limit import Claim, Limit, What
from proxy.settings import Budget, KeyLimits
from proxy.settings.access import LimitSettings, RateLimits
from proxy.settings.models import either_way, most_specific

MOST_REMEMBERED = 10_000
"""Combinations of holder, route and model kept; the names of models are whatever clients send."""
_MODEL = "model:"
"""What marks the limits of a model among those of paths."""


@dataclass(slots=True)
class Applying:
    """The limits of one kind of call: of one holder, route and model."""

    holder: str
    requests: tuple[Limit, ...]
    tokens: tuple[Limit, ...]
    concurrent: tuple[Limit, ...]
    budget: Limit | None
    once: tuple[Claim, ...] = ()
    """What every such call claims, whatever its size: one request of each limit, one place of each."""
    told: tuple[Limit, ...] = ()
    """What the caller is told of: the limits on requests and tokens."""
    sized: bool = False
    """Something depends on how many tokens the call uses."""
    limiting: bool = False
    """There is any limit at all."""
    known: Any = field(default=None, compare=False, repr=False)
    """What the caller of `applying` remembers of these calls, so that one look-up finds all of it."""

    def claims(self, tokens: int, cost: int) -> tuple[Claim, ...]:
        """What a call claims that will use *tokens*; *cost* is in the unit of the budget."""
        claims = self.once
        for limit in self.tokens:
            # No call can hold more than the bucket has; whether a prompt is too long for it is asked before.
            claims += ((limit, tokens if tokens < limit.capacity else limit.capacity),)
        return claims if self.budget is None else (*claims, (self.budget, cost))


class Policy:
    """The limits in force."""

    def __init__(self, limits: LimitSettings) -> None:
        self._limits = limits
        self._known: dict[tuple[str, str, str], tuple[KeyLimits, Budget | None, Applying]] = {}

    def replace(self, limits: LimitSettings) -> None:
        """Other limits from now on; what calls under way have reserved stays as it is."""
        self._limits = limits
        self._known.clear()

    def applying(self, holder: str, own: KeyLimits, budget: Budget | None, route: str, model: str) -> Applying:
        """The limits of *holder*, whose own limits and budget these are, for a call of *route* that names *model*."""
        known = self._known.get((holder, route, model))
        # A key that was changed comes with other objects.
        if known is not None and known[0] is own and known[1] is budget:
            return known[2]
        if len(self._known) >= MOST_REMEMBERED:
            self._known.clear()
        applying = self._find(holder, own, budget, route, model)
        self._known[holder, route, model] = (own, budget, applying)
        return applying

    def of_money(self, holder: str, budget: Budget | None) -> Applying:
        """The budget alone, for a call whose path has no other limit."""
        limit = None if budget is None else budget_limit(holder, budget)
        return Applying(holder, (), (), (), limit, sized=limit is not None, limiting=limit is not None)

    def every(self, holder: str, own: KeyLimits) -> list[tuple[str, str, Limit]]:
        """All limits of *holder*, whose own these are, but its budget; each with the route or the model it is for."""
        limits = self._limits
        scopes = [("", "", _merged(own, limits.default))]
        scopes += [(route, "", rates) for route, rates in limits.routes.items()]
        scopes += [("", model, rates) for model, rates in limits.models.items()]
        return [
            (route, model, limit)
            for route, model, rates in scopes
            for limit in _limits_of(holder, f"{_MODEL}{model}" if model else route, rates)
        ]

    def _find(self, holder: str, own: KeyLimits, budget: Budget | None, route: str, model: str) -> Applying:
        limits = self._limits
        scopes = [("", _merged(own, limits.default))]
        if route in limits.routes:
            scopes.append((route, limits.routes[route]))
        pattern = most_specific(model, limits.models, either_way) if model else None
        if pattern is not None:
            # Marked, since a model may be spelled like a path.
            scopes.append((f"{_MODEL}{pattern}", limits.models[pattern]))
        found = [limit for scope, rates in scopes for limit in _limits_of(holder, scope, rates)]
        requests, tokens, concurrent = (
            tuple(limit for limit in found if limit.what is what)
            for what in (What.REQUESTS, What.TOKENS, What.CONCURRENT)
        )
        return Applying(
            holder,
            requests,
            tokens,
            concurrent,
            None if budget is None else budget_limit(holder, budget),
            tuple((limit, 1) for limit in (*requests, *concurrent)),
            told=(*requests, *tokens),
            sized=bool(tokens or budget),
            limiting=bool(requests or tokens or concurrent or budget),
        )


def _limits_of(holder: str, scope: str, rates: RateLimits) -> list[Limit]:
    id, found = f"{holder}|{scope}|", list[Limit]()
    if rates.requests_per_minute:
        found.append(_per_minute(id, What.REQUESTS, rates.requests_per_minute))
    if rates.tokens_per_minute:
        found.append(_per_minute(id, What.TOKENS, rates.tokens_per_minute))
    if rates.concurrent:
        found.append(Limit(id + What.CONCURRENT, What.CONCURRENT, rates.concurrent))
    return found


def budget_limit(holder: str, budget: Budget) -> Limit:
    """*budget* as a limit of *holder*."""
    id = f"{holder}||budget/{budget.unit}/{budget.per}"
    return Limit(id, What.BUDGET, budget.amount, per=budget.per, unit=budget.unit, holder=holder)


def _merged(own: KeyLimits, default: RateLimits) -> RateLimits:
    """A key's own numbers, and the default for those it does not name."""
    chosen: Mapping[str, int] = {
        name: given if given is not None else getattr(default, name) for name, given in own.model_dump().items()
    }
    return RateLimits(**chosen)


def _per_minute(id: str, what: What, amount: int) -> Limit:
    return Limit(id + what, what, amount, amount / 60)
