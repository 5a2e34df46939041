"""Limits of one process, on clocks that are only numbers, against a model that calculates exactly."""

import asyncio
import math
import subprocess
import sys
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from proxy.core import clock
from proxy.limits import period
from proxy.limits.limit import Claim, Limit, Refusal, Reservation, Standing, What
from proxy.limits.memory import MemoryLimits

NOON = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


def requests(per_minute: int, holder: str = "alice") -> Limit:
    return Limit(f"{holder}||requests", What.REQUESTS, per_minute, per_minute / 60)


def tokens(per_minute: int, holder: str = "alice") -> Limit:
    return Limit(f"{holder}||tokens", What.TOKENS, per_minute, per_minute / 60)


def concurrent(most: int, holder: str = "alice") -> Limit:
    return Limit(f"{holder}||concurrent", What.CONCURRENT, most)


def budget(amount: int, per: str = "day", holder: str = "alice") -> Limit:
    return Limit(f"{holder}||budget/usd/{per}", What.BUDGET, amount, per=per, unit="usd", holder=holder)


class World:
    """Limits, the time they go by, and a ledger that says what was spent before they began."""

    def __init__(self, spent: int | None = 0) -> None:
        self.wall = NOON
        self.spent = spent
        self.asked: list[tuple[str, str, datetime]] = []
        self.limits = MemoryLimits(self.ask, wall=lambda: self.wall.timestamp())

    async def ask(self, holder: str, unit: str, since: datetime) -> int | None:
        self.asked.append((holder, unit, since))
        return self.spent

    def take(self, *claims: Claim, now: float = 0.0) -> Reservation:
        """A call that has to be admitted."""
        decided = self.limits.reserve_now(claims, now)
        assert isinstance(decided, Reservation), decided
        return decided

    def refused(self, *claims: Claim, now: float = 0.0) -> Refusal:
        """A call that has to be refused."""
        decided = self.limits.reserve_now(claims, now)
        assert isinstance(decided, Refusal), decided
        return decided

    def know(self, limit: Limit) -> None:
        """Have the ledger asked about a budget."""
        reservation = at_once(self.limits.reserve([(limit, 0)]))
        assert isinstance(reservation, Reservation)
        self.limits.settle(reservation, {}, 0.0)

    def remaining(self, limit: Limit, now: float = 0.0) -> int:
        return self.limits.standing(limit, now).remaining


def at_once(work: Coroutine[Any, Any, Any]) -> Any:
    """The result of something that may wait and does not."""
    try:
        work.send(None)
    except StopIteration as ended:
        return ended.value
    raise AssertionError("it waits")


def test_as_many_calls_are_admitted_as_the_limit_says_and_then_one_for_each_that_returns() -> None:
    world = World()
    limit = requests(60)
    for _ in range(60):
        world.take((limit, 1))
    assert world.refused((limit, 1)) == Refusal(limit, 1.0)
    assert world.refused((limit, 1), now=0.9).wait == pytest.approx(0.1)
    world.take((limit, 1), now=1.0)
    assert world.refused((limit, 1), now=1.0).wait == 1.0


def test_a_call_refused_leaves_every_level_as_it_was() -> None:
    world = World()
    few, many, places, money = requests(1), tokens(1000), concurrent(5), budget(100)
    world.know(money)
    world.take((few, 1))
    for order in ((few, many, places, money), (money, places, many, few)):
        assert world.refused(*[(limit, 1) for limit in order]).limit is few
    assert [world.remaining(limit) for limit in (few, many, places, money)] == [0, 1000, 5, 100]


@pytest.mark.parametrize("way", ["tokens", "concurrent", "budget"])
def test_whichever_limit_is_in_the_way_nothing_is_taken_from_the_others(way: str) -> None:
    world = World()
    all_of_them = {"requests": requests(10), "tokens": tokens(10), "concurrent": concurrent(10), "budget": budget(10)}
    world.know(all_of_them["budget"])
    asked = [(limit, 11 if name == way else 1) for name, limit in all_of_them.items()]
    refusal = world.refused(*asked)
    assert (refusal.limit, refusal.never) == (all_of_them[way], True)
    assert [world.remaining(limit) for limit in all_of_them.values()] == [10, 10, 10, 10]


