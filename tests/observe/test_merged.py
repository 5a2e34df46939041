"""The metrics of several workers as one page."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest

from proxy.observe.merged import RULES, Merged, Snapshot, snapshot
from tests.conftest import GatewayFactory

ADDED = {
    "hapax_http_active_requests",
    "hapax_ledger_buffered",
    "hapax_objects_waiting",
    "hapax_provider_in_flight",
    "hapax_queue_running",
    "hapax_queue_size",
    "hapax_queue_waiting",
    "hapax_upstream_connections",
    "hapax_workers",
    "llm_router_active_connections",
    "llm_router_cache_size_bytes",
    "llm_router_process_heap_bytes",
    "llm_router_process_open_fds",
    "llm_router_process_resident_memory_bytes",
    "llm_router_process_virtual_memory_bytes",
    "llm_router_queue_size",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_virtual_memory_bytes",
}
"""Gauges of which every worker has a part."""


def worker(calls: dict[str, int], seconds: list[float], healthy: int, running: int) -> Snapshot:
    registry = CollectorRegistry()
    counted = Counter("hapax_calls", "Calls.", ["model"], registry=registry)
    for model, number in calls.items():
        counted.labels(model).inc(number)
    lasted = Histogram("hapax_seconds", "Seconds.", buckets=(1, 2), registry=registry)
    for each in seconds:
        lasted.observe(each)
    Gauge("hapax_provider_healthy", "Healthy.", registry=registry).set(healthy)
    Gauge("hapax_queue_running", "Running.", registry=registry).set(running)
    return snapshot(registry)


def page(merged: Merged) -> str:
    text: str = generate_latest(merged).decode()  # type: ignore[arg-type]  # it wants no more than `collect`
    return "".join(line + "\n" for line in text.splitlines() if not line.startswith("#") and "_created" not in line)


def test_counts_are_added_and_what_any_worker_finds_amiss_is_amiss() -> None:
    one = worker({"a": 1, "b": 2}, [0.5, 1.5], healthy=1, running=3)
    other = worker({"b": 3, "c": 4}, [5.0], healthy=0, running=4)
    assert page(Merged([one, other])) == (
        'hapax_calls_total{model="a"} 1.0\n'
        'hapax_calls_total{model="b"} 5.0\n'
        'hapax_calls_total{model="c"} 4.0\n'
        'hapax_seconds_bucket{le="1.0"} 1.0\n'
        'hapax_seconds_bucket{le="2.0"} 2.0\n'
        'hapax_seconds_bucket{le="+Inf"} 3.0\n'
        "hapax_seconds_count 3.0\n"
        "hapax_seconds_sum 7.0\n"
        "hapax_provider_healthy 0.0\n"
        "hapax_queue_running 7.0\n"
    )


def test_of_a_worker_that_is_gone_the_counts_stay() -> None:
    merged = Merged([worker({"a": 1}, [0.5], healthy=1, running=3)])
    merged.add(worker({"a": 2}, [0.5], healthy=0, running=9), gone=True)
    assert 'hapax_calls_total{model="a"} 3.0\n' in page(merged)
    assert page(merged).endswith("hapax_seconds_sum 1.0\nhapax_provider_healthy 1.0\nhapax_queue_running 3.0\n")


def test_what_is_put_together_can_be_told_on() -> None:
    merged = Merged([worker({"a": 1}, [0.5], healthy=1, running=3)])
    assert page(Merged([merged.snapshot()])) == page(merged)


async def test_of_every_gauge_it_is_said_how_values_become_one(gateway: GatewayFactory, sqlite_url: str) -> None:
    running = await gateway({"store": {"url": sqlite_url}, "queue": {"enabled": True}})
    gauges = {family.name for family in running.listener.gateway.metrics.registry.collect() if family.type == "gauge"}
    assert gauges == ADDED | set(RULES)
