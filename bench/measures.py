"""
A run: rounds in which the subjects do the same things in turns, so that a machine slow for a while is slow for all.

Each round starts fresh processes. It collects figures; what they mean together is told in `report`.
"""

import asyncio
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from statistics import median, quantiles

from bench import subjects
from bench.load import Load, LoadError, request
from bench.peers import Peer
from bench.subjects import Subject

SETTLE = 0.25
"""Seconds between a beginning and the moment from which it counts."""
EVENTS_BESIDE_TOKENS = 3
"""The role, the finish and `[DONE]`."""
NAMES = ("gateway", "control", "interpreted", "plain", "shared", "dark")
"""
The gateway as deployed, what it is compared with, the same not compiled, and what tells the cost of its parts: without
limits, with those in Redis, and with neither limits nor metrics, log and trace headers.
"""
HALVED = ("gateway", "control", "envoy", "direct")
"""Who is asked at half load, where they are there. `direct` is the provider with nothing between."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    rounds: int = 5
    connections: int = 32
    """Clients that ask without pause."""
    text: int = 375
    """Bytes of text in an answer that is not streamed; its JSON makes 700 of them."""
    slices: int = 4
    """How often the subjects take turns with requests in one round."""
    request_seconds: float = 1.0
    """Length of one such turn."""
    latency_seconds: float = 0.6
    """The same, at one connection."""
    streams: int = 500
    """Streams open at once."""
    events: int = 100
    """Events of one stream."""
    pace: float = 0.05
    """Seconds between two events."""
    ramp: float = 1.0
    """Seconds over which the streams are opened."""
    slow_streams: int = 50
    """Streams through a peer that is slow."""
    half_seconds: float = 1.0
    """Length of one turn at half load."""
    probes: float = 100.0
    """Streams opened per second at half load."""
    probe_tokens: int = 10
    """Tokens of one of them."""
    probe_pace: float = 0.02
    """Seconds between those."""

    @property
    def window(self) -> float:
        """Seconds in which all streams are open and none is opened or ends."""
        return (self.events - EVENTS_BESIDE_TOKENS) * self.pace - self.ramp - 2 * SETTLE

    def seconds(self, peers: Sequence[Peer] = ()) -> float:
        """About how long the run takes."""
        slow = sum(peer.slow for peer in peers)
        count = len(NAMES) + len(peers) - slow
        streams = self.events * self.pace + self.ramp + 1
        slices = count * (self.request_seconds + 0.3) + (count + 1) * (self.latency_seconds + 0.15)
        slowly = slow * (6 + streams + self.slices * (self.request_seconds + self.latency_seconds + 1))
        half = len(HALVED) * self.slices * (self.half_seconds + 0.6) if peers else 0
        return self.rounds * (3 + count * streams + self.slices * slices + slowly + half)


FULL = Plan()
QUICK = Plan(
    rounds=2,
    slices=3,
    request_seconds=0.7,
    latency_seconds=0.4,
    streams=300,
    events=70,
    half_seconds=0.7,
)
TINY = Plan(
    rounds=1,
    connections=4,
    slices=1,
    request_seconds=0.3,
    latency_seconds=0.2,
    streams=20,
    events=33,
    pace=0.04,
    ramp=0.1,
    slow_streams=10,
    half_seconds=0.3,
)


@dataclass(slots=True)
class Figures:
    """What one subject needed in one round."""

    cpu_per_request_us: float = 0.0
    requests_per_second: float = 0.0
    latency_p50_ms: float = 0.0
    latency_p99_ms: float = 0.0
    cpu_per_event_us: float = 0.0
    memory_per_stream_kb: float = 0.0
    idle_memory_mb: float = 0.0


@dataclass(slots=True)
class HalfLoad:
    """
    What one subject's clients waited for in one round, while half of the requests came that the gateway manages.

    The provider and the clients are in it; what a subject adds is the difference to `direct`.
    """

    latency_p50_ms: float = 0.0
    latency_p99_ms: float = 0.0
    """Of whole answers that are not streamed."""
    ttft_p50_ms: float = 0.0
    ttft_p99_ms: float = 0.0
    """Of first tokens."""
    event_p99_ms: float = 0.0
    """Of the other tokens, behind the stream's pace."""


@dataclass(slots=True)
class Usage:
    """How busy subject, provider and load were during one measure: seconds of CPU per second."""

    round: int
    measure: str
    subject_name: str
    subject: float
    provider: float
    load: float
    events_in_time: float = 1.0
    """Events received, as a share of those that were due."""


