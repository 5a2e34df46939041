"""
What a run says: the tables, what to distrust in them, what exceeds its limit, and all of it as JSON and Markdown.

It reads a finished run and measures nothing.
"""

import platform
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from rich.console import Console

from bench.grid import Grid
from bench.measures import HALVED, NAMES, Run
from bench.peers import PEERS
from bench.targets import NOT_KEPT, TARGETS

RATIO_LIMIT = 1.5
"""The gateway may cost this many times the control."""
IDLE_LIMIT_MB = 100.0
SATURATED = 0.92
"""A core this busy may be what limits a measure."""
STOLEN = 0.01
"""More of the machine's time than this in other hands is felt in the slowest hundredth of answers."""
DISTURBED = 0.1
"""A subject that always had work and did none for this share of the time was kept from it."""


@dataclass(frozen=True, slots=True)
class Row:
    """How one figure is shown and what it may be."""

    figure: str
    title: str
    short: str
    form: str
    ratio_limit: float | None = RATIO_LIMIT
    limit: float | None = None
    """Highest value for the gateway itself."""
    by_the_clock: bool = False
    """Not CPU or memory of the subject, but time that passed: others on the machine are in it."""


ROWS = (
    Row("cpu_per_request_us", "CPU per request", "CPU/request", "{:.0f} us", ratio_limit=0.65),
    Row("requests_per_second", "requests per second", "requests/s", "{:,.0f}", by_the_clock=True),
    Row("latency_p50_ms", "p50 at one connection", "p50", "{:.3f} ms", by_the_clock=True),
    Row("latency_p99_ms", "p99 at one connection", "p99", "{:.3f} ms", by_the_clock=True),
    Row("cpu_per_event_us", "CPU per SSE event", "CPU/event", "{:.1f} us"),
    Row("memory_per_stream_kb", "memory per open stream", "memory/stream", "{:.1f} kB"),
    # A gateway holds more code than a forwarder; what it may hold is a number, not a ratio.
    Row("idle_memory_mb", "memory when idle", "idle", "{:.0f} MB", ratio_limit=None, limit=IDLE_LIMIT_MB),
)


COMPARED = ("gateway", "control")
BASE = "envoy"
"""Whose figures the peers' are told in terms of."""
AT_HALF_LOAD = (
    ("ttft_p50_ms", "TTFT p50"),
    ("ttft_p99_ms", "TTFT p99"),
    ("event_p99_ms", "event behind its pace, p99"),
    ("latency_p50_ms", "whole answer p50"),
    ("latency_p99_ms", "whole answer p99"),
)


@dataclass(frozen=True, slots=True)
class Added:
    """What a part of the gateway may add to what a figure is without it."""

    part: str
    title: str
    subject: str
    without: str
    figure: str
    most: float
    """As a ratio."""
    or_us: float = 0.0
    """Microseconds that are always allowed."""

    def allowed(self, run: Run) -> bool:
        """Whether it keeps within its bounds."""
        more = run.value(self.subject, self.figure) - run.value(self.without, self.figure)
        return median(self.ratios(run)) <= self.most or more <= self.or_us

    def ratios(self, run: Run) -> list[float]:
        """By round."""
        return run.ratios(self.figure, self.subject, self.without)

    @property
    def limit(self) -> str:
        """In words."""
        return f"{self.most:g}" + (f" or {self.or_us:g} us" if self.or_us else "")


_LIMITS, _SIGHT = "keys, limits and ledger", "metrics, access log and trace headers"
ADDED = (
    Added("interpreted", "not being compiled, CPU per request", "interpreted", "gateway", "cpu_per_request_us", 2.5),
    Added(
        "limits in memory",
        f"{_LIMITS} in memory, CPU per request",
        "gateway",
        "plain",
        "cpu_per_request_us",
        1.15,
        15.0,
    ),
    Added(
        "limits in Redis", f"{_LIMITS} in Redis, CPU per request", "shared", "plain", "cpu_per_request_us", 1.35, 20.0
    ),
    Added("sight of requests", f"{_SIGHT}, CPU per request", "plain", "dark", "cpu_per_request_us", 1.15, 12.0),
    Added("sight of events", f"{_SIGHT}, CPU per SSE event", "plain", "dark", "cpu_per_event_us", 1.05, 1.0),
)


def disturbed(run: Run) -> float:
    """The share of the time in which something else on the machine held up requests."""
    return median(
        1 - each.subject if each.provider + each.load <= SATURATED else 0.0
        for each in run.usage
        if each.measure == "requests" and each.subject_name in NAMES
    )


