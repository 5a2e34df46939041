"""Limits shared over a real Redis: exact over several workers, asked for together, in no call's way when it fails."""

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from proxy.core import clock, tasks
from proxy.limits import redis as module
from proxy.limits.limit import Claim, Limit, Refusal, Reservation, What
from proxy.limits.redis import LOOKUP, PATIENCE, RedisLimits
from tests.rigs.clock import at_most
from tests.rigs.redis import RedisServer, Way, redis_server, way_to

ROOT = Path(__file__).parents[2]
SOAK_REPEATS = int(os.environ.get("HAPAX_SOAK_REPEATS", "25"))
NOTHING = {What.REQUESTS: 0, What.TOKENS: 0, What.BUDGET: 0}
PATIENT = 5.0
WAITS = at_most(PATIENCE)
"""Seconds a call waits for Redis where it fails: more than a Redis that works takes on a machine that is busy."""
MARGIN = 0.02
"""Seconds by which it may be decided later than that."""


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as running:
        yield running


@pytest.fixture(autouse=True)
def empty(server: RedisServer) -> None:
    server.ask("FLUSHALL")


async def nothing_spent(holder: str, unit: str, since: datetime) -> int | None:
    return 0


async def spending_is_unknown(holder: str, unit: str, since: datetime) -> int | None:
    return None


def requests(capacity: int, rate: float = 1e-6) -> Limit:
    return Limit("h||requests", What.REQUESTS, capacity, rate)


def tokens(capacity: int, rate: float = 1e-6) -> Limit:
    return Limit("h||tokens", What.TOKENS, capacity, rate)


def places(capacity: int) -> Limit:
    return Limit("h||concurrent", What.CONCURRENT, capacity)


def budget(capacity: int, per: str = "day") -> Limit:
    return Limit(f"h||budget/{per}", What.BUDGET, capacity, per=per, unit="usd", holder="h")


@asynccontextmanager
async def workers(url: str, count: int = 1, **options: object) -> AsyncIterator[list[RedisLimits]]:
    spent = options.pop("spent", nothing_spent)
    # Where it is not the waiting that is tested, a busy machine may take its time.
    options.setdefault("patience", PATIENT)
    running = [RedisLimits(url, spent, **options) for _ in range(count)]  # type: ignore[arg-type]
    for worker in running:
        await worker.start()
    try:
        yield running
    finally:
        for worker in running:
            await worker.stop()


async def reserve(worker: RedisLimits, *claims: Claim) -> Reservation | Refusal:
    decided = worker.reserve_now(claims, clock.now())
    return await worker.reserve(claims) if decided is None else decided


async def eventually(condition: Callable[[], object], within: float = 30.0) -> None:
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110 - no task sets an event for it
            await asyncio.sleep(0.005)


def admitted(decisions: Sequence[Reservation | Refusal]) -> list[Reservation]:
    return [decision for decision in decisions if isinstance(decision, Reservation)]


def give_back(worker: RedisLimits, calls: Sequence[Reservation], used: dict[What, int] = NOTHING) -> None:
    for call in calls:
        worker.settle(call, used, clock.now())


@pytest.mark.parametrize("repeats", [SOAK_REPEATS])
async def test_of_200_parallel_calls_over_4_workers_exactly_100_are_admitted(server: RedisServer, repeats: int) -> None:
    async with workers(server.url, 4) as all_workers:
        for round in range(repeats):
            limit = Limit(f"{round}||requests", What.REQUESTS, 100, 1e-6)
            calls = [reserve(all_workers[number % 4], (limit, 1)) for number in range(200)]
            assert len(admitted(await asyncio.gather(*calls))) == 100


@pytest.mark.parametrize(
    ("limit", "amount", "fit"),
    [(tokens(10_000), 300, 33), (places(50), 1, 50), (budget(1_000_000), 50_000, 20)],
    ids=["tokens", "places", "budget"],
)
async def test_every_kind_admits_exactly_what_fits(server: RedisServer, limit: Limit, amount: int, fit: int) -> None:
    async with workers(server.url, 4) as all_workers:
        decisions = await asyncio.gather(*[reserve(all_workers[n % 4], (limit, amount)) for n in range(200)])
        assert len(admitted(decisions)) == fit