@dataclass(slots=True)
class Run:
    """All that was measured."""

    plan: Plan
    rounds: list[dict[str, Figures]] = field(default_factory=list)
    direct_p50_ms: list[float] = field(default_factory=list)
    """Latency of the provider with nothing between: what `latency_p50_ms` holds that is no subject's."""
    direct_p99_ms: list[float] = field(default_factory=list)
    usage: list[Usage] = field(default_factory=list)
    half: list[dict[str, HalfLoad]] = field(default_factory=list)
    """By round; none without peers."""
    half_rates: list[float] = field(default_factory=list)
    """Requests per second that half load was, by round."""
    versions: dict[str, str] = field(default_factory=dict)
    """The peers, and which version of each."""
    shared_core: bool = False
    """Subjects, provider and load had to share one core."""
    stolen: float = 0.0
    """Share of the time in which this machine had work and its host gave the core to another guest."""
    seconds: float = 0.0

    def values(self, name: str, figure: str) -> list[float]:
        """One figure of one subject, by round."""
        return [getattr(by_name[name], figure) for by_name in self.rounds]

    def value(self, name: str, figure: str) -> float:
        """Its median."""
        return median(self.values(name, figure))

    def ratios(self, figure: str, name: str = "gateway", base: str = "control") -> list[float]:
        """What one subject costs in terms of another, by round; above 1 it costs more."""
        pairs = zip(self.values(name, figure), self.values(base, figure), strict=True)
        inverse = figure == "requests_per_second"
        return [other / one if inverse else one / other for one, other in pairs]

    @property
    def names(self) -> tuple[str, ...]:
        """Who was measured: the gateway in its shapes and the control, then the peers."""
        return (*NAMES, *self.versions)

    def added(self, name: str, figure: str) -> list[float]:
        """What one subject adds to a figure at half load, by round."""
        return [getattr(by_name[name], figure) - getattr(by_name["direct"], figure) for by_name in self.half]

    @staticmethod
    def figures() -> list[str]:
        """The names of all figures."""
        return [each.name for each in fields(Figures)]


class Meter:
    """Seconds of subject, provider and load, added up over the times it runs."""

    def __init__(self, subject: Subject, provider: Subject) -> None:
        self.subject = subject
        self._source = provider
        self.wall = self.cpu = self.provider = self.load = 0.0
        self.count = 0
        """Answers or events in that time; kept by the owner."""
        self._before = self._read()

    def start(self) -> None:
        self._before = self._read()

    def stop(self) -> None:
        after = self._read()
        wall, cpu, provider, load = (b - a for a, b in zip(self._before, after, strict=True))
        self.wall += wall
        self.cpu += cpu
        self.provider += provider
        self.load += load

    def _read(self) -> tuple[float, float, float, float]:
        return time.perf_counter(), self.subject.cpu(), self._source.cpu(), time.process_time()

    def usage(self, number: int, measure: str, due: float = 0.0) -> Usage:
        wall = self.wall
        return Usage(
            number,
            measure,
            self.subject.name,
            self.cpu / wall,
            self.provider / wall,
            self.load / wall,
            self.count / due if due else 1.0,
        )


@contextmanager
def stage() -> Iterator[tuple[int, int]]:
    """
    What every run needs around it: descriptors, this process on the core of the load, no collector of garbage, and a
    signal that ends us ends the run in order, so that no process of ours stays behind.

    Gives the subjects' core and ours.
    """
    subjects.allow_descriptors()
    subject_core, load_core = subjects.cores()
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with subjects.on_core(load_core):
        yield subject_core, load_core