def test_hammering_at_ten_times_the_limit_admits_what_the_limit_says() -> None:
    world = World()
    limit = requests(600)
    admitted = 0
    for tick in range(60_000):
        # A hundred calls a second for ten minutes, where ten a second may.
        decided = world.limits.reserve_now([(limit, 1)], tick / 100)
        admitted += isinstance(decided, Reservation)
    # The bucket was full at first.
    assert admitted - 600 == pytest.approx(6000, rel=0.01)


async def test_of_200_calls_at_the_same_moment_exactly_100_are_admitted() -> None:
    world = World()
    # Slow enough that none returns during the test.
    limit = Limit("alice||requests", What.REQUESTS, 100, 100 / 86_400)
    money, places = budget(1_000_000), concurrent(150)
    decided = await asyncio.gather(
        *(world.limits.reserve([(limit, 1), (places, 1), (money, 1000)]) for _ in range(200))
    )
    assert sum(isinstance(each, Reservation) for each in decided) == 100
    assert {each.limit for each in decided if isinstance(each, Refusal)} == {limit}
    now = clock.now()
    assert [world.remaining(each, now) for each in (limit, places, money)] == [0, 50, 900_000]


@settings(deadline=None)
@given(
    st.integers(1, 10**9),
    st.lists(st.tuples(st.floats(0, 30), st.floats(0, 1)), min_size=1, max_size=30),
    st.floats(0, 1e6),
)
def test_in_no_window_is_more_admitted_than_a_full_bucket_and_what_returns(
    capacity: int, calls: list[tuple[float, float]], began: float
) -> None:
    world = World()
    limit = tokens(capacity)
    now = began
    admitted: list[tuple[float, int]] = []
    for pause, part in calls:
        now += pause
        amount = math.ceil(part * capacity)
        if isinstance(world.limits.reserve_now([(limit, amount)], now), Reservation):
            admitted.append((now, amount))
    for first, (start, _) in enumerate(admitted):
        for last in range(first, len(admitted)):
            whole = sum(amount for _, amount in admitted[first : last + 1])
            most = capacity + limit.rate * (admitted[last][0] - start)
            assert whole <= most * (1 + 1e-9) + 1e-5 + limit.rate * 1e-6


@settings(deadline=None)
@given(
    st.integers(1, 10**9),
    st.lists(st.tuples(st.floats(0, 30), st.floats(0, 1.5)), max_size=20),
    st.floats(0.001, 1),
    st.floats(0, 1e7),
)
def test_who_waits_as_long_as_told_is_admitted_and_who_waits_nine_tenths_is_not(
    capacity: int, calls: list[tuple[float, float]], part: float, began: float
) -> None:
    limit = tokens(capacity)
    amount = max(1, math.ceil(part * capacity))

    def then(factor: float) -> tuple[float, Reservation | Refusal | None]:
        """The wait told, and what comes of the same call after *factor* of it."""
        world, now = World(), began
        # The last one leaves nothing.
        for pause, used in (*calls, (0.0, 1.0)):
            now += pause
            reservation = world.limits.reserve_now([(limit, 1)], now)
            if isinstance(reservation, Reservation):
                world.limits.settle(reservation, {What.TOKENS: math.ceil(used * capacity)}, now)
        decided = world.limits.reserve_now([(limit, amount)], now)
        wait = decided.wait if isinstance(decided, Refusal) else 0.0
        assert wait is not None
        return wait, world.limits.reserve_now([(limit, amount)], now + factor * wait)

    wait, decided = then(1.0)
    assert wait > 0.01
    assert isinstance(decided, Reservation)
    assert isinstance(then(0.9)[1], Refusal)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 10_000), st.floats(0, 1)), min_size=1, max_size=4))
def test_of_several_limits_in_the_way_the_wait_is_good_for_all(buckets: list[tuple[int, float]]) -> None:
    world = World()
    limits = [Limit(f"alice|{scope}|tokens", What.TOKENS, size, size / 60) for scope, (size, _) in enumerate(buckets)]
    for limit, (size, part) in zip(limits, buckets, strict=True):
        world.take((limit, round(part * size)))
    claims = [(limit, limit.capacity) for limit in limits]
    decided = world.limits.reserve_now(claims, 0.0)
    if isinstance(decided, Refusal):
        assert decided.wait is not None
        world.take(*claims, now=decided.wait)


