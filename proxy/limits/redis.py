"""
Limits shared by workers and machines over Redis: every call is decided there, all that wait together in one message.

One script decides over all claims of a call at once, by Redis's clock, and nothing is held by a worker but what its
calls hold, so no limit is ever exceeded and none is kept from a caller: over-admission is 0 for every kind. What calls
that end give back or have spent travels with the next message, and is sent by itself within `TICK`; a place at once
where few are left. A call that spends more than it reserved is the one thing that exceeds a budget or a bucket, and
those after it pay.

No call waits for Redis longer than `PATIENCE`. While it does not answer, each worker decides by itself: over its share
of a rate and of the places, and over a budget as last known. What is held and owed is in `holdings`.
"""

import asyncio
import logging
import random
import secrets
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from proxy.core import clock, tasks
from proxy.limits.holding_kinds import SpendHolding
from proxy.limits.holdings import Holdings
from proxy.limits.limit import (
    NOTHING,
    UNKNOWN_WAIT,
    Claim,
    Limit,
    Refusal,
    Reservation,
    Spent,
    Standing,
    What,
)
from proxy.limits.lookups import Lookups
from proxy.limits.outbox import Outbox
from proxy.limits.redis_link import RedisLink, Unavailable
from proxy.limits.redis_message import Ask, Message

LOOKUP = 1.0
"""Seconds a call waits for the ledger to tell what of a budget was spent, before it is refused for now."""
PATIENCE = 0.06
"""Seconds a call waits for Redis; with `LAG` it is decided within 100 ms."""
TICK = 0.05
"""Seconds after which Redis is told what calls gave back or have spent, where no call is asked about before."""
LAG = 0.04
"""Seconds Redis has for an answer at least, where a call has waited for this process, or for the message before."""
HEARTBEATS = 5
"""Signs of life within the time a worker is believed alive."""
JITTER = 0.2
"""A wait for the next probe is this share longer or shorter at random."""
MOST_ASKS = 256
"""Calls decided in one round trip: Redis does nothing else meanwhile, about 2 ms."""
_log = logging.getLogger("hapax")


