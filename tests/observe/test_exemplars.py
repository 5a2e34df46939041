"""From a bucket of a histogram to the trace of a call that fell into it, and the units of families."""

import re

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_open_metrics

from proxy.observe.merged import Merged, Snapshot, snapshot
from proxy.observe.tally import Buckets, histogram
from proxy.observe.units import WithUnits, unit_of
from tests.conftest import GatewayFactory
from tests.rigs.collector import span_collector
from tests.spec.wire import ask, chat, get

OPEN_METRICS = "Accept: application/openmetrics-text; version=1.0.0\r\n"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"traceparent: 00-{TRACE}-00f067aa0ba902b7-%s\r\n"


async def exemplars(port: int) -> dict[str, set[str]]:
    """Trace ids by the family whose buckets lead to them."""
    page = (await ask(port, get("/metrics", head=OPEN_METRICS))).body.decode()
    found: dict[str, set[str]] = {}
    for name, trace in re.findall(r'^(\w+)_bucket\{[^\n]* # \{trace_id="(\w+)"\} [\d.e-]+ \d+\.\d+$', page, re.M):
        found.setdefault(name, set()).add(trace)
    return found


async def test_a_recorded_stream_can_be_found_from_its_duration_and_its_first_token(gateway: GatewayFactory) -> None:
    async with span_collector() as collector:
        running = await gateway({"tracing": {"otlp_endpoint": collector.url}})
        assert (await ask(running.port, chat(stream=True, head=TRACEPARENT % "01"))).status == 200
        found = await exemplars(running.port)
        assert found["hapax_http_request_duration_seconds"] == {TRACE}
        assert found["hapax_time_to_first_token_seconds"] == {TRACE}
        assert found["llm_router_inference_duration_seconds"] == {TRACE}
        assert found["gen_ai_client_operation_duration_seconds"] == {TRACE}
        plain = await ask(running.port, get("/metrics"))
        assert b"trace_id" not in plain.body


async def test_a_call_whose_trace_is_not_recorded_leads_nowhere(gateway: GatewayFactory) -> None:
    async with span_collector() as collector:
        running = await gateway({"tracing": {"otlp_endpoint": collector.url}})
        await ask(running.port, chat(head=TRACEPARENT % "00"))
        # Probes are recorded only for a client that records them.
        await ask(running.port, get("/live"))
        assert await exemplars(running.port) == {}
    untraced = await gateway()
    await ask(untraced.port, chat(head=TRACEPARENT % "01"))
    assert await exemplars(untraced.port) == {}


def of_worker(value: float, trace_id: str, moment: float) -> Snapshot:
    buckets = Buckets((1, 2))
    buckets.observe(value)
    buckets.exemplify(value, trace_id, moment)
    registry = CollectorRegistry()

    class One:
        def collect(self) -> list[object]:
            return [histogram("hapax_x_seconds", "X.", ("a",), [(("b",), buckets)])]

    registry.register(One())  # type: ignore[arg-type]  # it collects, which is all there is to a collector
    return snapshot(registry)


def test_of_several_workers_the_last_call_in_a_bucket_is_the_one_that_is_led_to() -> None:
    merged = Merged([of_worker(0.5, "late", 20.25), of_worker(0.75, "early", 10.5), of_worker(1.5, "slow", 5.0)])
    again = Merged([merged.snapshot()])
    assert generate_open_metrics(WithUnits(again)).decode() == (  # type: ignore[arg-type]  # it collects
        "# HELP hapax_x_seconds X.\n"
        "# TYPE hapax_x_seconds histogram\n"
        "# UNIT hapax_x_seconds seconds\n"
        'hapax_x_seconds_bucket{a="b",le="1.0"} 2.0 # {trace_id="late"} 0.5 20.25\n'
        'hapax_x_seconds_bucket{a="b",le="2.0"} 3.0 # {trace_id="slow"} 1.5 5.0\n'
        'hapax_x_seconds_bucket{a="b",le="+Inf"} 3.0\n'
        'hapax_x_seconds_count{a="b"} 3.0\n'
        'hapax_x_seconds_sum{a="b"} 2.75\n'
        "# EOF\n"
    )
    assert "late" not in generate_latest(again).decode()  # type: ignore[arg-type]  # it collects


def test_a_family_tells_the_unit_that_its_name_ends_in() -> None:
    names = ("hapax_overhead_seconds", "process_resident_memory_bytes", "hapax_cost_usd", "hapax_exchanges", "up")
    assert [unit_of(name) for name in names] == ["seconds", "bytes", "usd", "", ""]


async def test_every_family_that_ends_in_a_unit_tells_it(gateway: GatewayFactory) -> None:
    running = await gateway()
    page = (await ask(running.port, get("/metrics", head=OPEN_METRICS))).body.decode()
    families = re.findall(r"^# TYPE (\w+) ", page, re.M)
    told = re.findall(r"^# UNIT (\w+) (\w+)$", page, re.M)
    assert told == [(name, unit_of(name)) for name in families if unit_of(name)]
    assert len(told) > 20