@pytest.mark.parametrize(
    ("seconds", "wait"), [(0.0, 43_200.0), (60.0, 43_140.0), (43_199.0, 1.0), (43_199.999999, 0.000001)]
)
def test_who_has_used_up_a_budget_waits_for_its_next_period(seconds: float, wait: float) -> None:
    world = World(spent=100)
    money = budget(100)
    world.know(money)
    world.wall += timedelta(seconds=seconds)
    refusal = world.refused((money, 1))
    assert (refusal.limit, refusal.wait, refusal.never) == (money, pytest.approx(wait), False)
    world.wall += timedelta(seconds=wait)
    world.take((money, 1))


def test_how_long_calls_under_way_will_take_is_unknown() -> None:
    world = World()
    places = concurrent(1)
    held = world.take((places, 1))
    assert world.refused((places, 1)) == Refusal(places, None)
    world.limits.settle(held, {}, 0.0)
    world.take((places, 1))


def test_of_a_place_and_a_bucket_the_one_with_a_known_wait_is_told() -> None:
    world = World()
    places, few = concurrent(1), requests(60)
    world.take((places, 1), (few, 60))
    assert world.refused((places, 1), (few, 1)) == Refusal(few, 1.0)
    assert world.refused((few, 1), (places, 1)) == Refusal(few, 1.0)


def test_what_can_never_be_is_told_before_what_can_be_later() -> None:
    world = World()
    few, many = requests(60), tokens(1000)
    world.take((few, 60))
    for claims in ([(few, 1), (many, 1001)], [(many, 1001), (few, 1)]):
        refusal = world.refused(*claims)
        assert (refusal.limit, refusal.never) == (many, True)


@pytest.mark.parametrize(
    ("used", "left"),
    [
        ({}, 900),
        ({What.TOKENS: 100}, 900),
        ({What.TOKENS: 30}, 970),
        ({What.TOKENS: 0}, 1000),
        ({What.TOKENS: 250}, 750),
        # Others pay for it.
        ({What.TOKENS: 2500}, -1500),
        ({What.REQUESTS: 0}, 900),
    ],
)
def test_tokens_are_corrected_to_what_was_used(used: Mapping[What, int], left: int) -> None:
    world = World()
    limit = tokens(1000)
    world.limits.settle(world.take((limit, 100)), used, 0.0)
    assert world.remaining(limit) == left


def test_a_request_that_reached_no_provider_is_given_back() -> None:
    world = World()
    limit = requests(10)
    world.limits.settle(world.take((limit, 1)), {What.TOKENS: 5, What.REQUESTS: 0}, 0.0)
    assert world.remaining(limit) == 10
    world.limits.settle(world.take((limit, 1)), {What.TOKENS: 5}, 0.0)
    assert world.remaining(limit) == 9


@pytest.mark.parametrize(
    ("used", "left"), [({}, 70), ({What.BUDGET: 0}, 100), ({What.BUDGET: 12}, 88), ({What.BUDGET: 130}, -30)]
)
def test_a_budget_holds_what_was_reserved_and_loses_what_was_spent(used: Mapping[What, int], left: int) -> None:
    world = World()
    money = budget(100)
    world.know(money)
    held = world.take((money, 30))
    assert world.remaining(money) == 70
    world.limits.settle(held, used, 0.0)
    assert world.remaining(money) == left


def test_settling_a_second_time_does_nothing() -> None:
    world = World()
    limits = (requests(10), tokens(1000), concurrent(5), budget(100))
    world.know(limits[3])
    first, second = (world.take(*[(limit, 1) for limit in limits]) for _ in range(2))
    used = {What.REQUESTS: 0, What.TOKENS: 7, What.BUDGET: 9}
    for _ in range(3):
        world.limits.settle(first, used, 0.0)
        assert first.settled
        assert [world.remaining(limit) for limit in limits] == [9, 992, 4, 90]
    world.limits.settle(second, used, 0.0)
    assert [world.remaining(limit) for limit in limits] == [10, 986, 5, 82]


