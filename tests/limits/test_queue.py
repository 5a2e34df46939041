"""The waiting room: bounded, fair, and no place is ever lost or given twice."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from proxy.limits.queue import Queue, QueueClosed, QueueFull, QueueTimeout
from tests.relay.simulation import VirtualLoop


def virtually(story: Callable[[], Awaitable[None]]) -> None:
    """Run a story on a loop whose clock is only a number."""
    loop = VirtualLoop()
    try:
        loop.run_until_complete(story())
        assert loop.pending == [], "a timer was left behind"
    finally:
        loop.close()


class Room:
    """A queue, and callers who write down their names when they get to run."""

    def __init__(self, max_running: int = 1, size: int = 1000, max_wait: float = 30.0) -> None:
        self.queue = Queue(max_running, size, max_wait)
        self.ran: list[str] = []

    def full(self) -> None:
        while self.queue.enter_now():
            pass

    async def call(self, holder: str, name: str = "") -> "asyncio.Task[None]":
        """A call that has come as far as it gets."""
        ticket = self.queue.join(holder)

        async def wait() -> None:
            await ticket.wait()
            self.ran.append(name or holder)

        task = asyncio.get_running_loop().create_task(wait())
        await turn()
        return task

    async def end(self, calls: int = 1) -> None:
        """So many running calls end."""
        for _ in range(calls):
            self.queue.leave(asyncio.get_running_loop().time())
        await turn()


async def turn() -> None:
    """Whatever can happen now has happened."""
    for _ in range(4):
        await asyncio.sleep(0)


async def how(task: "asyncio.Task[None]") -> str:
    """How a call's wait ended."""
    (result,) = await asyncio.gather(task, return_exceptions=True)
    return "ran" if result is None else type(result).__name__


def test_calls_run_at_once_until_max_running_do() -> None:
    queue = Queue(2, 10, 30.0)
    assert [queue.enter_now() for _ in range(4)] == [True, True, False, False]
    queue.leave(0.0)
    assert queue.enter_now()
    assert queue.running == 2


def test_more_ends_than_calls_make_no_room_for_more_than_max_running() -> None:
    queue = Queue(1, 10, 30.0)
    queue.leave(0.0)
    queue.leave(0.0)
    assert queue.running == 0
    assert [queue.enter_now(), queue.enter_now()] == [True, False]


def test_a_place_that_comes_free_goes_to_the_one_who_waits_and_not_to_a_newcomer() -> None:
    async def story() -> None:
        room = Room()
        room.full()
        await room.call("a")
        room.queue.leave(0.0)
        assert not room.queue.enter_now()
        await turn()
        assert (room.ran, room.queue.running, room.queue.waiting) == (["a"], 1, 0)

    virtually(story)


def test_a_hundred_calls_of_one_holder_delay_the_only_call_of_another_by_one_turn() -> None:
    async def story() -> None:
        room = Room()
        room.full()
        for number in range(100):
            await room.call("a", f"a{number}")
        await room.call("b")
        await room.end(3)
        assert room.ran == ["a0", "b", "a1"]
        await room.end(98)
        assert room.ran[3:] == [f"a{number}" for number in range(2, 100)]

    virtually(story)


def test_holders_take_turns_and_keep_the_order_of_their_own_calls() -> None:
    async def story() -> None:
        room = Room()
        room.full()
        for name in ("a1", "a2", "a3", "b1", "b2", "c1"):
            await room.call(name[0], name)
        await room.end(6)
        assert room.ran == ["a1", "b1", "c1", "a2", "b2", "a3"]

    virtually(story)


def test_a_call_knows_how_many_waited_before_it_as_soon_as_it_joins() -> None:
    async def story() -> None:
        room = Room()
        room.full()
        tickets = [room.queue.join(holder) for holder in "aab"]
        assert [ticket.position for ticket in tickets] == [0, 1, 2]
        room.queue.close()

    virtually(story)


def test_joining_while_a_place_is_free_takes_it() -> None:
    async def story() -> None:
        room = Room()
        assert await how(await room.call("a")) == "ran"
        assert (room.queue.running, room.queue.waiting) == (1, 0)

    virtually(story)


