"""
Prometheus families, filled from ended exchanges.

First form: requests, durations, errors and attempts. Children are bound once per label set; it never sees a body.
"""

from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import choose_encoder

from proxy.exchange import Exchange

# A second series per child that no dashboard reads.
disable_created_metrics()  # type: ignore[no-untyped-call]  # the library left it without annotations

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
"""Buckets for requests: the usual ones, and up to the ten minutes an SDK waits."""


class Metrics:
    """All families of one process; an observer of exchanges."""

    def __init__(self, active: Callable[[], int]) -> None:
        """*active* tells how many exchanges are under way."""
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._requests = Counter(
            "hapax_http_requests_total", "Requests, by route and status.", ("endpoint", "status"), registry=registry
        )
        self._durations = Histogram(
            "hapax_http_request_duration_seconds",
            "Seconds from a request's head to the end of its answer.",
            ("endpoint",),
            buckets=SECONDS,
            registry=registry,
        )
        Gauge("hapax_http_active_requests", "Requests under way.", registry=registry).set_function(active)
        self._outcomes = Counter(
            "hapax_exchanges_total", "Exchanges, by how they ended.", ("outcome",), registry=registry
        )
        self._errors = Counter("hapax_errors_total", "Errors told to clients, by code.", ("type",), registry=registry)
        self._attempts = Counter(
            "hapax_provider_requests_total", "Attempts, by provider.", ("provider",), registry=registry
        )
        self._failures = Counter(
            "hapax_provider_errors_total", "Attempts that failed, by provider.", ("provider",), registry=registry
        )
        self._latency = Histogram(
            "hapax_request_latency_seconds",
            "Seconds from an attempt's start to its first content.",
            ("provider",),
            buckets=SECONDS,
            registry=registry,
        )
        self.model_list_seconds = Histogram(
            "hapax_health_check_duration_seconds", "Seconds to fetch a provider's model list.", registry=registry
        )
        self._bound: dict[tuple[str, int], tuple[Counter, Histogram]] = {}
        self._bound_providers: dict[str, tuple[Counter, Counter, Histogram]] = {}

    def ended(self, exchange: Exchange) -> None:
        """Count one exchange."""
        key = (exchange.route, exchange.status)
        bound = self._bound.get(key)
        if bound is None:
            bound = self._bound[key] = (
                self._requests.labels(exchange.route, str(exchange.status)),
                self._durations.labels(exchange.route),
            )
        bound[0].inc()
        bound[1].observe(exchange.duration)
        self._outcomes.labels(exchange.outcome.value).inc()
        if exchange.error_code:
            self._errors.labels(exchange.error_code).inc()
        for attempt in exchange.attempts:
            children = self._bound_providers.get(attempt.provider)
            if children is None:
                children = self._bound_providers[attempt.provider] = (
                    self._attempts.labels(attempt.provider),
                    self._failures.labels(attempt.provider),
                    self._latency.labels(attempt.provider),
                )
            children[0].inc()
            if attempt.failure:
                children[1].inc()
            if attempt.first_content_at:
                children[2].observe(attempt.first_content_at - attempt.started)

    def render(self, accept: str) -> tuple[bytes, str]:
        """The page, and its content type, in the format *accept* asks for."""
        encoder, content_type = choose_encoder(accept)
        return encoder(self.registry), content_type
