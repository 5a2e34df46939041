"""What is known of a budget, for a figure: as much as the process knows by itself, and nothing is asked for it."""

from datetime import UTC, datetime

from proxy.core import clock
from proxy.limits.limit import Limit, Limits, Reservation, What
from proxy.limits.memory import MemoryLimits
from proxy.limits.redis import RedisLimits
from tests.rigs.redis import redis_server

BUDGET = Limit("h||budget/month", What.BUDGET, 1000, per="month", unit="usd", holder="h")
MARCH = datetime(2026, 3, 31, 23, 0, tzinfo=UTC)


async def spent_before(holder: str, unit: str, since: datetime) -> int | None:
    return 40


async def told(limits: Limits) -> list[int | None]:
    """Before the first call, while one holds 10, and once that has used 3."""
    seen = [limits.spent(BUDGET)]
    held = await limits.reserve([(BUDGET, 10)])
    assert isinstance(held, Reservation)
    seen.append(limits.spent(BUDGET))
    limits.settle(held, {What.BUDGET: 3}, clock.now())
    return [*seen, limits.spent(BUDGET)]


async def test_in_memory_it_is_what_was_spent_before_and_what_calls_hold() -> None:
    assert await told(MemoryLimits(spent_before)) == [None, 50, 43]


async def test_in_another_period_nothing_of_it_is_spent() -> None:
    now = [MARCH.timestamp()]
    limits = MemoryLimits(spent_before, wall=lambda: now[0])
    await told(limits)
    now[0] += 7200
    assert limits.spent(BUDGET) == 0


async def test_over_redis_it_is_what_all_workers_have_spent() -> None:
    with redis_server() as server:
        limits = RedisLimits(server.url, spent_before, patience=5.0)
        await limits.start()
        assert await told(limits) == [None, 50, 43]
        await limits.stop()
