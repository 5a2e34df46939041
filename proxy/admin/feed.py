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
from typing import Any

import orjson

from proxy.core import clock, tasks
from proxy.core.exchange import Exchange
from proxy.core.housekeeping import is_call
from proxy.core.peers import EVENTS, Peers

_log = logging.getLogger("hapax")

MOST_KEPT = 1000
"""Events that are remembered, about a kilobyte each."""
LOOK = 0.25
"""Seconds between two looks at providers and at the other workers, while there is a reader."""
NO_LOOK = 1.0
"""Seconds without a look after which it is not known when a change happened."""
HEARTBEAT = 15.0
"""Seconds without an event after which a reader is told that the connection lives."""

Standing = Mapping[tuple[str, str], str]
"""What is thought of each: by kind (`provider`, `breaker`, `key`) and name, the state in a word."""


@dataclass(slots=True, eq=False)
class Event:
    """One of them."""

    at: float
    """When it happened, in monotonic seconds, which all workers count alike."""
    kind: str
    """`call`, `provider`, `breaker`, `key`, `action`; `missed` for those that are not remembered any more."""
    about: dict[str, Any] | Exchange
    """What is told, or the call of which it is: most are never read."""
    own: int = 0
    """Which of those that happened in this process it is; 0 for one of another worker."""
    number: int = 0
    """Its place among all, the first is 1."""


class Feed:
    """The events of this gateway."""

    def __init__(
        self, fields: Callable[[Exchange], dict[str, Any]], standing: Callable[[], Standing], peers: Peers, name: str
    ) -> None:
        """
        *fields*: what is told of a call. *standing*: what is thought of providers now. *peers*: the workers beside
        this one, whose *name* tells its events from those of another process.
        """
        self.fields = fields
        self._standing = standing
        self._peers = peers
        self._name = name
        self._events: deque[Event] = deque(maxlen=MOST_KEPT)
        self._last = self._own = 0
        self._told = 0
        """The number of the last event that a reader was told: those behind it may still change places."""
        self._readers: set[asyncio.Event] = set()
        self._known: Standing = {}
        self._compared = 0.0
        self._read: dict[str, int] = {}
        """By worker, the last event of it that was taken over."""
        self._asked: float | None = None
        """When the other workers were asked last."""
        self._looking: asyncio.Task[None] | None = None
        self._looked = asyncio.Event()
        """The other workers have been asked since there is a reader."""
        self.closed = False

    def ended(self, exchanges: Sequence[Exchange]) -> None:
        """Tell of them, and of what they have changed."""
        for exchange in exchanges:
            if is_call(exchange):
                # It was written by now, if that is wanted, and no reader of the feed gets it.
                exchange.content = None
                self._happened(exchange.ended, "call", exchange)
        if self._readers:
            self._compare()

    def tell(self, kind: str, about: dict[str, Any]) -> None:
        """Tell of something else that has happened now."""
        self._happened(clock.now(), kind, about)

    def close(self) -> None:
        """The gateway stops: no reader waits for more."""
        self.closed = True
        self._looked.set()
        self._wake()

    def own_after(self, known: Mapping[str, Any]) -> dict[str, Any]:
        """
        What happened here since a worker read it last; what is *known* there: by name the last event it has `read`,
        and the moment `since` which it is told of one that has no name there.
        """
        self._compare()
        read, since = known["read"].get(self._name), known["since"]
        events = [
            [event.at, event.kind, self._data(event)]
            for event in self._events
            if event.own and (event.at > since if read is None else event.own > read)
        ]
        return {"name": self._name, "last": self._own, "events": events}

    async def follow(self, last_id: str | None) -> AsyncIterator[bytes]:
        """
        Events as they are written to a stream, from now on, or from behind the one with *last_id* where this process
        told it; a comment where there is none for long. Ends with the gateway.
        """
        position = self._position(last_id)
        began = clock.now() if position is None else 0.0
        happened = asyncio.Event()
        self._readers.add(happened)
        if self._looking is None:
            self._looking = tasks.start(self._look_on(began or clock.now()), "feed")
        try:
            # What happened elsewhere while there was no reader belongs between what is known here.
            await self._looked.wait()
            if position is None:
                first = next((event for event in self._events if event.at > began), None)
                position = self._last if first is None else first.number - 1
            while not self.closed:
                missed = self._missed(position)
                if missed:
                    position += missed
                    self._told = max(self._told, position)
                    yield self._written(Event(0.0, "missed", {"events": missed}, number=position))
                while position < self._last and not self._missed(position):
                    event = self._events[position + 1 - self._events[0].number]
                    position = event.number
                    self._told = max(self._told, position)
                    if event.at > began:
                        yield self._written(event)
                if position < self._last:
                    continue
                happened.clear()
                if not await tasks.happens(happened, HEARTBEAT):
                    yield b": still here\n\n"
        finally:
            self._readers.discard(happened)
            if not self._readers and self._looking is not None:
                self._looking.cancel()
                self._looking = None
                self._looked.clear()

    def _position(self, last_id: str | None) -> int | None:
        """The number of the event with *last_id*; None where this process told no such event."""
        name, _, number = (last_id or "").rpartition("-")
        if name != self._name or not number.isdecimal():
            return None
        return min(int(number[:18]), self._told)

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
        return self.fields(event.about) if isinstance(event.about, Exchange) else event.about

    def _happened(self, at: float, kind: str, about: dict[str, Any] | Exchange) -> None:
        self._own += 1
        self._add(Event(at, kind, about, self._own))
        self._wake()

    def _add(self, event: Event) -> None:
        self._last = event.number = self._last + 1
        self._events.append(event)

    def _wake(self) -> None:
        for happened in self._readers:
            happened.set()

    def _take_over(self, elsewhere: list[Event]) -> None:
        """Put what happened *elsewhere* between what no reader was told yet, in the order of time."""
        while self._events and self._events[-1].number > self._told:
            event = self._events.pop()
            self._last = event.number - 1
            elsewhere.append(event)
        for event in sorted(elsewhere, key=lambda each: each.at):
            self._add(event)
        self._wake()

    def _compare(self) -> None:
        """Tell what is thought otherwise than at the last look."""
        now = clock.now()
        # What changed while nothing looked is nothing new to a reader that comes now.
        at = now if now - self._compared < NO_LOOK else self._compared
        before, self._known, self._compared = self._known, self._standing(), now
        for (kind, name), state in self._known.items():
            was = before.get((kind, name))
            if was is not None and was != state:
                self._happened(at, kind, {"name": name, "state": state, "was": was})

    async def _look_on(self, began: float) -> None:
        """*began*: since when there is a reader."""
        while True:
            try:
                self._compare()
                since, self._asked = self._asked, clock.now()
                known = {"read": self._read, "since": began if since is None else since}
                elsewhere = []
                for told in await self._peers.ask(EVENTS, known):
                    if told is not None:
                        self._read[told["name"]] = told["last"]
                        elsewhere += [Event(at, kind, data) for at, kind, data in told["events"]]
                if elsewhere:
                    self._take_over(elsewhere)
            except Exception as error:
                # Those that follow must not be left without a word for ever.
                _log.error("events cannot be read: %s", type(error).__name__, exc_info=error)
            self._looked.set()
            await asyncio.sleep(LOOK)