def exceeded(run: Run) -> list[str]:
    """A sentence for each limit the gateway does not keep. On a disturbed machine, nothing by the clock is judged."""
    found = []
    quiet = disturbed(run) <= DISTURBED
    for row in ROWS:
        if row.by_the_clock and not quiet:
            continue
        ratio, value = median(run.ratios(row.figure)), run.value("gateway", row.figure)
        if row.ratio_limit is not None and not ratio <= row.ratio_limit:
            found.append(f"{row.title}: {ratio:.2f} times the control, the limit is {row.ratio_limit:g}")
        if row.limit is not None and not value <= row.limit:
            found.append(f"{row.title}: {row.form.format(value)}, the limit is {row.form.format(row.limit)}")
    for added in ADDED:
        if not added.allowed(run):
            ratio = median(added.ratios(run))
            found.append(f"{added.title}: {ratio:.2f} times what it is without, the limit is {added.limit}")
    if run.versions:
        clocked = {row.figure for row in ROWS if row.by_the_clock}
        for target in TARGETS:
            if not quiet and (target.added or target.figure in clocked):
                continue
            if target.verdict(run) == NOT_KEPT:
                measured = target.form.format(median(target.values(run)))
                found.append(f"{target.title}: {measured}, the target is {target.bound}")
    return found


def warnings(run: Run) -> list[str]:
    """A sentence for each reason to distrust a figure."""
    found = []
    if run.shared_core:
        found.append("one core only: subjects, provider and load shared it, so rates and latencies say little")
    if (share := disturbed(run)) > DISTURBED:
        found.append(
            f"something else on this machine held up requests {share:.0%} of the time: rates and latencies are not to "
            "be trusted, and were not held against their limits"
        )
    if run.stolen > STOLEN:
        found.append(f"the host of this machine gave {run.stolen:.0%} of its time to others: every p99 has that in it")
    for each in run.usage:
        if each.subject_name in run.versions and each.measure == "requests":
            continue
        where = f"round {each.round}, {each.measure} through the {each.subject_name}"
        outside = each.provider + each.load
        if each.measure == "requests" and outside > SATURATED > each.subject:
            found.append(f"{where}: provider and load were the limit ({outside:.0%} of their core)")
        if each.measure == "half load" and outside > SATURATED:
            found.append(
                f"{where}: provider and load were saturated ({outside:.0%} of their core), delays are theirs too"
            )
        if each.measure == "streams" and outside > SATURATED:
            found.append(f"{where}: provider and load were saturated ({outside:.0%} of their core)")
        if each.measure == "streams" and each.subject > SATURATED:
            found.append(f"{where}: the {each.subject_name} was saturated ({each.subject:.0%} of its core)")
        if each.events_in_time < 0.97:
            found.append(f"{where}: only {each.events_in_time:.0%} of the events came when they were due")
    return found


def notes(run: Run) -> list[str]:
    """A sentence for each thing that was not the same for all."""
    found = []
    slow = [peer.name for peer in PEERS if peer.slow and peer.name in run.versions]
    if slow and run.plan.slow_streams < run.plan.streams:
        found.append(
            f"{run.plan.slow_streams} streams instead of {run.plan.streams}, alone at the end of each round: "
            f"{', '.join(slow)}"
        )
    held = [name for name in run.versions if _outside(run, name) > SATURATED > _busy(run, "requests", name)]
    if held:
        found.append(f"requests per second of {', '.join(held)}: provider and load were the limit, it could be more")
    return found


def grids(run: Run) -> list[Grid]:
    """The tables."""
    plan = run.plan
    found = [_beside_control(run), _parts(run)]
    if run.versions:
        count = f"{plan.rounds} round{'s'[: plan.rounds - 1]}"
        found.append(_side_by_side(run, f"beside others, {count}, medians"))
        if BASE in run.versions:
            found.append(_in_terms_of_base(run))
        found += [_half_load(run), _targets(run)]
    return found


def show(run: Run, console: Console) -> None:
    """Print the tables, and below them how busy the load side was and what is wrong."""
    for grid in grids(run):
        console.print(grid.table())
    for sentence in _asides(run):
        console.print(sentence, highlight=False)
    for sentence in warnings(run):
        console.print(f"warning: {sentence}", style="yellow", highlight=False)


def markdown(run: Run) -> str:
    """The same for a document."""
    tables = [grid.markdown() for grid in grids(run)]
    sentences = [*_asides(run), *(f"warning: {sentence}" for sentence in warnings(run))]
    return "\n".join([*tables, *(f"- {sentence}" for sentence in sentences)]) + "\n"


def _asides(run: Run) -> list[str]:
    direct = [
        f"{name} {median(values):.3f} ms" for name, values in (("p50", run.direct_p50_ms), ("p99", run.direct_p99_ms))
    ]
    found = [f"the provider itself at one connection: {', '.join(direct)}"]
    for measure in ("requests", "streams"):
        used = [each for each in run.usage if each.measure == measure]
        busy = [f"{name} {_busy(run, measure, name):.0%}" for name in run.names]
        busy.append(f"provider {median(each.provider for each in used):.0%}")
        busy.append(f"load {median(each.load for each in used):.0%}")
        found.append(f"busy during {measure}: {', '.join(busy)} of a core")
    versions = {"python": platform.python_version(), **run.versions}
    found.append(f"versions: {', '.join(f'{name} {version}' for name, version in versions.items())}")
    return found + notes(run)


