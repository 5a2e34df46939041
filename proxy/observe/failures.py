"""
Why attempts failed: how many at each provider, by the error code they came to.

Counted of ended exchanges; what became of the call as a whole is counted in `metrics`.
"""

from collections.abc import Iterator, Sequence

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from proxy.core.exchange import Exchange
from proxy.observe.tally import counter


class Failures(Collector):
    """One family; an observer."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], int] = {}

    def ended(self, exchanges: Sequence[Exchange]) -> None:
        """Count their attempts that failed."""
        for exchange in exchanges:
            for attempt in exchange.attempts:
                if attempt.failure:
                    key = (attempt.provider, attempt.failure)
                    self._counts[key] = self._counts.get(key, 0) + 1

    def collect(self) -> Iterator[Metric]:
        """The family."""
        yield counter(
            "hapax_provider_failures",
            "Attempts that failed, by error code.",
            ("provider", "type"),
            self._counts.items(),
        )
