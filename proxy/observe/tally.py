"""
Counters and histograms as plain numbers: what many exchanges a second add to, and the Prometheus families made of them.

One thread adds and reads, so nothing is locked: the library's own children cost three times as much. They know no
exchange and register nowhere.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.samples import Exemplar

from proxy.observe.native import BOUNDS, ZERO, Native, NativeHistogram

Labels = tuple[str, ...]
Numbers = Iterable[tuple[Labels, float]]

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
"""Buckets of requests: the usual ones of web servers and of the seeds, up to the ten minutes an SDK waits."""


class Buckets:
    """One histogram's numbers for one set of labels."""

    __slots__ = ("_bounds", "counts", "exemplars", "native", "total")

    def __init__(self, bounds: Sequence[float] = SECONDS) -> None:
        """*bounds* in rising order; what is larger than all of them counts as well."""
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0
        self.exemplars: dict[int, Exemplar] = {}
        """By the number of a bucket, the last value in it of a call whose trace is recorded."""
        self.native: Native = defaultdict(int)
        """The same values in the buckets of a native histogram, by the number of each that has any."""

    def observe(self, value: float) -> None:
        """Count one value, in the first bucket whose bound it does not exceed."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.native[bisect_left(BOUNDS, value) + ZERO] += 1
        self.total += value

    def exemplify(self, value: float, trace_id: str, moment: float) -> None:
        """A value that was observed belongs to that trace; *moment* in seconds since 1970."""
        self.exemplars[bisect_left(self._bounds, value)] = Exemplar({"trace_id": trace_id}, value, moment)

    def above(self, value: float) -> int:
        """How many were larger than *value*, or than the next larger bound."""
        return sum(self.counts[bisect_left(self._bounds, value) + 1 :])

    def add(self, other: "Buckets") -> None:
        """Take in what *other*, with the same bounds, has counted."""
        self.counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]
        self.total += other.total
        for number, count in other.native.items():
            self.native[number] += count
        for bucket, exemplar in other.exemplars.items():
            self.exemplars[bucket] = latest(self.exemplars.get(bucket), exemplar)

    @property
    def bounds(self) -> Sequence[float]:
        """The upper ends of the buckets but the last."""
        return self._bounds


def latest(one: Exemplar | None, other: Exemplar) -> Exemplar:
    """The later of two."""
    return other if one is None or float(other.timestamp or 0) >= float(one.timestamp or 0) else one


class Histograms:
    """A histogram for each set of labels it has met."""

    def __init__(self, name: str, help: str, labels: Sequence[str] = (), bounds: Sequence[float] = SECONDS) -> None:
        self.name, self.help, self.labels, self.bounds = name, help, labels, bounds
        self.by_labels: dict[Labels, Buckets] = {}
        if not labels:
            self.of()

    def of(self, *labels: str) -> Buckets:
        """The numbers for these labels, from 0 when they are new."""
        found = self.by_labels.get(labels)
        if found is None:
            found = self.by_labels[labels] = Buckets(self.bounds)
        return found

    def family(self, name: str | None = None, help: str | None = None) -> NativeHistogram:
        """All of it in Prometheus's form, perhaps by another name."""
        return histogram(name or self.name, help or self.help, self.labels, self.by_labels.items())


def histogram(
    name: str, help: str, labels: Sequence[str], numbers: Iterable[tuple[Labels, Buckets]]
) -> NativeHistogram:
    """A family of *numbers*; those with the same labels are added up."""
    added: dict[Labels, Buckets] = {}
    for key, buckets in numbers:
        known = added.get(key)
        if known is None:
            known = added[key] = Buckets(buckets.bounds)
        known.add(buckets)
    family = NativeHistogram(name, help, labels=labels)
    for key, buckets in added.items():
        so_far = 0
        cumulated: list[Any] = []
        bounds = (*map(str, map(float, buckets.bounds)), "+Inf")
        for number, (bound, count) in enumerate(zip(bounds, buckets.counts, strict=True)):
            so_far += count
            exemplar = buckets.exemplars.get(number)
            cumulated.append((bound, so_far) if exemplar is None else (bound, so_far, exemplar))
        family.add_metric(key, cumulated, buckets.total)
        family.native[tuple(zip(labels, key, strict=True))] = buckets.native
    return family


def counter(name: str, help: str, labels: Sequence[str], numbers: Numbers) -> CounterMetricFamily:
    """A family of *numbers*, whose name ends in `_total`; those with the same labels are added up."""
    family = CounterMetricFamily(name, help, labels=labels)
    for key, number in summed(numbers).items():
        family.add_metric(key, number)
    return family


def gauge(name: str, help: str, labels: Sequence[str], numbers: Numbers) -> GaugeMetricFamily:
    """A family of *numbers* that rise and fall; those with the same labels are added up."""
    family = GaugeMetricFamily(name, help, labels=labels)
    for key, number in summed(numbers).items():
        family.add_metric(key, number)
    return family


def summed(numbers: Numbers) -> Mapping[Labels, float]:
    """One number for each set of labels."""
    added: dict[Labels, float] = {}
    for key, number in numbers:
        added[key] = added.get(key, 0) + number
    return added