async def test_unevenly_spread_calls_over_some_time_are_counted_exactly_too(server: RedisServer) -> None:
    async with workers(server.url, 4) as all_workers:
        limit = requests(100)
        count = 0
        for number in range(130):
            # Long enough for messages of their own.
            await asyncio.sleep(0.003)
            count += len(admitted([await reserve(all_workers[min(3, number % 11)], (limit, 1))]))
        assert count == 100


async def test_a_refused_call_takes_nothing_of_any_limit(server: RedisServer) -> None:
    async with workers(server.url) as [worker]:
        wide, narrow = requests(100), tokens(50)
        for _ in range(5):
            refused = await reserve(worker, (wide, 1), (narrow, 51))
            assert isinstance(refused, Refusal)
            assert refused.limit is narrow
            assert refused.never
        assert len(admitted([await reserve(worker, (wide, 1), (narrow, 1)) for _ in range(60)])) == 50
        assert worker.standing(wide, clock.now()).remaining == 50


async def test_a_place_that_others_need_is_free_for_them_as_soon_as_its_call_ends(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Far away, so that no machine is slow enough to take the one for the other.
    monkeypatch.setattr(module, "TICK", 2.0)
    async with workers(server.url, 2) as [one, other]:
        limit = places(1)
        waits = []
        for _ in range(3):
            call = await reserve(one, (limit, 1))
            assert isinstance(call, Reservation)
            refused = await reserve(other, (limit, 1))
            assert isinstance(refused, Refusal)
            assert refused.wait is None
            one.settle(call, {}, clock.now())
            began = time.monotonic()
            async with asyncio.timeout(30):
                while not (calls := admitted([await reserve(other, (limit, 1))])):  # noqa: ASYNC110 - no task sets an event for it
                    await asyncio.sleep(0.001)
            waits.append(time.monotonic() - began)
            give_back(other, calls)
            await eventually(lambda: not server.ask("EXISTS", "{hapax}:p:h||concurrent"))
        # Not with the next tick.
        assert sorted(waits)[1] < at_most(0.015)


async def test_what_was_not_used_comes_back_and_what_was_used_beyond_is_owed(server: RedisServer) -> None:
    async with workers(server.url, 2) as [one, other]:
        limit, money = tokens(1000), budget(1000)
        calls = [await reserve(one, (limit, 400), (money, 400)) for _ in range(2)]
        give_back(one, admitted(calls[:1]), {What.TOKENS: 100, What.BUDGET: 100})
        give_back(one, admitted(calls[1:]), {What.TOKENS: 850, What.BUDGET: 850})
        key = f"{{hapax}}:s:{money.id}:{datetime.now(UTC):%Y-%m-%d}T00"
        await eventually(lambda: server.ask("HGET", key, "level") == "950")
        assert len(admitted([await reserve(other, (limit, 50), (money, 50))])) == 1
        refused = await reserve(other, (limit, 1), (money, 1))
        assert isinstance(refused, Refusal)
        assert refused.limit is limit
        assert refused.wait == pytest.approx(1e6, rel=0.01)


async def test_a_client_that_waits_as_long_as_it_is_told_is_admitted_and_one_that_waits_less_is_not(
    server: RedisServer,
) -> None:
    async with workers(server.url) as [worker]:
        limit = tokens(100, rate=500.0)
        for amount in (100, 40, 75):
            await reserve(worker, (limit, 100))
            refused = await reserve(worker, (limit, amount))
            assert isinstance(refused, Refusal)
            assert refused.wait is not None
            told = time.monotonic()
            # The waiting is what is tested here.
            await asyncio.sleep(refused.wait * 0.9 - 0.001)
            if time.monotonic() - told < refused.wait * 0.98:
                assert isinstance(await reserve(worker, (limit, amount)), Refusal)
            await asyncio.sleep(max(0.0, told + refused.wait - time.monotonic()))
            assert isinstance(await reserve(worker, (limit, amount)), Reservation)


async def test_the_standing_agrees_with_the_decisions(server: RedisServer) -> None:
    async with workers(server.url) as [worker]:
        limits = (requests(10), places(10), budget(10))
        for taken in range(1, 11):
            assert isinstance(await reserve(worker, *[(limit, 1) for limit in limits]), Reservation)
            for limit in limits:
                assert worker.standing(limit, clock.now()).remaining == 10 - taken
        assert worker.standing(limits[0], clock.now()).reset == pytest.approx(10 / 1e-6)
        assert isinstance(await reserve(worker, (limits[0], 1)), Refusal)


async def test_a_changed_limit_keeps_what_was_left_as_far_as_it_fits(server: RedisServer) -> None:
    async with workers(server.url) as [worker]:
        assert len(admitted([await reserve(worker, (requests(100), 1)) for _ in range(30)])) == 30
        assert len(admitted([await reserve(worker, (requests(200), 1)) for _ in range(20)])) == 20
        assert len(admitted([await reserve(worker, (requests(10), 1)) for _ in range(20)])) == 10
        assert isinstance(await reserve(worker, (requests(100), 1)), Refusal)


async def test_two_times_the_same_limit_in_a_call_counts_twice(server: RedisServer) -> None:
    async with workers(server.url) as [worker]:
        limit = requests(10)
        assert len(admitted([await reserve(worker, (limit, 3), (limit, 3)) for _ in range(3)])) == 1
        assert worker.standing(limit, clock.now()).remaining == 4


async def test_calls_that_wait_at_the_same_time_are_asked_about_together(server: RedisServer) -> None:
    claims = ((requests(10**6), 1), (tokens(10**9), 1000), (places(1000), 1), (budget(10**12), 500))
    async with workers(server.url) as [worker]:
        give_back(worker, admitted([await reserve(worker, *claims)]))
        for _ in range(10):
            before = worker.round_trips_total
            calls = await asyncio.gather(*[reserve(worker, *claims) for _ in range(200)])
            assert len(admitted(calls)) == 200
            # The first one may find the worker about to send what was given back.
            assert worker.round_trips_total - before <= 2
            give_back(worker, admitted(calls))


async def test_what_a_call_gave_back_is_told_with_the_next_one_or_soon_by_itself(server: RedisServer) -> None:
    async with workers(server.url, 2) as [one, other]:
        limit, room, money = tokens(1000), places(4), budget(1000)
        for _ in range(5):
            call = await reserve(one, (limit, 1000), (room, 1), (money, 1000))
            assert isinstance(call, Reservation)
            one.settle(call, NOTHING, clock.now())
        await eventually(lambda: server.ask("KEYS", "{hapax}:p:*") == [], within=at_most(module.TICK + MARGIN))
        assert len(admitted([await reserve(other, (limit, 1000), (room, 4), (money, 1000))])) == 1
        before = one.round_trips_total
        await asyncio.sleep(0.3)
        # And nothing is said about it any more.
        assert one.round_trips_total - before <= 1


async def test_under_a_flood_over_4_workers_a_limit_admits_exactly_what_it_has(server: RedisServer) -> None:
    limit = requests(3000)
    async with workers(server.url, 4) as all_workers:
        count = 0

        async def flood(worker: RedisLimits) -> None:
            nonlocal count
            while isinstance(await reserve(worker, (limit, 1)), Reservation):
                count += 1
                await asyncio.sleep(0.0005)

        await asyncio.gather(*[flood(worker) for worker in all_workers for _ in range(4)])
        assert count == 3000


async def test_unused_limits_are_forgotten(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    async with workers(server.url, ttl=1.0) as [worker]:
        for number in range(500):
            limit = Limit(f"{number}||requests", What.REQUESTS, 100, 10.0)
            give_back(worker, admitted([await reserve(worker, (limit, 1))]), {})
        assert "500 limits" in repr(worker)
        ahead = clock.now
        monkeypatch.setattr(clock, "now", lambda: ahead() + 10)
        await eventually(lambda: " 0 limits" in repr(worker))


HOLDER = """
import asyncio, sys
from proxy.limits.limit import Limit, What
from proxy.limits.redis import RedisLimits

async def spent(holder, unit, since):
    return 0

async def main():
    worker = RedisLimits(sys.argv[1], spent, ttl=float(sys.argv[2]))
    await worker.start()
    for _ in range(5):
        await worker.reserve([(Limit("h||concurrent", What.CONCURRENT, 5), 1),
                              (Limit("h||budget/month", What.BUDGET, 100, per="month", unit="usd", holder="h"), 20)])
    print("holding", flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


BELIEVED = 3.0
"""Seconds a worker that says nothing is believed alive."""


async def test_what_a_killed_worker_held_is_free_when_its_time_is_up(server: RedisServer) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOLDER, server.url, str(BELIEVED), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"holding\n"
        async with workers(server.url) as [worker]:
            room, money = places(5), budget(100, "month")
            # It shows its signs of life for longer than it would be believed without.
            await asyncio.sleep(1.2 * BELIEVED)
            assert isinstance(await reserve(worker, (room, 1)), Refusal)
            assert isinstance(await reserve(worker, (money, 1)), Refusal)
            process.send_signal(signal.SIGKILL)
            killed = time.monotonic()
            async with asyncio.timeout(at_most(2 * BELIEVED)):
                while not admitted([await reserve(worker, (room, 5), (money, 100))]):  # noqa: ASYNC110 - no task sets an event for it
                    await asyncio.sleep(0.01)
            assert time.monotonic() - killed < at_most(BELIEVED + 0.5)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def test_a_worker_that_was_believed_dead_takes_its_places_back(server: RedisServer) -> None:
    async with workers(server.url, 2, ttl=BELIEVED) as [one, other]:
        room, money = places(10), budget(100)
        held = [await reserve(one, (room, 1), (money, 10)) for _ in range(8)]
        assert len(admitted(held)) == 8
        for name in server.ask("ZRANGE", "{hapax}:workers", "0", "-1"):  # type: ignore[attr-defined]
            server.ask("ZREM", "{hapax}:workers", name)
        await eventually(lambda: server.ask("ZCARD", "{hapax}:workers") == 2)
        assert len(admitted([await reserve(other, (room, 1), (money, 10)) for _ in range(5)])) == 2
        give_back(one, admitted(held), {What.BUDGET: 0})
        async with asyncio.timeout(30):
            while not admitted([await reserve(other, (room, 8), (money, 80))]):  # noqa: ASYNC110 - no task sets an event for it
                await asyncio.sleep(0.005)


@dataclass
class Ledger:
    """What the store would say."""

    spent: int | None = 0
    asked: int = 0
    delay: float = 0.0

    async def __call__(self, holder: str, unit: str, since: datetime) -> int | None:
        assert (holder, unit) == ("h", "usd")
        self.asked += 1
        await asyncio.sleep(self.delay)
        return self.spent


async def test_an_empty_redis_learns_from_the_ledger_what_was_spent_once(server: RedisServer) -> None:
    ledger = Ledger(970)
    async with workers(server.url, spent=ledger) as [worker]:
        money = budget(1000, "month")
        decisions = await asyncio.gather(*[reserve(worker, (money, 10)) for _ in range(20)])
        assert len(admitted(decisions)) == 3
        assert ledger.asked == 1


async def test_a_budget_the_ledger_does_not_know_is_refused_as_unknown_and_not_waited_for_long(
    server: RedisServer,
) -> None:
    ledger = Ledger(None)
    async with workers(server.url, spent=ledger, patience=WAITS) as [worker], lag() as late:
        refused = await reserve(worker, (budget(1000, "month"), 10))
        assert refused == Refusal(budget(1000, "month"), 1.0, unknown=True)
        ledger.delay = 3600.0
        began = time.monotonic()
        refused = await reserve(worker, (budget(1000, "month"), 10))
        assert isinstance(refused, Refusal)
        assert refused.unknown
        assert time.monotonic() - began < at_most(LOOKUP + PATIENCE + 2 * MARGIN) + late.worst
    assert ledger.asked == 2


async def test_a_new_period_begins_with_nothing_spent_and_does_not_ask_the_ledger(server: RedisServer) -> None:
    wall = datetime.now(UTC)
    ledger = Ledger(100)
    async with workers(server.url, 2, spent=ledger, wall=lambda: wall) as [one, other]:
        money = budget(100, "hour")
        over = await reserve(one, (money, 10))
        assert isinstance(over, Refusal)
        assert over.wait is not None
        assert 0 < over.wait <= 3600
        wall += timedelta(seconds=over.wait - 0.01)
        assert isinstance(await reserve(other, (money, 10)), Refusal)
        asked = ledger.asked
        wall += timedelta(seconds=0.02)
        decisions = [await reserve(worker, (money, 10)) for worker in (one, other) for _ in range(10)]
        assert len(admitted(decisions)) == 10
        assert ledger.asked == asked


async def test_a_call_that_outlasts_its_period_is_charged_to_it(server: RedisServer) -> None:
    wall = datetime.now(UTC)
    async with workers(server.url, wall=lambda: wall) as [worker]:
        money = budget(100, "hour")
        call = await reserve(worker, (money, 100))
        assert isinstance(call, Reservation)
        wall += timedelta(hours=1)
        assert isinstance(await reserve(worker, (money, 100)), Reservation)
        worker.settle(call, {What.BUDGET: 70}, clock.now())
        key = f"{{hapax}}:s:{money.id}:{wall - timedelta(hours=1):%Y-%m-%dT%H}"
        await eventually(lambda: server.ask("HGETALL", key) == {"level": "70"})


class Log(logging.Handler):
    """The lines about limits."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append((record.levelname, record.getMessage()))

    @property
    def levels(self) -> list[str]:
        return [level for level, _ in self.lines]


@pytest.fixture
def log() -> Iterator[Log]:
    handler = Log()
    logger = logging.getLogger("hapax")
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(level)


class Lag:
    """How late this event loop was at worst."""

    def __init__(self) -> None:
        self.worst = 0.0

    async def watch(self) -> None:
        while True:
            began = time.monotonic()
            await asyncio.sleep(0.005)
            self.worst = max(self.worst, time.monotonic() - began - 0.005)


@asynccontextmanager
async def lag() -> AsyncIterator[Lag]:
    watched = Lag()
    task = tasks.start(watched.watch(), "lag")
    try:
        yield watched
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def faulty(name: str, server: RedisServer, way: Way) -> tuple[Callable[[], object], Callable[[], object]]:
    """How a fault is made and how it ends."""
    return {
        "refused": (server.kill, server.start),
        "frozen": (server.freeze, server.thaw),
        "slow": (lambda: setattr(way, "delay", 2.5 * WAITS), lambda: setattr(way, "delay", 0.0)),
        "loading": (
            lambda: setattr(way, "answer", b"-LOADING Redis is loading the dataset in memory\r\n"),
            lambda: setattr(way, "answer", None),
        ),
        "wrong type": (lambda: setattr(way, "answer", b":7\r\n"), lambda: setattr(way, "answer", None)),
        "wrong text": (lambda: setattr(way, "answer", b"$5\r\n1 2 x\r\n"), lambda: setattr(way, "answer", None)),
        "no protocol": (lambda: setattr(way, "answer", b"HTTP/1.1 400\r\n\r\n"), lambda: setattr(way, "answer", None)),
        "readonly": (
            lambda: server.ask("REPLICAOF", "127.0.0.1", "1"),
            lambda: server.ask("REPLICAOF", "NO", "ONE"),
        ),
        "out of memory": (
            lambda: server.ask("CONFIG", "SET", "maxmemory", "1"),
            lambda: server.ask("CONFIG", "SET", "maxmemory", "0"),
        ),
    }[name]


FAULTS = (
    "refused",
    "frozen",
    "slow",
    "loading",
    "wrong type",
    "wrong text",
    "no protocol",
    "readonly",
    "out of memory",
)


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_of_redis_delays_no_call_and_is_over_when_it_is_over(
    server: RedisServer, log: Log, fault: str
) -> None:
    async with way_to(server.port) as way, workers(way.url, 2, patience=WAITS) as both, lag() as late:
        await both[0].reserve([(requests(1), 1)])
        begin, end = faulty(fault, server, way)
        await asyncio.to_thread(begin)
        limit, room = Limit("f||requests", What.REQUESTS, 100, 1e-6), Limit("f||concurrent", What.CONCURRENT, 30)
        try:
            slowest = 0.0
            calls: list[Reservation] = []
            for number in range(100):
                worker = both[number % 2]
                began = time.monotonic()
                decided = await asyncio.gather(*[reserve(worker, (limit, 1), (room, 1)) for _ in range(4)])
                slowest = max(slowest, time.monotonic() - began)
                for call in admitted(decided):
                    calls.append(call)
                    worker.settle(call, {}, clock.now())
                await asyncio.sleep(0.001)
            assert slowest < at_most(WAITS + 2 * MARGIN) + late.worst
            # Each has its half of the limit.
            assert len(calls) == 100
            assert all(call.local for call in calls)
            assert not any(worker.available for worker in both)
            assert log.levels == ["WARNING", "WARNING"]
            assert str(way.port) not in str(log.lines)
            assert all(worker.failures_total and worker.fallbacks_total for worker in both)
        finally:
            await asyncio.to_thread(end)
        await eventually(lambda: all(worker.available for worker in both))
        assert log.levels == ["WARNING", "WARNING", "INFO", "INFO"]
        decision = await reserve(both[0], (limit, 1))
        assert isinstance(decision, Reservation)
        assert not decision.local


@pytest.mark.parametrize("fault", ["flush", "cut", "wrong kind of key"])
async def test_what_can_be_put_right_at_once_is_no_fault(server: RedisServer, log: Log, fault: str) -> None:
    async with way_to(server.port) as way, workers(way.url) as [worker]:
        limit = requests(10)
        await reserve(worker, (limit, 1))
        if fault == "flush":
            server.ask("SCRIPT", "FLUSH")
        elif fault == "cut":
            way.cut()
        else:
            for key in server.ask("KEYS", "*"):  # type: ignore[attr-defined]
                server.ask("DEL", key)
                server.ask("LPUSH", key, "1")
        decided = await reserve(worker, (limit, 1))
        assert isinstance(decided, Reservation)
        assert not decided.local
        assert worker.available
        assert log.lines == []


async def test_redis_that_is_not_there_at_the_start_is_used_as_soon_as_it_is(server: RedisServer, log: Log) -> None:
    server.kill()
    try:
        async with workers(server.url) as [worker]:
            assert isinstance(await reserve(worker, (requests(1), 1)), Reservation)
            assert isinstance(await reserve(worker, (requests(1), 1)), Refusal)
            server.start()
            await eventually(lambda: worker.available)
            assert log.levels == ["WARNING", "INFO"]
    finally:
        server.stop()
        server.start()


async def test_a_restart_without_data_forgets_no_budget_and_no_place(server: RedisServer) -> None:
    ledger = Ledger(0)
    async with workers(server.url, 2, spent=ledger) as [one, other]:
        money, room, rate = budget(1000, "month"), places(10), requests(100)
        give_back(one, admitted([await reserve(one, (money, 400)), await reserve(one, (money, 300))]), {})
        held = [await reserve(one, (room, 1), (rate, 1)) for _ in range(6)]
        key = f"{{hapax}}:s:{money.id}:{datetime.now(UTC):%Y-%m}-01T00"
        await eventually(lambda: server.ask("HGET", key, "level") == "700")
        server.kill()
        ledger.spent = 650
        await eventually(lambda: not one.available and not other.available)
        # Decided over what is known: 700 are spent.
        while_alone = [await reserve(one, (money, 100)) for _ in range(5)]
        assert len(admitted(while_alone)) == 3
        give_back(one, admitted(while_alone[:1]), {What.BUDGET: 60})
        server.start()
        await eventually(lambda: one.available and other.available)
        await eventually(lambda: server.ask("HGET", key, "level") == "760")
        # 200 are held by calls that began without Redis.
        assert len(admitted([await reserve(other, (money, 20)) for _ in range(4)])) == 2
        assert len(admitted([await reserve(other, (room, 1)) for _ in range(10)])) == 4
        assert len(admitted([await reserve(other, (rate, 1)) for _ in range(120)])) == 100
        give_back(one, admitted(held) + admitted(while_alone))


async def test_what_was_spent_without_redis_is_added_when_it_is_back(server: RedisServer) -> None:
    async with workers(server.url, 2, patience=WAITS) as [one, other]:
        money = budget(1000)
        give_back(one, admitted([await reserve(one, (money, 100))]), {})
        give_back(other, admitted([await reserve(other, (money, 100))]), {})
        key = f"{{hapax}}:s:{money.id}:{datetime.now(UTC):%Y-%m-%d}T00"
        await eventually(lambda: server.ask("HGET", key, "level") == "200")
        server.freeze()
        try:
            for worker in (one, other):
                calls = [await reserve(worker, (money, 100)) for _ in range(3)]
                give_back(worker, admitted(calls), {What.BUDGET: 90})
            assert not one.available
        finally:
            server.thaw()
        await eventually(lambda: one.available and other.available)
        assert server.ask("HGET", key, "level") == "740"


async def test_a_long_time_without_redis_costs_no_memory_for_who_came_once(server: RedisServer) -> None:
    async with workers(server.url, probe_interval=60.0, patience=WAITS) as [worker]:
        server.freeze()
        try:
            for number in range(500):
                limit = Limit(f"{number}||requests", What.REQUESTS, 100, 10.0)
                give_back(worker, admitted([await reserve(worker, (limit, 1))]), {})
            assert "500 limits" in repr(worker)
            await eventually(lambda: " 0 limits" in repr(worker))
        finally:
            server.thaw()


async def test_what_was_spent_without_redis_is_added_by_a_worker_that_stops(server: RedisServer) -> None:
    async with workers(server.url, probe_interval=60.0, patience=WAITS) as [worker]:
        money = budget(1000)
        give_back(worker, admitted([await reserve(worker, (money, 100))]), {})
        server.freeze()
        try:
            give_back(worker, admitted([await reserve(worker, (money, 100))]), {})
            await eventually(lambda: not worker.available)
        finally:
            server.thaw()
    key = f"{{hapax}}:s:{money.id}:{datetime.now(UTC):%Y-%m-%d}T00"
    assert server.ask("HGETALL", key) == {"level": "200"}
    assert server.ask("EXISTS", "{hapax}:workers") == 0


async def test_budgets_the_ledger_did_not_know_are_looked_up_when_redis_is_away(server: RedisServer) -> None:
    ledger = Ledger(None)
    async with workers(server.url, spent=ledger, patience=WAITS) as [worker]:
        server.freeze()
        try:
            refused = await reserve(worker, (budget(1000), 100))
            assert isinstance(refused, Refusal)
            assert refused.unknown
            ledger.spent = 850
            decisions = [await reserve(worker, (budget(1000), 100)) for _ in range(2)]
            assert len(admitted(decisions)) == 1
        finally:
            server.thaw()


async def test_losing_redis_often_is_no_way_to_more(server: RedisServer) -> None:
    async with workers(server.url, probe_interval=0.02, patience=WAITS) as [worker]:
        limit = requests(100)
        count = 0
        for _ in range(5):
            for _ in range(40):
                count += len(admitted([await reserve(worker, (limit, 1))]))
            server.freeze()
            try:
                await reserve(worker, (limit, 1000))
                assert not worker.available
                for _ in range(40):
                    count += len(admitted([await reserve(worker, (limit, 1))]))
            finally:
                server.thaw()
            await eventually(lambda: worker.available)
        # Each outage has what was left when it began: 60, 20, then one call, which is always let by.
        assert 100 <= count <= 100 + 60 + 20 + 5


async def test_lateness_of_this_process_is_not_taken_for_a_fault_of_redis(server: RedisServer, log: Log) -> None:
    async with workers(server.url, patience=WAITS) as [worker]:
        for _ in range(3):
            call = tasks.start(reserve(worker, (requests(100), 1)), "call")
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            # A loop that is blocked, by whatever it may be.
            time.sleep(1.5 * WAITS)  # noqa: ASYNC251
            decided = await call
            assert isinstance(decided, Reservation)
            assert not decided.local
            assert worker.available
        assert log.lines == []


async def test_a_thousand_calls_that_leave_under_a_slow_redis_lose_nothing(server: RedisServer) -> None:
    limit, room, money = requests(5000), places(5000), budget(5000)
    async with way_to(server.port) as way, workers(way.url) as [worker]:
        way.delay = 0.01
        for round in range(10):
            calls = [tasks.start(reserve(worker, (limit, 1), (room, 1), (money, 1)), "call") for _ in range(100)]
            others = [
                tasks.start(reserve(worker, (Limit(f"{n}||requests", What.REQUESTS, n + 1, 1e-6), 1)), "other")
                for n in range(10)
            ]
            await asyncio.sleep(0.002 * round)
            for call in calls:
                call.cancel()
            for call in await asyncio.gather(*calls, return_exceptions=True):
                if isinstance(call, Reservation):
                    worker.settle(call, NOTHING, clock.now())
            for n, decided in enumerate(await asyncio.gather(*others)):
                # No call is given another one's answer.
                if isinstance(decided, Refusal):
                    assert decided.limit.id == f"{n}||requests"
                    assert n < round
                else:
                    assert [claim[0].capacity for claim in decided.claims] == [n + 1]
                    assert n >= round
        assert worker.failures_total == 0
    assert float(server.ask("HGET", "{hapax}:b:h||requests", "level") or 5000) == pytest.approx(5000, abs=0.01)  # type: ignore[arg-type]
    assert server.ask("EXISTS", "{hapax}:p:h||concurrent") == 0
    key = f"{{hapax}}:s:{money.id}:{datetime.now(UTC):%Y-%m-%d}T00"
    assert server.ask("HGETALL", key) in ({}, {"level": "0"})


async def test_a_call_that_leaves_in_the_moment_it_is_admitted_gives_back_what_it_got(server: RedisServer) -> None:
    limit, room = requests(10), places(10)
    async with workers(server.url) as [worker]:
        for _ in range(20):
            call = tasks.start(reserve(worker, (limit, 1), (room, 1)), "call")
            await asyncio.sleep(0)
            while worker.standing(limit, clock.now()).remaining == 10:  # noqa: ASYNC110 - that very turn is meant
                await asyncio.sleep(0)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            await eventually(lambda: worker.standing(limit, clock.now()).remaining == 10)
            await eventually(lambda: worker.standing(room, clock.now()).remaining == 10)


async def test_more_than_fits_into_a_message_is_told_when_redis_is_back(server: RedisServer) -> None:
    async with workers(server.url, patience=WAITS) as [worker]:
        limits = [Limit(f"{number}||concurrent", What.CONCURRENT, 1) for number in range(1000)]
        server.freeze()
        try:
            calls = await asyncio.gather(*[reserve(worker, (limit, 1)) for limit in limits])
            assert len(admitted(calls)) == 1000
        finally:
            server.thaw()
        await eventually(lambda: worker.available)
        assert len(server.ask("KEYS", "{hapax}:p:*")) == 1000  # type: ignore[arg-type]
        give_back(worker, admitted(calls))
    assert server.ask("KEYS", "{hapax}:p:*") == []


async def test_an_answer_that_comes_after_its_call_was_decided_gives_back_what_it_took(server: RedisServer) -> None:
    limit, room = requests(1000), places(1000)
    async with way_to(server.port) as way, workers(way.url, patience=WAITS) as [worker]:
        way.delay = 2 * WAITS
        decisions = await asyncio.gather(*[reserve(worker, (limit, 1), (room, 1)) for _ in range(50)])
        assert all(call.local for call in admitted(decisions))
        assert len(admitted(decisions)) == 50
        # It did arrive.
        assert server.ask("HGET", "{hapax}:b:h||requests", "level") == "950"
        give_back(worker, admitted(decisions))
        way.delay = 0.0
        await eventually(lambda: worker.available)
    assert float(server.ask("HGET", "{hapax}:b:h||requests", "level")) == pytest.approx(1000, abs=0.01)  # type: ignore[arg-type]
    assert server.ask("EXISTS", "{hapax}:p:h||concurrent") == 0


async def test_who_waits_when_the_worker_stops_is_decided(server: RedisServer) -> None:
    async with workers(server.url, patience=WAITS) as [worker]:
        server.freeze()
        try:
            waiting = tasks.start(reserve(worker, (requests(10), 1)), "call")
            await asyncio.sleep(0.01)
            await worker.stop()
            assert isinstance(await waiting, Reservation)
        finally:
            server.thaw()


def test_an_address_that_is_none_is_said_at_once() -> None:
    for wrong in ("nowhere", "redis://user:secret@host:secret/0", "http://host"):
        with pytest.raises(ValueError, match="not an address of Redis") as raised:
            RedisLimits(wrong, spending_is_unknown)
        assert "secret" not in str(raised.value)
