"""
What happens, as it happens: calls as they end, and changes in what is thought of providers; an observer.

The last events are kept for those that come back, and no more: nothing waits for a reader, and one that is too slow is
told how many events it has missed. Of several workers each tells what happened at all of them.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import orjson

from proxy import tasks
from proxy.exchange import Exchange
from proxy.others import EVENTS, Others

_log = logging.getLogger("hapax")

MOST_KEPT = 1000
"""Events that are remembered, about a kilobyte each."""
LOOK = 0.25
"""Seconds between two looks at providers and at the other workers, while there is a reader."""
HEARTBEAT = 15.0
"""Seconds without an event after which a reader is told that the connection lives."""
_HOUSEKEEPING = ("/admin", "/health", "/live", "/ready", "/metrics", "/debug", "/v1/health", "preflight")
"""Routes whose requests are no calls."""

Standing = Mapping[tuple[str, str], str]
"""What is thought of each: by kind (`provider`, `breaker`, `key`) and name, the state in a word."""


@dataclass(frozen=True, slots=True)
class Event:
    """One of them."""

    number: int
    kind: str
    """`call`, `provider`, `breaker`, `key`; `missed` for those that are not remembered any more."""
    about: dict[str, Any] | Exchange
    """What is told, or the call of which it is: most are never read."""
    own: bool
    """It happened in this process."""


class Feed:
    """The events of this gateway."""

    def __init__(
        self, fields: Callable[[Exchange], dict[str, Any]], standing: Callable[[], Standing], others: Others, name: str
    ) -> None:
        """
        *fields*: what is told of a call. *standing*: what is thought of providers now. *others*: the workers beside
        this one, whose *name* tells its events from those of another process.
        """
        self._fields = fields
        self._standing = standing
        self._others = others
        self._name = name
        self._events: deque[Event] = deque(maxlen=MOST_KEPT)
        self._numbers = count(1)
        self._last = 0
        self._readers: set[asyncio.Event] = set()
        self._known: Standing | None = None
        self._read: dict[str, int] = {}
        """By worker, the last event of it that was taken over."""
        self._looking: asyncio.Task[None] | None = None
        self.closed = False

    def ended(self, exchanges: Sequence[Exchange]) -> None:
        """Tell of them, and of what they have changed."""
        for exchange in exchanges:
            if exchange.route != "/" and not exchange.route.startswith(_HOUSEKEEPING):
                # It was written by now, if that is wanted, and is told to nobody else.
                exchange.content = None
                self._add("call", exchange, own=True)
        if self._readers:
            self._compare()

    def close(self) -> None:
        """The gateway stops: no reader waits for more."""
        self.closed = True
        self._wake()

    def own_after(self, known: Mapping[str, int]) -> dict[str, Any]:
        """What happened here since a worker read it last, *known* by name; a worker that never did begins now."""
        since = known.get(self._name, self._last)
        events = [[event.kind, self._data(event)] for event in self._events if event.own and event.number > since]
        return {"name": self._name, "last": self._last, "events": events}

    async def follow(self, last_id: str | None) -> AsyncIterator[bytes]:
        """
        Events as they are written to a stream, from now on, or from behind the one with *last_id* where this process
        told it; a comment where there is none for long. Ends with the gateway.
        """
        position = self._position(last_id)
        news = asyncio.Event()
        self._readers.add(news)
        if self._looking is None:
            self._looking = tasks.start(self._look_on(), "feed")
        try:
            while not self.closed:
                missed = self._missed(position)
                if missed:
                    yield self._written(Event(position + missed, "missed", {"events": missed}, own=True))
                    position += missed
                for event in [each for each in self._events if each.number > position]:
                    yield self._written(event)
                    position = event.number
                if position < self._last:
                    continue
                news.clear()
                try:
                    async with asyncio.timeout(HEARTBEAT):
                        await news.wait()
                except TimeoutError:
                    yield b": still here\n\n"
        finally:
            self._readers.discard(news)
            if not self._readers and self._looking is not None:
                self._looking.cancel()
                self._looking = None

    def _position(self, last_id: str | None) -> int:
        name, _, number = (last_id or "").rpartition("-")
        if name != self._name or not number.isdecimal():
            return self._last
        return min(int(number[:18]), self._last)

    def _missed(self, position: int) -> int:
        """How many events behind *position* are not remembered."""
        oldest = self._events[0].number if self._events else self._last + 1
        return max(0, oldest - position - 1)

    def _written(self, event: Event) -> bytes:
        return b"id: %b-%d\nevent: %b\ndata: %b\n\n" % (
            self._name.encode(),
            event.number,
            event.kind.encode(),
            orjson.dumps(self._data(event), default=str),
        )

    def _data(self, event: Event) -> dict[str, Any]:
        return self._fields(event.about) if isinstance(event.about, Exchange) else event.about

    def _add(self, kind: str, about: dict[str, Any] | Exchange, own: bool) -> None:
        self._last = next(self._numbers)
        self._events.append(Event(self._last, kind, about, own))
        self._wake()

    def _wake(self) -> None:
        for news in self._readers:
            news.set()

    def _compare(self) -> None:
        """Tell what is thought otherwise than at the last look."""
        before, self._known = self._known, self._standing()
        if before is None:
            return
        for (kind, name), state in self._known.items():
            was = before.get((kind, name))
            if was is not None and was != state:
                self._add(kind, {"name": name, "state": state, "was": was}, own=True)

    async def _look_on(self) -> None:
        while True:
            try:
                self._compare()
                for told in await self._others.ask(EVENTS, self._read):
                    if told is not None:
                        self._read[told["name"]] = told["last"]
                        for kind, data in told["events"]:
                            self._add(kind, data, own=False)
            except Exception as error:
                # Those that follow must not be left without a word for ever.
                _log.error("events cannot be read: %s", type(error).__name__, exc_info=error)
            await asyncio.sleep(LOOK)
