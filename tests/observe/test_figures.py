"""What a figure says it counts is what it counts: calls, attempts, streams, models; and no probe or page among them."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from proxy.health.checkup import Check, Checkup, Found
from proxy.observe import state
from proxy.observe.access import fields
from proxy.providers.budget import RetryBudget
from proxy.relay import event_stream
from tests.conftest import GatewayFactory, RunningGateway
from tests.rigs.simulator import Delay, Hold, Send, Simulator
from tests.spec.wire import ask, becomes, chat, connect, get, request, target
from tests.test_docs import figures

ADMIN, KEY = "hpx_admin_0f2d9be1c5a877", "hpx_client_4be19d0c77aa21"
HEAD, HEADS = f"X-API-Key: {KEY}\r\n", f"X-API-Key: {ADMIN}\r\n"
AUTH: dict[str, Any] = {"keys": [{"name": "web", "key": KEY}], "admin_key": ADMIN}
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
ROLE = b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n'
PIECE = b'data: {"choices":[{"index":0,"delta":{"content":"so "}}]}\n\n'
HOUSEKEEPING = ("/live", "/ready", "/health", "/metrics", "/admin/providers", "/ui", "/ui/no-such-file.js", "/")
PAGES = ("/v1/models", "/v1/models/sim-fast", "/v1/usage")


def all_of(running: RunningGateway, family: str) -> dict[str, float]:
    """Every sample of a family with one label, by that label's value."""
    running.caught_up()
    return {
        next(iter(sample.labels.values())): sample.value
        for each in running.listener.gateway.metrics.registry.collect()
        if each.name == family
        for sample in each.samples
    }


def moved(running: RunningGateway) -> dict[str, list[tuple[dict[str, str], float]]]:
    """Every family's samples, by the name docs/metrics.md has for it; rows still on their way to the store aside."""
    running.caught_up()
    return {
        family.name + ("_total" if family.type == "counter" else ""): [
            (dict(each.labels), each.value) for each in family.samples
        ]
        for family in running.listener.gateway.metrics.registry.collect()
        if not family.name.startswith("hapax_ledger")
    }


async def test_calls_that_all_fail_are_not_lost_among_probes_and_pages(gateway: GatewayFactory) -> None:
    models = {"broken": {"targets": ["sim/sim-fault:status=503"]}}
    running = await gateway({"auth": AUTH, "models": models, "failover": {"retries": 0}})
    await running.listener.gateway.checks.known.wait()
    for _ in range(3):
        assert (await ask(running.port, chat("broken", head=HEAD))).status == 503
        for path in HOUSEKEEPING:
            await ask(running.port, get(path, head=HEADS))
        for path in PAGES:
            await ask(running.port, get(path, head=HEAD))
    assert all_of(running, "hapax_exchanges") == {"ok": 0, "refused": 0, "failed": 3, "cut": 0, "client_gone": 0}
    assert all_of(running, "hapax_errors") == {"upstream_unavailable": 3}
    assert sum(all_of(running, "llm_router_errors").values()) == 3
    assert running.metric("hapax_http_requests_total", endpoint="/ready", status="200") == 3
    series = running.listener.gateway.series
    assert series.told("model", None, 0, 2**31, 1).keys() == {"broken"}


async def test_no_figure_that_is_of_calls_or_attempts_moves_while_there_is_housekeeping_alone(
    gateway: GatewayFactory, tmp_path: Path
) -> None:
    store = {"url": f"sqlite:///{tmp_path}/hapax.db"}
    running = await gateway({"auth": AUTH, "store": store, "queue": {"enabled": True}})
    await running.listener.gateway.checks.known.wait()
    assert (await ask(running.port, chat(head=HEAD, stream=True))).status == 200
    before = moved(running)
    for path in HOUSEKEEPING:
        await ask(running.port, get(path, head=HEADS))
    for path in PAGES:
        await ask(running.port, get(path, head=HEAD))
    after = moved(running)
    of = figures()
    changed = {of[name] for name, samples in after.items() if samples != before[name] and name in of}
    assert "requests" in changed
    assert {name for name in after if after[name] != before[name] and of.get(name) in ("calls", "attempts")} == set()


