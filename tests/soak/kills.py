"""
`kill -9` under load: what a dead process held comes back, what its clients had been told is in the ledger, and no
other client notices.

Clients ask every process all the time. The one that is killed holds places and a part of a budget at that moment.
"""

import asyncio
import random
import sqlite3
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from proxy.accounts.store import Store
from proxy.core import tasks
from tests.rigs.clock import at_most
from tests.rigs.cluster import Cluster, Member
from tests.rigs.simulator import Simulator
from tests.spec.wire import Wire, ask, calls, connect, request, target

from .books import metrics, rows_of
from .bursts import bearing, question

FLUSH = 0.1
"""Seconds between two batches of the ledger."""
LATE = 0.05
"""Seconds by which a process may be late on a machine that has more to do than it has processors."""
HEARTBEAT = 5.0
"""Seconds a process that has fallen silent is believed alive."""
NOTICE = 0.5
"""Seconds in which its having gone is seen here, on a machine that does other things as well."""
CLIENTS = 4
"""For each process."""
PACE = 0.02
"""Seconds from one question of a client to its next one at least: a load, and not all that the machine can carry."""
HOLDER = "held"
"""Marks the ids of calls that are under way when a process is killed."""
MOMENT = 1000
"""Tokens that the clients of one process use in a flush and a half, with 35 for each call."""
PLACES = 3
BUDGET, HELD = 1000, 900
LOAD_KEY = "hpx_load_k3q8v2x7m5w9"
LOST = (ConnectionError, asyncio.IncompleteReadError, OSError)
"""What a client of a killed process sees."""


@dataclass(slots=True)
class Acknowledged:
    """A call whose client has the whole answer."""

    id: str
    member: Member
    at: float


@dataclass(slots=True)
class Kills:
    """What so many kills came to."""

    kills: int = 0
    acknowledged: int = 0
    by_the_killed: int = 0
    """Of those, by processes that were killed later."""
    unanswered: int = 0
    """Calls cut off by a kill."""
    incomplete: int = 0
    """Acknowledged calls of killed processes without a completed row."""
    window: float = 0.0
    """Seconds between the oldest of them and its kill."""
    most_at_once: int = 0
    pending: int = 0
    write: float = 0.0
    """Seconds the longest write of the ledger took that was seen."""
    returned: list[float] = field(default_factory=list)
    """Seconds from a kill until its places and its part of a budget were to be had again."""
    errors: list[str] = field(default_factory=list)
    """What clients of processes saw that were not killed."""

    def __str__(self) -> str:
        first, last = min(self.returned, default=0.0), max(self.returned, default=0.0)
        return (
            f"{self.kills} kills: {self.acknowledged} calls acknowledged, {self.by_the_killed} by killed processes; "
            f"{self.incomplete} of these without a completed row, at most {self.most_at_once} a kill, the oldest "
            f"{self.window * 1000:.0f} ms before it (the longest write {self.write * 1000:.0f} ms); "
            f"{self.unanswered} cut off, {self.pending} rows pending; places and budget back after "
            f"{first:.1f} to {last:.1f} s; {len(self.errors)} errors elsewhere"
        )


def settings(simulator: Simulator, silent: Simulator, redis_url: str, store_url: str, kills: int) -> dict[str, Any]:
    """
    A key for the load, and for each kill one with places and one with a budget. *silent* is asked by the calls that are
    under way when a process is killed, and by no other call.
    """
    keys: list[dict[str, Any]] = [
        {
            "name": "load",
            "key": LOAD_KEY,
            "limits": {"requests_per_minute": 10**6, "tokens_per_minute": 10**9, "concurrent": 1000},
            "budget": {"tokens": 10**12, "per": "month"},
        }
    ]
    for i in range(kills):
        keys.append({"name": f"places-{i}", "key": _places_key(i), "limits": {"concurrent": PLACES}})
        keys.append({"name": f"budget-{i}", "key": _budget_key(i), "budget": {"tokens": BUDGET, "per": "month"}})
    return {
        "providers": {"sim": target(simulator), "silent": target(silent, models=["silent"])},
        "models": {"held": {"targets": ["silent/sim-1:silence"]}},
        "auth": {"keys": keys},
        "store": {"url": store_url},
        "state": {"url": redis_url},
        "health_check": {"enabled": False},
    }


