"""The usage ledger with a store that works: what becomes a row, and when."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from proxy.accounts import rows as module
from proxy.accounts.ledger import BATCH, Ledger
from proxy.accounts.store import Store
from proxy.core import clock
from proxy.core.exchange import AttemptRecord, Outcome
from proxy.core.usage import Tokens
from tests.accounts.calls import answered, call, rows, total
from tests.rigs.clock import at_most
from tests.spec.wire import becomes


@pytest.fixture
async def ledger(store: Store) -> AsyncIterator[Ledger]:
    """One that writes only when a test says so."""
    ledger = Ledger(store, interval=3600)
    yield ledger
    await ledger.stop()


async def test_a_call_that_ends_within_an_interval_is_written_once(store: Store, ledger: Ledger) -> None:
    exchange = call()
    ledger.open(exchange, "team")
    assert await ledger.flush()
    assert ledger.rows_total == 0, "too young for a pending row"
    ledger.ended([answered(exchange)])
    assert await ledger.flush()
    assert (ledger.rows_total, ledger.buffered) == (1, 0)
    (row,) = await rows(store)
    assert row["outcome"] == "ok"


async def test_every_column_says_what_the_exchange_says(store: Store, ledger: Ledger) -> None:
    exchange = call("web", ago=60.0, id="req_7", stream=True)
    ledger.open(exchange, "front")
    begun = exchange.started
    failed = AttemptRecord("azure", "gpt-4o-eu", begun, 503)
    failed.failure = "upstream_error"
    begun_well = AttemptRecord("openai", "gpt-4o-2024", begun + 1, 200)
    begun_well.first_content_at = begun_well.first_token_at = begun + 1.5
    begun_well.tokens = Tokens(9, 4, 2, 1)
    resumed = AttemptRecord("backup", "other", begun + 3, 200)
    resumed.first_content_at, resumed.tokens = begun + 4, Tokens(1, 1, estimated=True)
    exchange.attempts = [failed, begun_well, resumed, AttemptRecord("idle", "silent", begun + 5, 0)]
    exchange.answered_model, exchange.status, exchange.error_code = "gpt-4o-mini", 200, "upstream_cut"
    exchange.outcome, exchange.cost, exchange.ended = Outcome.CUT, 77, begun + 6.25
    ledger.ended([exchange])
    assert await ledger.flush()
    (row,) = await rows(store)
    began = datetime.fromtimestamp(row.pop("started") / 1000, UTC)
    assert abs(clock.wall() - timedelta(seconds=60) - began) < timedelta(seconds=5)
    assert row.pop("ended") == pytest.approx(began.timestamp() * 1000 + 6250, abs=1)
    assert row == {
        "id": exchange.ledger_id,
        "request_id": "req_7",
        "principal": "web",
        "team": "front",
        "route": "/v1/chat/completions",
        "model": "gpt-4o",
        "answered_model": "gpt-4o-mini",
        "provider": "backup",
        "upstream_model": "other",
        "stream": 1,
        "attempts": 4,
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "cached_tokens": 2,
        "reasoning_tokens": 1,
        "estimated": 1,
        "cost": 77,
        "ttft_ms": 1500,
        "duration_ms": 6250,
        "status": 200,
        "outcome": "cut",
        "error_code": "upstream_cut",
        "cached": 0,
        "saved": None,
    }
    assert (row["provider"], row["upstream_model"]) == (exchange.provider, "other")


async def test_a_stored_answer_costs_nothing_and_says_what_it_saved(store: Store, ledger: Ledger) -> None:
    for saved in (1234, None):
        exchange = call(cached=True, saved=saved)
        ledger.open(exchange, "")
        exchange.cost = 0
        ledger.ended([exchange])
    assert await ledger.flush()
    assert [(row["cached"], row["cost"], row["saved"], row["prompt_tokens"]) for row in await rows(store)] == [
        (1, 0, 1234, 0),
        (1, 0, None, 0),
    ]
    whole = await total(store, since=clock.wall() - timedelta(hours=1))
    assert (whole.requests, whole.cached, whole.cost, whole.saved, whole.unpriced) == (2, 2, 0, 1234, 0)


async def test_an_unknown_price_is_null_and_a_price_of_nothing_is_0(store: Store, ledger: Ledger) -> None:
    for cost in (None, 0):
        exchange = call()
        ledger.open(exchange, "")
        ledger.ended([answered(exchange, cost=cost)])
    assert await ledger.flush()
    assert [row["cost"] for row in await rows(store)] == [None, 0]


async def test_a_long_call_is_pending_and_then_completed_in_the_same_row(store: Store) -> None:
    ledger = Ledger(store, interval=0.01)
    await ledger.start()
    exchange = call(stream=True)
    ledger.open(exchange, "team")
    await becomes(lambda: not ledger.buffered)
    (row,) = await rows(store)
    assert (row["outcome"], row["model"], row["team"], row["stream"]) == ("pending", "gpt-4o", "team", 1)
    assert (row["ended"], row["cost"], row["prompt_tokens"], row["duration_ms"]) == (None, None, 0, None)
    started = row["started"]
    ledger.ended([answered(exchange)])
    await becomes(lambda: not ledger.buffered)
    (row,) = await rows(store)
    assert (row["outcome"], row["prompt_tokens"], row["cost"], row["started"]) == ("ok", 10, 5, started)
    await ledger.stop()
    assert len(await rows(store)) == 1


async def test_a_call_is_ended_once(store: Store, ledger: Ledger) -> None:
    exchange = call()
    ledger.open(exchange, "")
    ledger.ended([answered(exchange)])
    ledger.ended([exchange])
    assert await ledger.flush()
    ledger.ended([exchange])
    assert ledger.buffered == 0
    assert len(await rows(store)) == 1


async def test_a_call_without_a_row_is_none_of_its_business(ledger: Ledger) -> None:
    ledger.ended([answered(call())])
    ledger.ended([answered(call(ledger_id="somebody else's"))])
    assert ledger.buffered == 0


async def test_ids_differ_between_ledgers_and_come_in_order(store: Store) -> None:
    ids = []
    for _ in range(3):
        ledger = Ledger(store)
        for _ in range(300):
            exchange = call()
            ledger.open(exchange, "")
            ids.append(exchange.ledger_id)
        assert ids[-300:] == sorted(ids[-300:])
    assert len(set(ids)) == 900


@pytest.mark.parametrize("number", [1, 2, 3, 511, 512, 513, BATCH, BATCH + 1, 3 * BATCH + 7])
async def test_however_many_rows_wait_each_is_written(store: Store, ledger: Ledger, number: int) -> None:
    for n in range(number):
        exchange = call(id=f"req_{n}")
        ledger.open(exchange, "")
        ledger.ended([answered(exchange, Tokens(n, 1))])
    while ledger.buffered:
        assert await ledger.flush()
    found = await rows(store)
    assert [(row["request_id"], row["prompt_tokens"]) for row in found] == [(f"req_{n}", n) for n in range(number)]
    assert ledger.rows_total == number


async def test_a_burst_is_written_without_waiting_for_an_interval_each_batch(store: Store) -> None:
    interval = 2.0
    ledger = Ledger(store, interval=interval)
    await ledger.start()
    for _ in range(10 * BATCH):
        exchange = call()
        ledger.open(exchange, "")
        ledger.ended([answered(exchange)])
    began = clock.now()
    await becomes(lambda: not ledger.buffered)
    # One before the first batch and one before what is left, not ten.
    assert clock.now() - began < 2 * interval + at_most(1.0)
    assert 0 < ledger.last_flush.seconds < at_most(1)
    await ledger.stop()


async def test_names_no_database_takes_are_made_ones_it_does(store: Store, ledger: Ledger) -> None:
    for model in ("a\0b", "half \ud800 pair", "m" * 1000, "Größe", "\U0001f600" * 300):
        exchange = call(model=model, ago=7200)
        ledger.open(exchange, model)
    assert await ledger.flush(), "as pending rows"
    assert [row["model"] for row in await rows(store)] == [
        "a\N{REPLACEMENT CHARACTER}b",
        "half ? pair",
        "m" * 256,
        "Größe",
        "\U0001f600" * 256,
    ]
    exchange = call(model="\ud800\0" * 500, error_code="x" * 300)
    ledger.open(exchange, "\0")
    ledger.ended([answered(exchange)])
    assert await ledger.flush()
    row = (await rows(store))[-1]
    assert (row["model"], row["team"], len(row["error_code"])) == (
        "?\N{REPLACEMENT CHARACTER}" * 128,
        "\N{REPLACEMENT CHARACTER}",
        256,
    )
    assert ledger.failures_total == 0


async def test_absurd_numbers_fit_a_databases_integers(store: Store, ledger: Ledger) -> None:
    exchange = call()
    ledger.open(exchange, "")
    ledger.ended([answered(exchange, Tokens(2**70, 2**80, 2**60, 5), cost=2**90)])
    assert await ledger.flush()
    (row,) = await rows(store)
    assert (
        row["prompt_tokens"],
        row["completion_tokens"],
        row["cached_tokens"],
        row["reasoning_tokens"],
        row["cost"],
    ) == (
        *(module.MOST,) * 3,
        5,
        module.MOST,
    )


async def test_what_a_principal_spent_counts_the_store_and_what_is_still_here(store: Store, ledger: Ledger) -> None:
    now = clock.wall()
    for flushed in (True, False):
        for principal, ago, tokens, cost in (
            ("web", 0, Tokens(100, 10), 7),
            ("web", 50, Tokens(1000, 100), 70),
            ("web", 500, Tokens(10_000, 1000), 700),
            ("web", 0, Tokens(1, 1), None),
            ("other", 0, Tokens(5, 5), 5),
        ):
            exchange = call(principal, ago)
            ledger.open(exchange, "")
            ledger.ended([answered(exchange, tokens, cost)])
        if flushed:
            assert await ledger.flush()
    ledger.open(call("web"), "")
    assert ledger.buffered == 6
    minute, hour = now - timedelta(minutes=1), now - timedelta(hours=1)
    assert await ledger.spent("web", "usd", minute) == 2 * 77
    assert await ledger.spent("web", "usd", hour) == 2 * 777
    assert await ledger.spent("web", "tokens", minute) == 2 * 1212
    assert await ledger.spent("nobody", "usd", hour) == 0
    assert await ledger.flush()
    assert await ledger.spent("web", "usd", minute) == 2 * 77


async def test_what_a_principal_spent_is_exact_while_rows_are_being_written(store: Store) -> None:
    ledger = Ledger(store, interval=0.005)
    await ledger.start()
    since, ended = clock.wall() - timedelta(minutes=1), 0
    for _ in range(40):
        for _ in range(50):
            exchange = call()
            ledger.open(exchange, "")
            ledger.ended([answered(exchange, cost=1)])
            ended += 1
        assert await ledger.spent("web", "usd", since) == ended
    await ledger.stop()


async def test_stopping_writes_everything_also_calls_under_way(store: Store) -> None:
    ledger = Ledger(store, interval=60)
    await ledger.start()
    for n in range(3000):
        exchange = call()
        ledger.open(exchange, "")
        if n % 3:
            ledger.ended([answered(exchange)])
    await ledger.stop()
    outcomes = [row["outcome"] for row in await rows(store)]
    assert (outcomes.count("ok"), outcomes.count("pending")) == (2000, 1000)
    assert (ledger.buffered, ledger.dropped_total) == (0, 0)


async def test_an_idle_ledger_sets_no_timer(store: Store) -> None:
    ledger = Ledger(store, interval=0.01)
    await ledger.start()
    exchange = call(stream=True)
    ledger.open(exchange, "")
    await becomes(lambda: not ledger.buffered)
    # The stream goes on for hours, and nothing more has to be done about it meanwhile.
    await becomes(lambda: ledger._timer is None)
    await ledger.stop()


def test_a_ledger_shows_how_it_is(sqlite_url: str) -> None:
    ledger = Ledger(Store(sqlite_url))
    ledger.open(call(), "")
    assert repr(ledger) == "<Ledger available, 1 of 100000 rows wait, 0 calls are pending>"