def test_a_call_settled_after_its_limit_grew_does_not_make_it_small_again() -> None:
    world = World()
    small, large = tokens(100), tokens(6000)
    held = world.take((small, 50))
    # 50 are left when it grows, and 100 return each second.
    world.take((large, 1), now=0.0)
    world.limits.settle(held, {What.TOKENS: 40}, 30.0)
    assert world.remaining(large, 30.0) == 3059


def test_a_limit_that_shrinks_keeps_no_more_than_it_holds_and_admits_no_second_burst() -> None:
    world = World()
    large, small = requests(600), requests(60)
    world.take((large, 100))
    for _ in range(60):
        world.take((small, 1))
    world.refused((small, 1))
    # Back and forth, as one who edits the configuration does.
    assert [world.remaining(limit) for limit in (large, small, large)] == [0, 0, 0]


async def test_the_ledger_is_asked_once_for_what_was_spent_in_the_period() -> None:
    world = World(spent=40)
    money = budget(100, "month")
    assert world.limits.reserve_now([(money, 1)], 0.0) is None
    first = await world.limits.reserve([(money, 10)])
    assert isinstance(first, Reservation)
    assert world.remaining(money) == 50
    assert isinstance(await world.limits.reserve([(money, 50)]), Reservation)
    assert isinstance(world.limits.reserve_now([(money, 1)], 0.0), Refusal)
    assert world.asked == [("alice", "usd", datetime(2026, 11, 1, tzinfo=UTC))]


async def test_a_hundred_first_calls_of_one_budget_spend_no_more_than_it_has() -> None:
    world = World()
    answer = asyncio.Event()
    asked = 0

    async def ask(holder: str, unit: str, since: datetime) -> int:
        nonlocal asked
        asked += 1
        # The answers come one by one: those that come late are of what was spent before any call began.
        number = asked
        await answer.wait()
        for _ in range(number):
            await asyncio.sleep(0)
        return 400

    limits = MemoryLimits(ask, wall=lambda: world.wall.timestamp())
    money = budget(1000)

    async def call() -> Reservation | Refusal:
        decided = await limits.reserve([(money, 50)])
        if isinstance(decided, Reservation):
            limits.settle(decided, {What.BUDGET: 50}, 0.0)
        return decided

    calls = asyncio.gather(*(call() for _ in range(100)))
    await asyncio.sleep(0)
    answer.set()
    decided = await calls
    assert sum(isinstance(each, Reservation) for each in decided) == 12
    assert limits.standing(money, 0.0).remaining == 0


async def test_a_cap_of_a_dollar_lets_a_hundred_calls_of_five_cents_spend_a_dollar() -> None:
    world = World()
    money = budget(1_000_000)
    decided = await asyncio.gather(*(world.limits.reserve([(money, 50_000)]) for _ in range(100)))
    admitted = [each for each in decided if isinstance(each, Reservation)]
    assert len(admitted) == 20
    for each in admitted:
        world.limits.settle(each, {What.BUDGET: 50_000}, 0.0)
    assert isinstance(world.limits.reserve_now([(money, 1)], 0.0), Refusal)


async def test_while_the_ledger_cannot_be_asked_a_budget_admits_no_call_and_says_why() -> None:
    world = World(spent=None)
    money, few = budget(100), requests(10)
    claims = [(few, 1), (money, 1)]
    assert await world.limits.reserve(claims) == Refusal(money, 1.0, unknown=True)
    assert (world.remaining(few, clock.now()), world.limits.reserve_now(claims, 0.0)) == (10, None)
    world.spent = 99
    assert isinstance(await world.limits.reserve(claims), Reservation)
    assert len(world.asked) == 2


async def test_a_ledger_that_answers_after_the_period_has_ended_is_not_held_against_the_next() -> None:
    world = World(spent=100)
    money = budget(100, "hour")
    asking = MemoryLimits(world.ask, wall=lambda: world.wall.timestamp())

    async def late(holder: str, unit: str, since: datetime) -> int:
        world.wall += timedelta(hours=1)
        return 100

    limits = MemoryLimits(late, wall=lambda: world.wall.timestamp())
    assert isinstance(await asking.reserve([(money, 1)]), Refusal)
    assert isinstance(await limits.reserve([(money, 100)]), Reservation)


