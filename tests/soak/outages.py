"""
Outages of what a gateway depends on, a second each, under a steady load: what its clients notice, what its log says.

The second before the first outage is what the others are compared with. Everything happens to one process, one outage
after the other, as in a bad week.
"""

import asyncio
import math
import resource
import sqlite3
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from proxy.accounts.store import Store
from proxy.core import tasks
from tests.rigs.clock import at_most
from tests.rigs.cluster import Member
from tests.rigs.postgres import Postgres
from tests.rigs.redis import RedisServer
from tests.rigs.simulator import Simulator
from tests.spec.loop import Lag, lag_watched
from tests.spec.wire import Wire, connect, request, target

from .books import metrics, rows_of, settled
from .bursts import bearing

CLIENTS = 16
PACE = 0.03
"""Seconds from one question of a client to its next one at least: a load, and not all that the machine can carry."""
RECOVERY = at_most(5.0)
"""Seconds after which everything is used again that was away."""
ADDED = at_most(0.1)
"""Seconds by which an outage may lengthen what 99 of 100 calls take at most."""
SECOND = max(1.0, 2 * ADDED)
"""An outage: longer than a call may take for it, so that one that waits for its end is seen."""
KEY = "hpx_load_k3q8v2x7m5w9"
MODEL = "sim-fast:tokens=8"
LOST_AND_BACK = (
    ("limits are kept by this worker alone", "limits are shared again"),
    ("usage ledger: the store takes no rows", "usage ledger: the store takes rows again"),
    ("keys cannot be read from the store", "keys can be read from the store again"),
)
"""What the log says when something goes, and when it is back."""

Outage = Callable[[Member], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Noticed:
    """What was seen of one outage."""

    name: str
    calls: int
    p99: float
    longest: float
    added: float
    """Seconds `p99` is above that of the second without any."""
    lag: float
    """Seconds by which this process itself was late at worst meanwhile: its clients saw every answer later by that."""
    recovery: float
    """Seconds from its end until everything was used again."""
    lines: dict[str, int]
    """Of each kind in the log."""

    def __str__(self) -> str:
        told = ", ".join(f"{count} x {line!r}" for line, count in self.lines.items() if count) or "nothing"
        return (
            f"{self.name}: {self.calls} calls, p99 {self.p99 * 1000:.1f} ms ({self.added * 1000:+.1f}), longest "
            f"{self.longest * 1000:.1f} ms, clients late by {self.lag * 1000:.1f} ms, "
            f"in use again after {self.recovery:.2f} s; log: {told}"
        )


@dataclass(slots=True)
class Week:
    """A second without an outage, and what came after it."""

    baseline: float = 0.0
    """Seconds 99 of 100 calls took at most."""
    outages: list[Noticed] = field(default_factory=list)
    calls: int = 0
    errors: list[str] = field(default_factory=list)
    rows: int = 0
    pending: int = 0
    tokens: int = 0
    log: list[dict[str, Any]] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"  {each}" for each in self.outages]
        first = (
            f"{self.calls} calls, {len(self.errors)} errors, {self.rows} rows, {self.pending} pending; "
            f"without an outage p99 {self.baseline * 1000:.1f} ms"
        )
        return "\n".join([first, *lines])


def settings(simulator: Simulator, redis_url: str, store_url: str) -> dict[str, Any]:
    """One process whose one key has limits of every kind."""
    return {
        "logging": {"level": "info"},
        "providers": {"sim": target(simulator)},
        "auth": {
            "keys": [
                {
                    "name": "load",
                    "key": KEY,
                    "limits": {"requests_per_minute": 10**6, "tokens_per_minute": 10**9, "concurrent": 1000},
                    "budget": {"tokens": 10**12, "per": "month"},
                }
            ]
        },
        "store": {"url": store_url},
        "state": {"url": redis_url},
        "health_check": {"enabled": False},
    }


