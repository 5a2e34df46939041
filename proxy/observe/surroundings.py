"""
What a gateway has around it when the page is asked for: providers, breakers, connections, the process and its loop.

Numbers their owners keep anyway; those of exchanges stand in `metrics`, those of keys and ledger in `state`.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from prometheus_async.aio import time
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from proxy import __version__
from proxy.core import clock
from proxy.observe.lag import LoopLag
from proxy.observe.tally import Buckets, Histograms, counter, gauge, histogram
from proxy.providers.breaker import BreakerState
from proxy.providers.checks import Probe, ProbeFailed
from proxy.providers.pool import Pool
from proxy.providers.provider import Provider
from proxy.upstream.endpoint import Endpoint

_STATES = {BreakerState.CLOSED: 0, BreakerState.HALF_OPEN: 1, BreakerState.OPEN: 2}
CONNECTION_SECONDS = (1, 10, 30, 60, 300, 600, 1800, 3600)
"""Buckets of how long clients stay connected."""


class Surroundings(Collector):
    """All of it; the families exist before the first call."""

    def __init__(
        self,
        pool: Pool,
        endpoints: Mapping[Provider, Endpoint],
        active: Callable[[], Mapping[str, int]],
        clients: Mapping[str, int],
        turned_away: Mapping[str, int],
        lag: LoopLag,
        memory_limit: Callable[[], int],
        dropped: Callable[[], Mapping[str, int]],
        shared: Callable[[], int],
        refused: Callable[[], Mapping[str, int]],
        certificates: Mapping[str, float],
    ) -> None:
        """
        *active*: exchanges under way by route; *clients*: open connections of clients by protocol; *turned_away*: those
        that were one too many, by the limit; *memory_limit*: as configured; *dropped*: by the name of a counter, what
        was not told for want of room; *shared*: calls that got another's answer; *refused*: attempts beyond a call's
        first that their budget did not allow, by kind; *certificates*: when each expires, in seconds since 1970.
        """
        self._pool = pool
        self._endpoints = endpoints
        self._active = active
        self._clients = clients
        self._turned_away = turned_away
        self._lag = lag
        self._memory_limit = memory_limit
        self._dropped = dropped
        self._shared = shared
        self._refused = refused
        self._certificates = certificates
        self._started = clock.now()
        self.probes = Histograms(
            "hapax_health_check_duration_seconds", "Seconds a probe of a provider took.", ("provider",)
        )
        """Seconds each probe took."""
        self._probe_errors: dict[str, int] = {}
        self._store = Histograms("hapax_store_seconds", "Seconds an operation of the store took.", ("operation",))
        self._store_errors = {"read": 0, "write": 0}
        self._connections: dict[str, Buckets] = {}

    def timed(self, probe: Probe) -> Probe:
        """*probe*, whose time and failures are counted."""

        async def timed(provider: str) -> list[dict[str, Any]]:
            try:
                return await time(self.probes.of(provider), probe(provider))
            except ProbeFailed:
                self._probe_errors[provider] = self._probe_errors.get(provider, 0) + 1
                raise

        return timed

    def stored(self, operation: str, seconds: float, failed: bool) -> None:
        """The store has read or written, or could not."""
        self._store.of(operation).observe(seconds)
        self._store_errors[operation] += failed

    def disconnected(self, protocol: str, seconds: float) -> None:
        """A client's connection has ended after so long."""
        self._lived(protocol).observe(seconds)

    def collect(self) -> Iterator[Metric]:
        """One family after the other."""
        yield from self._of_providers()
        yield from self._of_probes()
        yield from self._of_connections()
        yield from self._of_the_process()
        yield self._store.family()
        errors = (((operation,), number) for operation, number in self._store_errors.items())
        yield counter("hapax_store_errors", "Operations of the store that failed.", ("operation",), errors)
        for name, number in self._dropped().items():
            yield CounterMetricFamily(name, "Dropped, since there was no room for it.", value=number)
        said = "Calls that shared another's answer."
        yield CounterMetricFamily("hapax_deduplicated_requests", said, value=self._shared())
        refused = (((kind,), number) for kind, number in self._refused().items())
        said = "Attempts that the budget of their kind did not allow."
        yield counter("hapax_extra_attempts_refused", said, ("kind",), refused)
        expiries = (((kind,), moment) for kind, moment in self._certificates.items())
        said = "When the certificate in use expires, in seconds since 1970."
        yield gauge("hapax_certificate_expiry_timestamp_seconds", said, ("listener",), expiries)

    def _of_providers(self) -> Iterator[Metric]:
        now, providers = clock.now(), self._pool.providers
        by = ("provider",)
        healthy = [((provider.name,), float(provider.health.healthy)) for provider in providers]
        yield gauge("hapax_provider_healthy", "1 while probes succeed.", by, healthy)
        yield gauge("hapax_healthy_providers", "The same by its older name.", by, healthy)
        drained = [((provider.name,), float(provider.drained)) for provider in providers]
        yield gauge("hapax_provider_drained", "1 while an operator has it drained.", by, drained)
        flying = (((provider.name,), provider.in_flight) for provider in providers)
        yield gauge("hapax_provider_in_flight", "Attempts under way.", by, flying)
        parked = (((each.name,), sum(until > now for until in each.parked_until)) for each in providers)
        yield gauge("hapax_provider_keys_parked", "Keys the provider refused, or that are spent.", by, parked)
        yield gauge("hapax_provider_keys_spent", "Those of them whose money is gone.", by, self._spent(now))
        targets = self._pool.told_targets
        states = (((str(target),), _STATES[target.breaker.state(now)]) for target in targets)
        yield gauge("circuit_breaker_state", "0 closed, 1 half-open, 2 open.", ("name",), states)
        failures = (((str(target),), target.breaker.failures_total) for target in targets)
        yield counter("circuit_breaker_failures", "Failures it counted.", ("name",), failures)
        trips = (((str(target),), target.breaker.trips_total) for target in targets)
        yield counter("circuit_breaker_trips", "Times it opened.", ("name",), trips)
        models = (((name, "unknown"), number) for name, number in self._models().items())
        yield gauge("llm_router_models_loaded", "Models that are listed.", ("format", "size_category"), models)

    def _spent(self, now: float) -> Iterator[tuple[tuple[str], int]]:
        for provider in self._pool.providers:
            keys = zip(provider.parked_until, provider.spent, strict=True)
            yield (provider.name,), sum(spent and until > now for until, spent in keys)

    def _models(self) -> dict[str, int]:
        """Every model of the list, once: by the first provider that serves it, or `hapax` for a configured name."""
        left = {str(entry["id"]) for entry in self._pool.listing()}
        found = {}
        for provider in self._pool.providers:
            served = left & provider.models
            found[provider.name] = len(served)
            left -= served
        return {**found, "hapax": len(left)} if left else found

    def _of_probes(self) -> Iterator[Metric]:
        yield self.probes.family()
        errors = (((name,), number) for name, number in self._probe_errors.items())
        yield counter("hapax_health_check_errors", "Probes that failed.", ("provider",), errors)
        # A probe fetches the model list, which is all there is to creating an adapter or loading a model here.
        yield self.probes.family("hapax_adapter_creation_seconds", "Seconds a provider's model list took.")
        yield histogram(
            "llm_router_model_load_duration_seconds",
            "The same by its older name.",
            ("model", "format"),
            ((("*", *labels), buckets) for labels, buckets in self.probes.by_labels.items()),
        )

    def _of_connections(self) -> Iterator[Metric]:
        counts = {provider.name: endpoint.connections for provider, endpoint in self._endpoints.items()}
        states = (
            ((name, state), number)
            for name, (busy, idle, _) in counts.items()
            for state, number in (("busy", busy), ("idle", idle))
        )
        yield gauge("hapax_upstream_connections", "Connections to a provider for calls.", ("provider", "state"), states)
        opened = (((name,), number) for name, (_, _, number) in counts.items())
        yield counter("hapax_upstream_connections_opened", "Connections made for calls so far.", ("provider",), opened)
        upstream = sum(busy + idle for busy, idle, _ in counts.values())
        yield gauge(
            "llm_router_active_connections",
            "Open connections.",
            ("type", "protocol"),
            [
                *((("client", each), number) for each, number in self._clients.items()),
                (("upstream", "http1"), upstream),
            ],
        )
        yield histogram(
            "llm_router_connection_duration_seconds",
            "Seconds clients stayed connected.",
            ("type", "protocol"),
            [(("client", each), self._lived(each)) for each in self._clients],
        )
        away = (((limit,), number) for limit, number in self._turned_away.items())
        yield counter("hapax_connections_turned_away", "Connections there were too many of.", ("limit",), away)
        active = (((route,), number) for route, number in self._active().items())
        yield gauge("hapax_http_active_requests", "Requests under way.", ("endpoint",), active)

    def _lived(self, protocol: str) -> Buckets:
        """How long clients were connected that speak so."""
        if protocol not in self._connections:
            self._connections[protocol] = Buckets(CONNECTION_SECONDS)
        return self._connections[protocol]

    def _of_the_process(self) -> Iterator[Metric]:
        yield gauge("hapax_build_info", "1, with the version that runs.", ("version",), [((__version__,), 1)])
        yield GaugeMetricFamily("hapax_workers", "Processes that serve.", value=1)
        # Counted by the supervisor, who adds his number.
        yield CounterMetricFamily("hapax_worker_restarts", "Workers that died and were replaced.", value=0)
        yield GaugeMetricFamily("hapax_uptime_seconds", "Since the start.", value=clock.now() - self._started)
        yield GaugeMetricFamily("hapax_memory_limit_bytes", "health.memory_limit.", value=self._memory_limit())
        yield GaugeMetricFamily("hapax_event_loop_lag_seconds", "Lateness now.", value=self._lag.last)
        yield GaugeMetricFamily("hapax_event_loop_lag_max_seconds", "Worst of a minute.", value=self._lag.worst)
        heap = GaugeMetricFamily("llm_router_process_heap_bytes", "Resident memory that is not shared.")
        try:
            resident, shared = (int(pages) for pages in Path("/proc/self/statm").read_text().split()[1:3])
            heap.add_metric((), (resident - shared) * os.sysconf("SC_PAGE_SIZE"))
        except OSError:
            # Only Linux tells.
            pass
        yield heap