class Bench:
    """Carries out a plan."""

    def __init__(self, plan: Plan, scratch: Path, tell: Callable[[str], None], peers: Sequence[Peer] = ()) -> None:
        """
        Configuration and logs go to *scratch*; *tell* hears what is being done, once per measure.

        Raises `StartError` when one of the *peers* is not installed.
        """
        self._plan = plan
        self._scratch = scratch
        self._tell = tell
        self._peers = [peer for peer in peers if not peer.slow]
        self._slow = [peer for peer in peers if peer.slow]
        self._run = Run(plan, versions={peer.name: peer.version() for peer in peers})
        self._round = 0
        self._redis = 0

    @property
    def steps(self) -> int:
        """How often `tell` will be called."""
        together = len(NAMES) + len(self._peers)
        return self._plan.rounds * (1 + together + 2 + bool(self._run.versions) + len(self._slow))

    async def run(self) -> Run:
        """Measure everything; raises `StartError` and `LoadError`."""
        began, counted = time.monotonic(), subjects.machine_time()
        with stage() as (subject_core, load_core):
            self._run.shared_core = subject_core == load_core
            with (
                subjects.provider(load_core, self._scratch) as provider,
                subjects.redis(load_core, self._scratch) as redis,
            ):
                self._redis = redis
                for number in range(1, self._plan.rounds + 1):
                    self._round = number
                    await self._one_round(provider, subject_core)
        self._run.seconds = time.monotonic() - began
        self._run.stolen = subjects.stolen(counted, subjects.machine_time())
        return self._run

    async def _one_round(self, provider: Subject, core: int) -> None:
        self._say("starting")
        scratch = self._scratch
        starts = (
            subjects.gateway,
            subjects.control,
            subjects.interpreted,
            subjects.plain,
            self._shared,
            subjects.dark,
        )
        found: dict[str, Figures] = {}
        with ExitStack() as stack:
            turns = []
            for start in (*starts, *(peer.start for peer in self._peers)):
                turns.append((stack.enter_context(start(provider.url, core, scratch)), Figures()))
            found |= {subject.name: figures for subject, figures in turns}
            if self._round % 2 == 0:
                turns.reverse()
            for subject, _ in turns:
                await self._warm(subject, 0.05)
            for subject, figures in turns:
                self._say(f"{self._plan.streams} streams through the {subject.name}")
                await self._streams(subject, provider, figures, self._plan.streams)
            self._say(f"requests at {self._plan.connections} connections, in turns")
            await self._requests(turns, provider)
            self._say("requests at one connection, in turns")
            await self._latencies(turns, provider, direct=True)
            if self._run.versions:
                self._say("half load, in turns")
                await self._half_load([subject for subject, _ in turns], provider, found["gateway"])
        for peer in self._slow:
            self._say(f"everything through the {peer.name}")
            # Alone: what these do in the background would be felt by the others, and a machine that is slow for a while
            # is a small thing beside what is found here.
            with peer.start(provider.url, core, scratch) as subject:
                figures = found[peer.name] = Figures()
                await self._warm(subject, 0.5)
                await self._streams(subject, provider, figures, min(self._plan.streams, self._plan.slow_streams))
                await self._requests([(subject, figures)], provider)
                await self._latencies([(subject, figures)], provider, direct=False)
        self._run.rounds.append(found)

    def _shared(self, upstream: str, core: int, scratch: Path) -> Subject:
        return subjects.shared(upstream, core, scratch, self._redis)

    async def _warm(self, subject: Subject, seconds: float) -> None:
        """Everything that is loaded or built at first use is there afterwards."""
        async with Load(subject.port, self._asking(subject, stream=False), 1) as load:
            await load.keep_asking(seconds)
            await load.stop_asking()
        async with Load(subject.port, request("sim-fast", True, subject.headers), 1) as load:
            await load.open_streams(0.05)
            await load.ended()

    async def _streams(self, subject: Subject, provider: Subject, figures: Figures, count: int) -> None:
        plan = self._plan
        await asyncio.sleep(SETTLE)
        idle = subject.rss()
        async with Load(subject.port, self._asking(subject, stream=True), count) as load:
            await load.open_streams(plan.ramp)
            await asyncio.sleep(SETTLE)
            meter = Meter(subject, provider)
            before = load.tally.events
            await asyncio.sleep(plan.window)
            meter.stop()
            meter.count = load.tally.events - before
            used = subject.rss() - idle
            if load.tally.answers:
                raise LoadError("streams ended before they should")
            await load.ended()
            if load.tally.events != count * plan.events:
                raise LoadError(f"{load.tally.events} events came of {count * plan.events}")
        figures.idle_memory_mb = idle / 1e6
        figures.memory_per_stream_kb = used / count / 1e3
        figures.cpu_per_event_us = meter.cpu / meter.count * 1e6
        self._run.usage.append(meter.usage(self._round, "streams", due=count * meter.wall / plan.pace))

    async def _requests(self, turns: list[tuple[Subject, Figures]], provider: Subject) -> None:
        plan = self._plan
        meters = [Meter(subject, provider) for subject, _ in turns]
        for _ in range(plan.slices):
            for meter in meters:
                asking = self._asking(meter.subject, stream=False)
                async with Load(meter.subject.port, asking, plan.connections) as load:
                    await load.keep_asking(SETTLE)
                    meter.start()
                    before = load.tally.answers
                    await load.keep_asking(plan.request_seconds)
                    meter.stop()
                    meter.count += load.tally.answers - before
                    await load.stop_asking()
                    if load.tally.size <= plan.text:
                        raise LoadError(f"answers had {load.tally.size} bytes, less than their text")
        for meter, (subject, figures) in zip(meters, turns, strict=True):
            if not meter.count:
                raise LoadError(f"the {subject.name} answered nothing in {meter.wall:.1f} s")
            figures.cpu_per_request_us = meter.cpu / meter.count * 1e6
            figures.requests_per_second = meter.count / meter.wall
            self._run.usage.append(meter.usage(self._round, "requests"))

    async def _latencies(self, turns: list[tuple[Subject, Figures]], provider: Subject, direct: bool) -> None:
        plan = self._plan
        asked = [subject for subject, _ in turns] + [provider] * direct
        latencies: list[list[float]] = [[] for _ in asked]
        for _ in range(plan.slices):
            for subject, all_of_it in zip(asked, latencies, strict=True):
                async with Load(subject.port, self._asking(subject, stream=False), 1) as load:
                    await load.keep_asking(SETTLE / 2)
                    load.tally.latencies.clear()
                    await load.keep_asking(plan.latency_seconds)
                    all_of_it += load.tally.latencies
                    await load.stop_asking()
        found = [_percentiles(all_of_it) for all_of_it in latencies]
        for (_, figures), (p50, p99) in zip(turns, found, strict=False):
            figures.latency_p50_ms, figures.latency_p99_ms = p50, p99
        if direct:
            self._run.direct_p50_ms.append(found[-1][0])
            self._run.direct_p99_ms.append(found[-1][1])

    async def _half_load(self, turns: list[Subject], provider: Subject, gateway: Figures) -> None:
        """Requests at half the gateway's rate for each subject, and beside them streams whose events are timed."""
        plan = self._plan
        rate = gateway.requests_per_second / 2
        asked = [subject for subject in turns if subject.name in HALVED] + [provider]
        meters = [Meter(subject, provider) for subject in asked]
        latencies: list[list[float]] = [[] for _ in asked]
        firsts: list[list[float]] = [[] for _ in asked]
        late: list[list[float]] = [[] for _ in asked]
        probe = f"sim-1:tokens={plan.probe_tokens};pace={plan.probe_pace * 1e3:g}ms"
        for _ in range(plan.slices):
            for index, subject in enumerate(asked):
                whole = Load(subject.port, self._asking(subject, stream=False), 4 * plan.connections)
                probes = Load(subject.port, request(probe, True, subject.headers), 100, plan.probe_pace)
                async with whole, probes:
                    for load in (whole, probes):
                        asyncio.get_running_loop().call_later(SETTLE, load.tally.forget_times)
                    meters[index].start()
                    seconds = SETTLE + plan.half_seconds
                    await asyncio.gather(whole.ask_at(rate, seconds), probes.ask_at(plan.probes, seconds))
                    meters[index].stop()
                    for load in (whole, probes):
                        await load.ended()
                    latencies[index] += whole.tally.latencies
                    firsts[index] += probes.tally.firsts
                    late[index] += probes.tally.late
        found = {}
        for index, subject in enumerate(asked):
            times = (*_percentiles(latencies[index]), *_percentiles(firsts[index]), _percentiles(late[index])[1])
            found["direct" if subject is provider else subject.name] = HalfLoad(*times)
            self._run.usage.append(meters[index].usage(self._round, "half load"))
        self._run.half.append(found)
        self._run.half_rates.append(rate)

    def _asking(self, subject: Subject, stream: bool) -> bytes:
        plan = self._plan
        if not stream:
            return request(f"sim-fast:bytes={plan.text}", False, subject.headers)
        tokens = plan.events - EVENTS_BESIDE_TOKENS
        # To LiteLLM a comma in a model's name means several models.
        return request(f"sim-1:tokens={tokens};pace={plan.pace * 1e3:g}ms", True, subject.headers)

    def _say(self, what: str) -> None:
        self._tell(f"round {self._round} of {self._plan.rounds}: {what}")


def _percentiles(seconds: list[float]) -> tuple[float, float]:
    """The 50th and the 99th, in milliseconds."""
    found = quantiles(seconds, n=100)
    return found[49] * 1e3, found[98] * 1e3
