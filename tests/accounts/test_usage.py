"""Reports from the ledger: sums that equal the rows, by every group, in SQLite and PostgreSQL alike."""

import random
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest
from sqlalchemy import insert

from proxy.accounts import tables
from proxy.accounts.asked import By
from proxy.accounts.rows import COLUMNS
from proxy.accounts.store import Store, StoreError
from proxy.accounts.usage import UsageLine, summary
from proxy.core import clock
from tests.accounts.calls import total

NOON = datetime(2026, 10, 25, 12, tzinfo=UTC)
"""Of the day the clocks go back in Europe: nothing here may care."""
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)


def row(number: int, at: datetime = NOON, **fields: Any) -> dict[str, Any]:
    texts = dict.fromkeys(("request_id", "principal", "team", "route", "model", "answered_model", "provider"), "")
    numbers = dict.fromkeys(
        ("stream", "attempts", "prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens", "estimated"),
        0,
    )
    rest = {"upstream_model": "", "cost": None, "ttft_ms": None, "duration_ms": None, "status": 200, "error_code": ""}
    rest |= {"cached": 0, "saved": None}
    whole = {**texts, **numbers, **rest, "outcome": "ok", "ended": None}
    return {**whole, "id": f"{number:08}", "started": int(at.timestamp() * 1000), **fields}


async def written(store: Store, *rows: dict[str, Any]) -> None:
    async with store.writing() as connection:
        await connection.execute(insert(tables.usage), list(rows))


async def test_each_kind_of_row_is_counted_as_what_it_is(store: Store) -> None:
    await written(
        store,
        row(1, principal="a", prompt_tokens=100, completion_tokens=10, cached_tokens=60, reasoning_tokens=4, cost=7),
        row(2, principal="a", outcome="pending", status=0),
        row(3, principal="a", outcome="client_gone", prompt_tokens=5, completion_tokens=1, estimated=1, cost=1),
        row(4, principal="a", outcome="refused"),
        row(5, principal="a", prompt_tokens=50),
        row(6, principal="a", prompt_tokens=50, cost=0),
        row(7, principal="b", cost=2),
    )
    lines = await summary(store, "key", since=NEW_YEAR, until=None)
    assert lines == [
        UsageLine(
            "a",
            requests=6,
            ok=3,
            failed=2,
            pending=1,
            prompt_tokens=205,
            completion_tokens=11,
            cached_tokens=60,
            reasoning_tokens=4,
            cost=8,
            unpriced=1,
            estimated=1,
        ),
        UsageLine("b", requests=1, ok=1, cost=2),
    ]
    assert await total(store, since=NEW_YEAR, until=None, principal="b") == UsageLine("", requests=1, ok=1, cost=2)


async def test_of_no_calls_everything_is_0(store: Store) -> None:
    assert await summary(store, "model", since=NEW_YEAR, until=None) == []
    assert await total(store, since=NEW_YEAR, until=None) == UsageLine("")


async def test_the_dearest_comes_first_then_the_one_with_most_tokens_then_the_name(store: Store) -> None:
    await written(
        store,
        row(1, model="cheap", cost=1, prompt_tokens=10**9),
        row(2, model="dear", cost=2),
        row(3, model="b"),
        row(4, model="a"),
        row(5, model="busy", completion_tokens=3),
    )
    lines = await summary(store, "model", since=NEW_YEAR, until=None)
    assert [line.group for line in lines] == ["dear", "cheap", "busy", "a", "b"]


async def test_days_are_those_of_utc_and_in_order(store: Store) -> None:
    midnight = datetime(2026, 10, 25, tzinfo=UTC)
    second = timedelta(milliseconds=1)
    await written(
        store,
        row(1, midnight, cost=1),
        row(2, midnight - second, cost=100),
        row(3, midnight + timedelta(days=1) - second, cost=2),
        row(4, midnight + timedelta(days=1), cost=4),
    )
    lines = await summary(store, "day", since=NEW_YEAR, until=None)
    assert [(line.group, line.cost) for line in lines] == [("2026-10-24", 100), ("2026-10-25", 3), ("2026-10-26", 4)]


async def test_a_report_begins_at_since_and_ends_before_until(store: Store) -> None:
    hour = timedelta(hours=1)
    await written(store, row(1, NOON - hour), row(2, NOON), row(3, NOON + hour), row(4, NOON + 2 * hour))
    assert (await total(store, since=NOON, until=NOON + 2 * hour)).requests == 2
    assert (await total(store, since=NOON, until=None)).requests == 3


async def test_sums_beyond_32_and_53_bits_are_exact(store: Store) -> None:
    await written(store, *(row(n, prompt_tokens=2**50 + 1, cost=2**50 + 1) for n in range(100)))
    whole = await total(store, since=NEW_YEAR, until=None)
    assert (whole.prompt_tokens, whole.cost) == (100 * 2**50 + 100, 100 * 2**50 + 100)


async def test_the_lines_of_every_report_add_up_to_the_rows(store: Store) -> None:
    rng = random.Random(4)
    rows = [
        row(
            number,
            NOON + timedelta(minutes=rng.randrange(10_000)),
            principal=f"key-{rng.randrange(7)}",
            team=rng.choice(("", "a", "b")),
            model=f"model-{rng.randrange(5)}",
            provider=rng.choice(("", "openai", "azure")),
            route=rng.choice(("/v1/chat/completions", "/v1/embeddings")),
            outcome=rng.choice(("ok", "ok", "failed", "cut", "pending", "client_gone", "refused")),
            prompt_tokens=rng.randrange(10**6),
            completion_tokens=rng.randrange(10**6),
            cost=rng.choice((None, rng.randrange(10**7))),
        )
        for number in range(2000)
    ]
    await written(store, *rows)
    since, until = NOON + timedelta(hours=10), NOON + timedelta(hours=100)
    asked = [r for r in rows if since.timestamp() * 1000 <= r["started"] < until.timestamp() * 1000]
    whole = await total(store, since=since, until=until)
    assert whole.requests == len(asked)
    assert whole.cost == sum(r["cost"] or 0 for r in asked)
    for by in get_args(By):
        lines = await summary(store, by, since=since, until=until)
        for name in ("requests", "ok", "failed", "pending", "prompt_tokens", "completion_tokens", "cost", "unpriced"):
            assert sum(getattr(line, name) for line in lines) == getattr(whole, name), (by, name)
        costs: dict[str, int] = defaultdict(int)
        for r in asked:
            day = datetime.fromtimestamp(r["started"] / 1000, UTC).date().isoformat()
            group = day if by == "day" else r["principal" if by == "key" else by]
            costs[group] += r["cost"] or 0
        assert {line.group: line.cost for line in lines} == costs
    ours = [r for r in asked if r["principal"] == "key-3" and r["team"] == "a"]
    line = await total(store, since=since, until=until, principal="key-3", team="a")
    assert (line.requests, line.prompt_tokens) == (len(ours), sum(r["prompt_tokens"] for r in ours))
    lines = await summary(store, "model", since=since, until=until, principal="key-3", team="a")
    assert sum(line.requests for line in lines) == len(ours)


async def test_a_store_that_is_not_there_is_an_error_and_no_empty_report() -> None:
    store = Store("postgresql://nobody:x@127.0.0.1:1/none", timeout=1)
    with pytest.raises(StoreError):
        await summary(store, "key", since=clock.wall(), until=None)
    with pytest.raises(StoreError):
        await total(store, since=clock.wall(), until=None)
    await store.close()


def test_the_row_written_here_is_the_row_of_the_ledger() -> None:
    assert set(row(1)) == set(COLUMNS) == set(tables.usage.c.keys())
