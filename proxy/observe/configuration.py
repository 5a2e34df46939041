"""
The families of the configuration in force: tries to replace it, and how old it is.

A collector only: the record is kept in `settings.in_force`.
"""

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from proxy.observe.tally import counter
from proxy.settings.in_force import InForce


class Configuration(Collector):
    """Three families."""

    def __init__(self, in_force: InForce) -> None:
        self._in_force = in_force

    def collect(self) -> Iterator[Metric]:
        """One family after the other."""
        now = self._in_force
        counts = (((outcome,), number) for outcome, number in now.counts.items())
        yield counter("hapax_config_reloads", "Tries to put another configuration in force.", ("outcome",), counts)
        refused = now.last is not None and now.last.outcome == "refused"
        yield GaugeMetricFamily(
            "hapax_config_last_reload_successful", "0 while the last such try was refused.", value=float(not refused)
        )
        yield GaugeMetricFamily(
            "hapax_config_last_reload_success_timestamp_seconds",
            "When the configuration in force was put there.",
            value=now.since.timestamp(),
        )