class _Load:
    """The clients, and when each call began and how long it took."""

    def __init__(self, port: int, prefix: str) -> None:
        self.taken: list[tuple[float, float]] = []
        self.errors: list[str] = []
        self._port = port
        self._prefix = prefix
        self._count = 0
        self._ending = False
        self._clients: list[asyncio.Task[None]] = []

    async def begin(self) -> None:
        """Ask until it is known what was spent of the budget; then let all clients ask."""
        async with connect(self._port) as wire:
            while True:
                await self._call(wire, f"{self._prefix}-0")
                if not self.errors:
                    break
                told = self.errors.pop()
                assert "store_unavailable" in told, told
                self.taken.clear()
        self._clients = [tasks.start(self._client(i), f"client {i}") for i in range(CLIENTS)]

    async def stop(self) -> None:
        self._ending = True
        await asyncio.gather(*self._clients)

    def between(self, start: float, end: float) -> list[float]:
        """How long the calls took that were under way then."""
        return [took for began, took in self.taken if began < end and began + took > start]

    async def _client(self, number: int) -> None:
        loop = asyncio.get_running_loop()
        # Spread, so that they do not all ask in the same moment.
        due = loop.time() + PACE * number / CLIENTS
        try:
            async with connect(self._port) as wire:
                while not self._ending:
                    await asyncio.sleep(due - loop.time())  # the pace of the load
                    due = max(due + PACE, loop.time())
                    self._count += 1
                    await self._call(wire, f"{self._prefix}-{self._count}")
        except Exception as error:
            # No other task waits for this one before the end: it has to tell by itself.
            self.errors.append(repr(error))

    async def _call(self, wire: Wire, id: str) -> None:
        fields = {"stream": True} if self._count % 2 else {}
        body = {"model": MODEL, "messages": [{"role": "user", "content": "hello there"}], "max_tokens": 8, **fields}
        began = time.monotonic()
        wire.send(request("/v1/chat/completions", body, head=f"{bearing(KEY)}X-Request-ID: {id}\r\n"))
        answer = await wire.response()
        self.taken.append((began, time.monotonic() - began))
        if answer.status != 200:
            self.errors.append(f"{answer.status} {answer.body[:200]!r}")


async def play(member: Member, store_url: str, prefix: str, outages: dict[str, Outage]) -> Week:
    """One outage after the other, each in a load that goes on over all of them."""
    week = Week()
    async with lag_watched() as lag:
        load = _Load(member.port, prefix)
        await load.begin()
        try:
            # Connections and statements are used for the first time.
            await asyncio.sleep(0.5)
            start = time.monotonic()
            await asyncio.sleep(SECOND)
            week.baseline = _percentile(load.between(start, time.monotonic()))
            for name, outage in outages.items():
                week.outages.append(await _one(name, outage, member, load, week.baseline, lag))
        finally:
            await load.stop()
        await settled(member.port, KEY)
    week.calls, week.errors = len(load.taken), load.errors
    store = Store(store_url)
    rows = await rows_of(store, prefix)
    await store.close()
    assert len({row["request_id"] for row in rows}) == len(rows), "a call has two rows"
    week.rows, week.pending = len(rows), sum(row["outcome"] == "pending" for row in rows)
    week.tokens = sum(row["prompt_tokens"] + row["completion_tokens"] for row in rows)
    week.log = list(member.log)
    return week


async def _one(name: str, outage: Outage, member: Member, load: _Load, baseline: float, lag: Lag) -> Noticed:
    said = len(member.log)
    lag.worst = 0.0
    start = time.monotonic()
    await outage(member)
    ended = time.monotonic()
    await _in_use(member)
    recovery = time.monotonic() - ended
    # What was held up by the end of it is seen as well.
    await asyncio.sleep(0.3)
    taken = load.between(start, time.monotonic())
    p99 = _percentile(taken)
    messages = [line["message"] for line in member.log[said:]]
    lines = {part: sum(part in message for message in messages) for both in LOST_AND_BACK for part in both}
    return Noticed(name, len(taken), p99, max(taken), p99 - baseline, lag.worst, recovery, lines)


