"""
Whether a call may begin, what it holds while it runs, and how that is settled once it has ended.

Limits first, then a place to run in, then a row in the ledger. What a call will use and did cost is worked out in
`charges`. It knows no providers and answers no client.
"""

import logging
from collections.abc import Sequence

from proxy.accounts.ledger import Ledger
from proxy.accounts.prices import Prices
from proxy.admission import allowance
from proxy.admission.charges import Charges, costs_unknown
from proxy.admission.held import Held
from proxy.admission.keyless import holder_of
from proxy.admission.waiting import wait
from proxy.core import clock
from proxy.core.errors import ProxyError
from proxy.core.exchange import Exchange, Outcome
from proxy.http.inbound import Inbound
from proxy.limits.limit import NOTHING, Claim, Limits, Refusal, Reservation, What
from proxy.limits.policy import Applying, Policy
from proxy.limits.queue import Queue
from proxy.relay.endpoints import Operation

_log = logging.getLogger("hapax")


class Admission:
    """The way in, and the settlement at the end."""

    def __init__(
        self,
        limits: Limits,
        policy: Policy,
        charges: Charges,
        queue: Queue | None,
        ledger: Ledger | None,
    ) -> None:
        """*queue*: None where calls do not wait. *ledger*: None where nothing is written down."""
        self._limits = limits
        self._policy = policy
        self._charges = charges
        self.queue = queue
        """Where calls that come now wait; those under way keep their places where they have them."""
        self._ledger = ledger
        self._running = 0
        self._ended: list[Exchange] = []
        """Those that have given back their places and not been settled."""
        self.tokens_first = True
        """A caller without tokens is refused before its body is read; False where a stored answer may need none."""
        self.hits: dict[str, int] = {}
        """Calls refused by a limit, by principal."""

    def obey(self, prices: Prices, queue: Queue | None) -> None:
        """Other prices, and another queue or none, for the calls that come from now on."""
        self._charges.prices, self.queue = prices, queue

    async def look(self, inbound: Inbound) -> None:
        """
        Before a body is waited for: `ProxyError` 429 for a caller that has no request or no token left, so that what it
        costs is a head. A call that has to wait for a place waits now, and holds no body meanwhile. Whether the call
        may begin decides `admit`.
        """
        applying = self._applying(inbound, "")
        if applying.limiting:
            claims = (*applying.once, *((limit, 1) for limit in applying.tokens if self.tokens_first))
            refusal = self._limits.obstacle(claims, clock.now())
            if refusal is not None and self._ended:
                # What stands in the way may be held by calls that are over.
                self.settle_all()
                refusal = self._limits.obstacle(claims, clock.now())
            if refusal is not None:
                raise self._refused(inbound, applying, refusal)
        if self.queue is not None:
            await self._enter(self.queue, self._hold(inbound.exchange, applying), inbound)

    async def charge(self, inbound: Inbound, refused: ProxyError) -> ProxyError:
        """
        What the caller of a call that was *refused* before it was admitted is told: that, at the price of a request, or
        that it has none left.
        """
        held: Held | None = inbound.exchange.reservation
        if (held is not None and held.reservation is not None) or not 400 <= refused.status < 500:
            return refused
        applying = self._applying(inbound, "")
        if not applying.once or refused.status == 429:
            return refused
        decided = await self._decide(applying.once)
        if isinstance(decided, Refusal):
            return self._refused(inbound, applying, decided)
        self._hold(inbound.exchange, applying).reservation = decided
        return refused

    async def page(self, inbound: Inbound) -> None:
        """A page that is answered here: no call, but where `limits.routes` names its path it is limited by that."""
        applying = self._applying(inbound, "")
        claims = [claim for claim in applying.once if f"|{inbound.exchange.route}|" in claim[0].id]
        if claims:
            self._hold(inbound.exchange, applying).reservation = await self._reserve(inbound, applying, claims)

    async def admit(
        self,
        inbound: Inbound,
        asked: Operation,
        prompt: int,
        most: int | None,
        session: Exchange | None = None,
        free: bool = False,
    ) -> None:
        """
        Let a call begin that has *prompt* tokens and an answer of at most *most* (None: it does not say); `ProxyError`
        429 or 503 when it may not. What it holds is given back by `leave` and `ended`, whatever becomes of it.
        *session*: the one that it is a response of. *free*: its answer is here and uses nothing, so no debt stops it.
        """
        exchange = inbound.exchange
        applying = self._applying(inbound, exchange.model)
        held = self._hold(exchange, applying)
        held.unpriced = not asked.generates and costs_unknown(exchange, asked)
        if session is not None:
            self._lend(session, held)
        if applying.limiting:
            claims = (
                applying.once if free else self._charges.claims(exchange, applying, asked, prompt, most, clock.now())
            )
            if isinstance(claims, Refusal):
                raise self._refused(inbound, applying, claims)
            if held.reservation is not None:
                # It was to share another call's answer, and has to ask for its own.
                self._limits.settle(held.reservation, NOTHING, clock.now())
            if held.place is not None:
                claims = _beyond(held.place, claims)
            held.reservation = reservation = await self._reserve(inbound, applying, claims)
            if reservation.standings and not free:
                inbound.answer.extra_lines += allowance.header_lines(reservation.standings)
            else:
                self._tell(inbound, applying)
        if self.queue is not None and held.running is None:
            await self._enter(self.queue, held, inbound)
        if self._ledger is not None and not exchange.ledger_id:
            self._ledger.open(exchange, inbound.principal.team)

    async def admit_session(self, inbound: Inbound, asked: Operation) -> None:
        """Let a session begin, which keeps its places while it is open, and is a call besides: see `hand_over`."""
        applying = self._applying(inbound, inbound.exchange.model)
        if applying.concurrent:
            held = self._hold(inbound.exchange, applying)
            held.place = await self._reserve(inbound, applying, [(limit, 1) for limit in applying.concurrent])
        await self.admit(inbound, asked, 0, None)

    def hand_over(self, session: Exchange, response: Exchange) -> None:
        """The first *response* of a *session* is the call as which its handshake was admitted."""
        whole: Held = session.reservation
        held = self._hold(response, whole.applying)
        held.reservation, whole.reservation = whole.reservation, None
        # What the session costs, its responses tell.
        whole.unpriced = True
        self._lend(session, held)
        response.ledger_id, session.ledger_id = session.ledger_id, ""

    async def note(self, inbound: Inbound) -> None:
        """
        A call that its provider began by itself, and that is over: it cannot be refused any more, needs no place, and
        is charged as far as it goes.
        """
        exchange = inbound.exchange
        applying = self._applying(inbound, exchange.model)
        held = self._hold(exchange, applying)
        if self._ledger is not None:
            self._ledger.open(exchange, inbound.principal.team)
        if applying.limiting:
            claims = [claim for claim in applying.claims(0, 0) if claim[0].what is not What.CONCURRENT]
            decided = await self._decide(claims)
            if isinstance(decided, Reservation):
                held.reservation = decided

    def leave(self, exchange: Exchange) -> None:
        """
        The exchange is over: give back its places. What it cost is worked out together with others', see `ended`, or
        at once when no other call is under way; until then it holds what it has reserved.
        """
        held: Held | None = exchange.reservation
        if held is None:
            return
        now = clock.now()
        lender = held.lender
        if lender is not None:
            lender.place, lender.running = held.place, held.running
            held.place, held.running, held.lender = None, None, None
        if held.running is not None:
            held.running.leave(now)
        if held.place is not None:
            self._limits.settle(held.place, {}, now)
        if held.reservation is not None:
            self._limits.leave(held.reservation, now)
        self._ended.append(exchange)
        self._running -= 1
        if not self._running:
            self.settle_all()

    def ended(self, exchanges: Sequence[Exchange]) -> None:
        """Settle these before any other observer reads them."""
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
        unknown = held.unpriced and exchange.tokens is None and exchange.outcome is Outcome.OK
        exchange.cost = None if unknown else self._charges.cost(exchange)
        if held.reservation is not None:
            self._limits.settle(held.reservation, self._charges.used(exchange, held.applying), now)

    def _applying(self, inbound: Inbound, model: str) -> Applying:
        """The limits of a call that names *model*; empty where that is not known or does not matter."""
        principal = inbound.principal
        route = inbound.exchange.route
        if not inbound.limited:
            return self._policy.of_money(holder_of(inbound), principal.budget)
        return self._policy.applying(holder_of(inbound), principal.limits, principal.budget, route, model)

    def _hold(self, exchange: Exchange, applying: Applying) -> Held:
        """What the call holds, of which some may have been made before its body came."""
        held: Held | None = exchange.reservation
        if held is None:
            self._running += 1
            held = exchange.reservation = Held(applying)
        held.applying = applying
        return held

    @staticmethod
    def _lend(session: Exchange, held: Held) -> None:
        """A response that begins runs in the places of its *session*, unless another one does."""
        whole: Held = session.reservation
        if whole.place is not None or whole.running is not None:
            held.place, held.running, held.lender = whole.place, whole.running, whole
            whole.place, whole.running = None, None

    async def _reserve(self, inbound: Inbound, applying: Applying, claims: Sequence[Claim]) -> Reservation:
        """Take what a call *claims*; `ProxyError` 429 where a limit is in the way."""
        decided = await self._decide(claims)
        if isinstance(decided, Refusal):
            raise self._refused(inbound, applying, decided)
        return decided

    async def _decide(self, claims: Sequence[Claim]) -> Reservation | Refusal:
        limits = self._limits
        decided = limits.reserve_now(claims, clock.now())
        if type(decided) is Refusal and self._ended:
            # As in `look`.
            self.settle_all()
            decided = limits.reserve_now(claims, clock.now())
        if decided is None:
            # Whether it would be refused is not known before, so what has ended is settled in any case.
            self.settle_all()
            decided = await limits.reserve(claims)
        return decided

    async def _enter(self, queue: Queue, held: Held, inbound: Inbound) -> None:
        if not queue.enter_now():
            await wait(queue, inbound, held.applying.holder)
        held.running = queue

    def _tell(self, inbound: Inbound, applying: Applying) -> None:
        if applying.told:
            now, limits = clock.now(), self._limits
            inbound.answer.extra_lines += allowance.header_lines(
                [limits.standing(limit, now) for limit in applying.told]
            )

    def _refused(self, inbound: Inbound, applying: Applying, refusal: Refusal) -> ProxyError:
        self._tell(inbound, applying)
        if not refusal.unknown:
            name = inbound.principal.name
            self.hits[name] = self.hits.get(name, 0) + 1
        return allowance.refusal(refusal)


def _beyond(place: Reservation, claims: Sequence[Claim]) -> tuple[Claim, ...]:
    """Those of *claims* that *place* does not hold already."""
    held = {limit.id for limit, _ in place.claims}
    return tuple(claim for claim in claims if claim[0].id not in held)