def _beside_control(run: Run) -> Grid:
    plan = run.plan
    grid = Grid(f"{plan.rounds} round{'s'[: plan.rounds - 1]}, medians", ("", *COMPARED, "ratio", "of rounds", "limit"))
    broken = {sentence.partition(":")[0] for sentence in exceeded(run)}
    for row in ROWS:
        ratios = run.ratios(row.figure)
        limit = f"{row.ratio_limit:g}" if row.ratio_limit is not None else ""
        if row.limit is not None:
            limit = row.form.format(row.limit)
        grid.add(
            row.title,
            *(row.form.format(run.value(name, row.figure)) for name in COMPARED),
            f"{median(ratios):.2f}",
            _span(ratios, "{:.2f}"),
            limit,
            bad=row.title in broken,
        )
    return grid


def _parts(run: Run) -> Grid:
    grid = Grid("what the parts add", ("", "without", "with", "ratio", "of rounds", "limit"))
    broken = {sentence.partition(":")[0] for sentence in exceeded(run)}
    for added in ADDED:
        ratios = added.ratios(run)
        grid.add(
            added.title,
            *(f"{run.value(name, added.figure):.1f} us" for name in (added.without, added.subject)),
            f"{median(ratios):.2f}",
            _span(ratios, "{:.2f}"),
            added.limit,
            bad=added.title in broken,
        )
    return grid


def _side_by_side(run: Run, title: str) -> Grid:
    forms = [row.form.partition(" ") for row in ROWS]
    grid = Grid(title, ("", *(f"{row.short} {unit}".strip() for row, (_, _, unit) in zip(ROWS, forms, strict=True))))
    for name in (*COMPARED, *run.versions):
        numbers = (form.format(run.value(name, row.figure)) for row, (form, _, _) in zip(ROWS, forms, strict=True))
        grid.add(name, *numbers)
    return grid


def _in_terms_of_base(run: Run) -> Grid:
    grid = Grid(f"in terms of {BASE}, medians of the rounds; above 1 costs more", ("", *(row.short for row in ROWS)))
    for name in (*COMPARED, *run.versions):
        if name != BASE:
            grid.add(name, *(_times(median(run.ratios(row.figure, name, BASE))) for row in ROWS))
    return grid


def _half_load(run: Run) -> Grid:
    names = [name for name in HALVED if name in run.half[0] and name != "direct"]
    rate = median(run.half_rates)
    grid = Grid(f"added at half load, {rate:,.0f} requests per second", ("", *names, "provider alone"))
    for figure, title in AT_HALF_LOAD:
        alone = median(getattr(by_name["direct"], figure) for by_name in run.half)
        grid.add(title, *(f"{median(run.added(name, figure)):.3f} ms" for name in names), f"{alone:.3f} ms")
    return grid


def _targets(run: Run) -> Grid:
    grid = Grid("targets", ("", "measured", "of rounds", "target", "verdict"))
    for target in TARGETS:
        values = target.values(run)
        measured = target.form.format(median(values)) if values else ""
        verdict = target.verdict(run)
        span = _span(values, target.form) if values else ""
        grid.add(target.title, measured, span, target.bound, verdict, bad=verdict == NOT_KEPT)
    return grid


def _span(values: list[float], form: str) -> str:
    return f"{form.format(min(values))} - {form.format(max(values))}"


def _times(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:,.0f}"


def as_json(run: Run) -> dict[str, Any]:
    """Everything measured, by round, and what was made of it."""
    return {
        "plan": asdict(run.plan),
        "seconds": run.seconds,
        "median": {name: {figure: run.value(name, figure) for figure in run.figures()} for name in run.names},
        "ratio": {figure: median(run.ratios(figure)) for figure in run.figures()},
        "added": {added.part: median(added.ratios(run)) for added in ADDED},
        "versions": run.versions,
        "targets": {target.title: target.verdict(run) for target in TARGETS} if run.versions else {},
        "half_load": [{name: asdict(half) for name, half in by_name.items()} for by_name in run.half],
        "stolen": run.stolen,
        "direct_p50_ms": run.direct_p50_ms,
        "direct_p99_ms": run.direct_p99_ms,
        "rounds": [{name: asdict(figures) for name, figures in by_name.items()} for by_name in run.rounds],
        "usage": [asdict(each) for each in run.usage],
        "warnings": warnings(run),
        "exceeded": exceeded(run),
    }


def _busy(run: Run, measure: str, name: str) -> float:
    return median(each.subject for each in run.usage if each.measure == measure and each.subject_name == name)


def _outside(run: Run, name: str) -> float:
    """How busy provider and load were while one subject was asked without pause."""
    used = [each for each in run.usage if each.measure == "requests" and each.subject_name == name]
    return median(each.provider + each.load for each in used)
