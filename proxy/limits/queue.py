"""
The waiting room: how many calls run at once, and who is next when one of them ends.

Holders take turns, so a flood of one delays a single call of another by one turn at most. It sends no answers and
knows no files; `admission` says what a client is told, `queue_file` remembers the size.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Iterator
from enum import Enum

RECENT = 256
"""Ends of calls from which the present speed is estimated."""
SHORTEST, LONGEST = 1.0, 60.0
"""Seconds a refused client is asked to wait, at least and at most."""


class QueueFull(Exception):
    """As many calls wait as may; ask `Queue.retry_after` when to try again."""


class QueueTimeout(Exception):
    """The call waited for `max_wait` seconds and no place came free."""


class QueueClosed(Exception):
    """The process is shutting down; another one has to answer this call."""


class _Stage(Enum):
    WAITING = 0
    RUNNING = 1
    GONE = 2


class Ticket:
    """A call that waits for a place, or has been given one."""

    def __init__(self, queue: "Queue", holder: str, position: int, loop: asyncio.AbstractEventLoop) -> None:
        self._queue = queue
        # Its result is why the call has to go; None when it may run.
        self._woken: asyncio.Future[type[Exception] | None] = loop.create_future()
        self.holder = holder
        self.position = position
        """How many were waiting before it when it joined; 0 is the first. Holders take turns, so it may run earlier."""
        self.stage = _Stage.WAITING
        self.timer: asyncio.TimerHandle | None = None

    async def wait(self) -> None:
        """
        Return when the call may run; it then owes one `Queue.leave`. Raises `QueueTimeout`, `QueueClosed`, or
        `QueueFull` where it had to make room. Cancelling it leaves the queue, and gives back a place that was granted
        in the same moment.
        """
        try:
            reason = await self._woken
        except BaseException:
            self._queue.abandon(self)
            raise
        if reason is not None:
            raise reason

    def wake(self, stage: _Stage, reason: type[Exception] | None = None) -> bool:
        """Tell the waiting call how its wait ended; False when its client has gone."""
        if self.timer is not None:
            self.timer.cancel()
        if self._woken.done():
            self.stage = _Stage.GONE
            return False
        self.stage = stage
        self._woken.set_result(reason)
        return True


class _Turns:
    """Who waits, by holder: each holder's calls in the order they came, one for each holder in a round."""

    def __init__(self) -> None:
        # Linked lists with an index, both of them: a call can leave from the middle at no cost.
        self._rounds: OrderedDict[str, OrderedDict[Ticket, None]] = OrderedDict()

    def __iter__(self) -> Iterator[Ticket]:
        for line in self._rounds.values():
            yield from line

    def add(self, ticket: Ticket) -> None:
        """Behind the holder's other calls; a holder without any takes its turn last."""
        self._rounds.setdefault(ticket.holder, OrderedDict())[ticket] = None

    def remove(self, ticket: Ticket) -> None:
        """Take out one that waits."""
        line = self._rounds[ticket.holder]
        del line[ticket]
        if not line:
            del self._rounds[ticket.holder]

    def dispensable(self, holder: str) -> Ticket | None:
        """The newest call of the longest line, where that is longer than *holder*'s would be with one more."""
        if not self._rounds:
            return None
        longest = max(self._rounds.values(), key=len)
        return next(reversed(longest)) if len(longest) > len(self._rounds.get(holder, ())) + 1 else None

    def first(self) -> Ticket:
        """The call whose turn it is; there must be one."""
        return next(iter(next(iter(self._rounds.values()))))

    def take(self) -> None:
        """Take out the first: its holder has had its turn."""
        holder, line = next(iter(self._rounds.items()))
        line.popitem(last=False)
        if line:
            self._rounds.move_to_end(holder)
        else:
            del self._rounds[holder]


