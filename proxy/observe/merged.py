"""
The metrics of several workers as one page: what was counted is added up, what is measured is put together by its kind.

It works on families as they are exposed and knows no worker; who asks whom is `supervisor`'s.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Exemplar, Sample

from proxy.observe.native import Native, NativeHistogram, Pairs, native_of
from proxy.observe.tally import latest

Snapshot = list[list[Any]]
"""
Families as plain JSON: name, help, type and the samples, each a name, labels and a value, and where it has an exemplar
that one's labels, value and time. For a histogram then all native buckets that have the same labels: those, and pairs
of number and count.
"""

_COUNTED = ("counter", "histogram")

RULES: dict[str, Callable[[float, float], float]] = {
    # What any worker finds amiss is amiss.
    "hapax_provider_healthy": min,
    "hapax_healthy_providers": min,
    "hapax_ready": min,
    "hapax_state_available": min,
    "hapax_store_available": min,
    "hapax_config_last_reload_successful": min,
    "hapax_config_last_reload_success_timestamp_seconds": min,
    "circuit_breaker_state": max,
    "hapax_provider_keys_parked": max,
    "hapax_provider_keys_spent": max,
    "hapax_key_budget_spent_ratio": max,
    "hapax_provider_drained": max,
    "hapax_event_loop_lag_seconds": max,
    "hapax_event_loop_lag_max_seconds": max,
    "hapax_keys_read_seconds": max,
    "hapax_ledger_flush_seconds": max,
    # What all of them know alike.
    "hapax_build_info": max,
    "hapax_certificate_expiry_timestamp_seconds": min,
    "hapax_keys": max,
    "hapax_memory_limit_bytes": max,
    "hapax_uptime_seconds": max,
    "llm_router_models_loaded": max,
    "process_max_fds": min,
    "llm_router_process_max_fds": min,
    "process_start_time_seconds": min,
    "llm_router_process_start_time_seconds": min,
}
"""How two workers' values of a gauge become one; all other gauges are added up."""


def snapshot(registry: CollectorRegistry) -> Snapshot:
    """What *registry* shows now."""
    return _snapshot(registry.collect())


def _snapshot(families: Iterable[Metric]) -> Snapshot:
    return [
        [
            family.name,
            family.documentation,
            family.type,
            [_told(each) for each in family.samples],
            *([labels, list(native.items())] for labels, native in native_of(family).items()),
        ]
        for family in families
    ]


def _told(sample: Sample) -> list[Any]:
    told = [sample.name, sample.labels, sample.value]
    return [*told, list(sample.exemplar)] if sample.exemplar is not None else told


class Merged:
    """Snapshots of several workers put together; shows itself like a registry."""

    def __init__(self, snapshots: Iterable[Snapshot] = ()) -> None:
        self._families: dict[str, tuple[str, str, dict[tuple[Any, ...], float]]] = {}
        self._exemplars: dict[tuple[Any, ...], Exemplar] = {}
        """By the sample, the last one of all workers."""
        self._native: dict[str, dict[Pairs, Native]] = {}
        """By the family's name."""
        for each in snapshots:
            self.add(each)

    def add(self, told: Snapshot, *, gone: bool = False) -> None:
        """Take in what a worker told. One that is *gone* has counted, and measures nothing any more."""
        for name, help, kind, samples, *natives in told:
            counted = kind in _COUNTED
            if gone and not counted:
                continue
            _, _, values = self._families.setdefault(name, (help, kind, {}))
            together = _plus if counted else RULES.get(name, _plus)
            for sample, labels, value, *exemplars in samples:
                key = (sample, *labels.items())
                for each in exemplars:
                    self._exemplars[key] = latest(self._exemplars.get(key), Exemplar(*each))
                known = values.get(key)
                values[key] = value if known is None else together(known, value)
            for labels, native in natives:
                by_labels = self._native.setdefault(name, {})
                so_far = by_labels.setdefault(tuple(map(tuple, labels)), defaultdict(int))
                for number, count in native:
                    so_far[number] += count

    def snapshot(self) -> Snapshot:
        """All of it, as a worker would tell it."""
        return _snapshot(self.collect())

    def collect(self) -> Iterator[Metric]:
        """The families."""
        for name, (help, kind, values) in self._families.items():
            family = Metric(name, help, kind)
            if name in self._native:
                family = NativeHistogram(name, help)
                family.native = self._native[name]
            for key, value in values.items():
                family.add_sample(key[0], dict(key[1:]), value, exemplar=self._exemplars.get(key))
            yield family


def _plus(one: float, other: float) -> float:
    return one + other