async def test_a_call_that_gives_up_while_the_ledger_is_asked_holds_nothing() -> None:
    world = World()
    never = asyncio.Event()

    async def ask(holder: str, unit: str, since: datetime) -> int:
        await never.wait()
        return 0

    limits = MemoryLimits(ask, wall=lambda: world.wall.timestamp())
    claims = [(requests(10), 1), (concurrent(1), 1), (budget(100), 1)]
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await limits.reserve(claims)
    assert [limits.standing(limit, clock.now()).remaining for limit, _ in claims] == [10, 1, 100]


def test_a_new_period_begins_with_nothing_spent_but_what_is_still_held() -> None:
    world = World(spent=60)
    money = budget(100)
    world.know(money)
    held = world.take((money, 30))
    world.wall += timedelta(hours=12)
    assert world.remaining(money) == 70
    world.limits.settle(held, {What.BUDGET: 45}, 0.0)
    assert world.remaining(money) == 55
    assert len(world.asked) == 1


def test_a_wall_clock_that_is_set_back_grants_no_second_budget() -> None:
    world = World()
    money = budget(100, "hour")
    world.know(money)
    world.limits.settle(world.take((money, 100)), {}, 0.0)
    world.wall += timedelta(minutes=61)
    world.limits.settle(world.take((money, 100)), {}, 0.0)
    world.wall -= timedelta(minutes=30)
    # It is half past twelve again, and the budget of one o'clock is used up: the next is that of two o'clock.
    refusal = world.refused((money, 1))
    assert refusal.wait == 89 * 60
    world.wall += timedelta(seconds=refusal.wait)
    world.take((money, 1))


def test_a_monotonic_clock_that_goes_back_grants_nothing() -> None:
    world = World()
    limit = requests(60)
    world.take((limit, 60), now=1000.0)
    world.refused((limit, 1), now=0.0)
    world.refused((limit, 1), now=1000.0)
    world.take((limit, 1), now=1001.0)


def test_an_unused_limit_stands_whole() -> None:
    world = World()
    for limit in (requests(60), tokens(1000), concurrent(5)):
        assert world.limits.standing(limit, 0.0) == Standing(limit, limit.capacity, 0.0)
    assert world.limits.standing(budget(100), 0.0) == Standing(budget(100), 100, 43_200.0)
    assert len(world.limits) == 0


def test_a_standing_tells_what_is_left_and_when_it_is_whole_again() -> None:
    world = World()
    limit, places = requests(60), concurrent(5)
    world.take((limit, 20), (places, 1))
    assert world.limits.standing(limit, 0.0) == Standing(limit, 40, 20.0)
    assert world.limits.standing(limit, 0.5) == Standing(limit, 40, 19.5)
    assert world.limits.standing(places, 0.0) == Standing(places, 4, 0.0)


@settings(deadline=None)
@given(st.integers(1, 10**6), st.lists(st.tuples(st.floats(0, 5), st.floats(0, 1)), max_size=10))
def test_as_many_units_as_remain_can_be_taken_and_one_more_cannot(
    capacity: int, calls: list[tuple[float, float]]
) -> None:
    world = World()
    limit = tokens(capacity)
    now = 0.0
    for pause, part in calls:
        now += pause
        world.limits.reserve_now([(limit, round(part * capacity))], now)
    remaining = world.remaining(limit, now)
    world.refused((limit, remaining + 1), now=now)
    world.take((limit, remaining), now=now)


def test_full_buckets_are_forgotten_first_which_changes_no_limit() -> None:
    limits = MemoryLimits(World().ask, most_buckets=10)
    world = World()
    world.limits = limits
    used = requests(60, "used")
    world.take((used, 60))
    for number in range(8):
        world.take((requests(60, f"idle-{number}"), 1), now=0.0)
    # A second later all of them are full but the first, which was used before any of them.
    for number in range(8, 12):
        world.take((requests(60, f"idle-{number}"), 1), now=1.0)
    assert len(limits) <= 10
    assert world.remaining(used, 1.0) == 1


