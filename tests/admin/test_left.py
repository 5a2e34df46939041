"""What `/v1/usage` tells a caller of what it has left: each of its limits, and its budget."""

import datetime
from pathlib import Path
from typing import Any

import pytest

from proxy.accounts.principals import Principal
from proxy.admin.left import Left
from proxy.core import clock
from proxy.limits.limit import Reservation, What
from proxy.limits.memory import MemoryLimits
from proxy.limits.policy import Policy
from proxy.limits.redis import RedisLimits
from proxy.settings import Budget, KeyLimits
from proxy.settings.access import LimitSettings
from tests.conftest import GatewayFactory, RunningGateway
from tests.rigs.redis import redis_server
from tests.spec.wire import ask, chat, get

KEY = "hapax-client-4b1e9d7730aa65c2"
KEYED = f"Authorization: Bearer {KEY}\r\n"


def settings(tmp_path: Path, **key: Any) -> dict[str, Any]:
    return {
        "auth": {"keys": [{"name": "me", "key": KEY, **key}]},
        "store": {"url": f"sqlite:///{tmp_path}/hapax.db"},
    }


async def left(running: RunningGateway) -> Any:
    answer = await ask(running.port, get("/v1/usage", head=KEYED))
    assert answer.status == 200, answer.body
    return answer.json


def moment(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text)


async def test_a_key_without_limits_has_none_to_tell_of(gateway: GatewayFactory, tmp_path: Path) -> None:
    told = await left(await gateway(settings(tmp_path)))
    assert (told["limits"], told["budget"]) == ([], None)
    assert told["by"] == "model"


async def test_each_limit_is_told_with_what_is_left_and_looking_takes_nothing(
    gateway: GatewayFactory, tmp_path: Path
) -> None:
    own = {"requests_per_minute": 60, "tokens_per_minute": 10_000, "concurrent": 3}
    more = {"routes": {"/v1/chat/completions": {"requests_per_minute": 5}}, "models": {"sim-*": {"concurrent": 1}}}
    running = await gateway({**settings(tmp_path, limits=own), "limits": more})
    for _ in range(2):
        fresh = await left(running)
    assert [(each["limit"], each["route"], each["model"], each["left"]) for each in fresh["limits"]] == [
        ("requests_per_minute", None, None, 60),
        ("tokens_per_minute", None, None, 10_000),
        ("concurrent", None, None, 3),
        ("requests_per_minute", "/v1/chat/completions", None, 5),
        ("concurrent", None, "sim-*", 1),
    ]
    used = (await ask(running.port, chat(head=KEYED))).json["usage"]["total_tokens"]
    asked = datetime.datetime.now(datetime.UTC)
    per_minute, tokens, places, of_route, of_model = (await left(running))["limits"]
    assert (per_minute["left"], of_route["left"], places["left"], of_model["left"]) == (59, 4, 3, 1)
    assert tokens["amount"] - used <= tokens["left"] < tokens["amount"]
    assert places["whole_at"] is None
    # One request of five a minute is back after twelve seconds.
    assert 10 < (moment(of_route["whole_at"]) - asked).total_seconds() < 13


async def test_a_budget_is_told_as_it_was_spent_also_by_a_process_before_this_one(
    gateway: GatewayFactory, tmp_path: Path
) -> None:
    asked = settings(tmp_path, budget={"tokens": 1000, "per": "day"})
    first = await gateway(asked)
    spent = (await ask(first.port, chat(head=KEYED))).json["usage"]["total_tokens"]
    budget = (await left(first))["budget"]
    assert budget | {"resets_at": ""} == {
        "unit": "tokens",
        "per": "day",
        "amount": 1000,
        "spent": spent,
        "left": 1000 - spent,
        "resets_at": "",
    }
    tomorrow = datetime.datetime.now(datetime.UTC).date() + datetime.timedelta(days=1)
    assert abs(moment(budget["resets_at"]) - moment(f"{tomorrow}T00:00:00Z")) < datetime.timedelta(seconds=1)
    await first.listener.stop()
    second = await gateway(asked)
    assert (await left(second))["budget"]["spent"] == spent


async def test_what_was_spent_is_not_told_while_it_cannot_be_known() -> None:
    async def away(holder: str, unit: str, since: datetime.datetime) -> int | None:
        return None

    one = Left(MemoryLimits(away), Policy(LimitSettings.model_validate({})))
    principal = Principal("me", budget=Budget.model_validate({"usd": 1.5, "per": "hour"}))
    told = (await one.of(principal, "me"))["budget"]
    assert (told["unit"], told["amount"], told["spent"], told["left"]) == ("micro_usd", 1_500_000, None, None)


@pytest.mark.parametrize("spent", [100, 250])
async def test_a_budget_that_is_used_up_has_nothing_left(spent: int) -> None:
    async def told_spent(holder: str, unit: str, since: datetime.datetime) -> int | None:
        return spent

    one = Left(MemoryLimits(told_spent), Policy(LimitSettings.model_validate({})))
    principal = Principal(
        "me",
        limits=KeyLimits.model_validate({"concurrent": 2}),
        budget=Budget.model_validate({"tokens": 100, "per": "hour"}),
    )
    told = await one.of(principal, "me")
    assert (told["budget"]["spent"], told["budget"]["left"]) == (spent, 0)
    assert told["limits"][0]["left"] == 2


async def test_over_redis_a_worker_tells_what_another_one_has_taken() -> None:
    async def nothing_spent(holder: str, unit: str, since: datetime.datetime) -> int | None:
        return 0

    own = KeyLimits.model_validate({"requests_per_minute": 60, "concurrent": 5})
    principal = Principal("me", limits=own, budget=Budget.model_validate({"tokens": 1000, "per": "month"}))
    policy = Policy(LimitSettings.model_validate({}))
    with redis_server() as server:
        one, other = (RedisLimits(server.url, nothing_spent, patience=5.0) for _ in range(2))
        try:
            await one.start()
            await other.start()
            fresh = await Left(other, policy).of(principal, "me")
            assert [each["left"] for each in fresh["limits"]] == [60, 5]
            assert (fresh["budget"]["spent"], fresh["budget"]["left"]) == (0, 1000)
            claims = policy.applying("me", own, principal.budget, "/v1/embeddings", "m").claims(0, 400)
            held = await one.reserve(claims)
            assert isinstance(held, Reservation)
            for worker in (one, other):
                told = await Left(worker, policy).of(principal, "me")
                assert [each["left"] for each in told["limits"]] == [59, 4]
                assert told["budget"]["left"] == 600
            one.settle(held, {What.BUDGET: 300, What.REQUESTS: 1}, clock.now())
            await one.stop()
            told = await Left(other, policy).of(principal, "me")
            assert (told["budget"]["spent"], told["budget"]["left"]) == (300, 700)
            assert [each["left"] for each in told["limits"]] == [59, 5]
        finally:
            await one.stop()
            await other.stop()