def test_a_call_beyond_the_size_is_refused_and_counted() -> None:
    async def story() -> None:
        room = Room(size=1)
        room.full()
        await room.call("a")
        with pytest.raises(QueueFull):
            room.queue.join("b")
        assert (room.queue.refused_full, room.queue.waiting) == (1, 1)
        await room.end()
        await room.call("b")
        await room.end()
        assert room.ran == ["a", "b"]

    virtually(story)


def test_a_call_that_waited_max_wait_goes_and_the_next_in_line_is_served() -> None:
    async def story() -> None:
        room = Room(max_wait=30.0)
        room.full()
        first = await room.call("a", "first")
        await asyncio.sleep(29.0)
        second = await room.call("a", "second")
        await asyncio.sleep(0.9)
        assert not first.done()
        await asyncio.sleep(0.2)
        assert await how(first) == "QueueTimeout"
        assert (room.queue.timed_out, room.queue.waiting) == (1, 1)
        await room.end()
        assert await how(second) == "ran"

    virtually(story)


def test_a_client_that_leaves_the_line_makes_room_at_once_and_is_never_served() -> None:
    async def story() -> None:
        room = Room(size=3)
        room.full()
        calls = [await room.call("a", name) for name in ("first", "second", "third")]
        calls[1].cancel()
        await turn()
        assert room.queue.waiting == 2
        await room.call("b")
        await room.end(3)
        assert room.ran == ["first", "b", "third"]
        assert room.queue.running == 1

    virtually(story)


def test_a_client_that_leaves_as_its_turn_comes_hands_the_place_on() -> None:
    async def story() -> None:
        room = Room()
        room.full()
        granted, next_in_line = await room.call("a"), await room.call("b")
        room.queue.leave(0.0)
        granted.cancel()
        await turn()
        assert (room.ran, await how(granted), await how(next_in_line)) == (["b"], "CancelledError", "ran")
        await room.end()
        assert room.queue.running == 0

    virtually(story)


def test_a_place_that_comes_free_as_a_client_leaves_passes_it_by() -> None:
    async def story() -> None:
        room = Room()
        room.full()
        gone = await room.call("a")
        await room.call("b")
        gone.cancel()
        room.queue.leave(0.0)
        await turn()
        assert (room.ran, room.queue.running, room.queue.waiting) == (["b"], 1, 0)

    virtually(story)


def test_a_client_that_leaves_as_its_turn_comes_costs_its_holder_no_turn() -> None:
    async def story() -> None:
        room = Room()
        room.full()
        gone = await room.call("a", "a1")
        for name in ("a2", "b1"):
            await room.call(name[0], name)
        gone.cancel()
        await room.end(2)
        assert room.ran == ["a2", "b1"]

    virtually(story)


def test_a_client_that_leaves_in_the_moment_its_time_is_up_is_gone_once() -> None:
    async def story() -> None:
        room = Room(max_wait=5.0)
        room.full()
        call = await room.call("a")
        loop = asyncio.get_running_loop()
        loop.call_later(5.0, call.cancel)
        assert await how(call) == "CancelledError"
        assert (room.queue.waiting, room.queue.running) == (0, 1)

    virtually(story)


def test_a_smaller_size_refuses_newcomers_and_keeps_those_who_wait() -> None:
    async def story() -> None:
        room = Room(size=3)
        room.full()
        for name in "abc":
            await room.call(name)
        room.queue.resize(1)
        with pytest.raises(QueueFull):
            room.queue.join("d")
        await room.end(3)
        assert room.ran == ["a", "b", "c"]

    virtually(story)


def test_a_larger_size_lets_more_wait_at_once() -> None:
    async def story() -> None:
        room = Room(size=1)
        room.full()
        await room.call("a")
        room.queue.resize(2)
        await room.call("b")
        assert room.queue.waiting == 2
        room.queue.close()
        await turn()

    virtually(story)


def test_more_places_are_taken_by_those_who_wait() -> None:
    async def story() -> None:
        room = Room(max_running=1)
        room.full()
        for name in "abc":
            await room.call(name)
        room.queue.run_at_most(3)
        await turn()
        assert (room.ran, room.queue.running, room.queue.waiting) == (["a", "b"], 3, 1)
        await room.end()
        assert room.ran == ["a", "b", "c"]

    virtually(story)


def test_with_fewer_places_no_call_begins_until_enough_calls_have_ended() -> None:
    async def story() -> None:
        room = Room(max_running=3)
        room.full()
        await room.call("a")
        room.queue.run_at_most(1)
        await room.end(2)
        assert (room.ran, room.queue.running) == ([], 1)
        await room.end()
        assert (room.ran, room.queue.running) == (["a"], 1)

    virtually(story)