def test_where_no_bucket_is_full_the_ones_used_longest_ago_are_forgotten() -> None:
    world = World()
    world.limits = MemoryLimits(world.ask, most_buckets=10)
    for number in range(10):
        world.take((requests(60, f"alice-{number}"), 60))
    world.refused((requests(60, "alice-0"), 1), now=0.1)
    world.take((requests(60, "one-more"), 60), now=0.1)
    left = [number for number in range(10) if world.remaining(requests(60, f"alice-{number}")) == 0]
    assert left == [0, 3, 4, 5, 6, 7, 8, 9], "a tenth goes at a time"


@pytest.mark.parametrize("most", [1, 2, 3, 10])
def test_a_call_passes_all_its_limits_when_there_is_hardly_room_to_remember_them(most: int) -> None:
    world = World()
    world.limits = MemoryLimits(world.ask, most_buckets=most)
    for number in range(50):
        holder = f"bob-{number}"
        held = world.take((requests(60, holder), 1), (tokens(1000, holder), 10), (concurrent(1, holder), 1))
        world.limits.settle(held, {What.TOKENS: 20}, 0.0)
        assert len(world.limits) <= most


A_MILLION_STRANGERS = """
import resource
from proxy.limits.limit import Limit, Reservation, What
from proxy.limits.memory import MemoryLimits

async def spent(holder, unit, since):
    return 0

limits = MemoryLimits(spent)
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
for number in range(1_000_000):
    limit = Limit(f"anonymous@2001:db8:{number:x}:2::/64||requests", What.REQUESTS, 600, 10.0)
    # A hundred thousand a second, so that they leave no full buckets behind for a while.
    assert type(limits.reserve_now([(limit, 1)], number / 100_000)) is Reservation
print(peak() - before)
"""


def test_a_million_strangers_cost_less_than_20_megabytes() -> None:
    grown = subprocess.run([sys.executable, "-c", A_MILLION_STRANGERS], capture_output=True, text=True, check=True)
    assert int(grown.stdout) * 1024 < 20_000_000


@dataclass
class Level:
    """A bucket, in fractions."""

    capacity: int
    rate: Fraction
    left: Fraction
    at: Fraction

    def pass_time(self, now: Fraction) -> None:
        self.left = min(Fraction(self.capacity), self.left + (now - self.at) * self.rate)
        self.at = now


@dataclass
class Account:
    """A budget."""

    began: datetime
    spent: int
    held: int = 0


TOLERANCE = Fraction(1, 10_000)
FORMS: dict[str, tuple[What, str]] = {
    "alice requests": (What.REQUESTS, ""),
    "alice model requests": (What.REQUESTS, ""),
    "alice tokens": (What.TOKENS, ""),
    "bob tokens": (What.TOKENS, ""),
    "alice places": (What.CONCURRENT, ""),
    "bob places": (What.CONCURRENT, ""),
    "alice money": (What.BUDGET, "hour"),
    "bob money": (What.BUDGET, "day"),
}
MOST = {What.REQUESTS: 6, What.TOKENS: 1000, What.CONCURRENT: 3, What.BUDGET: 500}
BUCKETS = (What.REQUESTS, What.TOKENS)


