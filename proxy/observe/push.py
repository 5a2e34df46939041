"""
Metrics posted to an OpenTelemetry collector now and then: the registry's families as OTLP messages.

Sums are cumulative since the start of the process, as Prometheus has them. A collector that is away costs nothing but
the post; what it missed is in the next one.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric

from proxy import __version__
from proxy.core import tasks
from proxy.core.headers import PSEUDONYM
from proxy.observe.collector import Collector
from proxy.observe.units import unit_of
from proxy.settings.extras import lacking

UNITS = {"seconds": "s", "bytes": "By", "usd": "{USD}", "ratio": "1"}
"""OpenTelemetry's units (https://ucum.org) by those that names end in."""


class MetricsPush:
    """Posts a registry."""

    def __init__(
        self,
        registry: CollectorRegistry,
        catch_up: Callable[[], None],
        collector: Collector,
        interval: float,
        resource: Mapping[str, str],
        began: int,
    ) -> None:
        """
        *interval* in seconds; *resource*: what is said of this process, see `observe.resource`, which has counted since
        *began*, in nanoseconds since 1970. `ValueError` where the protocol's messages are not installed.
        """
        try:
            from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
            from opentelemetry.proto.metrics.v1 import metrics_pb2
        except ImportError:
            raise ValueError(f"metrics.otlp.endpoint: {lacking('otlp', 'opentelemetry.proto')}") from None

        self._request: Any = metrics_service_pb2.ExportMetricsServiceRequest
        self._messages: Any = metrics_pb2
        self._registry = registry
        self._catch_up = catch_up
        self._collector = collector
        self._interval = interval
        self._resource = resource
        self._started = began
        self._tasks = tasks.Tasks()

    def start(self) -> None:
        """Begin to post."""
        self._tasks.start(tasks.every(self._interval, self._post), "metrics push")

    async def stop(self) -> None:
        """Post what was counted last, and no more."""
        if await self._tasks.stop():
            await self._post()
        await self._collector.stop()

    async def _post(self) -> None:
        await self._collector.post(self.message())

    def message(self) -> bytes:
        """Everything as one `ExportMetricsServiceRequest`."""
        self._catch_up()
        now = time.time_ns()
        request = self._request()
        resource = request.resource_metrics.add()
        # Each worker posts what it has counted itself.
        _attributes(resource.resource.attributes, self._resource.items())
        scope = resource.scope_metrics.add()
        scope.scope.name, scope.scope.version = PSEUDONYM, __version__
        for family in self._registry.collect():
            unit = UNITS.get(unit_of(family.name), "")
            metric = scope.metrics.add(name=family.name, description=family.documentation, unit=unit)
            if family.type == "histogram":
                self._histogram(metric.histogram, family, now)
                continue
            points = metric.gauge.data_points
            if family.type == "counter":
                metric.sum.aggregation_temporality = self._messages.AGGREGATION_TEMPORALITY_CUMULATIVE
                metric.sum.is_monotonic = True
                points = metric.sum.data_points
            for sample in family.samples:
                point = points.add(as_double=sample.value, time_unix_nano=now, start_time_unix_nano=self._started)
                _attributes(point.attributes, sample.labels.items())
        return bytes(request.SerializeToString())

    def _histogram(self, told: Any, family: Metric, now: int) -> None:
        told.aggregation_temporality = self._messages.AGGREGATION_TEMPORALITY_CUMULATIVE
        points: dict[tuple[tuple[str, str], ...], Any] = {}
        so_far: dict[tuple[tuple[str, str], ...], float] = {}
        for sample in family.samples:
            labels = tuple(sorted((name, value) for name, value in sample.labels.items() if name != "le"))
            point = points.get(labels)
            if point is None:
                point = points[labels] = told.data_points.add(time_unix_nano=now, start_time_unix_nano=self._started)
                _attributes(point.attributes, labels)
            if sample.name.endswith("_bucket"):
                point.bucket_counts.append(int(sample.value - so_far.get(labels, 0)))
                so_far[labels] = sample.value
                if sample.labels["le"] != "+Inf":
                    point.explicit_bounds.append(float(sample.labels["le"]))
            elif sample.name.endswith("_count"):
                point.count = int(sample.value)
            elif sample.name.endswith("_sum"):
                point.sum = sample.value


def _attributes(attributes: Any, labels: Iterable[tuple[str, str]]) -> None:
    for name, value in labels:
        _attribute(attributes, name, value)


def _attribute(attributes: Any, name: str, value: str) -> None:
    attributes.add(key=name).value.string_value = value
