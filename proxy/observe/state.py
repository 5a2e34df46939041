"""
The state between calls as an operator sees it: limits, queue, keys and ledger, read when the page is asked for.

Numbers their owners keep anyway; it counts nothing itself.
"""

import heapq
from collections.abc import Callable, Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from proxy.accounts.ledger import Ledger
from proxy.accounts.objects import Objects
from proxy.accounts.principals import Principals
from proxy.accounts.watch import KeyWatch
from proxy.limits.limit import Limits
from proxy.limits.policy import budget_limit
from proxy.limits.queue import Queue
from proxy.limits.queue_file import QueueFile
from proxy.observe.tally import Labels, gauge

Counted = tuple[Limits, Principals, KeyWatch | None, Ledger | None, Queue | None, QueueFile | None, Objects]
"""The rooms whose numbers are told."""
MOST_BUDGETS = 1000
"""Series of budgets: a page must not grow with each key that is made."""


class StateCollector(Collector):
    """One family after the other; those of rooms that are not in use stay away."""

    def __init__(self, hits: Mapping[str, int], counted: Callable[[], Counted]) -> None:
        """*hits*: calls refused by a limit, by principal. *counted*: those in use now, which a reload changes."""
        self._hits = hits
        self._counted = counted

    def collect(self) -> Iterator[Metric]:
        """What there is to tell now."""
        limits, principals, watch, ledger, queue, file, objects = self._counted()
        hits = CounterMetricFamily("hapax_rate_limit_hits", "Calls refused by a limit, by key.", labels=("client",))
        for principal, count in self._hits.items():
            hits.add_metric((principal,), count)
        yield hits
        yield GaugeMetricFamily("hapax_keys", "Client keys known.", value=len(principals))
        yield gauge(
            "hapax_key_budget_spent_ratio", "Share of a key's budget.", ("client",), _budgets(limits, principals)
        )
        yield from _shared(limits)
        if watch is not None and ledger is not None:
            yield from _stored(watch, ledger, objects)
        yield from _waiting(queue, file)


def _budgets(limits: Limits, principals: Principals) -> list[tuple[Labels, float]]:
    """The share that is spent, of each budget of which that is known; of the fullest `MOST_BUDGETS` alone."""
    shares: list[tuple[Labels, float]] = []
    for principal in principals.all():
        if principal.budget is not None:
            budget = budget_limit(principal.name, principal.budget)
            spent = limits.spent(budget)
            if spent is not None:
                shares.append(((principal.name,), spent / max(1, budget.capacity)))
    return heapq.nlargest(MOST_BUDGETS, shares, key=lambda each: each[1])


def _shared(limits: Limits) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "hapax_state_available",
        "1 while the shared state answers, or none is needed.",
        value=float(limits.available),
    )
    yield CounterMetricFamily("hapax_state_failures", "Times it did not answer.", value=limits.failures_total)
    yield CounterMetricFamily(
        "hapax_state_fallbacks", "Decisions made from a local share meanwhile.", value=limits.fallbacks_total
    )
    yield CounterMetricFamily("hapax_state_round_trips", "Questions asked of it.", value=limits.round_trips_total)


def _stored(watch: KeyWatch, ledger: Ledger, objects: Objects) -> Iterator[Metric]:
    reachable = watch.reachable and ledger.available and objects.available
    yield GaugeMetricFamily(
        "hapax_store_available", "1 while the store can be read and written.", value=float(reachable)
    )
    yield GaugeMetricFamily(
        "hapax_keys_read_seconds",
        "Seconds the last look for changed keys took.",
        value=watch.last_read.seconds,
    )
    yield GaugeMetricFamily("hapax_ledger_buffered", "Rows of usage not written yet.", value=ledger.buffered)
    yield CounterMetricFamily("hapax_ledger_rows", "Rows of usage written.", value=ledger.rows_total)
    yield CounterMetricFamily("hapax_ledger_dropped", "Rows of usage lost.", value=ledger.dropped_total)
    yield CounterMetricFamily("hapax_ledger_failures", "Writes that failed.", value=ledger.failures_total)
    yield GaugeMetricFamily(
        "hapax_ledger_flush_seconds", "Seconds the last write took.", value=ledger.last_flush.seconds
    )
    yield GaugeMetricFamily("hapax_objects_waiting", "Owners of objects not written yet.", value=objects.waiting)
    yield CounterMetricFamily("hapax_objects_dropped", "Owners of objects lost.", value=objects.dropped_total)


def _waiting(queue: Queue | None, file: QueueFile | None) -> Iterator[Metric]:
    if queue is not None:
        waiting = GaugeMetricFamily("llm_router_queue_size", "The same by its other name.", labels=("queue_type",))
        waiting.add_metric(("request",), queue.waiting)
        yield waiting
        yield GaugeMetricFamily("hapax_queue_running", "Calls that have a place.", value=queue.running)
        yield GaugeMetricFamily("hapax_queue_waiting", "Calls that wait for one.", value=queue.waiting)
        yield GaugeMetricFamily("hapax_queue_size", "Calls that may wait.", value=queue.size)
        yield CounterMetricFamily("hapax_queue_full", "Calls refused: the queue was full.", value=queue.refused_full)
        yield CounterMetricFamily("hapax_queue_timeouts", "Calls that waited in vain.", value=queue.timed_out)
    if file is not None:
        yield CounterMetricFamily(
            "hapax_queue_file_failures",
            "Times the size of the queue could not be read or saved.",
            value=file.load_failures + file.save_failures,
        )
