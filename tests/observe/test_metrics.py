"""What the series say of calls: counted once, timed where the time went, and back to rest afterwards."""

import asyncio
import time
from contextlib import AsyncExitStack

import pytest

from proxy.observe import lag
from proxy.observe.tally import Buckets, histogram
from tests.conftest import GatewayFactory
from tests.rigs.clock import at_most
from tests.rigs.simulator import Simulator
from tests.spec.wire import ask, becomes, chat, connect, request, target


async def test_open_streams_show_while_they_are_open(gateway: GatewayFactory) -> None:
    running = await gateway()
    endpoint = {"endpoint": "/v1/chat/completions"}
    async with AsyncExitStack() as stack:
        for _ in range(3):
            wire = await stack.enter_async_context(connect(running.port))
            wire.send(chat("sim-1:tokens=900,pace=20ms", stream=True))
            await wire.until(b"data: ")
        assert running.metric("hapax_http_active_requests", **endpoint) == 3
        assert running.metric("llm_router_active_connections", type="client", protocol="http1") == 3
        assert running.metric("hapax_upstream_connections", provider="sim", state="busy") == 3
    await becomes(lambda: running.metric("hapax_http_active_requests", **endpoint) == 0)
    await becomes(lambda: running.metric("llm_router_active_connections", type="client", protocol="http1") == 0)
    assert running.metric("hapax_exchanges_total", outcome="client_gone") == 3
    assert running.metric("llm_router_connection_duration_seconds_count", type="client", protocol="http1") == 3


async def test_the_time_of_a_call_is_told_by_where_it_went(gateway: GatewayFactory) -> None:
    running = await gateway({"models": {"slow": {"targets": ["sim/sim-1:tokens=8,ttft=1s"]}}})
    assert (await ask(running.port, chat("slow", stream=True))).status == 200
    assert running.metric("hapax_time_to_first_token_seconds_sum", provider="sim", model="slow") >= 1.0
    assert running.metric("hapax_request_latency_seconds_sum", provider="sim") >= 1.0
    # What the gateway itself needs is none of that.
    for phase in ("request", "answer"):
        assert running.metric("hapax_overhead_seconds_count", phase=phase) == 1
        assert running.metric("hapax_overhead_seconds_sum", phase=phase) < at_most(0.06)
    labels = {"gen_ai_operation_name": "chat", "gen_ai_provider_name": "sim", "gen_ai_request_model": "slow"}
    assert running.metric("gen_ai_client_operation_duration_seconds_count", **labels) == 1
    assert running.metric("gen_ai_client_token_usage_sum", **labels, gen_ai_token_type="output") == 8
    assert running.metric("llm_router_tokens_generated_total", model="slow", strategy="preference") == 8
    labels = {"model": "slow", "strategy": "preference", "status": "success", "cached": "false"}
    assert running.metric("llm_router_inference_total", **labels) == 1


async def test_a_stream_that_breaks_off_is_no_success_though_it_began_with_200(
    simulator: Simulator, backup: Simulator, gateway: GatewayFactory
) -> None:
    providers = {"sim": target(simulator), "backup": target(backup)}
    models = {
        "cut": {"targets": ["sim/sim-1:tokens=9,fin@4"]},
        "saved": {"targets": ["sim/sim-fault:status=503", "backup/sim-fast"]},
    }
    running = await gateway({"providers": providers, "models": models})
    async with connect(running.port) as wire:
        wire.send(chat("cut", stream=True))
        await wire.to_end()
    assert (await ask(running.port, chat("saved"))).status == 200
    assert running.metric("hapax_exchanges_total", outcome="cut") == 1
    cut = {"model": "cut", "strategy": "preference", "cached": "false"}
    assert running.metric("llm_router_inference_total", **cut, status="error") == 1
    assert running.metric("llm_router_inference_total", **cut, status="success") == 0
    assert running.metric("hapax_provider_attempts_total", provider="sim", outcome="failed") == 2
    assert running.metric("hapax_provider_attempts_total", provider="backup", outcome="ok") == 1
    assert running.metric("hapax_retries_total", provider="backup") == 1
    labels = {"type": "inference_error", "component": "llm_router", "severity": "error"}
    assert running.metric("llm_router_errors_total", **labels) == 1


async def test_a_method_that_a_client_has_made_up_is_no_label(gateway: GatewayFactory) -> None:
    running = await gateway()
    for method in ("PROPFIND", "REPORT"):
        assert (await ask(running.port, request("/health", method=method))).status == 405
    labels = {"route": "/health", "status_code": "405"}
    assert running.metric("llm_router_http_requests_total", method="other", **labels) == 2
    assert running.metric("llm_router_http_requests_total", method="PROPFIND", **labels) == 0


async def test_a_loop_that_is_held_up_shows_how_late_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lag, "INTERVAL", 0.01)
    watched = lag.LoopLag()
    watched.start()
    await asyncio.sleep(0.02)
    time.sleep(0.08)  # noqa: ASYNC251 - holding up the loop is the point
    await becomes(lambda: watched.worst > 0.05)
    await watched.stop()


def test_a_value_counts_in_the_first_bucket_that_holds_it_and_all_after_it() -> None:
    buckets = Buckets((1, 2.5, 10))
    for value in (0.5, 1, 2, 11):
        buckets.observe(value)
    family = histogram("name", "help", ("model",), [(("a",), buckets), (("a",), buckets)])
    assert [(sample.name, sample.labels, sample.value) for sample in family.samples] == [
        ("name_bucket", {"model": "a", "le": "1.0"}, 4),
        ("name_bucket", {"model": "a", "le": "2.5"}, 6),
        ("name_bucket", {"model": "a", "le": "10.0"}, 6),
        ("name_bucket", {"model": "a", "le": "+Inf"}, 8),
        ("name_count", {"model": "a"}, 8),
        ("name_sum", {"model": "a"}, 29.0),
    ]
