"""
What a caller has left: of each of its limits, and of its budget.

It asks the levels and takes nothing from them; what was used is `usage`'s.
"""

from typing import Any

from proxy.accounts.principals import Principal
from proxy.core import clock
from proxy.limits.limit import Limit, Limits, Refusal, Standing, What
from proxy.limits.policy import Policy, budget_limit

_NAMES = {
    What.REQUESTS: "requests_per_minute",
    What.TOKENS: "tokens_per_minute",
    What.CONCURRENT: "concurrent",
}
"""The limits as the settings call them."""


class Left:
    """The levels of every caller's limits."""

    def __init__(self, limits: Limits, policy: Policy) -> None:
        self._limits = limits
        self._policy = policy

    async def of(self, principal: Principal, holder: str) -> dict[str, Any]:
        """`limits` and `budget` of *principal*, which is limited under the name *holder*, as plain JSON."""
        every = self._policy.every(holder, principal.limits)
        budget = None if principal.budget is None else budget_limit(holder, principal.budget)
        await self._look(*(limit for _, _, limit in every))
        known = budget is None or await self._look(budget)
        now = clock.now()
        return {
            "limits": [
                {
                    "limit": _NAMES[limit.what],
                    "route": route or None,
                    "model": model or None,
                    "amount": limit.capacity,
                    "left": max(0, standing.remaining),
                    # A place is free when a call ends.
                    "whole_at": _at(standing) if limit.what is not What.CONCURRENT else None,
                }
                for route, model, limit in every
                for standing in (self._limits.standing(limit, now),)
            ],
            "budget": None if budget is None else self._budget(budget, now, known),
        }

    async def _look(self, *limits: Limit) -> bool:
        """
        Have the levels of *limits* known here as they are, in Redis or the ledger; whether that could be. It is asked
        for more than there ever is, which is refused and takes nothing.
        """
        if not limits:
            return True
        decided = await self._limits.reserve([(limit, 2 * limit.capacity + 1) for limit in limits])
        return not (isinstance(decided, Refusal) and decided.unknown)

    def _budget(self, budget: Limit, now: float, known: bool) -> dict[str, Any]:
        standing = self._limits.standing(budget, now)
        spent = budget.capacity - standing.remaining
        return {
            "unit": "micro_usd" if budget.unit == "usd" else "tokens",
            "per": budget.per,
            "amount": budget.capacity,
            "spent": spent if known else None,
            "left": max(0, standing.remaining) if known else None,
            "resets_at": _at(standing),
        }


def _at(standing: Standing) -> str:
    return clock.iso_of(clock.wall().timestamp() + standing.reset)
