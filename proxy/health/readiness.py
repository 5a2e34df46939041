"""
The family that tells what `/ready` says, for an alert that knows more than that the process is scraped.

A collector only: the verdict is `health`'s.
"""

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from proxy.health.health import Health


class Readiness(Collector):
    """One family."""

    def __init__(self, health: Health) -> None:
        self._health = health

    def collect(self) -> Iterator[Metric]:
        """It."""
        yield GaugeMetricFamily("hapax_ready", "1 while /ready says yes.", value=float(self._health.ready_now))
