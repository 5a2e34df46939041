"""
`python -m bench.profile`: where the time of a request goes, by room of the house and by function. It looks at the
gateway as Python: of what is compiled it would see nothing.

A profiler makes every call dearer than it is, so its shares are laid over the CPU that a request needs without one.
They are for finding what to look at; whether a change helped is for `bench` to say.
"""

import asyncio
import os
import pstats
import signal
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import uvloop
from rich import box
from rich.console import Console
from rich.table import Table

from bench import subjects
from bench.load import Load, request
from bench.subjects import Subject

CONNECTIONS = 32
SECONDS, WARM = 4.0, 0.5
LEAST = 200
"""Answers below which it goes on for longer: of few, most of what is seen is what a process does beside them."""
MOST_CALLS = 800
"""
Calls of functions per request that a test allows, of which aiohttp makes 120: 736 were counted, and some 45 more where
other programs kept the processor busy, as each turn of the event loop then serves fewer requests.
"""
MOST_FUNCTIONS = 30


@dataclass(frozen=True, slots=True)
class Profile:
    """What was found."""

    requests: int
    """Answered under the profiler."""
    cpu_us: float
    """CPU per request without it, in microseconds."""
    calls: float
    """Calls of functions per request, those written in C included."""
    rooms: list[tuple[str, float]]
    """Share of the time by room, the largest first."""
    functions: list[tuple[str, float, float]]
    """The dearest functions: name, share of the time without what they call, calls per request."""


async def profile(scratch: Path, seconds: float = SECONDS) -> Profile:
    """Measure *seconds* without and *seconds* with the profiler."""
    subject_core, load_core = subjects.cores()
    written = scratch / "profile"
    with subjects.on_core(load_core), subjects.provider(load_core, scratch) as provider:
        with subjects.interpreted(provider.url, subject_core, scratch) as gateway:
            plain, cpu = await ask(gateway, seconds)
        with subjects.profiled(provider.url, subject_core, scratch, written) as gateway:
            requests, _ = await ask(gateway, seconds, gateway.pid)
            while not written.exists() or not written.stat().st_size:  # noqa: ASYNC110  # another process writes it
                await asyncio.sleep(0.01)
    return read(pstats.Stats(str(written)), requests, cpu / plain * 1e6)


def read(stats: pstats.Stats, requests: int, cpu_us: float) -> Profile:
    """What *stats* tell of so many *requests*."""
    rooms: Counter[str] = Counter()
    functions: list[tuple[str, float, float]] = []
    calls = 0
    for (file, line, name), (_, count, own, _, _) in stats.stats.items():  # type: ignore[attr-defined]
        calls += count
        rooms[room(file, name)] += own
        functions.append((f"{short(file)}:{line} {name}" if line else name, own, count / requests))
    whole = sum(rooms.values())
    functions.sort(key=lambda found: -found[1])
    return Profile(
        requests,
        cpu_us,
        calls / requests,
        [(name, own / whole) for name, own in rooms.most_common()],
        [(name, own / whole, times) for name, own, times in functions[:MOST_FUNCTIONS]],
    )


def room(file: str, name: str) -> str:
    """The part of the house, or the library, that a function belongs to."""
    parts = Path(file).parts
    if "proxy" in parts:
        place = parts[parts.index("proxy") + 1]
        return f"proxy/{place.removesuffix('.py')}"
    if "site-packages" in parts:
        return parts[parts.index("site-packages") + 1]
    return "built into Python" if file.startswith("~") else "the standard library"


def short(file: str) -> str:
    """The end of a path that tells whose it is."""
    parts = Path(file).parts
    for start in ("proxy", "site-packages"):
        if start in parts:
            return "/".join(parts[parts.index(start) :]).removeprefix("site-packages/")
    return parts[-1]


async def ask(subject: Subject, seconds: float, profiled: int | None = None) -> tuple[int, float]:
    """Answers, and seconds of CPU they took. *profiled*: the process that is to be told when they begin and end."""
    async with Load(subject.port, request("sim-fast:bytes=375", stream=False), CONNECTIONS) as load:
        await load.keep_asking(WARM)
        if profiled is not None:
            os.kill(profiled, signal.SIGUSR1)
        answers, cpu = load.tally.answers, subject.cpu()
        await load.keep_asking(seconds)
        while load.tally.answers - answers < LEAST:
            await load.keep_asking(seconds)
        answers, cpu = load.tally.answers - answers, subject.cpu() - cpu
        if profiled is not None:
            os.kill(profiled, signal.SIGUSR2)
        await load.stop_asking()
        return answers, cpu


def show(found: Profile, out: Console) -> None:
    """Both tables."""
    out.print(f"{found.cpu_us:.0f} us of CPU and {found.calls:.0f} calls of functions a request", highlight=False)
    rooms = Table("room", "share", "about", box=box.SIMPLE_HEAD)
    for name, share in found.rooms:
        if share >= 0.005:
            rooms.add_row(name, f"{share:.1%}", f"{share * found.cpu_us:.1f} us")
    functions = Table("function, without what it calls", "share", "about", "calls", box=box.SIMPLE_HEAD)
    for name, share, times in found.functions:
        functions.add_row(name, f"{share:.1%}", f"{share * found.cpu_us:.1f} us", f"{times:.1f}")
    out.print(rooms, functions)


def main() -> int:
    """The command."""
    with tempfile.TemporaryDirectory(prefix="hapax-profile-") as scratch:
        found = uvloop.run(profile(Path(scratch)))
    show(found, Console())
    return 0


if __name__ == "__main__":
    sys.exit(main())
