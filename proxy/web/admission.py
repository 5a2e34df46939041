"""
Whether a call may begin, what it holds while it runs, and how that is settled once it has ended.

Limits first, then a place to run in, then a row in the ledger. What a call cost is worked out here, in one place, for
limits, ledger, log and metrics alike. It knows no providers and answers nobody.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from proxy import clock
from proxy.accounts.ledger import Ledger
from proxy.accounts.prices import Price, Prices, dearest
from proxy.accounts.principals import ANYONE
from proxy.errors import ProxyError
from proxy.exchange import Exchange, Outcome
from proxy.limits.learned import UNTAUGHT, Learned, Lengths
from proxy.limits.limit import Claim, Limits, Refusal, Reservation, What
from proxy.limits.policy import Applying, Policy
from proxy.limits.queue import Queue, QueueClosed, QueueFull, QueueTimeout
from proxy.relay.endpoints import Operation
from proxy.sse import Dialect
from proxy.usage import Tokens
from proxy.web import allowance
from proxy.web.inbound import Inbound
from proxy.web.keyless import network_of

_log = logging.getLogger("hapax")

# Every call names these, and a name in this file is found sooner than a member of an enumeration.
_REQUESTS, _TOKENS, _BUDGET = What.REQUESTS, What.TOKENS, What.BUDGET

UpstreamModels = Callable[[str], list[str]]
"""The names by which providers are asked for a public model; empty when nobody serves it."""


PRICES_KEPT = 1.0
"""Seconds for which the prices of a model's targets are at hand; the targets change with the providers' own lists."""


@dataclass(slots=True, eq=False)
class Known:
    """What is remembered of one kind of call, see `Applying`, to say what the next one will use."""

    lengths: Lengths | None
    """Of the answers so far; None before the first."""
    dearest: Price | None = None
    """A price that no answer exceeds, whoever gives it; None when one of them has none."""
    until: float = 0.0
    """Until when that is to be believed, in monotonic seconds."""


@dataclass(slots=True)
class Held:
    """What an exchange holds until its end."""

    holder: str
    applying: Applying
    unpriced: bool
    """Nobody knows what it costs, and its answer tells no tokens either."""
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
        self._running = 0
        self._ended: list[Exchange] = []
        """Those that have given back their places and not been settled."""
        self.hits: dict[str, int] = {}
        """Calls refused by a limit, by principal."""

    async def look(self, inbound: Inbound) -> None:
        """
        Before a body is waited for: `ProxyError` 429 for a caller that has no request or no token left, so that what it
        costs is a head. A call that has to wait for a place waits now, and holds no body meanwhile. Whether the call
        may begin decides `admit`.
        """
        exchange, principal = inbound.exchange, inbound.principal
        holder = _holder(inbound)
        applying = self._policy.applying(holder, principal.limits, principal.budget, exchange.route, "")
        if applying.limiting:
            claims = (*applying.once, *((limit, 1) for limit in applying.tokens))
            refusal = self._limits.obstacle(claims, clock.now())
            if refusal is not None and self._ended:
                # What stands in the way may be held by calls that are over.
                self.settle_all()
                refusal = self._limits.obstacle(claims, clock.now())
            if refusal is not None:
                self._tell(inbound, applying)
                raise self._refused(inbound, refusal)
        if self._queue is not None:
            await self._enter(self._queue, self._hold(exchange, holder, applying), inbound)

    def charge(self, inbound: Inbound, refused: ProxyError) -> ProxyError:
        """
        What the caller of a call that was *refused* before it was admitted is told: that, at the price of a request, or
        that it has none left.
        """
        exchange, principal = inbound.exchange, inbound.principal
        held: Held | None = exchange.reservation
        if (held is not None and held.reservation is not None) or not 400 <= refused.status < 500:
            return refused
        holder = _holder(inbound)
        applying = self._policy.applying(holder, principal.limits, principal.budget, exchange.route, "")
        if not applying.once or refused.status == 429:
            return refused
        decided = self._decide_now(applying.once)
        if isinstance(decided, Refusal):
            self._tell(inbound, applying)
            return self._refused(inbound, decided)
        if decided is not None:
            self._hold(exchange, holder, applying).reservation = decided
        return refused

    async def page(self, inbound: Inbound) -> None:
        """A page that is answered here: no call, but where `limits.routes` names its path it is limited by that."""
        exchange, principal, holder = inbound.exchange, inbound.principal, _holder(inbound)
        route = exchange.route
        applying = self._policy.applying(holder, principal.limits, principal.budget, route, "")
        claims = [claim for claim in applying.once if f"|{route}|" in claim[0].id]
        if claims:
            decided = await self._limits.reserve(claims)
            if isinstance(decided, Refusal):
                raise self._refused(inbound, decided)
            self._hold(exchange, holder, applying).reservation = decided

    async def admit(self, inbound: Inbound, asked: Operation, prompt: int, most: int | None) -> None:
        """
        Let a call begin that has *prompt* tokens and an answer of at most *most* (None: it does not say); `ProxyError`
        429 or 503 when it may not. What it holds is given back by `leave` and `ended`, whatever becomes of it.
        """
        exchange, principal = inbound.exchange, inbound.principal
        holder = _holder(inbound)
        applying = self._policy.applying(holder, principal.limits, principal.budget, exchange.route, exchange.model)
        held = self._hold(exchange, holder, applying)
        held.unpriced = not asked.generates and _costs_unknown(inbound, asked)
        if applying.limiting:
            claims = self._claims(inbound, applying, asked, prompt, most, clock.now())
            decided = self._decide_now(claims)
            if decided is None:
                decided = await self._limits.reserve(claims)
            if isinstance(decided, Refusal):
                self._tell(inbound, applying)
                raise self._refused(inbound, decided)
            held.reservation = decided
            if decided.standings:
                inbound.answer.extra_lines += allowance.header_lines(decided.standings)
            else:
                self._tell(inbound, applying)
        if self._queue is not None and not held.running:
            await self._enter(self._queue, held, inbound)
        if self._ledger is not None:
            self._ledger.open(exchange, principal.team)

    def hand_over(self, session: Exchange, response: Exchange) -> bool:
        """The first *response* of a *session* is the call that its handshake was admitted as; False for a later one."""
        if session.reservation is None:
            return False
        response.reservation, session.reservation = session.reservation, None
        response.ledger_id, session.ledger_id = session.ledger_id, ""
        return True

    def note(self, inbound: Inbound) -> None:
        """A call that its provider began by itself: it cannot be refused any more, and is charged as far as it goes."""
        exchange, principal, holder = inbound.exchange, inbound.principal, _holder(inbound)
        applying = self._policy.applying(holder, principal.limits, principal.budget, exchange.route, exchange.model)
        held = self._hold(exchange, holder, applying)
        decided = self._decide_now(applying.claims(0, 0)) if applying.limiting else None
        if isinstance(decided, Reservation):
            held.reservation = decided
        if self._ledger is not None:
            self._ledger.open(exchange, principal.team)

    def leave(self, exchange: Exchange) -> None:
        """
        The exchange is over: give back its places. What it cost is worked out together with others', see `ended`, or
        at once when nobody else is under way; until then it holds what it has reserved.
        """
        held: Held | None = exchange.reservation
        if held is None:
            return
        now = clock.now()
        if held.running and self._queue is not None:
            self._queue.leave(now)
        if held.reservation is not None:
            self._limits.leave(held.reservation, now)
        self._ended.append(exchange)
        self._running -= 1
        if not self._running:
            self.settle_all()

    def ended(self, exchanges: Sequence[Exchange]) -> None:
        """Settle these before anybody else reads them."""
        self.settle_all()

    def settle_all(self) -> None:
        """Work out what ended exchanges cost, and give back what they held."""
        ended, self._ended = self._ended, []
        now = clock.now()
        for exchange in ended:
            try:
                self._settle(exchange, now)
            except Exception as error:
                # A fault in one account must not keep the others from theirs.
                _log.error("request %s could not be settled: %s", exchange.id, type(error).__name__, exc_info=error)

    def _settle(self, exchange: Exchange, now: float) -> None:
        held: Held = exchange.reservation
        # Records are remembered for a while, and what was held need not be.
        exchange.reservation = None
        tokens = exchange.tokens
        if held.unpriced and tokens is None and exchange.outcome is Outcome.OK:
            cost = None
        else:
            cost = self._cost(exchange, tokens)
        exchange.cost = cost
        reservation, applying = held.reservation, held.applying
        if reservation is None:
            return
        if tokens is not None and applying.sized and not tokens.estimated:
            known = applying.known or self._know(applying, held.holder, exchange.model)
            if known.lengths is None:
                known.lengths = self._learned.of(held.holder, exchange.model)
            known.lengths.note(tokens.completion)
        total = 0 if tokens is None else tokens.prompt + tokens.completion
        used: dict[What, int] = {_TOKENS: total}
        if not exchange.attempts and exchange.outcome not in (Outcome.REFUSED, Outcome.OK):
            # Nobody was asked, through no fault of the caller: nothing was used, not even the request (Q6).
            used[_REQUESTS] = 0
        budget = applying.budget
        if budget is not None and budget.unit == "tokens":
            used[_BUDGET] = total
        elif budget is not None and cost is not None:
            # A price nobody knows is not 0: then what was reserved stays spent (Q12).
            used[_BUDGET] = cost
        self._limits.settle(reservation, used, now)

    def _hold(self, exchange: Exchange, holder: str, applying: Applying) -> Held:
        """What the call holds, of which some may have been made before its body came."""
        held: Held | None = exchange.reservation
        if held is None:
            self._running += 1
            held = exchange.reservation = Held(holder, applying, unpriced=False)
        held.applying = applying
        return held

    def _decide_now(self, claims: Sequence[Claim]) -> Reservation | Refusal | None:
        decided = self._limits.reserve_now(claims, clock.now())
        if type(decided) is Refusal and self._ended:
            # What stands in the way may be held by calls that are over.
            self.settle_all()
            decided = self._limits.reserve_now(claims, clock.now())
        return decided

    async def _enter(self, queue: Queue, held: Held, inbound: Inbound) -> None:
        if not queue.enter_now():
            await self._wait(queue, inbound.exchange, inbound, held.holder)
        held.running = True

    def _claims(
        self, inbound: Inbound, applying: Applying, asked: Operation, prompt: int, most: int | None, now: float
    ) -> tuple[Claim, ...]:
        """What the call asks of its limits; `ProxyError` when they would never allow it, or nobody knows its price."""
        if not applying.sized:
            return applying.once
        if not asked.uses_tokens:
            if applying.budget is not None and _costs_unknown(inbound, asked):
                raise ProxyError("price_unknown", "This key has a budget, and nobody can say what that path will cost.")
            return applying.claims(0, 0)
        for limit in applying.tokens:
            if prompt > limit.capacity:
                raise self._refused(inbound, Refusal(limit, None, never=True))
        exchange = inbound.exchange
        known = applying.known or self._know(applying, exchange.reservation.holder, exchange.model)
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

    def _tell(self, inbound: Inbound, applying: Applying) -> None:
        if applying.told:
            now, limits = clock.now(), self._limits
            inbound.answer.extra_lines += allowance.header_lines(
                [limits.standing(limit, now) for limit in applying.told]
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

    def _know(self, applying: Applying, holder: str, model: str) -> Known:
        """The first call of a kind: begin to remember."""
        known = applying.known = Known(self._learned.find(holder, model))
        return known

    def _dearest(self, model: str) -> Price | None:
        """A price that no answer to *model* exceeds, whoever gives it; None when one of them has none."""
        prices = [self._prices.of(name) for name in self._upstream_models(model)]
        return None if None in prices else dearest(prices)

    def _cost(self, exchange: Exchange, tokens: Tokens | None) -> int | None:
        """Micro-USD for all that reached the client; None when the price of a part of it is not known."""
        if tokens is None:
            return 0
        attempts = exchange.attempts
        if len(attempts) == 1 and tokens.total:
            return self._prices.cost(attempts[0].model or exchange.model, tokens)
        whole = 0
        for attempt in attempts:
            if attempt.tokens is not None and attempt.tokens.total:
                cost = self._prices.cost(attempt.model or exchange.model, attempt.tokens)
                if cost is None:
                    return None
                whole += cost
        return whole


def _holder(inbound: Inbound) -> str:
    """Whose limits the call has to pass: the key's; without keys the address's."""
    principal = inbound.principal
    return principal.name if principal is not ANYONE else f"{ANYONE.name}@{network_of(inbound.exchange.client_ip)}"


def _costs_unknown(inbound: Inbound, asked: Operation) -> bool:
    """Whether the call makes a provider work in a way no price list knows, such as a batch, a training or a video."""
    return not asked.generates and not asked.free and inbound.request.method == "POST"


def _again(seconds: float) -> tuple[tuple[str, str], ...]:
    return (("Retry-After", str(max(1, round(seconds + 0.5)))),)
