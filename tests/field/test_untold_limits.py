"""A 429 that does not say for how long: waited out where there is nowhere else to go, told with a time that holds."""

from typing import Any

import pytest

from tests.field.build import always, ask, chat, one, rule, two
from tests.field.failing import error, fallback
from tests.field.play import Play


async def test_a_429_of_the_only_target_is_waited_out_and_only_then_told_with_a_time_that_holds(play: Play) -> None:
    script = {"models": ["m"], "rules": [rule(error(429))], "rules_when": {"well": [rule(chat("Hello"))]}}
    client = [
        ask(step="limited"),
        {"provider": "a", "from_now_on": "answers by rules_when.well"},
        {"wait": 1.0},
        ask(step="back"),
    ]
    played = await play({**one(), "failover": {"retries": 1}}, {"a": script}, client)
    limited = played["limited"]
    assert (limited.status, limited.error["code"]) == (429, "rate_limit_exceeded")
    assert len(played.asked("a", "limited")) == 2
    assert limited.header("retry-after") == "1"
    assert limited.header("x-should-retry") is None
    assert played["back"].status == 200
    assert len(played.asked("a", "back")) == 1


@pytest.mark.parametrize(
    ("headers", "failover"),
    [([], {"retries": 0}), ([["x-stainless-timeout", "0.4"]], {})],
    ids=["without retries", "with less time than the wait takes"],
)
async def test_a_429_is_final_at_once(play: Play, headers: list[Any], failover: dict[str, Any]) -> None:
    asked = {**ask(), "headers": headers}
    played = await play({**one(), "failover": failover}, {"a": always(error(429))}, [asked])
    assert (played["call"].status, played["call"].header("retry-after")) == (429, "1")
    assert len(played.asked("a")) == 1


@pytest.mark.parametrize("configuration", [two(), fallback()], ids=["another target", "a fallback"])
async def test_with_somewhere_else_to_go_a_429_is_not_waited_for(play: Play, configuration: dict[str, Any]) -> None:
    providers = {"a": always(error(429)), "b": always(chat("from b"), "m", "s")}
    model = {"model": "big"} if "models" in configuration else {}
    played = await play(configuration, providers, [ask(step="first", **model), ask(step="second", **model)])
    assert (played["first"].status, played["second"].status) == (200, 200)
    assert (len(played.asked("a", "first")), len(played.asked("a", "second"))) == (1, 0)


async def test_a_429_of_one_key_goes_to_the_other_key_at_once(play: Play) -> None:
    configuration = one(api_key=None, api_keys=["sk-1", "sk-2"])
    del configuration["providers"]["a"]["api_key"]
    script = {"models": ["m"], "rules": [rule(error(429), key="sk-1"), rule(chat("Hello"))]}
    played = await play(configuration, {"a": script}, [ask()])
    assert (played["call"].status, [asked.key for asked in played.asked("a")]) == (200, ["sk-1", "sk-2"])
