"""`/admin/series`: what the calls of a day amount to, within a bound of memory, over several workers."""

import random
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.admin.series import CELL, COMPLETION, COST, EDGES, FIRST_TOKEN, MINUTES, MOST_NAMES, PROMPT, Series, quantile
from proxy.core.exchange import AttemptRecord, Exchange, Outcome
from proxy.core.usage import Tokens
from proxy.providers.breaker import Breaker
from proxy.providers.pool import Entry, Pool
from proxy.providers.provider import Provider
from tests.conftest import GatewayFactory, RunningGateway
from tests.spec.wire import ask, chat, get

ADMIN = "X-API-Key: hapax-admin-9f2b6c1de04a7788\r\n"
WEB = "X-API-Key: hapax-client-4b1e9d7730aa65c2\r\n"
KEYS = {
    "keys": [{"name": "web", "key": "hapax-client-4b1e9d7730aa65c2"}],
    "admin_key": "hapax-admin-9f2b6c1de04a7788",
}


def series(*models: str) -> Series:
    """One for which the monotonic clock began in 1970, with these models."""
    pool = Pool(
        [Provider("a", models or None)], {"gpt-*": Entry()}, lambda: Breaker(100, 30.0, 10.0, 5), random.Random(1)
    )
    return Series(pool, epoch=lambda: 0.0)


def call(
    ended: float,
    model: str = "m",
    provider: str = "a",
    key: str = "k",
    outcome: Outcome = Outcome.OK,
    first_token: float | None = 0.5,
    cost: int | None = 7,
) -> Exchange:
    exchange = Exchange("x", started=ended - 10)
    exchange.route, exchange.ended, exchange.outcome = "/v1/chat/completions", ended, outcome
    exchange.model, exchange.principal, exchange.cost = model, key, cost
    if provider:
        attempt = AttemptRecord(provider, model, exchange.started)
        if first_token is not None:
            attempt.first_content_at = attempt.first_token_at = exchange.started + first_token
            attempt.tokens = Tokens(3, 2)
        exchange.attempts = [attempt]
    return exchange


def calls_of(told: dict[str, dict[int, list[int]]]) -> dict[str, dict[int, int]]:
    return {name: {at: sum(cell[:PROMPT]) for at, cell in cells.items()} for name, cells in told.items()}


def test_a_call_counts_in_its_minute_and_under_its_names() -> None:
    minutes = series("m", "n")
    minutes.ended([call(60.0), call(119.9, outcome=Outcome.CUT)])
    minutes.ended([call(120.0, model="n", key="other-key")])
    assert calls_of(minutes.told(None, None, 1, 2, 1)) == {"": {0: 2, 1: 1}}
    assert calls_of(minutes.told("model", None, 1, 2, 1)) == {"m": {0: 2}, "n": {1: 1}}
    assert calls_of(minutes.told("provider", None, 1, 2, 2)) == {"a": {0: 3}}
    assert calls_of(minutes.told("key", "k", 1, 2, 1)) == {"k": {0: 2}}
    assert calls_of(minutes.told("key", None, 3, 9, 1)) == {}
    cell = minutes.told(None, None, 1, 1, 1)[""][0]
    assert cell[:PROMPT] == [1, 0, 0, 1, 0]
    assert (cell[PROMPT], cell[COMPLETION], cell[COST]) == (6, 4, 14)
    assert sum(cell[FIRST_TOKEN:]) == 2
    assert len(cell) == CELL


def test_what_is_no_call_is_not_counted_and_a_refused_call_counts_under_what_is_known_of_it() -> None:
    minutes = series("m")
    probe = call(60.0, provider="")
    probe.route, probe.call = "/live", False
    minutes.ended([probe, call(60.0, model="", provider="", outcome=Outcome.REFUSED)])
    assert calls_of(minutes.told(None, None, 1, 1, 1)) == {"": {0: 1}}
    assert minutes.told("model", None, 1, 1, 1) == minutes.told("provider", None, 1, 1, 1) == {}
    assert calls_of(minutes.told("key", None, 1, 1, 1)) == {"k": {0: 1}}


def test_a_name_that_a_client_made_up_is_other_and_one_below_a_pattern_is_the_pattern() -> None:
    minutes = series("m")
    minutes.ended([call(60.0, model="m"), call(60.0, model="gpt-x"), call(60.0, model="made-up")])
    assert calls_of(minutes.told("model", None, 1, 1, 1)) == {"m": {0: 1}, "gpt-*": {0: 1}, "other": {0: 1}}


def test_beyond_so_many_names_the_rest_is_other() -> None:
    minutes = series()
    minutes.ended([call(60.0, key=f"key-{number}") for number in range(MOST_NAMES + 5)])
    told = calls_of(minutes.told("key", None, 1, 1, 1))
    assert len(told) == MOST_NAMES + 1
    assert told["other"] == {0: 5}
    assert told["key-0"] == {0: 1}


def test_a_name_without_calls_for_a_day_makes_room_for_another() -> None:
    minutes = series()
    minutes.ended([call(60.0, key=f"key-{number}") for number in range(MOST_NAMES)])
    minutes.ended([call(60.0 * MINUTES, key="too-early")])
    minutes.ended([call(60.0 * (MINUTES + 1), key="in-time")])
    assert calls_of(minutes.told("key", None, MINUTES, MINUTES + 1, 1)) == {"other": {0: 1}, "in-time": {1: 1}}