class RedisLimits:
    """The levels of all limits of all workers that use the same Redis."""

    def __init__(
        self,
        url: str,
        spent: Spent,
        *,
        ledger: bool = True,
        prefix: str = "{hapax}",
        ttl: float = 5.0,
        patience: float = PATIENCE,
        probe_interval: float = 0.25,
        wall: Callable[[], datetime] = clock.wall,
    ) -> None:
        """
        *url* as redis-py reads it, else `ValueError`. *spent* is asked about budgets that Redis has lost; *ledger*: it
        is a ledger that answers, which all workers write to. *prefix*
        begins every key. In seconds: *ttl*, after which a dead worker's places are free; *patience*, for which a call
        waits for Redis; *probe_interval*, between two attempts while it does not answer. *wall* is the time in UTC that
        periods go by.
        """
        self._link = RedisLink(url)
        self._beat = ttl / HEARTBEATS
        self._patience = patience
        self._probe_interval = probe_interval
        self._holdings = Holdings("w" + secrets.token_hex(8), prefix, ttl, wall)
        self._lookups = Lookups(spent, ledger, self._holdings)
        self._outbox = Outbox(self._link, self._holdings, self._lookups)
        self._waiting: deque[Ask] = deque()
        self._wanted = asyncio.Event()
        self._ending = False
        self._tasks = tasks.Tasks()
        self._lost_at = clock.now()
        self._said = False
        self.failures_total = 0
        """Messages that were not answered, or not in time, or not as they should be."""
        self.fallbacks_total = 0
        """Decisions taken without Redis."""

    def __repr__(self) -> str:
        state = "alone" if self._holdings.alone else f"one of {self._holdings.workers}"
        return f"<RedisLimits {state}, {len(self._holdings)} limits, {len(self._waiting)} calls wait>"

    @property
    def available(self) -> bool:
        """Redis answers."""
        return not self._holdings.alone

    @property
    def round_trips_total(self) -> int:
        """Messages sent to Redis."""
        return self._link.round_trips_total

    def reserve_now(self, claims: Sequence[Claim], now: float) -> Reservation | Refusal | None:
        if not self._holdings.alone:
            return None
        decided = self._holdings.take_alone(claims, now)
        if decided is not None:
            self.fallbacks_total += 1
        return decided

    def obstacle(self, claims: Sequence[Claim], now: float) -> Refusal | None:
        # Only a real reservation tells.
        return None

    async def reserve(self, claims: Sequence[Claim]) -> Reservation | Refusal:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._patience
        while True:
            decided: Reservation | Refusal | SpendHolding | None = self.reserve_now(claims, clock.now())
            if decided is None:
                if self._holdings.alone:
                    decided = self._holdings.unknown(claims, clock.now())
                else:
                    decided = await self._ask(Ask(claims, loop.create_future(), deadline))
            if isinstance(decided, Reservation | Refusal):
                return decided
            if decided is not None:
                # This asks the ledger, not Redis, and only for a budget Redis has never heard of.
                if not await self._lookups.learn(decided, LOOKUP):
                    return Refusal(decided.limit, UNKNOWN_WAIT, unknown=True)
                deadline = loop.time() + self._patience

    def leave(self, reservation: Reservation, now: float) -> None:
        self._holdings.leave(reservation, now)
        if self._holdings.urgent:
            self._wanted.set()

    def settle(self, reservation: Reservation, used: Mapping[What, int], now: float) -> None:
        self._holdings.settle(reservation, used, now)
        if self._holdings.urgent:
            self._wanted.set()

    def standing(self, limit: Limit, now: float) -> Standing:
        return self._holdings.standing(limit, now)

    def spent(self, budget: Limit) -> int | None:
        return self._holdings.spent(budget)

    async def start(self) -> None:
        """Begin to ask Redis; if it does not answer within 100 ms, decide without it for now."""
        await self._try_again()
        self._tasks.start(self._converse(), "limits over redis")

    async def stop(self) -> None:
        """Tell Redis what was spent and given back, and leave; calls that wait are decided here."""
        self._ending = True
        self._wanted.set()
        if await self._tasks.finish():
            try:
                await self._outbox.deliver(self._soon())
                await self._outbox.tell_all(self._soon)
                await self._outbox.send(self._holdings.leaving(), self._soon())
            except Unavailable:
                # Redis finds out by itself: this worker is silent from now on.
                self.failures_total += 1
        self._holdings.alone = True
        self._decide_alone()
        await self._lookups.stop()
        await self._link.close()

    async def _ask(self, ask: Ask) -> Reservation | Refusal | SpendHolding | None:
        self._waiting.append(ask)
        self._wanted.set()
        try:
            decided: Reservation | Refusal | SpendHolding | None = await ask.answer
        except asyncio.CancelledError:
            if ask.answer.done() and not ask.answer.cancelled():
                # Decided in the same moment in which the call was given up.
                decided = ask.answer.result()
                if isinstance(decided, Reservation):
                    self.settle(decided, NOTHING, clock.now())
            raise
        return decided

    async def _converse(self) -> None:
        """Send what there is to send, until the end. One message at a time: the others travel with the next one."""
        swept_at = clock.now()
        while not self._ending:
            if self._holdings.alone:
                await self._until(clock.now() + self._probe_interval * random.uniform(1 - JITTER, 1 + JITTER))
                if not self._ending:
                    await self._try_again()
                continue
            self._wanted.clear()
            now = clock.now()
            if now >= swept_at + TICK:
                swept_at = now
                self._holdings.sweep(now)
            message = self._next_message(now)
            if message is None:
                # Where limits are remembered there may be something to tell soon.
                due = min(TICK, self._beat) if len(self._holdings) else self._outbox.sent_at + self._beat - now
                await self._pause(due)
                continue
            try:
                await self._outbox.send(message, self._deadline(message))
            except Unavailable as error:
                self._stand_alone()
                self._say_lost(str(error))

    def _next_message(self, now: float) -> Message | None:
        """The next one to send; None while nothing is due."""
        asks: list[Ask] = []
        waiting = self._waiting
        while waiting and len(asks) < MOST_ASKS:
            ask = waiting.popleft()
            if not ask.answer.done():
                asks.append(ask)
        holdings = self._holdings
        silent = now - self._outbox.sent_at
        if asks or holdings.urgent or silent >= self._beat or (holdings.due and silent >= TICK):
            return holdings.message(asks, now)
        return None

    async def _try_again(self) -> None:
        """Ask whether Redis answers; if so, tell it everything that happened meanwhile."""
        try:
            await self._outbox.deliver(self._soon())
            await self._outbox.send(self._holdings.joining(None), self._soon())
            await self._outbox.tell_all(self._soon)
        except Unavailable as error:
            self._stand_alone()
            self._say_lost(str(error))
            return
        self._holdings.alone = False
        if self._said:
            self._said = False
            _log.info("limits are shared again: Redis answers after %.1f s", clock.now() - self._lost_at)

    def _stand_alone(self) -> None:
        """Decide without Redis from now on, also about those that wait for it."""
        self.failures_total += 1
        if not self._holdings.alone:
            self._holdings.alone = True
            self._holdings.outage += 1
            self._lost_at = clock.now()
        self._waiting.extend(self._outbox.unanswered())
        self._decide_alone()

    def _say_lost(self, why: str) -> None:
        if not self._said:
            self._said = True
            _log.warning("limits are kept by this worker alone: Redis does not answer (%s)", why)

    def _decide_alone(self) -> None:
        while self._waiting:
            ask = self._waiting.popleft()
            if not ask.answer.done():
                # None sends it round once more: a budget has to be looked up.
                ask.answer.set_result(self.reserve_now(ask.claims, clock.now()))

    def _soon(self) -> float:
        return asyncio.get_running_loop().time() + self._patience

    def _deadline(self, message: Message) -> float:
        """That of its first call; where that is near, the least that makes sense."""
        if not message.asks:
            return self._soon()
        return max(message.asks[0].deadline, asyncio.get_running_loop().time() + LAG)

    async def _until(self, moment: float) -> None:
        """Until *moment*, or the end."""
        while not self._ending and (seconds := moment - clock.now()) > 0:
            await self._pause(min(seconds, TICK))
            self._holdings.sweep(clock.now())

    async def _pause(self, seconds: float) -> None:
        """Until a message is wanted, or so long."""
        wanted = self._wanted
        try:
            async with asyncio.timeout(seconds):
                await wanted.wait()
        except TimeoutError:
            pass
        finally:
            wanted.clear()
