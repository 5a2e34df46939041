"""What each key has used, and why attempts failed, as series for graphs."""

from collections.abc import Iterator

import pytest

from proxy.core.exchange import AttemptRecord, Exchange
from proxy.observe import clients as observed
from proxy.observe.clients import Clients
from tests.conftest import GatewayFactory
from tests.rigs.simulator import Simulator
from tests.spec.wire import ask, chat, get, target

ONE, OTHER, POOR = "hpx_client_4be19d0c77aa21", "hpx_client_90c3f1aa7be2d4", "hpx_client_poor_1c84e0f9"
PRICES = "ours:\n  source: this test\n  as_of: 2026-11-25\n  models: {'sim-*': {input: 1, output: 2}}\n"


async def test_calls_tokens_and_money_are_told_by_key_and_team(gateway: GatewayFactory, tmp_path) -> None:
    (tmp_path / "prices.yaml").write_text(PRICES)
    keys = [
        {"name": "web", "key": ONE, "team": "shop"},
        {"name": "batch", "key": OTHER},
        {"name": "poor", "key": POOR, "limits": {"requests_per_minute": 1}},
    ]
    running = await gateway({"auth": {"keys": keys}, "store": {"url": "", "prices": str(tmp_path / "prices.yaml")}})
    for key in (ONE, ONE, OTHER, POOR, POOR):
        await ask(running.port, chat("sim-1:tokens=9", head=f"X-API-Key: {key}\r\n"))
    await ask(running.port, get("/v1/models", head=f"X-API-Key: {OTHER}\r\n"))
    assert running.metric("hapax_key_calls_total", client="web", team="shop", outcome="ok") == 2
    assert running.metric("hapax_key_tokens_total", client="web", team="shop", kind="completion") == 18
    cost = running.metric("hapax_key_cost_usd_total", client="web", team="shop")
    prompt = running.metric("hapax_key_tokens_total", client="web", team="shop", kind="prompt")
    assert cost == pytest.approx((prompt + 2 * 18) / 1e6)
    # A page is no call, and what a limit refused is told by another family.
    assert running.metric("hapax_key_calls_total", client="batch", team="", outcome="ok") == 1
    assert running.metric("hapax_key_calls_total", client="poor", team="", outcome="ok") == 1
    assert running.metric("hapax_rate_limit_hits_total", client="poor") == 1


def ended(names: Iterator[str]) -> list[Exchange]:
    made = []
    for name in names:
        exchange = Exchange(name)
        exchange.principal = name
        exchange.attempts.append(AttemptRecord("sim", "sim-1", exchange.started))
        made.append(exchange)
    return made


def test_of_very_many_keys_the_last_are_told_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observed, "MOST_CLIENTS", 2)
    clients = Clients(lambda name: f"team of {name}")
    clients.ended(ended(iter(("a", "b", "c", "d", "a"))))
    calls, *_ = clients.collect()
    told = {(each.labels["client"], each.labels["team"]): each.value for each in calls.samples}
    assert told == {("a", "team of a"): 2, ("b", "team of b"): 1, ("other", ""): 2}


async def test_why_attempts_failed_is_told_by_provider(
    simulator: Simulator, backup: Simulator, gateway: GatewayFactory
) -> None:
    providers = {"sim": target(simulator), "backup": target(backup)}
    models = {"saved": {"targets": ["sim/sim-fault:status=503", "backup/sim-fast"]}}
    running = await gateway({"providers": providers, "models": models})
    assert (await ask(running.port, chat("saved"))).status == 200
    running.caught_up()
    (family,) = running.listener.gateway.failures.collect()
    ((labels, value),) = [(sample.labels, sample.value) for sample in family.samples]
    assert labels["provider"] == "sim"
    assert value >= 1
    assert running.metric("hapax_provider_errors_total", provider="sim") == value
