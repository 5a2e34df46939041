"""
The families of stored answers; their numbers are the cache's own.

A collector only: it counts nothing. Calls that got a stored answer are counted in `metrics`, as all calls are.
"""

from collections.abc import Iterator
from typing import Protocol

from prometheus_client.core import CounterMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from proxy.observe.tally import counter, gauge

_KIND = ("cache_type",)


class Numbers(Protocol):
    """What a cache counts."""

    hits_total: int
    misses_total: int

    @property
    def size(self) -> int:
        """Bytes of the answers in it."""

    @property
    def failures_total(self) -> int:
        """How often what keeps them did not answer."""


class CacheFamilies(Collector):
    """The families exist before the first call, and where nothing is stored."""

    def __init__(self, cache: Numbers) -> None:
        self._cache = cache

    def collect(self) -> Iterator[Metric]:
        """One family after the other."""
        cache = self._cache
        for name, help, number in (
            ("llm_router_cache_hits", "Questions for which an answer was stored.", cache.hits_total),
            ("llm_router_cache_misses", "Questions for which none was.", cache.misses_total),
        ):
            yield counter(name, help, _KIND, [(("response",), number)])
        yield gauge("llm_router_cache_size_bytes", "Bytes of stored answers.", _KIND, [(("response",), cache.size)])
        said = "Times that Redis did not take or give a stored answer."
        yield CounterMetricFamily("hapax_cache_failures", said, value=cache.failures_total)