class Load:
    """Clients that ask every process, each at its pace."""

    def __init__(self, running: Cluster, prefix: str) -> None:
        self.acknowledged: list[Acknowledged] = []
        self.unanswered: list[str] = []
        self.errors: list[str] = []
        self._running = running
        self._prefix = prefix
        self._count = 0
        self._ending = False
        self._tasks: list[asyncio.Task[None]] = []

    def ask(self, member: Member) -> None:
        """Begin to ask one more process."""
        self._tasks += [tasks.start(self._client(member), f"client of {member.name}") for _ in range(CLIENTS)]

    async def stop(self) -> None:
        """Let the last answers come in."""
        self._ending = True
        await asyncio.gather(*self._tasks)

    async def answered(self, count: int) -> None:
        """Wait for so many answers from now on."""
        wanted = len(self.acknowledged) + count
        async with asyncio.timeout(30):
            while len(self.acknowledged) < wanted:  # noqa: ASYNC110 - a look now and then is all there is
                await asyncio.sleep(0.005)

    async def _client(self, member: Member) -> None:
        try:
            async with connect(member.port) as wire:
                loop = asyncio.get_running_loop()
                while not self._ending and not member.killed:
                    due = loop.time() + PACE
                    self._count += 1
                    await self._call(wire, member, f"{self._prefix}-{self._count}")
                    await asyncio.sleep(due - loop.time())  # the pace of the load
        except Exception as error:
            # No other task waits for this one before the end: it has to tell by itself.
            if not member.killed or not isinstance(error, LOST):
                self.errors.append(f"{member.name}: {error!r}")

    async def _call(self, wire: Wire, member: Member, id: str) -> None:
        fields = {"stream": True} if self._count % 3 == 0 else {}
        body = {"model": "sim-fast", "messages": [{"role": "user", "content": "hello there"}], **fields}
        wire.send(request("/v1/chat/completions", body, head=f"{bearing(LOAD_KEY)}X-Request-ID: {id}\r\n"))
        try:
            answer = await wire.response()
        except LOST:
            self.unanswered.append(id)
            raise
        if answer.status != 200:
            self.errors.append(f"{member.name}: {answer.status} {answer.body[:200]!r}")
        else:
            self.acknowledged.append(Acknowledged(id, member, time.monotonic()))


async def play(running: Cluster, silent: Simulator, store_url: str, prefix: str, kills: int, *, replace: bool) -> Kills:
    """Kill *kills* times, one process after the other; with *replace* another one takes each one's place."""
    rng = random.Random(kills)
    found = Kills(kills)
    load = Load(running, prefix)
    for member in running.members:
        load.ask(member)
    killed_at: dict[Member, float] = {}
    watches: list[asyncio.Task[float]] = []
    try:
        for i in range(kills):
            # The random point: so many answers after the last kill.
            await load.answered(rng.randrange(50, 300))
            for member in running.members:
                written = (await metrics(member.port, LOAD_KEY))["hapax_ledger_flush_seconds"]
                found.write = max(found.write, written)
            victim = rng.choice(running.members)
            async with AsyncExitStack() as held:
                await _hold(held, victim, running, silent, i, f"{prefix}-{HOLDER}-{i}")
                await load.answered(rng.randrange(1, 100))
                running.remove(victim)
                killed_at[victim] = time.monotonic()
                victim.kill()
                await victim.gone()
            watches.append(tasks.start(_returned(running, i, killed_at[victim]), f"what kill {i} left"))
            if replace:
                load.ask(await running.add())
            if i % 10 == 9:
                print(f"  {i + 1} of {kills} kills", flush=True)
        found.returned = await asyncio.gather(*watches)
    finally:
        for watch in watches:
            watch.cancel()
        await asyncio.gather(*watches, return_exceptions=True)
        await load.stop()
    found.errors = load.errors
    await _compare(load, killed_at, store_url, prefix, found)
    return found