class Queue:
    """Places to run in, and a bounded line before them. A call that got a place gives it back with `leave`, once."""

    def __init__(self, max_running: int, size: int, max_wait: float) -> None:
        """*max_running* calls run at once, *size* more may wait, each for *max_wait* seconds."""
        self.max_running = max_running
        self.size = size
        self.max_wait = max_wait
        """Seconds; a new value is for calls that join from then on."""
        self.running = 0
        """Calls that have a place."""
        self.waiting = 0
        """Calls that wait for one. While there are any, no place is free."""
        self.refused_full = 0
        """Calls that were refused because `size` others waited."""
        self.timed_out = 0
        """Calls that waited in vain."""
        self._turns = _Turns()
        self._ends: deque[float] = deque(maxlen=RECENT)
        self._closed = False

    def __repr__(self) -> str:
        return f"<Queue {self.running} of {self.max_running} run, {self.waiting} of {self.size} wait>"

    def enter_now(self) -> bool:
        """Take a free place. If False, `join` in the same turn of the event loop."""
        if self.running >= self.max_running or self.waiting or self._closed:
            return False
        self.running += 1
        return True

    def join(self, holder: str) -> Ticket:
        """
        Take a place in the line of *holder*, and `await` its `wait` at once. Raises `QueueFull` or `QueueClosed`. A
        place that is free already is granted, which `wait` then returns with. Where all places to wait are taken, the
        newest call of the longest line makes room for one of a shorter line: one holder's flood is its own affair.
        """
        if self._closed:
            raise QueueClosed
        if self.waiting >= self.size:
            self.refused_full += 1
            newest = self._turns.dispensable(holder)
            if newest is None:
                raise QueueFull
            self._remove(newest)
            newest.wake(_Stage.GONE, QueueFull)
        loop = asyncio.get_running_loop()
        ticket = Ticket(self, holder, self.waiting, loop)
        ticket.timer = loop.call_later(self.max_wait, self._expire, ticket)
        self._turns.add(ticket)
        self.waiting += 1
        self._grant()
        return ticket

    def leave(self, now: float) -> None:
        """A running call is over; the next one gets its place. *now* in monotonic seconds."""
        self._ends.append(now)
        self._free()

    def abandon(self, ticket: Ticket) -> None:
        """The client of *ticket* has gone, wherever it stands by now."""
        if ticket.stage is _Stage.WAITING:
            self._remove(ticket)
            ticket.wake(_Stage.GONE)
        elif ticket.stage is _Stage.RUNNING:
            ticket.stage = _Stage.GONE
            self._free()

    def resize(self, size: int) -> None:
        """Let *size* calls wait from now on; those beyond it stay, and only new ones are refused."""
        self.size = size

    def run_at_most(self, max_running: int) -> None:
        """Let so many run at once: more begin now, or those beyond it end in their own time."""
        self.max_running = max_running
        self._grant()

    def retry_after(self, now: float) -> float:
        """
        Seconds until the calls that wait now have run, judged by how fast calls ended lately; none of them waits longer
        than `max_wait`. Between 1 and 60. *now* in monotonic seconds.
        """
        wait = self.max_wait
        if len(self._ends) > 1:
            wait = min(wait, self.waiting * (now - self._ends[0]) / (len(self._ends) - 1))
        return min(max(wait, SHORTEST), LONGEST)

    def close(self) -> None:
        """Send every call that waits away with `QueueClosed`, and let none in any more; those that run may end."""
        self._closed = True
        for ticket in list(self._turns):
            self._remove(ticket)
            ticket.wake(_Stage.GONE, QueueClosed)

    def _free(self) -> None:
        if self.running:
            self.running -= 1
        self._grant()

    def _grant(self) -> None:
        while self.waiting and self.running < self.max_running:
            ticket = self._turns.first()
            if ticket.wake(_Stage.RUNNING):
                self._turns.take()
                self.waiting -= 1
                self.running += 1
            else:
                # Its client has just gone, which must not cost the holder's next call its turn.
                self._remove(ticket)

    def _expire(self, ticket: Ticket) -> None:
        self._remove(ticket)
        if ticket.wake(_Stage.GONE, QueueTimeout):
            self.timed_out += 1

    def _remove(self, ticket: Ticket) -> None:
        self._turns.remove(ticket)
        self.waiting -= 1