async def _in_use(member: Member) -> None:
    """Wait until Redis and the store are used again, and what was kept for the store has been written."""
    async with asyncio.timeout(RECOVERY):
        while True:
            found = await metrics(member.port, KEY)
            if found["hapax_state_available"] and found["hapax_store_available"]:
                return
            await asyncio.sleep(0.02)  # nothing tells


def _percentile(taken: list[float], share: float = 0.99) -> float:
    return sorted(taken)[math.ceil(len(taken) * share) - 1]


# The outages.


def hangs(server: RedisServer | Postgres) -> Outage:
    """It takes connections, or keeps those there are, and says nothing."""

    async def outage(_: Member) -> None:
        server.freeze()
        try:
            await asyncio.sleep(SECOND)
        finally:
            server.thaw()

    return outage


def redis_is_killed(server: RedisServer) -> Outage:
    """It is away, and comes back without its data."""

    async def outage(_: Member) -> None:
        server.kill()
        await asyncio.sleep(SECOND)
        await asyncio.to_thread(server.start)

    return outage


def postgres_is_stopped(server: Postgres) -> Outage:
    """Every client is cut off, and no server is there."""

    async def outage(_: Member) -> None:
        await asyncio.to_thread(server.stop)
        try:
            await asyncio.sleep(SECOND)
        finally:
            # In a thread, with a loop of its own: beginning a process stops the clock of every task in this one.
            await asyncio.to_thread(lambda: asyncio.run(server.start()))

    return outage


def file_is_locked(file: Path) -> Outage:
    """Another process writes, and takes its time."""

    def lock() -> None:
        with closing(sqlite3.connect(file, isolation_level=None, timeout=5)) as other:
            other.execute("BEGIN EXCLUSIVE")
            time.sleep(SECOND)  # the lock belongs to this thread
            other.execute("ROLLBACK")

    async def outage(_: Member) -> None:
        await asyncio.to_thread(lock)

    return outage


def disk_is_full() -> Outage:
    """No file of the process may grow beyond its first page: every write to the database fails."""

    async def outage(member: Member) -> None:
        pid = member.running.process.pid
        soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, hard))
        try:
            await asyncio.sleep(SECOND)
        finally:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))

    return outage


def summary(weeks: Sequence[Week]) -> str:
    """The worst of several weeks, by outage."""
    quiet = [week.baseline * 1000 for week in weeks]
    lines = [
        f"{len(weeks)} weeks: {sum(week.calls for week in weeks)} calls, "
        f"{sum(len(week.errors) for week in weeks)} errors, {sum(week.rows for week in weeks)} rows, "
        f"{sum(week.pending for week in weeks)} pending; without an outage p99 {min(quiet):.1f} to {max(quiet):.1f} ms"
    ]
    for alike in zip(*(week.outages for week in weeks), strict=True):
        added = sorted(each.added for each in alike)
        lines.append(
            f"  {alike[0].name}: {sum(each.calls for each in alike)} calls, added to p99 "
            f"{added[len(added) // 2] * 1000:+.1f} ms in the middle, {added[-1] * 1000:+.1f} ms at most, longest call "
            f"{max(each.longest for each in alike) * 1000:.1f} ms, in use again after "
            f"{max(each.recovery for each in alike):.2f} s at most, lines in the log "
            f"{sum(sum(each.lines.values()) for each in alike)}"
        )
    return "\n".join(lines)


def unnoticed(week: Week) -> None:
    """No client has noticed anything, the log said each thing once, and nothing is missing afterwards."""
    assert week.errors == []
    assert (week.rows, week.pending) == (week.calls, 0)
    for outage in week.outages:
        assert outage.added < ADDED + outage.lag, outage
        for lost, back in LOST_AND_BACK:
            assert outage.lines[lost] == outage.lines[back] <= 1, outage
    told = tuple(lost for lost, _ in LOST_AND_BACK)
    serious = [line["message"] for line in week.log if line["level"] in ("warning", "error")]
    unknown = [message for message in serious if not message.startswith(told)]
    assert not unknown, unknown
