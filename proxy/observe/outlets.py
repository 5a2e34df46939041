"""
Where metrics, spans and errors leave the gateway to: what the settings name, built and not yet started.

What is sent stands in a file each; a scrape comes by itself and is no outlet.
"""

import os
from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry

from proxy.observe.collector import Collector
from proxy.observe.log import Logs
from proxy.observe.push import MetricsPush
from proxy.observe.sentry import ErrorReports
from proxy.observe.statsd import Statsd
from proxy.observe.traces import Traces
from proxy.settings.observation import Metrics, Tracing
from proxy.settings.providers import Provider
from proxy.upstream.control_plane import ControlPlane

Exporter = Statsd | MetricsPush


def dropped(logs: Logs | None, traces: Traces | None) -> dict[str, Callable[[], int]]:
    """By the name of a counter, how many lines or spans were not sent for want of room."""
    counts: dict[str, Callable[[], int]] = {}
    if traces is not None:
        counts["hapax_spans_dropped"] = lambda: traces.dropped_total
    if logs is not None:
        counts["hapax_log_dropped"] = lambda: logs.dropped_total
    return counts


def traces(
    settings: Tracing, providers: Callable[[], Mapping[str, Provider]], instance: str, control: ControlPlane
) -> Traces | None:
    """Where spans go; None while traces are not recorded. *instance*: the id of this process."""
    if not settings.otlp_endpoint:
        return None
    headers = {name: value.get_secret_value() for name, value in settings.headers.items()}
    return Traces(Collector(control, settings.otlp_endpoint, "/v1/traces", headers, "spans"), providers, instance)


def exporters(
    settings: Metrics,
    registry: CollectorRegistry,
    catch_up: Callable[[], None],
    worker: str,
    instance: str,
    control: ControlPlane,
) -> list[Exporter]:
    """Those that send metrics somewhere. *catch_up* is called before each time."""
    out: list[Exporter] = []
    if settings.enabled and settings.statsd.address:
        statsd = settings.statsd
        out.append(Statsd(registry, catch_up, statsd.address, statsd.prefix, statsd.interval, worker))
    if settings.enabled and settings.otlp.endpoint:
        headers = {name: value.get_secret_value() for name, value in settings.otlp.headers.items()}
        collector = Collector(control, settings.otlp.endpoint, "/v1/metrics", headers, "metrics")
        out.append(MetricsPush(registry, catch_up, collector, settings.otlp.interval, instance))
    return out


def error_reports(settings: Tracing) -> ErrorReports | None:
    """Where faults of ours are reported; None where they are not."""
    dsn = settings.sentry_dsn
    return ErrorReports(dsn.get_secret_value(), os.environ.get("HAPAX_ENV") or "production") if dsn else None
