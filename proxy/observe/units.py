"""
The unit a family of metrics is told in, which its name ends in as Prometheus has it.

Source: https://prometheus.io/docs/practices/naming/#base-units
"""

from collections.abc import Iterable, Iterator
from typing import Protocol

from prometheus_client.metrics_core import Metric

_UNITS = frozenset(("bytes", "ratio", "seconds", "usd"))


class Families(Protocol):
    """A registry, or what shows itself like one."""

    def collect(self) -> Iterable[Metric]:
        """Its families."""


def unit_of(name: str) -> str:
    """`seconds` for `hapax_overhead_seconds`; empty for what is counted in pieces. Without the `_total` of counters."""
    last = name.rpartition("_")[2]
    return last if last in _UNITS else ""


class WithUnits:
    """The families of *families*, each with its unit, for the encoder of OpenMetrics."""

    def __init__(self, families: Families) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        """One after the other."""
        for family in self._families.collect():
            family.unit = unit_of(family.name)
            yield family
