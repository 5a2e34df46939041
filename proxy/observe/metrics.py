"""
Prometheus families, filled from ended exchanges.

First form: requests, durations, errors and attempts. Children are bound once per label set; it never sees a body.
"""

from collections.abc import Callable, Iterator, Sequence

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from proxy import clock
from proxy.exchange import Exchange, Outcome
from proxy.providers.breaker import State
from proxy.providers.pool import Pool

# A second series per child that no dashboard reads.
disable_created_metrics()  # type: ignore[no-untyped-call]  # the library left it without annotations

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
"""Buckets for requests: the usual ones, and up to the ten minutes an SDK waits."""


_STATES = {State.CLOSED: 0, State.HALF_OPEN: 1, State.OPEN: 2}


class PoolCollector(Collector):
    """Providers, targets and breakers as they are when the page is asked for: they exist before their first change."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def collect(self) -> Iterator[Metric]:
        """One family after the other."""
        now = clock.now()
        healthy = GaugeMetricFamily("hapax_provider_healthy", "1 while probes succeed.", labels=("provider",))
        alias = GaugeMetricFamily("hapax_healthy_providers", "The same by its older name.", labels=("provider",))
        in_flight = GaugeMetricFamily("hapax_provider_in_flight", "Attempts under way.", labels=("provider",))
        parked = GaugeMetricFamily("hapax_provider_keys_parked", "Keys the provider refused.", labels=("provider",))
        for provider in self._pool.providers:
            for family in (healthy, alias):
                family.add_metric((provider.name,), float(provider.health.healthy))
            in_flight.add_metric((provider.name,), provider.in_flight)
            parked.add_metric((provider.name,), sum(until > now for until in provider.parked_until))
        state = GaugeMetricFamily("circuit_breaker_state", "0 closed, 1 half-open, 2 open.", labels=("name",))
        failures = CounterMetricFamily("circuit_breaker_failures", "Failures it counted.", labels=("name",))
        trips = CounterMetricFamily("circuit_breaker_trips", "Times it opened.", labels=("name",))
        for target in self._pool.all_targets:
            state.add_metric((str(target),), _STATES[target.breaker.state(now)])
            failures.add_metric((str(target),), target.breaker.failures_total)
            trips.add_metric((str(target),), target.breaker.trips_total)
        yield from (healthy, alias, in_flight, parked, state, failures, trips)


class Metrics:
    """All families of one process; an observer of exchanges."""

    def __init__(self, active: Callable[[], int], pool: Pool) -> None:
        """*active* tells how many exchanges are under way; *pool* is read when the page is asked for."""
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
        self.probe_seconds = Histogram(
            "hapax_health_check_duration_seconds", "Seconds a probe of a provider took.", registry=registry
        )
        self._tokens = Counter(
            "hapax_tokens_total", "Tokens of answers, as charged to callers.", ("kind",), registry=registry
        )
        self._bound_tokens = tuple(self._tokens.labels(kind) for kind in ("prompt", "completion"))
        self._cost = Counter("hapax_cost_usd_total", "What answers cost, in US dollars.", registry=registry)
        self._unpriced = Counter("hapax_unpriced_total", "Answers of models without a known price.", registry=registry)
        self._queue_wait = Histogram(
            "hapax_queue_wait_seconds", "Seconds a call waited for a place.", buckets=SECONDS, registry=registry
        )
        self._hedges = Counter("hapax_hedges_total", "Calls for which a second target was asked.", registry=registry)
        self._resumes = Counter("hapax_resumes_total", "Answers continued by another target.", registry=registry)
        registry.register(PoolCollector(pool))
        self._bound: dict[tuple[str, int], tuple[Counter, Histogram]] = {}
        self._bound_outcomes: dict[Outcome, Counter] = {}
        self._bound_providers: dict[str, tuple[Counter, Counter, Histogram]] = {}

    def ended(self, exchanges: Sequence[Exchange]) -> None:
        """Count them."""
        for exchange in exchanges:
            self._count(exchange)

    def _count(self, exchange: Exchange) -> None:
        key = (exchange.route, exchange.status)
        bound = self._bound.get(key)
        if bound is None:
            bound = self._bound[key] = (
                self._requests.labels(exchange.route, str(exchange.status)),
                self._durations.labels(exchange.route),
            )
        bound[0].inc()
        bound[1].observe(exchange.duration)
        outcome = self._bound_outcomes.get(exchange.outcome)
        if outcome is None:
            outcome = self._bound_outcomes[exchange.outcome] = self._outcomes.labels(exchange.outcome.value)
        outcome.inc()
        if exchange.error_code:
            self._errors.labels(exchange.error_code).inc()
        tokens = exchange.tokens
        if tokens is not None:
            self._bound_tokens[0].inc(tokens.prompt)
            self._bound_tokens[1].inc(tokens.completion)
            if exchange.cost is None:
                self._unpriced.inc()
            elif exchange.cost:
                self._cost.inc(exchange.cost / 1_000_000)
        if exchange.position is not None:
            self._queue_wait.observe(exchange.queued)
        if exchange.hedged:
            self._hedges.inc()
        if exchange.resumed:
            self._resumes.inc(exchange.resumed)
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
