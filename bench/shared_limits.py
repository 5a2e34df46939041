"""
`python -m bench.shared_limits`: what limits kept in Redis cost a call, told in some ten seconds: the CPU of the process
that asks, the CPU of Redis, and how many calls were decided in one round trip.

Callers reserve a request, tokens and a place without pause but for the time an instant answer takes, and settle. What
they cost without limits is taken off. A whole gateway with such limits is measured by `bench`.
"""

import asyncio
import random
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import redis
import uvloop
from rich.console import Console
from rich.table import Table

from bench import subjects
from proxy.core import clock
from proxy.limits.limit import Limit, Reservation, What
from proxy.limits.redis import RedisLimits

CALLERS = (1, 8, 32)
ROUNDS = 5
SECONDS = 0.5
"""Length of one measure."""
ANSWER = (0.001, 0.004)
"""Seconds between which an answer takes."""
PATIENCE = 5.0
"""Seconds a call waits for Redis here: a machine that is busy may take its time."""
CLAIMS = (
    (Limit("bench||requests", What.REQUESTS, 10**9, 1e7), 1),
    (Limit("bench||tokens", What.TOKENS, 10**9, 1e7), 100),
    (Limit("bench||concurrent", What.CONCURRENT, 10**6), 1),
)
USED = {What.REQUESTS: 1, What.TOKENS: 50}


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one call: microseconds of this process and of Redis; and the calls in a round trip."""

    here_us: float
    redis_us: float
    together: float


async def measure(port: int, callers: int, seconds: float = SECONDS) -> Cost:
    """What a call costs where so many *callers* ask the Redis at *port*."""
    limits = RedisLimits(f"redis://127.0.0.1:{port}/0", _nothing_spent, patience=PATIENCE)
    await limits.start()
    try:

        async def call() -> None:
            held = limits.reserve_now(CLAIMS, clock.now()) or await limits.reserve(CLAIMS)
            if not isinstance(held, Reservation) or held.local:
                raise RuntimeError("not decided in Redis")
            await _answer()
            limits.settle(held, USED, clock.now())

        await _ask(callers, seconds / 5, call)
        trips, theirs = limits.round_trips_total, _cpu_of(port)
        count, ours = await _ask(callers, seconds, call)
        trips, theirs = limits.round_trips_total - trips, _cpu_of(port) - theirs
    finally:
        await limits.stop()
    bare, without = await _ask(callers, seconds, _answer)
    return Cost((ours / count - without / bare) * 1e6, theirs / count * 1e6, count / trips)


async def _ask(callers: int, seconds: float, call: Callable[[], Awaitable[None]]) -> tuple[int, float]:
    """Calls that *callers* made in so many *seconds*, one after the other, and the CPU this process took for them."""
    count, until, before = 0, time.monotonic() + seconds, time.process_time()

    async def calls() -> None:
        nonlocal count
        while time.monotonic() < until:
            await call()
            count += 1

    await asyncio.gather(*[calls() for _ in range(callers)])
    return count, time.process_time() - before


async def _answer() -> None:
    await asyncio.sleep(random.uniform(*ANSWER))


async def _nothing_spent(holder: str, unit: str, since: datetime) -> int | None:
    return 0


def _cpu_of(port: int) -> float:
    """Seconds of CPU the Redis at *port* has taken."""
    with redis.Redis(port=port) as client:
        told = client.info("cpu")
    return float(told["used_cpu_user"]) + float(told["used_cpu_sys"])


def main() -> None:
    """The command."""
    table = Table("callers", "us of this process", "us of Redis", "calls a round trip")
    redis_core, core = subjects.cores()
    with (
        tempfile.TemporaryDirectory(prefix="hapax-bench-") as scratch,
        subjects.redis(redis_core, Path(scratch)) as port,
        subjects.on_core(core),
    ):
        for callers in CALLERS:
            # The cheapest round: whatever else runs on the machine only ever adds.
            cost = min((uvloop.run(measure(port, callers)) for _ in range(ROUNDS)), key=lambda each: each.here_us)
            table.add_row(f"{callers}", f"{cost.here_us:.0f}", f"{cost.redis_us:.0f}", f"{cost.together:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
