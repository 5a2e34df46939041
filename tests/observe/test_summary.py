"""`GET /api/metrics/summary`: what calls amount to, in all, by provider and by model."""

from typing import Any

from tests.conftest import GatewayFactory
from tests.rigs.simulator import Simulator
from tests.spec.wire import ask, chat, get, target

KEY, ADMIN = "hpx_client_4be19d0c77aa21", "hpx_admin_0f2d9be1c5a877"
PATH = "/api/metrics/summary"


async def test_calls_are_summed_by_who_answered_and_by_what_was_asked_for(
    simulator: Simulator, backup: Simulator, gateway: GatewayFactory
) -> None:
    providers = {"sim": target(simulator), "backup": target(backup)}
    models = {
        "plain": {"targets": ["sim/sim-1:tokens=9"]},
        "saved": {"targets": ["sim/sim-fault:status=503", "backup/sim-1:tokens=4"]},
        "broken": {"targets": ["sim/sim-fault:status=400"]},
    }
    running = await gateway({"providers": providers, "models": models})
    for model in ("plain", "plain", "saved", "broken"):
        await ask(running.port, chat(model))
    await ask(running.port, get("/live"))
    answer = await ask(running.port, get(PATH))
    assert (answer.status, answer.json["ok"]) == (200, True)
    told = answer.json["summary"]
    assert told["total"] == 4

    def lines(name: str, columns: tuple[str, ...]) -> dict[str, Any]:
        return {line[name]: tuple(line[column] for column in columns) for line in told[f"by_{name}"]}

    by_model = lines("model", ("calls", "completion_tokens", "failed", "cached"))
    assert by_model == {"plain": (2, 18, 0, 0), "saved": (1, 4, 0, 0), "broken": (1, 0, 1, 0)}
    by_provider = lines("provider", ("calls", "completion_tokens", "attempts", "failed_attempts"))
    assert by_provider == {"sim": (3, 18, 4, 1), "backup": (1, 4, 1, 0)}
    assert all(line["seconds"] > 0 for line in told["by_model"])
    assert told["by_model"][0]["model"] == "plain"


async def test_before_the_first_call_there_is_nothing_to_sum(gateway: GatewayFactory) -> None:
    running = await gateway()
    told = (await ask(running.port, get(PATH))).json
    assert told["summary"]["total"] == 0
    assert told["summary"]["by_model"] == []
    assert [line["calls"] for line in told["summary"]["by_provider"]] in ([], [0])


async def test_it_is_for_whom_the_metrics_are_for(gateway: GatewayFactory) -> None:
    auth = {"keys": [{"name": "web", "key": KEY}], "admin_key": ADMIN}
    running = await gateway({"auth": auth})
    heads = ("", f"X-API-Key: {KEY}\r\n", f"X-API-Key: {ADMIN}\r\n")
    assert [(await ask(running.port, get(PATH, head=head))).status for head in heads] == [401, 403, 200]
    await running.reload(metrics={"enabled": False})
    assert (await ask(running.port, get(PATH, head=heads[2]))).status == 404