def test_shutdown_sends_every_waiting_call_away_and_lets_no_call_in() -> None:
    async def story() -> None:
        room = Room(max_running=2)
        room.full()
        calls = [await room.call(name) for name in "aab"]
        room.queue.close()
        assert [await how(call) for call in calls] == ["QueueClosed"] * 3
        await room.end()
        assert (room.queue.running, room.queue.waiting) == (1, 0)
        assert not room.queue.enter_now()
        with pytest.raises(QueueClosed):
            room.queue.join("c")

    virtually(story)


@pytest.mark.parametrize(
    ("waiting", "ends", "now", "seconds"),
    [
        (10, [], 100.0, 30.0),  # nothing is known yet: by then all of them have gone one way or the other
        (10, [100.0, 101.0, 102.0, 103.0], 103.0, 10.0),  # one a second
        (10, [100.0, 101.0, 102.0, 103.0], 106.0, 20.0),  # and none for three seconds since
        (1, [100.0, 100.1, 100.2], 100.2, 1.0),  # never less than a second
        (10, [100.0, 150.0], 150.0, 30.0),  # no call waits longer than max_wait
    ],
)
def test_a_refused_client_is_told_how_long_those_who_wait_will_take(
    waiting: int, ends: list[float], now: float, seconds: float
) -> None:
    async def story() -> None:
        room = Room(max_running=len(ends) + 1, size=waiting, max_wait=30.0)
        room.full()
        room.queue.run_at_most(1)
        for moment in ends:
            room.queue.leave(moment)
        for _ in range(waiting):
            await room.call("a")
        assert room.queue.retry_after(now) == pytest.approx(seconds)
        room.queue.close()
        await turn()

    virtually(story)


def test_where_all_places_are_taken_the_longest_line_makes_room_for_a_shorter_one() -> None:
    async def story() -> None:
        room = Room(max_running=1, size=3, max_wait=30.0)
        room.full()
        flood = [await room.call("a") for _ in range(3)]
        single = await room.call("b")
        await turn()
        assert [fate(each) for each in flood] == ["", "", "made room"]
        assert fate(single) == ""
        # Lines that are as long, or longer by one, make none.
        with pytest.raises(QueueFull):
            await room.call("b")
        room.queue.close()
        await turn()

    virtually(story)


def test_a_refused_client_is_never_sent_away_for_more_than_a_minute() -> None:
    assert Queue(1, 1, 600.0).retry_after(0.0) == 60.0


@dataclass(eq=False)
class Waiter:
    """A call in the model, and the task of the real one."""

    holder: str
    deadline: float
    task: "asyncio.Task[None]"
    ended: str = ""