async def _hold(held: AsyncExitStack, victim: Member, running: Cluster, silent: Simulator, i: int, prefix: str) -> None:
    """Take all places of one key, and most of another's budget; a survivor has to refuse both then."""
    # Until it is known what was spent of the budget: that is asked of a ledger which has much to write.
    while (await ask(victim.port, question(_budget_key(i), max_tokens=1))).status == 503:
        pass
    wanted = [question(_places_key(i), "held", id=f"{prefix}-{n}") for n in range(PLACES)]
    wanted.append(question(_budget_key(i), "held", id=f"{prefix}-{PLACES}", max_tokens=HELD))
    for asked in wanted:
        before = len(calls(silent))
        wire = await held.enter_async_context(connect(victim.port))
        wire.send(asked)
        answered = tasks.start(wire.response(), "answer to a call that has none")
        try:
            async with asyncio.timeout(30):
                while len(calls(silent)) == before:
                    assert not answered.done(), answered.result()
                    await asyncio.sleep(0.002)  # nothing tells
        finally:
            answered.cancel()
            await asyncio.gather(answered, return_exceptions=True)
    survivor = next(member for member in running.members if member is not victim)
    for asked in _probes(i):
        assert (await ask(survivor.port, asked)).status == 429


async def _returned(running: Cluster, i: int, killed_at: float) -> float:
    """Seconds until everything is back that kill number *i* took with it."""
    waiting = _probes(i)
    async with asyncio.timeout(at_most(2 * HEARTBEAT)):
        while waiting:
            member = running.members[0]
            try:
                if (await ask(member.port, waiting[0])).status == 200:
                    waiting.pop(0)
                    continue
            except LOST:
                assert member.killed
            await asyncio.sleep(0.02)  # nothing tells
    return time.monotonic() - killed_at


def _probes(i: int) -> list[bytes]:
    return [question(_places_key(i)), question(_budget_key(i), max_tokens=HELD)]


async def _compare(load: Load, killed_at: dict[Member, float], store_url: str, prefix: str, found: Kills) -> None:
    store = Store(store_url)
    try:
        async with asyncio.timeout(30):
            while True:
                rows = await rows_of(store, prefix)
                by_request = {row["request_id"]: row for row in rows}
                missing = [
                    each
                    for each in load.acknowledged
                    if each.id not in by_request or by_request[each.id]["outcome"] == "pending"
                ]
                if not any(each.member not in killed_at for each in missing):
                    break
                await asyncio.sleep(0.05)  # the last batches are on their way
    finally:
        await store.close()
    assert len(by_request) == len(rows), "a call has two rows"
    ids = {each.id for each in load.acknowledged}
    held = {id for id in by_request if f"-{HOLDER}-" in id}
    assert set(by_request) <= ids | held | set(load.unanswered), "a row of no call"
    assert {by_request[id]["outcome"] for id in held} <= {"pending"}, "a call was completed by a process that was dead"
    for row in rows:
        if row["outcome"] == "pending":
            found.pending += 1
        elif row["request_id"] in ids:
            assert row["outcome"] == "ok", row
    found.acknowledged = len(load.acknowledged)
    found.by_the_killed = sum(each.member in killed_at for each in load.acknowledged)
    found.unanswered = len(load.unanswered)
    found.incomplete = len(missing)
    by_kill: dict[Member, int] = {}
    for each in missing:
        found.window = max(found.window, killed_at[each.member] - each.at)
        by_kill[each.member] = by_kill.get(each.member, 0) + 1
    found.most_at_once = max(by_kill.values(), default=0)


def _places_key(i: int) -> str:
    return f"hpx_places_{i:04d}_k3q8v2x7m5w9"


def _budget_key(i: int) -> str:
    return f"hpx_budget_{i:04d}_k3q8v2x7m5w9"


def is_whole(file: Path) -> Sequence[str]:
    """What SQLite says about the state of a database; `ok` when it is whole."""
    connection = sqlite3.connect(file)
    try:
        return [row[0] for row in connection.execute("PRAGMA integrity_check")]
    finally:
        connection.close()


def harmless(found: Kills) -> None:
    """
    No other client noticed, what was held came back, and what is missing is younger than a flush: an interval, the
    write that was under way when it began, and the one it ended with.
    """
    assert found.errors == []
    assert found.window <= at_most(FLUSH + 2 * found.write + LATE)
    # However long ago that may have been: most of what was told had been written.
    assert found.incomplete < found.by_the_killed / 2
    assert max(found.returned) <= at_most(HEARTBEAT + NOTICE)
