"""
Whether a call may begin, what it holds while it runs, and how that is settled once it has ended.

Limits first, then a place to run in, then a row in the ledger. What a call cost is worked out here, in one place, for
limits, ledger, log and metrics alike. It knows no providers and answers nobody.
"""

from collections.abc import Callable
from dataclasses import dataclass

from proxy import clock
from proxy.accounts.ledger import Ledger
from proxy.accounts.prices import Prices
from proxy.accounts.principals import ANYONE
from proxy.errors import ProxyError
from proxy.exchange import Exchange
from proxy.limits.learned import Learned
from proxy.limits.limit import Limit, Limits, Refusal, Reservation, What
from proxy.limits.policy import Applying, Policy
from proxy.limits.queue import Queue, QueueClosed, QueueFull, QueueTimeout
from proxy.relay.endpoints import Operation
from proxy.sse import Dialect
from proxy.usage import Tokens
from proxy.web import allowance
from proxy.web.inbound import Inbound
from proxy.web.keyless import network_of

UpstreamModels = Callable[[str], list[str]]
"""The names by which providers are asked for a public model; empty when nobody serves it."""


@dataclass(slots=True)
class Held:
    """What an exchange holds until its end."""

    holder: str
    expects: int
    """Tokens of the answer it was supposed to have."""
    reservation: Reservation | None = None
    running: bool = False
    """It has a place in the queue's running part."""


class Admission:
    """The way in, and the settlement at the end."""

    def __init__(
        self,
        limits: Limits,
        policy: Policy,
        prices: Prices,
        upstream_models: UpstreamModels,
        queue: Queue | None,
        ledger: Ledger | None,
    ) -> None:
        """*queue*: None where calls do not wait. *ledger*: None where nothing is written down."""
        self._limits = limits
        self._policy = policy
        self._prices = prices
        self._upstream_models = upstream_models
        self._queue = queue
        self._ledger = ledger
        self._learned = Learned()
        self.hits: dict[str, int] = {}
        """Calls refused by a limit, by principal."""

    async def admit(self, inbound: Inbound, asked: Operation, prompt: int, most: int | None) -> None:
        """
        Let a call begin that has *prompt* tokens and an answer of at most *most* (None: it does not say); `ProxyError`
        429 or 503 when it may not. What it holds is given back by `settle`, whatever becomes of it.
        """
        exchange, principal = inbound.exchange, inbound.principal
        holder = principal.name if principal is not ANYONE else f"{ANYONE.name}@{network_of(exchange.client_ip)}"
        applying = self._policy.applying(holder, principal.limits, principal.budget, exchange.route, exchange.model)
        completion = 0
        if asked.generates:
            completion = self._expected(asked, holder, exchange.model, most)
        else:
            prompt = 0
        held = exchange.reservation = Held(holder, completion)
        if applying.once or applying.tokens or applying.budget is not None:
            await self._reserve(inbound, held, applying, prompt, completion)
        queue = self._queue
        if queue is not None and not queue.enter_now():
            await self._wait(queue, exchange, inbound, holder)
        held.running = queue is not None
        if self._ledger is not None:
            self._ledger.open(exchange, principal.team)

    def settle(self, exchange: Exchange) -> None:
        """The exchange is over: work out what it cost, and give back what it held, before anybody reads the record."""
        held: Held | None = exchange.reservation
        if held is None:
            return
        now = clock.now()
        if held.running and self._queue is not None:
            self._queue.leave(now)
        tokens = exchange.tokens
        exchange.cost = cost = self._cost(exchange, tokens)
        if tokens is not None and not tokens.estimated:
            self._learned.note(held.holder, exchange.model, tokens.completion)
        reservation = held.reservation
        if reservation is None:
            return
        used: dict[What, int] = {What.TOKENS: 0 if tokens is None else tokens.total}
        if not exchange.attempts:
            # Nobody was asked, so nothing was used, not even the request (reliability.md Q6).
            used[What.REQUESTS] = 0
        for limit, _ in reservation.claims:
            if limit.what is What.BUDGET:
                if limit.unit == "tokens":
                    used[What.BUDGET] = used[What.TOKENS]
                elif cost is not None:
                    used[What.BUDGET] = cost
                # A price nobody knows is not 0: what was reserved stays spent (Q12).
        self._limits.settle(reservation, used, now)

    async def _reserve(self, inbound: Inbound, held: Held, applying: Applying, prompt: int, completion: int) -> None:
        for limit in applying.tokens:
            if prompt > limit.capacity:
                raise self._refused(inbound, Refusal(limit, None, never=True))
        cost = 0 if applying.budget is None else self._reserved_cost(applying.budget, inbound, prompt, completion)
        claims = applying.claims(prompt + completion, cost)
        decided = self._limits.reserve_now(claims, clock.now())
        if decided is None:
            decided = await self._limits.reserve(claims)
        if isinstance(decided, Refusal):
            self._tell(inbound, applying)
            raise self._refused(inbound, decided)
        held.reservation = decided
        self._tell(inbound, applying)

    def _tell(self, inbound: Inbound, applying: Applying) -> None:
        if applying.requests or applying.tokens:
            now, limits = clock.now(), self._limits
            inbound.answer.extra_lines += allowance.header_lines(
                [limits.standing(limit, now) for limit in (*applying.requests, *applying.tokens)]
            )

    def _refused(self, inbound: Inbound, refusal: Refusal) -> ProxyError:
        if not refusal.unknown:
            name = inbound.principal.name
            self.hits[name] = self.hits.get(name, 0) + 1
        return allowance.refusal(refusal)

    async def _wait(self, queue: Queue, exchange: Exchange, inbound: Inbound, holder: str) -> None:
        began = clock.now()
        try:
            ticket = queue.join(holder)
            exchange.position = ticket.position
            await ticket.wait()
        except QueueFull:
            raise ProxyError("queue_full", headers=_again(queue.retry_after(began))) from None
        except QueueTimeout:
            raise ProxyError("queue_timeout", headers=_again(queue.retry_after(clock.now()))) from None
        except QueueClosed:
            raise ProxyError("shutting_down") from None
        finally:
            exchange.queued = clock.now() - began
        inbound.answer.extra_lines += b"X-Hapax-Queue-Position: %d\r\n" % ticket.position

    def _expected(self, asked: Operation, holder: str, model: str, most: int | None) -> int:
        """Tokens of the answer: what it may have at most, or what such answers usually have."""
        if most is not None:
            return most
        return self._learned.expect(holder, model) if asked.dialect is not Dialect.OTHER else 0

    def _reserved_cost(self, budget: Limit, inbound: Inbound, prompt: int, completion: int) -> int:
        if budget.unit == "tokens":
            return prompt + completion
        tokens = Tokens(prompt, completion)
        costs = [self._prices.cost(name, tokens) for name in self._upstream_models(inbound.exchange.model)]
        if None in costs and tokens.total:
            raise ProxyError("price_unknown", param="model")
        return max((cost for cost in costs if cost is not None), default=0)

    def _cost(self, exchange: Exchange, tokens: Tokens | None) -> int | None:
        """Micro-USD for all that reached the client; None when the price of a part of it is not known."""
        if tokens is None:
            return 0
        whole = 0
        for attempt in exchange.attempts:
            if attempt.tokens is not None and attempt.tokens.total:
                cost = self._prices.cost(attempt.model or exchange.model, attempt.tokens)
                if cost is None:
                    return None
                whole += cost
        return whole


def _again(seconds: float) -> tuple[tuple[str, str], ...]:
    return (("Retry-After", str(max(1, round(seconds + 0.5)))),)
