"""
What a cost depends on: one thing is varied, everything else stays, and each point has a fresh process.

It measures and hands out the points; `plots` draws them.
"""

import asyncio
import gc
import json
import os
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import TypeAlias

from sqlalchemy import insert, update

from bench import subjects
from bench.grid import Grid
from bench.load import WAIT, Load, LoadError, request
from bench.measures import SETTLE, Meter, stage
from bench.peers import Peer
from bench.subjects import GATEWAY, KEY, SHARED, Subject
from proxy.accounts import keys, tables
from proxy.accounts.store import Store

GATEWAY_NAME = "gateway"
PACE = 1.0
"""Seconds between two events of a stream. With thousands of streams that is load enough."""
KEYS_USED = 2000
"""Of the keys in the store, as many ask in turns."""
KEY_ROW = {
    "team": "",
    "models": '["*"]',
    "routes": '["*"]',
    "limits": '{"requests_per_minute": 60000000, "tokens_per_minute": 60000000000, "concurrent": 100000}',
    "budget": '{"usd": 1000000, "per": "month"}',
    "created": 0,
}
"""What a key of the store may do: what the key of `GATEWAY` may."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """What is varied, and how much is measured at each point."""

    answers: tuple[int, ...] = (1_000, 4_000, 16_000, 64_000, 256_000, 1_000_000)
    """Bytes of text in an answer."""
    streams: tuple[int, ...] = (10, 100, 500, 1000, 2000, 4000, 8000)
    providers: tuple[int, ...] = (1, 10, 50, 100, 200)
    keys: tuple[int, ...] = (10, 100, 1000, 10_000, 100_000)
    workers: tuple[int, ...] = (1, 2)
    bodies: tuple[int, ...] = (100, 500, 1000, 1500)
    """Requests held at once."""
    body: int = 150_000
    """Bytes of one."""
    connections: int = 32
    slices: int = 5
    seconds: float = 0.8
    """Length of a slice."""
    window: float = 6.0
    """Seconds for which streams stay open."""
    opened: float = 1000.0
    """Streams opened, or requests made, per second."""
    held: float = 4.0
    """Seconds the provider holds a request before it answers."""


FULL_SIZES = Sizes()
TINY_SIZES = Sizes(
    answers=(1_000, 16_000),
    streams=(10, 40),
    providers=(1, 3),
    keys=(10, 50),
    bodies=(5, 20),
    connections=4,
    slices=1,
    seconds=0.3,
    window=2.2,
    held=0.5,
)

Points: TypeAlias = dict[str, list[tuple[float, float]]]
"""By subject."""


@dataclass(slots=True)
class Curve:
    """Some figures over one thing that was varied."""

    name: str
    """Also of its picture's file."""
    x: str
    """What was varied, with its unit."""
    panels: dict[str, Points] = field(default_factory=dict)
    """By figure, with its unit."""
    log: bool = True
    """Whether what was varied is best drawn by its magnitude."""

    def add(self, figure: str, subject: str, x: float, y: float) -> None:
        """One more point."""
        self.panels.setdefault(figure, {}).setdefault(subject, []).append((x, y))

    def grid(self) -> Grid:
        """As a table: a row for each value of what was varied."""
        columns = [(figure, subject) for figure, points in self.panels.items() for subject in points]
        alone = len({subject for _, subject in columns}) == 1
        titles = (figure if alone else f"{subject}: {figure}" for figure, subject in columns)
        grid = Grid(self.name.replace("-", " "), (self.x, *titles))
        found = [dict(self.panels[figure][subject]) for figure, subject in columns]
        for x in sorted({x for points in found for x in points}):
            grid.add(f"{x:,.0f}", *(f"{points[x]:,.4g}" if x in points else "" for points in found))
        return grid

    def markdown(self, pictures: Path) -> str:
        """Its picture, which is in the folder *pictures*, and its table."""
        grid = self.grid()
        return f"![{grid.title}]({(pictures / self.name).as_posix()}.svg)\n\n{grid.markdown()}"