async def test_to_delete_a_model_is_a_call_and_to_read_of_one_is_none(
    simulator: Simulator, gateway: GatewayFactory
) -> None:
    running = await gateway({"auth": AUTH})
    simulator.script([Send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")], match="/v1/models/sim-fast")
    assert (await ask(running.port, get("/v1/models/sim-fast", head=HEAD))).status == 200
    assert running.metric("hapax_exchanges_total", outcome="ok") == 0
    assert (await ask(running.port, request("/v1/models/sim-fast", method="DELETE", head=HEAD))).status == 200
    assert running.metric("hapax_exchanges_total", outcome="ok") == 1


async def test_a_preflight_is_no_call_and_a_path_that_does_not_exist_is_a_refused_one(gateway: GatewayFactory) -> None:
    running = await gateway({"server": {"cors": {"allow_origins": ["https://app.example"]}}})
    ask_first = "Origin: https://app.example\r\nAccess-Control-Request-Method: POST\r\n"
    assert (await ask(running.port, request("/v1/chat/completions", method="OPTIONS", head=ask_first))).status == 204
    assert sum(all_of(running, "hapax_exchanges").values()) == 0
    assert (await ask(running.port, get("/chat/completions"))).status == 404
    assert running.metric("hapax_exchanges_total", outcome="refused") == 1


async def test_a_stream_has_a_first_token_and_a_whole_answer_a_time_of_its_own(gateway: GatewayFactory) -> None:
    running = await gateway({"models": {"three": {"targets": ["sim/sim-1:tokens=3"]}}})
    ended = running.observed()
    for stream in (False, True):
        assert (await ask(running.port, chat("three", stream=stream))).status == 200
    first, whole = "hapax_time_to_first_token_seconds_count", "hapax_whole_answer_seconds_count"
    assert running.metric(first, provider="sim", model="three") == 1
    assert running.metric(whole, provider="sim", model="three") == 1
    told = [fields(exchange, None)["time_to_first_token_ms"] for exchange in ended]
    assert (told[0], told[1] > 0) == (None, True)


async def test_a_sign_of_life_is_no_first_token(
    simulator: Simulator, gateway: GatewayFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "AT_WORK", 0.0)
    running = await gateway()
    end = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    simulator.script([Send(STREAM + b": at work\n\n"), Delay(0.2), Send(PIECE + end)], match="/v1/chat/*")
    ended = running.observed()
    async with connect(running.port) as wire:
        wire.send(chat(stream=True))
        await wire.until(b": at work")
        await wire.until(b"[DONE]")
    await becomes(lambda: running.caught_up() or ended)
    (attempt,) = ended[0].attempts
    assert attempt.first_token_at - attempt.first_content_at >= 0.15
    assert running.metric("hapax_time_to_first_token_seconds_sum", provider="sim", model="sim-fast") >= 0.15


async def test_what_was_emitted_is_counted_in_pieces_of_content(gateway: GatewayFactory) -> None:
    running = await gateway()
    ended = running.observed()
    assert (await ask(running.port, chat("sim-1:tokens=27", stream=True))).status == 200
    assert (await ask(running.port, chat("sim-1:tokens=27"))).status == 200
    running.caught_up()
    assert [exchange.emitted for exchange in ended] == [27, 0]
    assert running.metric("hapax_emitted_events_total", provider="sim") == 27


@pytest.mark.parametrize("mode", ["off", "all"])
async def test_of_a_stream_that_its_client_left_what_it_got_is_counted(
    simulator: Simulator, gateway: GatewayFactory, mode: str
) -> None:
    running = await gateway({"deduplication": {"mode": mode}})
    ended = running.observed()
    simulator.script([Send(STREAM + ROLE + PIECE + PIECE + PIECE[:20]), Hold()], match="/v1/chat/*")
    async with connect(running.port) as wire:
        wire.send(chat(stream=True))
        await wire.until(PIECE + PIECE)
    await becomes(lambda: running.caught_up() or ended)
    assert [(exchange.outcome, exchange.emitted) for exchange in ended] == [("client_gone", 2)]


async def test_one_of_two_clients_of_an_answer_that_leaves_early_has_got_less_of_it(
    simulator: Simulator, gateway: GatewayFactory
) -> None:
    running = await gateway({"deduplication": {"mode": "all"}})
    ended = running.observed()
    end = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    simulator.script([Send(STREAM + PIECE), Delay(0.3), Send(PIECE + PIECE + end)], match="/v1/chat/*")
    async with connect(running.port) as stays:
        stays.send(chat(stream=True))
        await stays.until(PIECE)
        async with connect(running.port) as leaves:
            leaves.send(chat(stream=True))
            await leaves.until(PIECE)
        await stays.until(b"[DONE]")
    await becomes(lambda: running.caught_up() or len(ended) == 2)
    assert {str(exchange.outcome): exchange.emitted for exchange in ended} == {"client_gone": 1, "ok": 3}


async def test_every_page_tells_the_same_number_of_models(
    simulator: Simulator, backup: Simulator, gateway: GatewayFactory
) -> None:
    providers = {"one": target(simulator), "two": target(backup, models=["sim-*", "more"])}
    models = {"named": {"targets": ["one/sim-fast"]}, "sim-1": {"targets": ["two/sim-1"]}, "any-*": {}}
    running = await gateway({"auth": AUTH, "providers": providers, "models": models})
    await running.listener.gateway.checks.known.wait()
    listed = len((await ask(running.port, get("/v1/models", head=HEAD))).json["data"])
    health = (await ask(running.port, get("/health", head=HEAD))).json
    assert health["checks"]["models_available"]["details"]["models"] == listed
    loaded = all_of(running, "llm_router_models_loaded")
    assert (sum(loaded.values()), loaded["two"], loaded["hapax"]) == (listed, 1, 1)


async def test_a_second_attempt_beside_a_silent_one_is_no_retry(
    simulator: Simulator, backup: Simulator, gateway: GatewayFactory
) -> None:
    providers = {"one": target(simulator), "two": target(backup)}
    models = {"slow": {"targets": ["one/sim-fault:silence", "two/sim-fast"]}}
    running = await gateway({"providers": providers, "models": models, "failover": {"patience": "20ms"}})
    assert (await ask(running.port, chat("slow", stream=True))).status == 200
    assert running.metric("hapax_hedges_total") == 1
    assert sum(all_of(running, "hapax_retries").values()) == 0
    assert sum(all_of(running, "hapax_provider_requests").values()) == 2


async def test_attempts_that_their_budget_does_not_allow_are_counted(
    simulator: Simulator, backup: Simulator, gateway: GatewayFactory
) -> None:
    providers = {"one": target(simulator), "two": target(backup)}
    models = {"slow": {"targets": ["one/sim-1:ttft=200ms", "two/sim-fast"]}}
    settings = {"providers": providers, "models": models, "failover": {"patience": "20ms", "budget": 0}}
    running = await gateway(settings)
    running.listener.gateway.relay._hedge_budget = RetryBudget(0.0, reserve=0.0, trickle=0.0)
    assert (await ask(running.port, chat("slow", stream=True))).status == 200
    assert (await ask(running.port, chat("sim-fault:status=503"))).status == 503
    refused = all_of(running, "hapax_extra_attempts_refused")
    assert (refused["hedge"] >= 1, refused["retry"]) == (True, 1)


async def test_a_key_whose_money_is_gone_is_told_from_one_that_was_refused(gateway: GatewayFactory) -> None:
    async with Simulator(api_key="sk-good") as strict, Simulator() as poor:
        providers = {
            "strict": target(strict, api_keys=["sk-bad"], models=["sim-strict"]),
            "poor": target(poor, models=["sim-poor"]),
        }
        models = {
            "refused": {"targets": ["strict/sim-strict"]},
            "spent": {"targets": ["poor/sim-fault:code=insufficient_quota"]},
        }
        running = await gateway({"providers": providers, "models": models, "health_check": {"enabled": False}})
        for model in models:
            assert (await ask(running.port, chat(model))).status >= 400
        assert all_of(running, "hapax_provider_keys_parked") == {"strict": 1, "poor": 1}
        assert all_of(running, "hapax_provider_keys_spent") == {"strict": 0, "poor": 1}


async def test_a_key_shows_which_share_of_its_budget_is_spent(gateway: GatewayFactory) -> None:
    keys = [{"name": "web", "key": KEY, "budget": {"tokens": 1000, "per": "month"}}, {"name": "free", "key": "hpx_c_2"}]
    running = await gateway({"auth": {"keys": keys}})
    assert all_of(running, "hapax_key_budget_spent_ratio") == {}
    assert (await ask(running.port, chat("sim-1:tokens=98", head=HEAD))).json["usage"]["total_tokens"] == 100
    running.listener.gateway.admission.settle_all()
    assert all_of(running, "hapax_key_budget_spent_ratio") == {"web": 0.1}


async def test_of_many_budgets_the_fullest_are_told(gateway: GatewayFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "MOST_BUDGETS", 1)
    names = ("light", "heavy", "medium")
    keys = [{"name": name, "key": f"hpx_of_{name}", "budget": {"tokens": 1000, "per": "month"}} for name in names]
    running = await gateway({"auth": {"keys": keys}})
    for name, tokens in zip(names, (8, 498, 98), strict=True):
        head = f"Authorization: Bearer hpx_of_{name}\r\n"
        assert (await ask(running.port, chat(f"sim-1:tokens={tokens}", head=head))).status == 200
    running.listener.gateway.admission.settle_all()
    assert all_of(running, "hapax_key_budget_spent_ratio") == {"heavy": 0.5}


async def test_whether_calls_may_be_sent_here_is_a_figure(gateway: GatewayFactory) -> None:
    running = await gateway()
    await running.listener.gateway.checks.known.wait()
    assert running.metric("hapax_ready") == 1
    running.listener.gateway.under_way.draining = True
    assert running.metric("hapax_ready") == 0
    assert (await ask(running.port, get("/ready"))).status == 503
    running.listener.gateway.under_way.draining = False


def test_only_a_critical_check_that_fails_or_breaks_says_no() -> None:
    def breaks() -> Found:
        raise OSError

    for look, critical, fails in (
        (lambda: Found(True), True, False),
        (lambda: Found(False), True, True),
        (lambda: Found(False), False, False),
        (breaks, True, True),
        (breaks, False, False),
    ):
        assert Checkup([Check("x", look, critical=critical)], 1.0, 1.0).fails_critically() is fails


async def test_the_share_of_a_budget_is_not_told_before_it_is_known(gateway: GatewayFactory) -> None:
    """Of a key that has not called since the start nothing is known, and to ask for it costs the page nothing."""
    auth = {"keys": [{"name": "web", "key": KEY, "budget": {"tokens": 10, "per": "day"}}]}
    running = await gateway({"auth": auth})
    await asyncio.gather(*(ask(running.port, get("/v1/models", head=HEAD)) for _ in range(2)))
    assert all_of(running, "hapax_key_budget_spent_ratio") == {}
