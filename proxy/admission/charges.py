"""
What a call is charged: what it will probably use, which its limits are asked for, and what it cost in the end.

A guess is made from the answers so far, the cost from prices and from what reached the client. Nothing is decided here.
"""

from collections.abc import Callable
from dataclasses import dataclass

from proxy.accounts.prices import Price, Prices, dearest
from proxy.core.errors import ProxyError
from proxy.core.exchange import Exchange, Outcome
from proxy.core.sse import Dialect
from proxy.core.usage import Tokens
from proxy.limits.learned import UNTAUGHT, Learned, Lengths
from proxy.limits.limit import Claim, Refusal, What
from proxy.limits.policy import Applying
from proxy.relay.endpoints import Operation

# Every call names these, and a name in this file is found sooner than a member of an enumeration.
_REQUESTS, _TOKENS, _BUDGET = What.REQUESTS, What.TOKENS, What.BUDGET

UpstreamModels = Callable[[str], list[str]]
"""The names by which providers are asked for a public model; empty when no provider serves it."""

PRICES_KEPT = 1.0
"""Seconds for which the prices of a model's targets are at hand; the targets change with the providers' own lists."""


@dataclass(slots=True, eq=False)
class Known:
    """What is remembered of one kind of call, see `Applying`, to say what the next one will use."""

    lengths: Lengths | None
    """Of the answers so far; None before the first."""
    dearest: Price | None = None
    """A price that no answer exceeds, whichever target gives it; None when one of them has none."""
    until: float = 0.0
    """Until when that is to be believed, in monotonic seconds."""


class Charges:
    """Those of every call."""

    def __init__(self, prices: Prices, upstream_models: UpstreamModels) -> None:
        self.prices = prices
        """By which calls are charged from now on."""
        self._upstream_models = upstream_models
        self._learned = Learned()

    def claims(
        self, exchange: Exchange, applying: Applying, asked: Operation, prompt: int, most: int | None, now: float
    ) -> tuple[Claim, ...] | Refusal:
        """
        What the call asks of its limits, with *prompt* tokens and an answer of *most* (None: it does not say); the
        refusal when they would never allow it, `ProxyError` when its price is not known.
        """
        if not applying.sized:
            return applying.once
        if not asked.uses_tokens:
            if applying.budget is not None and costs_unknown(exchange, asked):
                raise ProxyError("price_unknown", "This key has a budget, and no price list says what that path costs.")
            return applying.claims(0, 0)
        for limit in applying.tokens:
            if prompt > limit.capacity:
                return Refusal(limit, None, never=True)
        known = applying.known or self._know(applying, exchange.model)
        completion = most
        if completion is None:
            completion = 0
            if asked.dialect is not Dialect.OTHER:
                completion = UNTAUGHT if known.lengths is None else known.lengths.expect()
        budget, cost = applying.budget, 0
        if budget is not None:
            if budget.unit == "tokens":
                cost = prompt + completion
            else:
                if known.until <= now:
                    known.dearest, known.until = self._dearest(exchange.model), now + PRICES_KEPT
                if known.dearest is None:
                    raise ProxyError("price_unknown", param="model")
                cost = known.dearest.cost_of(prompt, completion)
        return applying.claims(prompt + completion, cost)

    def cost(self, exchange: Exchange) -> int | None:
        """Micro-USD for all that reached the client; None when the price of a part of it is not known."""
        tokens = exchange.tokens
        if tokens is None:
            return 0
        attempts = exchange.attempts
        if len(attempts) == 1 and tokens.total:
            return self.prices.cost(attempts[0].model or exchange.model, tokens)
        whole = 0
        for attempt in attempts:
            if attempt.tokens is not None and attempt.tokens.total:
                cost = self.prices.cost(attempt.model or exchange.model, attempt.tokens)
                if cost is None:
                    return None
                whole += cost
        return whole

    def used(self, exchange: Exchange, applying: Applying) -> dict[What, int]:
        """What an exchange that has ended used of its limits; what is not in it stays as it was reserved."""
        tokens = exchange.tokens
        self._learn(exchange, applying, tokens)
        total = 0 if tokens is None else tokens.prompt + tokens.completion
        used: dict[What, int] = {_TOKENS: total}
        served = exchange.attempts or exchange.shared or exchange.cached
        if not served and exchange.outcome not in (Outcome.REFUSED, Outcome.OK):
            # No target was asked, through no fault of the caller: nothing was used, not even the request.
            used[_REQUESTS] = 0
        budget = applying.budget
        if budget is not None and budget.unit == "tokens":
            used[_BUDGET] = total
        elif budget is not None and exchange.cost is not None:
            # A price that is not known is not 0: then what was reserved stays spent.
            used[_BUDGET] = exchange.cost
        return used

    def _learn(self, exchange: Exchange, applying: Applying, tokens: Tokens | None) -> None:
        if tokens is not None and applying.sized and not tokens.estimated:
            known = applying.known or self._know(applying, exchange.model)
            if known.lengths is None:
                known.lengths = self._learned.of(applying.holder, exchange.model)
            known.lengths.note(tokens.completion)

    def _know(self, applying: Applying, model: str) -> Known:
        """The first call of a kind: begin to remember."""
        known = applying.known = Known(self._learned.find(applying.holder, model))
        return known

    def _dearest(self, model: str) -> Price | None:
        """A price that no answer to *model* exceeds, whichever target gives it; None when one of them has none."""
        prices = [self.prices.of(name) for name in self._upstream_models(model)]
        return None if None in prices else dearest(prices)


def costs_unknown(exchange: Exchange, asked: Operation) -> bool:
    """Whether the call makes a provider work in a way no price list knows, such as a batch, a training or a video."""
    return not asked.generates and not asked.free and exchange.method == "POST"
