"""
Where metrics, spans and errors leave the gateway to, as the configuration in force has it.

What is sent stands in a file each; a scrape comes by itself and is no outlet. An outlet whose settings stay is not made
anew, and what was counted or sent so far is known to the one that takes its place.
"""

import os
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from proxy.observe.collector import Collector, HttpCollector
from proxy.observe.push import MetricsPush
from proxy.observe.resource import resource
from proxy.observe.sentry import ErrorReports
from proxy.observe.statsd import Statsd
from proxy.observe.traces import Traces
from proxy.settings.extras import lacking, modules_of
from proxy.settings.observation import Metrics, Tracing
from proxy.settings.providers import Provider
from proxy.upstream.control_plane import ControlPlane

Exporter = Statsd | MetricsPush
_Stop = Coroutine[Any, Any, None]


@dataclass(frozen=True, slots=True)
class Sending:
    """The outlets of one configuration."""

    metrics: Metrics
    tracing: Tracing
    statsd: Statsd | None
    push: MetricsPush | None
    traces: Traces | None
    reports: ErrorReports | None

    @property
    def exporters(self) -> list[Exporter]:
        """Those that send metrics somewhere."""
        return [each for each in (self.statsd, self.push) if each is not None]


_NOTHING = Sending(Metrics.model_validate({}), Tracing.model_validate({}), None, None, None, None)
"""What settings that name no outlet ask for."""


class Outlets:
    """Those in force."""

    def __init__(
        self,
        metrics: Metrics,
        tracing: Tracing,
        registry: CollectorRegistry,
        catch_up: Callable[[], None],
        providers: Callable[[], Mapping[str, Provider]],
        worker: str,
        instance: str,
        control: ControlPlane,
    ) -> None:
        """
        *catch_up* is called before each time metrics are sent. *worker*: which of several this is; *instance*: the id
        of this process. `ValueError` for an outlet that cannot be.
        """
        self._registry = registry
        self._catch_up = catch_up
        self._providers = providers
        self._worker = worker
        self._instance = instance
        self._control = control
        self._began = time.time_ns()
        self._told_statsd: dict[tuple[str, str], float] = {}
        self._spans_lost = 0
        """Spans dropped by traces that are no longer in use."""
        self._in_force = _NOTHING
        self._in_force = self.prepared(metrics, tracing)

    @property
    def exporters(self) -> list[Exporter]:
        """Those that send metrics somewhere."""
        return self._in_force.exporters

    @property
    def statsd(self) -> Statsd | None:
        """Where the times of single calls go; None where they go nowhere."""
        return self._in_force.statsd

    @property
    def traces(self) -> Traces | None:
        """Where spans go; None while traces are not recorded."""
        return self._in_force.traces

    @property
    def reports(self) -> ErrorReports | None:
        """Where faults of ours are reported; None where they are not."""
        return self._in_force.reports

    @property
    def spans_dropped(self) -> int | None:
        """Spans that were not sent for want of room; None where none were ever made."""
        if self.traces is None:
            return self._spans_lost or None
        return self._spans_lost + self.traces.dropped_total

    def prepared(self, metrics: Metrics, tracing: Tracing) -> Sending:
        """What these settings ask for, not yet in use; `ValueError`, with a setting's path, for what cannot be."""
        before = self._in_force
        statsd, push, traces, reports = before.statsd, before.push, before.traces, before.reports
        if (metrics.enabled, metrics.statsd) != (before.metrics.enabled, before.metrics.statsd):
            statsd = self._statsd(metrics)
        if (metrics.enabled, metrics.otlp) != (before.metrics.enabled, before.metrics.otlp):
            push = self._push(metrics)
        if _where_spans_go(tracing) != _where_spans_go(before.tracing):
            traces = self._traces(tracing)
        if tracing.sentry_dsn != before.tracing.sentry_dsn:
            dsn, environment = tracing.sentry_dsn, os.environ.get("HAPAX_ENV") or "production"
            reports = ErrorReports(dsn.get_secret_value(), environment) if dsn else None
        return Sending(metrics, tracing, statsd, push, traces, reports)

    def obey(self, sending: Sending) -> list[_Stop]:
        """Send there from now on; returns the ends of what is no longer in use, to be awaited."""
        before, self._in_force = self._in_force, sending
        old = [*before.exporters, before.traces, before.reports]
        new = [*sending.exporters, sending.traces, sending.reports]
        for each in new:
            if each is not None and each not in old:
                each.start()
        ending = [each for each in old if each is not None and each not in new]
        return [self._end(each) for each in ending]

    def start(self) -> None:
        """Begin to send."""
        for each in (*self.exporters, self.traces):
            if each is not None:
                each.start()

    async def _end(self, outlet: Exporter | Traces | ErrorReports) -> None:
        await outlet.stop()
        if isinstance(outlet, Traces):
            self._spans_lost += outlet.dropped_total

    def _statsd(self, settings: Metrics) -> Statsd | None:
        rules = settings.statsd
        if not settings.enabled or not rules.address:
            return None
        return Statsd(
            self._registry,
            self._catch_up,
            rules.address,
            rules.prefix,
            rules.interval,
            self._worker,
            self._told_statsd,
        )

    def _push(self, settings: Metrics) -> MetricsPush | None:
        rules = settings.otlp
        if not settings.enabled or not rules.endpoint:
            return None
        to = "metrics.otlp.endpoint", rules.protocol, rules.endpoint, rules.path
        collector = self._collector(*to, "/v1/metrics", rules.headers, "metrics")
        return MetricsPush(self._registry, self._catch_up, collector, rules.interval, self._resource(), self._began)

    def _traces(self, settings: Tracing) -> Traces | None:
        if not settings.otlp_endpoint:
            return None
        to = "tracing.otlp_endpoint", settings.otlp_protocol, settings.otlp_endpoint, settings.otlp_path
        collector = self._collector(*to, "/v1/traces", settings.headers, "spans")
        return Traces(collector, self._providers, self._resource())

    def _resource(self) -> dict[str, str]:
        return resource(self._instance, os.environ)

    def _collector(
        self,
        setting: str,
        protocol: str,
        endpoint: str,
        path: str,
        usual_path: str,
        secrets: Mapping[str, SecretStr],
        what: str,
    ) -> Collector:
        """The collector that *setting* names; `ValueError` where what speaks its protocol is not installed."""
        headers = {name: value.get_secret_value() for name, value in secrets.items()}
        if protocol != "grpc":
            return HttpCollector(self._control, endpoint, path, headers, what)
        if words := lacking("otlp", *modules_of(protocol)):
            raise ValueError(f"{setting}: {words}")
        from proxy.observe.grpc_collector import GrpcCollector

        return GrpcCollector(endpoint, usual_path, headers, what)


def _where_spans_go(tracing: Tracing) -> tuple[object, ...]:
    return tracing.otlp_endpoint, tracing.otlp_protocol, tracing.otlp_path, tracing.headers