class Curves:
    """Measures the curves of one run."""

    def __init__(self, sizes: Sizes, scratch: Path, tell: Callable[[str], None], beside: Sequence[Peer]) -> None:
        """Files go to *scratch*; *tell* hears of each point; *beside* are compared where that makes sense."""
        self._sizes = sizes
        self._scratch = scratch
        self._tell = tell
        self._beside = {peer.name: peer.start for peer in beside}
        self._core = self._load_core = 0
        self._cores: set[int] = set()
        self._provider: Subject

    async def run(self, names: Sequence[str]) -> list[Curve]:
        """Measure the curves of these *names*, of `CURVES`; raises `StartError` and `LoadError`."""
        self._cores = os.sched_getaffinity(0)
        found = []
        with stage() as (self._core, self._load_core), subjects.provider(self._load_core, self._scratch) as provider:
            self._provider = provider
            for name in names:
                found.append(await CURVES[name](self))
        return found

    async def answer_size(self) -> Curve:
        """CPU per request over the size of the answer."""
        curve = Curve("answer-size", "text in an answer, bytes")
        for name in (GATEWAY_NAME, *self._beside):
            with self._start(name) as subject:
                for size in self._sizes.answers:
                    self._tell(f"answers of {size:,} bytes through the {name}")
                    asking = request(f"sim-fast:bytes={size}", False, subject.headers)
                    cpu, _ = await self._ask(subject, [asking])
                    curve.add("CPU per request, us", name, size, cpu)
        return curve

    async def open_streams(self) -> Curve:
        """Memory per stream, and the longest that any stream stood still beyond its pace, over their number."""
        curve = Curve("open-streams", "open streams")
        # The gateway has two sockets to each, and some more files.
        most = subjects.allow_descriptors() // 2 - 100
        for count in self._sizes.streams:
            if count > most:
                self._tell(f"no {count:,} streams: they need more descriptors than the system allows")
                continue
            for name in (GATEWAY_NAME, *self._beside):
                self._tell(f"{count:,} streams through the {name}")
                with self._start(name) as subject:
                    memory, gap = await self._hold_streams(subject, count)
                    curve.add("memory per stream, kB", name, count, memory)
                    curve.add("longest stall, ms", name, count, gap)
            self._tell(f"{count:,} streams of the provider itself")
            _, gap = await self._hold_streams(self._provider, count)
            curve.add("longest stall, ms", "provider alone", count, gap)
        return curve

    async def providers(self) -> Curve:
        """What a configured provider costs that is not needed."""
        curve = Curve("providers", "providers configured")
        one = GATEWAY[GATEWAY.index("  sim: ") : GATEWAY.index("logging:")]
        for count in self._sizes.providers:
            self._tell(f"{count} providers")
            every = "".join(one.replace("  sim: ", f"  sim{number}: ") for number in range(count))
            with subjects.hapax(
                GATEWAY_NAME, GATEWAY.replace(one, every), self._provider.url, {self._core}, self._scratch
            ) as subject:
                await self._point(curve, subject, count, [request("sim-fast:bytes=375", False)])
        return curve

    async def keys(self) -> Curve:
        """What a key in the store costs."""
        curve = Curve("keys", "keys in the store")
        for count in self._sizes.keys:
            self._tell(f"{count:,} keys")
            for old in self._scratch.glob("keys.db*"):
                old.unlink()
            settings = GATEWAY.format(key=KEY, upstream=self._provider.url, scratch=self._scratch, name="keys")
            secrets = await self._fill_store(count)
            began = time.monotonic()
            with subjects.configured("keys", settings, {self._core}, self._scratch) as subject:
                curve.add("start, s", GATEWAY_NAME, count, time.monotonic() - began)
                await self._point(
                    curve, subject, count, [request("sim-fast:bytes=375", False, key=secret) for secret in secrets]
                )
        return curve

    async def workers(self) -> Curve:
        """What more worker processes bring. They have every core there is but the load's, where there are others."""
        curve = Curve("workers", "workers", log=False)
        cores = self._cores
        with subjects.redis(self._load_core, self._scratch) as redis:
            for count in self._sizes.workers:
                self._tell(f"{count} workers")
                settings = SHARED.replace("port: 0", f"port: 0, workers: {count}", 1)
                usable = cores - {self._load_core} if len(cores) > count else cores
                with subjects.hapax(
                    GATEWAY_NAME, settings, self._provider.url, usable, self._scratch, redis
                ) as subject:
                    await self._point(curve, subject, count, [request("sim-fast:bytes=375", False)], rate=True)
        return curve

    async def bodies(self) -> Curve:
        """Memory while many large requests wait for their answers."""
        sizes = self._sizes
        curve = Curve("bodies", f"requests of {sizes.body / 1000:g} kB at once", log=False)
        for count in sizes.bodies:
            for name in (GATEWAY_NAME, *self._beside):
                self._tell(f"{count:,} requests of {sizes.body:,} bytes through the {name}")
                with self._start(name) as subject:
                    asking = request(
                        f"sim-fast:bytes=375;headers={sizes.held:g}s", False, subject.headers, prompt="x" * sizes.body
                    )
                    async with Load(subject.port, asking, count) as load:
                        await load.open_streams(min(count / sizes.opened, sizes.held / 2))
                        await load.ended()
                    await asyncio.sleep(SETTLE)
                    curve.add("peak memory, MB", name, count, subject.peak_rss() / 1e6)
                    curve.add("memory afterwards, MB", name, count, subject.rss() / 1e6)
        return curve

    async def _point(self, curve: Curve, subject: Subject, x: float, asking: list[bytes], rate: bool = False) -> None:
        """CPU per request, and memory of a process after as many requests as it needs to be warm."""
        await self._warm(subject, asking)
        curve.add("memory, MB", GATEWAY_NAME, x, subject.rss() / 1e6)
        cpu, per_second = await self._ask(subject, asking)
        curve.add("CPU per request, us", GATEWAY_NAME, x, cpu)
        if rate:
            curve.add("requests per second", GATEWAY_NAME, x, per_second)

    @contextmanager
    def _start(self, name: str) -> Iterator[Subject]:
        start = subjects.gateway if name == GATEWAY_NAME else self._beside[name]
        # Clients of the point before are garbage that is not collected yet.
        gc.collect()
        with start(self._provider.url, self._core, self._scratch) as subject:
            yield subject

    async def _warm(self, subject: Subject, asking: list[bytes]) -> None:
        """Until each request was made: what the first one costs is no running cost."""
        deadline = time.monotonic() + WAIT
        async with Load(subject.port, asking, self._sizes.connections) as load:
            while load.tally.answers < len(asking):
                await load.keep_asking(SETTLE)
                if time.monotonic() > deadline:
                    raise LoadError(f"the {subject.name} answered {load.tally.answers} requests in {WAIT:g} s")
            await load.stop_asking()

    async def _ask(self, subject: Subject, asking: list[bytes]) -> tuple[float, float]:
        """Microseconds of CPU per request, and requests per second: the medians of the slices."""
        sizes = self._sizes
        costs, rates = [], []
        async with Load(subject.port, asking, sizes.connections) as load:
            await load.keep_asking(SETTLE)
            for _ in range(sizes.slices):
                meter = Meter(subject, self._provider)
                before = load.tally.answers
                await load.keep_asking(sizes.seconds)
                meter.stop()
                if not (count := load.tally.answers - before):
                    raise LoadError(f"the {subject.name} answered nothing in {meter.wall:.1f} s")
                costs.append(meter.cpu / count * 1e6)
                rates.append(count / meter.wall)
            await load.stop_asking()
        return median(costs), median(rates)

    async def _hold_streams(self, subject: Subject, count: int) -> tuple[float, float]:
        """Kilobytes per stream, and milliseconds beyond the pace that some stream stood still."""
        sizes = self._sizes
        ramp = max(1.0, count / sizes.opened)
        tokens = int((ramp + sizes.window + 5) / PACE)
        async with Load(subject.port, request("sim-fast", True, subject.headers), 1) as load:
            await load.open_streams(0.05)
            await load.ended()
        idle = subject.rss()
        asking = request(f"sim-1:tokens={tokens};pace={PACE:g}s", True, subject.headers)
        async with Load(subject.port, asking, count, PACE) as load:
            await load.open_streams(ramp)
            await asyncio.sleep(SETTLE)
            load.tally.longest_gap = 0.0
            await asyncio.sleep(sizes.window)
            used = subject.rss() - idle
            if load.tally.answers:
                raise LoadError("streams ended before they should")
            gap = load.tally.longest_gap
        return used / count / 1e3, (gap - PACE) * 1e3

    async def _fill_store(self, count: int) -> list[str]:
        """Put *count* keys into a new store, all at once; gives the secrets of those that will be used."""
        secrets = [keys.mint() for _ in range(count)]
        rows = [
            {**KEY_ROW, "name": f"key-{number}", "digest": keys.digest(secret), "prefix": secret[:10], "seq": number}
            for number, secret in enumerate(secrets, 1)
        ]
        store = Store(f"sqlite:///{self._scratch}/keys.db", timeout=60.0)
        await store.open()
        try:
            async with store.writing() as connection:
                await connection.execute(insert(tables.keys), rows)
                counter = update(tables.versions).where(tables.versions.c.name == "keys")
                if not (await connection.execute(counter.values(value=count))).rowcount:
                    await connection.execute(insert(tables.versions).values(name="keys", value=count))
        finally:
            await store.close()
        return secrets[:: max(1, count // KEYS_USED)][:KEYS_USED]


CURVES: dict[str, Callable[[Curves], Awaitable[Curve]]] = {
    "answer-size": Curves.answer_size,
    "open-streams": Curves.open_streams,
    "providers": Curves.providers,
    "keys": Curves.keys,
    "bodies": Curves.bodies,
    "workers": Curves.workers,
}


def as_json(curves: Sequence[Curve]) -> str:
    """All points, as `plots` reads them."""
    return json.dumps([asdict(curve) for curve in curves], indent=1) + "\n"
