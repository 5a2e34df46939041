"""
Messages to Redis, one at a time: what was sent and perhaps arrived goes first, and as it was.

What a message says is written and read in `holdings`; when one is due is decided in `redis`.
"""

from collections import deque
from collections.abc import Callable, Iterator

from proxy.core import clock
from proxy.limits.holding_kinds import SpendHolding
from proxy.limits.holdings import Holdings
from proxy.limits.limit import NOTHING, Reservation
from proxy.limits.lookups import Lookups
from proxy.limits.redis_link import RedisLink, Unavailable
from proxy.limits.redis_message import Ask, Message
from proxy.limits.redis_script import FORGOTTEN


class Outbox:
    """What has to reach Redis and was not answered. Every method that sends raises `Unavailable`."""

    def __init__(self, link: RedisLink, holdings: Holdings, lookups: Lookups) -> None:
        self._link = link
        self._holdings = holdings
        self._lookups = lookups
        self._messages: deque[Message] = deque()
        self.sent_at = 0.0
        """When the last answer came, in monotonic seconds."""

    def unanswered(self) -> Iterator[Ask]:
        """The calls in messages that were not answered."""
        for message in self._messages:
            yield from message.asks

    async def send(self, message: Message, deadline: float) -> None:
        """Send what was not answered, then *message*, and act on the answers. *deadline*: in the loop's time."""
        self._messages.append(message)
        await self.deliver(deadline)

    async def tell_all(self, deadline: Callable[[], float]) -> None:
        """Send everything that is due, in as many messages as it takes: no call waits for them."""
        while self._holdings.due:
            await self.send(self._holdings.message((), clock.now()), deadline())

    async def deliver(self, deadline: float) -> None:
        """Send what was not answered."""
        messages = self._messages
        while messages:
            message = messages[0]
            answer = await self._link.run(message.arguments, deadline)
            self.sent_at = clock.now()
            if answer == FORGOTTEN:
                # Silent for too long. What else this worker holds is told first, then this is decided over all of it.
                messages.appendleft(self._holdings.joining(message))
            else:
                self._read(message, answer)
                messages.popleft()

    def _read(self, message: Message, answer: bytes) -> None:
        now = clock.now()
        try:
            decisions = self._holdings.read(message, answer, now)
        except ValueError:
            raise Unavailable("unexpected answer") from None
        for holding in message.holdings:
            if isinstance(holding, SpendHolding) and holding.missing and holding.change and not holding.seeded:
                # No call may come that would ask, and what was spent has to be told.
                self._lookups.asking(holding)
        for ask, decided in decisions:
            if not ask.answer.done():
                ask.answer.set_result(decided)
            elif isinstance(decided, Reservation):
                # Its call left, or was decided without Redis.
                self._holdings.settle(decided, NOTHING, now)