def test_what_is_older_than_a_day_is_forgotten_and_the_rest_kept() -> None:
    minutes = series()
    for minute in range(1, 2 * MINUTES):
        minutes.ended([call(60.0 * minute)])
    (past,) = {len(each.minutes) for each in minutes._past.values()}
    assert MINUTES - 1 <= past < MINUTES + 70
    told = minutes.told(None, None, MINUTES, 2 * MINUTES - 1, 1)[""]
    assert sorted(told) == list(range(MINUTES))


def test_a_clock_that_was_set_back_loses_a_minute_and_counts_on() -> None:
    date = [0.0]
    minutes = Series(series()._pool, epoch=lambda: date[0])
    minutes.ended([call(60.0), call(300.0)])
    date[0] = -240.0
    minutes.ended([call(400.0), call(500.0)])
    # 400 is minute 2 now, and 500 minute 4; the later minute 5 that was counted before is gone.
    assert calls_of(minutes.told(None, None, 1, 9, 1)) == {"": {0: 1, 1: 1, 3: 1}}


def test_many_combinations_of_names_within_a_minute_are_added_up_meanwhile() -> None:
    minutes = series()
    minutes.ended([call(60.0, provider=f"p{one}", key=f"k{two}") for one in range(30) for two in range(30)])
    assert len(minutes._pending) <= 256
    assert calls_of(minutes.told(None, None, 1, 1, 1)) == {"": {0: 900}}
    assert set(calls_of(minutes.told("provider", None, 1, 1, 1))) == {f"p{one}" for one in range(30)}


@given(st.lists(st.floats(0.011, 70.0), min_size=1, max_size=200), st.sampled_from([0.5, 0.95]))
def test_a_percentile_is_off_by_less_than_the_ratio_of_two_buckets(times: list[float], share: float) -> None:
    minutes = series()
    minutes.ended([call(60.0, first_token=time) for time in times])
    told = quantile(share, minutes.told(None, None, 1, 1, 1)[""][0])
    exact = sorted(times)[max(0, -(-len(times) * round(share * 100) // 100) - 1)]
    assert told is not None
    assert exact / 1.51 < told < exact * 1.51


def test_percentiles_beyond_the_buckets_are_their_ends_and_of_nothing_there_is_none() -> None:
    minutes = series()
    minutes.ended([call(60.0, first_token=None)])
    assert quantile(0.5, minutes.told(None, None, 1, 1, 1)[""][0]) is None
    minutes.ended([call(60.0, first_token=1000.0)])
    assert quantile(0.5, minutes.told(None, None, 1, 1, 1)[""][0]) == EDGES[-1]


# The page.


async def shown(running: RunningGateway, **asked: Any) -> Any:
    answer = await ask(running.port, get(f"/admin/series?{urlencode(asked)}", head=ADMIN))
    assert answer.status == 200, answer.body
    return answer.json


async def test_the_page_has_a_column_for_each_thing_and_a_value_for_each_step(gateway: GatewayFactory) -> None:
    running = await gateway({"auth": KEYS})
    await ask(running.port, chat("sim-fast", head=WEB))
    await ask(running.port, chat("sim-fast", head=WEB, stream=True))
    await ask(running.port, chat("unknown", head=WEB))
    told = await shown(running, by="key", since="10m", step=60)
    (web,) = told["series"]
    assert (told["by"], told["step_minutes"], web["name"]) == ("key", 60, "web")
    assert (web["calls"], web["errors"]["refused"], web["errors"]["failed"]) == ([3], [1], [0])
    assert set(web["errors"]) == {"refused", "failed", "cut", "client_gone"}
    assert web["prompt_tokens"][0] > 0
    assert web["completion_tokens"][0] > 0
    assert 0 < web["ttft_p50_ms"][0] <= web["ttft_p95_ms"][0]
    (everything,) = (await shown(running))["series"]
    assert everything["name"] is None
    assert {len(column) for name, column in everything.items() if isinstance(column, list)} == {60}
    assert sum(everything["calls"]) == 3
    assert (await shown(running, by="provider", name="nowhere"))["series"] == []


async def test_what_other_workers_tell_is_added_up(gateway: GatewayFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    running = await gateway({"auth": KEYS})
    await ask(running.port, chat("sim-fast", head=WEB))
    page = running.listener.gateway.answers._series

    async def theirs(what: str, of: Any) -> list[Any]:
        return [page.own(of), None, [["elsewhere", [[0, [5, *[0] * (CELL - 1)]]]]]]

    monkeypatch.setattr(page._peers, "ask", theirs)
    told = (await shown(running, by="key", since="2m", step=60))["series"]
    assert [(each["name"], each["calls"]) for each in told] == [("elsewhere", [5]), ("web", [2])]


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"by": "team"}, "by"),
        ({"name": "web"}, "by"),
        ({"step": "0"}, "step"),
        ({"step": "1441"}, "step"),
        ({"by": "key", "since": "24h"}, "step"),
        ({"since": "1h", "until": "2h"}, "until"),
        ({"since": "soon"}, "since"),
    ],
)
async def test_what_cannot_be_is_refused_with_its_place(
    gateway: GatewayFactory, asked: dict[str, Any], param: str
) -> None:
    running = await gateway({"auth": KEYS})
    answer = await ask(running.port, get(f"/admin/series?{urlencode(asked)}", head=ADMIN))
    assert (answer.status, answer.code, answer.json["error"]["param"]) == (400, "invalid_parameter", param)


async def test_a_day_is_the_most_that_is_told(gateway: GatewayFactory) -> None:
    running = await gateway({"auth": KEYS})
    await ask(running.port, chat("sim-fast", head=WEB))
    (day,) = (await shown(running, since="7d"))["series"]
    assert len(day["calls"]) == MINUTES
