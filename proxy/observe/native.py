"""
A family of histograms that knows the buckets of Prometheus' native histograms beside its own.

The numbers alone; `protobuf_page` writes them. Source: https://prometheus.io/docs/specs/native_histograms/
"""

from collections import defaultdict
from typing import Any

from prometheus_client.metrics_core import HistogramMetricFamily, Metric

SCHEMA = 3
PER_DOUBLING = 1 << SCHEMA
"""
Buckets from one power of two to the next, each 9 % wider than the one before. Number *n* has what is larger than
2^((n - 1) / 8) and not larger than 2^(n / 8).
"""
_LOWEST, _HIGHEST = -256, 512
BOUNDS = (0.0, *(2.0 ** (number / PER_DOUBLING) for number in range(_LOWEST, _HIGHEST + 1)))
"""Where buckets end, from 2^-32 to 2^64, beyond which no figure goes; before them 0."""
ZERO = _LOWEST - 1
"""The number for what is not larger than 0, and so that of a place in `BOUNDS` is the place and `ZERO`."""

Native = defaultdict[int, int]
"""How many values each bucket has, by its number."""
Pairs = tuple[tuple[str, str], ...]
"""Labels, each a name and a value."""


class NativeHistogram(HistogramMetricFamily):
    """As the library has it, with native buckets."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.native: dict[Pairs, Native] = {}


def native_of(family: Metric) -> dict[Pairs, Native]:
    """Its native buckets by labels; empty where it has none."""
    return family.native if isinstance(family, NativeHistogram) else {}