class QueueMachine(RuleBasedStateMachine):
    """Callers come, end, leave and run out of time in any order; a naive list says who must have run."""

    @initialize(max_running=st.integers(1, 3), size=st.integers(1, 6))
    def build(self, max_running: int, size: int) -> None:
        self.loop = VirtualLoop()
        self.max_wait = 10.0
        self.queue = Queue(max_running, size, self.max_wait)
        self.max_running, self.size = max_running, size
        self.running = 0
        self.refused = self.timed_out = 0
        self.rounds: deque[str] = deque()
        self.lines: dict[str, list[Waiter]] = {}
        self.all: list[Waiter] = []

    # The model.

    def waiting(self) -> list[Waiter]:
        return [waiter for line in self.lines.values() for waiter in line]

    def model_drop(self, waiter: Waiter, ended: str) -> None:
        waiter.ended = ended
        self.lines[waiter.holder].remove(waiter)
        if not self.lines[waiter.holder]:
            del self.lines[waiter.holder]
            self.rounds.remove(waiter.holder)

    def model_grant(self) -> list[Waiter]:
        granted = []
        while self.rounds and self.running < self.max_running:
            holder = self.rounds[0]
            waiter = self.lines[holder][0]
            self.rounds.rotate(-1)
            self.model_drop(waiter, "ran")
            self.running += 1
            granted.append(waiter)
        return granted

    def settle(self) -> None:
        self.loop.run_until_complete(turn())

    # What happens.

    @rule(holders=st.lists(st.sampled_from("abc"), min_size=1, max_size=4))
    def come(self, holders: list[str]) -> None:
        for holder in holders:
            self.comes(holder)

    def comes(self, holder: str) -> None:
        free = not self.rounds and self.running < self.max_running
        assert self.queue.enter_now() == free
        if free:
            self.running += 1
            return

        async def call() -> None:
            ticket = self.queue.join(holder)
            assert ticket.position == position
            await ticket.wait()

        full = len(self.waiting()) >= self.size
        longest = max(self.rounds, key=lambda each: len(self.lines[each]), default=holder)
        makes_room = full and len(self.lines[longest]) > len(self.lines.get(holder, [])) + 1
        self.refused += full
        if makes_room:
            self.model_drop(self.lines[longest][-1], "made room")
        position = len(self.waiting())
        task = self.loop.create_task(call())
        self.settle()
        if full and not makes_room:
            assert isinstance(task.exception(), QueueFull)
        else:
            waiter = Waiter(holder, self.loop.now + self.max_wait, task)
            self.all.append(waiter)
            if holder not in self.lines:
                self.rounds.append(holder)
            self.lines.setdefault(holder, []).append(waiter)

    @precondition(lambda self: self.running)
    @rule()
    def end(self) -> None:
        self.queue.leave(self.loop.now)
        self.running -= 1
        self.model_grant()
        self.settle()

    @precondition(lambda self: self.rounds)
    @rule(data=st.data())
    def client_leaves(self, data: st.DataObject) -> None:
        waiter = data.draw(st.sampled_from(self.waiting()))
        waiter.task.cancel()
        self.model_drop(waiter, "cancelled")
        self.settle()

    @precondition(lambda self: self.rounds and self.running)
    @rule(data=st.data())
    def clients_leave_as_a_call_ends(self, data: st.DataObject) -> None:
        """Before or after the place was handed on: in neither case is it lost."""
        next_ones = [self.lines[holder][0] for holder in self.rounds]
        for waiter in next_ones[: data.draw(st.integers(0, 2))]:
            waiter.task.cancel()
            self.model_drop(waiter, "cancelled")
        self.queue.leave(self.loop.now)
        self.running -= 1
        granted = self.model_grant()
        if granted and data.draw(st.booleans()):
            granted[0].task.cancel()
            granted[0].ended = "cancelled"
            self.running -= 1
            self.model_grant()
        self.settle()

    @rule(seconds=st.sampled_from([0.5, 3.0, 7.0, 11.0]))
    def time_passes(self, seconds: float) -> None:
        self.loop.run_until_complete(asyncio.sleep(seconds))
        self.settle()
        for waiter in self.waiting():
            if waiter.deadline <= self.loop.now:
                self.model_drop(waiter, "timed out")
                self.timed_out += 1

    @rule(size=st.integers(1, 6))
    def resize(self, size: int) -> None:
        self.queue.resize(size)
        self.size = size

    @rule(max_running=st.integers(1, 4))
    def run_at_most(self, max_running: int) -> None:
        self.queue.run_at_most(max_running)
        self.max_running = max_running
        self.model_grant()
        self.settle()

    # What must hold.

    @invariant()
    def every_call_is_where_the_model_says(self) -> None:
        queue = self.queue
        assert (queue.running, queue.waiting) == (self.running, len(self.waiting()))
        assert (queue.refused_full, queue.timed_out) == (self.refused, self.timed_out)
        assert not (queue.waiting and queue.running < queue.max_running), "a place is free and a call waits"
        for waiter in self.all:
            assert fate(waiter.task) == waiter.ended

    @invariant()
    def only_those_who_wait_hold_a_timer(self) -> None:
        assert len(self.loop.pending) == len(self.waiting())

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self.queue.close()
            self.settle()
            for waiter in self.waiting():
                self.model_drop(waiter, "closed")
            self.every_call_is_where_the_model_says()
            assert asyncio.all_tasks(self.loop) == set()
            self.loop.close()


def fate(task: "asyncio.Task[None]") -> str:
    """How the real call's wait ended; empty while it waits."""
    if not task.done():
        return ""
    if task.cancelled():
        return "cancelled"
    error = task.exception()
    if error is None:
        return "ran"
    return {QueueTimeout: "timed out", QueueClosed: "closed", QueueFull: "made room"}[type(error)]


QueueMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestWhateverHappensNoPlaceIsLostAndTurnsAreKept = QueueMachine.TestCase
