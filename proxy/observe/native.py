"""
A family of histograms that knows the buckets of Prometheus' native histograms beside its own.

The numbers alone; `protobuf_page` writes them. Source: https://prometheus.io/docs/specs/native_histograms/
"""

from typing import Any

from prometheus_client.metrics_core import HistogramMetricFamily

SCHEMA = 3
PER_DOUBLING = 1 << SCHEMA
"""
Buckets from one power of two to the next, each 9 % wider than the one before. Number *n* has what is larger than
2^((n - 1) / 8) and not larger than 2^(n / 8).
"""
ZERO = -(1 << 14)
"""The number under which those are counted that are not larger than 0; no float has a bucket of that number."""

Native = dict[int, int]
"""How many values each bucket has, by its number."""


class NativeHistogram(HistogramMetricFamily):
    """As the library has it, with native buckets."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.native: dict[tuple[tuple[str, str], ...], Native] = {}
        """By labels, each with its name."""