class Books(RuleBasedStateMachine):
    """Calls of two holders under limits of all four kinds, kept twice: by the limits and by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.now = Fraction(1000)
        self.wall = NOON
        self.ledger: dict[str, int | None] = {"alice": 0, "bob": 0}
        self.asked = 0
        self.limits = MemoryLimits(self.ask, wall=lambda: self.wall.timestamp())
        self.known: dict[str, Limit] = {}
        self.levels: dict[str, Level] = {}
        self.running: dict[str, int] = dict.fromkeys(FORMS, 0)
        self.accounts: dict[str, Account] = {}
        self.open: list[Reservation] = []
        self.closed: list[Reservation] = []

    async def ask(self, holder: str, unit: str, since: datetime) -> int | None:
        self.asked += 1
        return self.ledger[holder]

    @initialize(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        for name, (what, _) in FORMS.items():
            self.known[name] = self.limit(name, data.draw(st.integers(1, MOST[what]), label=name))
        for holder in self.ledger:
            self.ledger[holder] = data.draw(st.none() | st.integers(0, 300))

    def limit(self, name: str, capacity: int) -> Limit:
        what, per = FORMS[name]
        rate = capacity / 60 if what in BUCKETS else 0.0
        return Limit(name, what, capacity, rate, per=per, holder=name.split()[0])

    def level(self, name: str) -> Level:
        """The bucket as it is now, of the size its limit has; a new one is full."""
        limit = self.known[name]
        level = self.levels.get(name)
        if level is None:
            rate = Fraction(limit.rate)
            level = self.levels[name] = Level(limit.capacity, rate, Fraction(limit.capacity), self.now)
        level.pass_time(self.now)
        return level

    def account(self, name: str) -> Account | None:
        account = self.accounts.get(name)
        if account is not None and (began := period.began(self.known[name].per, self.wall)) > account.began:
            account.began, account.spent = began, 0
        return account

    @rule(
        names=st.lists(st.sampled_from(sorted(FORMS)), min_size=1, max_size=6, unique=True),
        parts=st.lists(st.floats(0, 1.05), min_size=6, max_size=6),
    )
    def call(self, names: list[str], parts: list[float]) -> None:
        claims: list[tuple[Limit, int]] = []
        for name, part in zip(names, parts, strict=False):
            limit = self.known[name]
            amount = 1 if limit.what in (What.REQUESTS, What.CONCURRENT) else round(part * limit.capacity)
            claims.append((limit, amount))
        decided = self.limits.reserve_now(claims, float(self.now))
        if decided is None:
            if not self.find_out(claims):
                return
            decided = self.limits.reserve_now(claims, float(self.now))
        self.compare(claims, decided)

    def find_out(self, claims: list[Claim]) -> bool:
        """Some budgets were not known. Whether all are now; those before the first of them were looked at."""
        unknown = [limit for limit, _ in claims if limit.what is What.BUDGET and limit.id not in self.accounts]
        assert unknown, "nothing was unknown"
        for limit, _ in claims:
            if limit is unknown[0]:
                break
            if limit.what in BUCKETS:
                self.level(limit.id)
        for limit in unknown:
            before = self.asked
            decided = at_once(self.limits.reserve([(limit, 0)]))
            assert self.asked == before + 1
            spent = self.ledger[limit.holder]
            if spent is None:
                assert decided == Refusal(limit, 1.0, unknown=True)
                return False
            self.accounts[limit.id] = Account(period.began(limit.per, self.wall), spent)
            if isinstance(decided, Reservation):
                self.limits.settle(decided, {}, float(self.now))
            else:
                assert spent > limit.capacity
        return True

    def compare(self, claims: list[Claim], decided: Reservation | Refusal | None) -> None:
        """The same decision has to come out, except that either is right where rounding decides."""
        waits: dict[str, Fraction | None] = {}
        close = False
        for limit, amount in claims:
            if limit.what is What.CONCURRENT:
                if self.running[limit.id] + amount > limit.capacity:
                    waits[limit.id] = None
            elif limit.what is What.BUDGET:
                account = self.account(limit.id)
                assert account is not None
                if account.spent + account.held + amount > limit.capacity:
                    left = period.ends(limit.per, self.wall) - self.wall
                    waits[limit.id] = Fraction(left / timedelta(microseconds=1)) / 1_000_000
            else:
                missing = amount - self.level(limit.id).left
                close = close or abs(missing) < TOLERANCE
                if missing > 0:
                    waits[limit.id] = missing / Fraction(limit.rate)
        if isinstance(decided, Reservation):
            assert not waits or close
            for limit, amount in claims:
                if limit.what is What.CONCURRENT:
                    self.running[limit.id] += amount
                elif limit.what is What.BUDGET:
                    self.accounts[limit.id].held += amount
                else:
                    self.level(limit.id).left -= amount
            self.open.append(decided)
            return
        assert isinstance(decided, Refusal)
        assert not decided.unknown
        assert waits or close
        if not waits or close:
            return
        assert decided.limit.id in waits
        never = [limit.id for limit, amount in claims if limit.id in waits and amount > limit.capacity]
        assert decided.never == bool(never)
        if never:
            assert decided.limit.id in never
            return
        said = [wait for wait in waits.values() if wait is not None]
        if said:
            assert decided.wait is not None
            assert abs(decided.wait - max(said)) < TOLERANCE
        else:
            assert decided.wait is None

    @precondition(lambda self: self.open)
    @rule(
        data=st.data(),
        requests=st.none() | st.just(0),
        tokens=st.none() | st.integers(0, 2000),
        cost=st.none() | st.integers(0, 800),
    )
    def settle(self, data: st.DataObject, requests: int | None, tokens: int | None, cost: int | None) -> None:
        reservation = self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))
        given = {What.REQUESTS: requests, What.TOKENS: tokens, What.BUDGET: cost}
        used = {what: amount for what, amount in given.items() if amount is not None}
        self.limits.settle(reservation, used, float(self.now))
        self.closed.append(reservation)
        for limit, amount in reservation.claims:
            if limit.what is What.CONCURRENT:
                self.running[limit.id] -= amount
            elif limit.what is What.BUDGET:
                account = self.account(limit.id)
                assert account is not None
                account.held -= amount
                account.spent += used.get(What.BUDGET, amount)
            elif limit.what in used:
                level = self.level(limit.id)
                level.left = min(Fraction(level.capacity), level.left + amount - used[limit.what])

    @precondition(lambda self: self.closed)
    @rule(data=st.data())
    def settle_again(self, data: st.DataObject) -> None:
        reservation = data.draw(st.sampled_from(self.closed))
        self.limits.settle(reservation, {What.TOKENS: 1, What.REQUESTS: 0, What.BUDGET: 1}, float(self.now))

    @rule(milliseconds=st.integers(0, 90_000))
    def time_passes(self, milliseconds: int) -> None:
        # Parts that floats hold exactly: it is the limits' rounding that is examined, not that of the moments.
        self.now += Fraction(milliseconds * 1024 // 1000, 1024)
        self.wall += timedelta(milliseconds=milliseconds)

    @rule(minutes=st.integers(1, 3000))
    def a_period_passes(self, minutes: int) -> None:
        self.now += 60 * minutes
        self.wall += timedelta(minutes=minutes)

    @rule(name=st.sampled_from(sorted(FORMS)), part=st.floats(0, 1))
    def change(self, name: str, part: float) -> None:
        limit = self.known[name] = self.limit(name, max(1, round(part * MOST[FORMS[name][0]])))
        if name in self.levels:
            level = self.level(name)
            level.left = min(Fraction(limit.capacity), level.left)
            level.capacity, level.rate = limit.capacity, Fraction(limit.rate)

    @rule(holder=st.sampled_from(["alice", "bob"]), spent=st.integers(0, 600))
    def the_ledger_moves_on(self, holder: str, spent: int) -> None:
        self.ledger[holder] = spent

    @invariant()
    def the_books_agree(self) -> None:
        for name, limit in self.known.items():
            standing = self.limits.standing(limit, float(self.now))
            if limit.what is What.CONCURRENT:
                assert standing.remaining == limit.capacity - self.running[name]
            elif limit.what is What.BUDGET:
                account = self.account(name)
                left = limit.capacity if account is None else limit.capacity - account.spent - account.held
                assert standing.remaining == left
            elif name in self.levels:
                left_exactly = self.level(name).left
                assert math.floor(left_exactly - TOLERANCE) <= standing.remaining
                assert standing.remaining <= math.floor(left_exactly + TOLERANCE)
            else:
                assert standing == Standing(limit, limit.capacity, 0.0)

    def teardown(self) -> None:
        for reservation in self.open:
            self.limits.settle(reservation, {}, float(self.now))
        for limit in self.known.values():
            standing = self.limits.standing(limit, float(self.now))
            if limit.what is What.CONCURRENT:
                assert standing.remaining == limit.capacity


TestBooks = Books.TestCase
TestBooks.settings = settings(
    max_examples=150,
    stateful_step_count=40,
    deadline=None,
    # Explaining a failure traces every line, which takes longer than a test may.
    phases=[phase for phase in Phase if phase is not Phase.explain],
)
