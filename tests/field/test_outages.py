"""An outage costs its target few calls, and what is back after it is asked soon."""

from typing import Any

import pytest

from tests.field.build import always, answer, ask, chat, one, rule, two
from tests.field.failing import big, error, fallback
from tests.field.play import Play

OUTAGES = {
    "500": error(500),
    "502": error(502),
    "503": error(503),
    "504": error(504),
    "529, as Anthropic says it": error(529, type="overloaded_error"),
    "a web page of a proxy": answer(502, "<html>Bad Gateway</html>", "text/html"),
    "a reset": [{"then": "reset"}],
    "half an answer": [
        'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{"id":',
        {"then": "close"},
    ],
}


@pytest.mark.parametrize("how", OUTAGES.values(), ids=OUTAGES)
async def test_an_outage_of_a_minute_costs_the_target_few_calls_and_ends_within_15_seconds(
    play: Play, how: list[Any]
) -> None:
    """Fifteen calls, one every four seconds; without a breaker that holds they would meet the target thirty times."""
    script = {"models": ["m"], "rules": [rule(chat("from a"))], "rules_when": {"out": [rule(how)]}}
    client: list[dict[str, Any]] = [{"provider": "a", "from_now_on": "answers by rules_when.out"}]
    for number in range(15):
        client += [big(f"out {number}"), {"wait": 4.0}]
    client.append({"provider": "a", "from_now_on": "as before"})
    for number in range(6):
        client += [big(f"back {number}"), {"wait": 3.0}]
    played = await play(fallback(), {"a": script, "b": always(chat("from b"), "s")}, client)
    assert {got.status for got in played.got.values()} == {200}
    met = sum(len(played.asked("a", f"out {number}")) for number in range(15))
    # Five failures open it, and then one call in eight to ten seconds may look.
    assert 5 <= met <= 5 + 60 / 8
    assert played["back 5"].json["choices"][0]["message"]["content"] == "from a"


async def test_the_only_target_there_is_is_asked_in_an_outage_too_and_serves_the_first_call_after_it(
    play: Play,
) -> None:
    script = {"models": ["m"], "rules": [rule(chat("from a"))], "rules_when": {"out": [rule(error(500))]}}
    client = [{"provider": "a", "from_now_on": "answers by rules_when.out"}, *(ask(step=f"{n}") for n in range(6))]
    client += [{"provider": "a", "from_now_on": "as before"}, ask(step="after")]
    played = await play({**one(), "failover": {"retries": 0}}, {"a": script}, client)
    assert [played[f"{n}"].status for n in range(6)] == [502] * 6
    assert played["after"].status == 200


async def test_when_all_targets_are_down_the_client_hears_503_and_when_to_come_back_and_is_served_then(
    play: Play,
) -> None:
    configuration = {**two(), "failover": {"retries": 1}, "circuit_breaker": {"failure_threshold": 1}}
    providers = {"a": always(chat("from a")), "b": always(chat("from b"))}
    down = [{"provider": name, "from_now_on": "refuses connections"} for name in "ab"]
    up = [{"provider": name, "from_now_on": "as before"} for name in "ab"]
    client = [*down, ask(step="first"), ask(step="second"), *up, {"wait": 10.0}, ask(step="then")]
    played = await play(configuration, providers, client)
    assert played["first"].status == 502
    second = played["second"]
    assert (second.status, second.error["code"]) == (503, "upstream_unavailable")
    assert 1 <= int(second.header("retry-after") or 0) <= 10
    assert second.header("x-should-retry") is None
    assert played["then"].status == 200


async def test_a_rest_that_a_503_asked_for_is_not_told_as_a_rate_limit(play: Play) -> None:
    script = always(error(503, "Retry-After: 120\r\n"))
    played = await play({**one(), "failover": {"retries": 0}}, {"a": script}, [ask(step="first"), ask(step="second")])
    for got in (played["first"], played["second"]):
        assert (got.status, got.error["code"]) == (503, "upstream_unavailable")
        assert 119 <= int(got.header("retry-after") or 0) <= 120
    assert len(played.asked("a")) == 1
