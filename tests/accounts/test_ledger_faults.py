"""The usage ledger when its store is away, slow, full or refuses a row: traffic goes on, and nothing counts twice."""

import asyncio
import logging
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateTable

from proxy.accounts import ledger as module
from proxy.accounts import tables
from proxy.accounts.ledger import Ledger
from proxy.accounts.rows import Statements, completed, pending
from proxy.accounts.store import Store
from proxy.core import clock, tasks
from proxy.core.exchange import Exchange, Outcome
from tests.accounts.calls import answered, call, rows
from tests.rigs.clock import at_most
from tests.rigs.postgres import Postgres
from tests.spec.wire import becomes

ROOT = Path(__file__).parents[2]

Outage = Callable[[], Any]


@contextmanager
def locked(url: str):
    """Another connection holds the right to write to this SQLite file."""
    other = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    yield
    other.execute("ROLLBACK")
    other.close()


@contextmanager
def impatient(store: Store):
    """The store is given up after a moment, so that an outage takes no longer; otherwise a slow disk is no outage."""
    patience, store._timeout = store._timeout, 0.02
    yield
    store._timeout = patience


def end(ledger: Ledger, exchange: Exchange, **more: Any) -> None:
    ledger.ended([answered(exchange, **more)])


class Load:
    """Calls that begin and end, a few hundred a second, some of them long; and how long the ledger kept one waiting."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.ids: list[str] = []
        self.slowest = 0.0
        self._stopping = False

    async def run(self) -> None:
        long: list[Exchange] = []
        while not self._stopping:
            exchange = call()
            began = time.perf_counter()
            self.ledger.open(exchange, "team")
            self.slowest = max(self.slowest, time.perf_counter() - began)
            self.ids.append(exchange.ledger_id)
            if len(self.ids) % 10 == 0:
                long.append(exchange)
            else:
                self.end(exchange)
            if len(long) > 50:
                self.end(long.pop(0))
            await asyncio.sleep(0.001)  # the pace of the traffic
        for exchange in long:
            self.end(exchange)

    def end(self, exchange: Exchange) -> None:
        answered(exchange)
        began = time.perf_counter()
        self.ledger.ended([exchange])
        self.slowest = max(self.slowest, time.perf_counter() - began)

    def stop(self) -> None:
        self._stopping = True


async def through_an_outage(
    url: str, begin: Outage, over: Callable[[], Coroutine[Any, Any, None]], seconds: float
) -> None:
    """Traffic while the store is away for *seconds*: everything is in it in the end, once."""
    store = Store(url, timeout=1.0)
    await store.open()
    ledger = Ledger(store, interval=0.02)
    await ledger.start()
    load = Load(ledger)
    running = tasks.start(load.run(), "load")
    await becomes(lambda: ledger.rows_total > 20)
    begin()
    await becomes(lambda: not ledger.available)
    await asyncio.sleep(seconds)  # the length of the outage
    await becomes(lambda: ledger.buffered > 100 * seconds)
    await over()
    back = clock.now()
    await becomes(lambda: ledger.available)
    assert clock.now() - back < at_most(3)
    load.stop()
    await running
    await becomes(lambda: not ledger.buffered)
    await ledger.stop()
    found = await rows(store)
    assert [row["id"] for row in found] == load.ids
    assert {row["outcome"] for row in found} == {"ok"}
    assert ledger.dropped_total == 0
    assert load.slowest < at_most(0.05), "a call waited for the store"
    await store.close()


async def test_a_store_that_is_away_for_three_seconds_loses_nothing(
    postgres_server: Postgres, postgres_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "hapax"):
        await through_an_outage(postgres_url, postgres_server.stop, postgres_server.start, 3.0)
    told = [(record.levelname, record.message) for record in caplog.records if "usage ledger" in record.message]
    assert [level for level, _ in told] == ["ERROR", "INFO"], told
    assert told[0][1].startswith("usage ledger: the store takes no rows, up to 100000 are kept meanwhile: ")
    assert told[1][1].startswith("usage ledger: the store takes rows again, ")


async def test_a_store_that_hangs_for_two_seconds_loses_nothing(postgres_server: Postgres, postgres_url: str) -> None:
    async def over() -> None:
        postgres_server.thaw()

    await through_an_outage(postgres_url, postgres_server.freeze, over, 2.0)


async def test_a_locked_file_loses_nothing(sqlite_url: str) -> None:
    lock = locked(sqlite_url)

    async def over() -> None:
        lock.__exit__(None, None, None)

    await through_an_outage(sqlite_url, lock.__enter__, over, 1.0)


async def test_a_full_buffer_loses_the_oldest_rows_and_says_so_once(
    sqlite_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(sqlite_url)
    await store.open()
    ledger = Ledger(store, interval=3600, capacity=100)
    exchanges = [call(id=f"req_{n}") for n in range(250)]
    with caplog.at_level(logging.INFO, "hapax"):
        with locked(sqlite_url), impatient(store):
            for exchange in exchanges:
                ledger.open(exchange, "")
                assert ledger.buffered <= 100
            assert not await ledger.flush(everything=True)
            assert ledger.buffered == 100
            for exchange in exchanges:
                end(ledger, exchange)
                assert ledger.buffered <= 100
            assert ledger.dropped_total == 150
            assert not await ledger.flush()
            assert ledger.buffered == 100
        while ledger.buffered:
            assert await ledger.flush()
    assert [row["request_id"] for row in await rows(store)] == [f"req_{n}" for n in range(150, 250)]
    assert [record.message.partition(":")[2][1:25] for record in caplog.records] == [
        "the store takes no rows,",
        "100 rows wait and no mor",
        "the store takes rows aga",
    ]
    await store.close()


async def test_pending_rows_are_let_go_before_completed_ones(sqlite_url: str) -> None:
    store = Store(sqlite_url)
    ledger = Ledger(store, interval=3600, capacity=10)
    running, done = [call() for _ in range(8)], [call() for _ in range(10)]
    for exchange in running:
        ledger.open(exchange, "running")
    for exchange in done:
        ledger.open(exchange, "")
        end(ledger, exchange)
    assert (ledger.buffered, ledger.dropped_total) == (10, 0)
    assert await ledger.flush()
    for exchange in running:
        end(ledger, exchange)
    assert await ledger.flush()
    found = await rows(store)
    assert len(found) == 18
    assert {row["outcome"] for row in found} == {"ok"}
    assert [row["team"] for row in found].count("running") == 8
    await store.close()


@pytest.mark.parametrize("poisonous", [0, 1, 300, 999])
async def test_one_row_the_store_refuses_does_not_hold_up_the_others(
    store: Store, poisonous: int, caplog: pytest.LogCaptureFixture
) -> None:
    await forbid(store, "poison")
    ledger = Ledger(store, interval=0.01)
    await ledger.start()
    for n in range(1000):
        exchange = call(id="poison" if n == poisonous else f"req_{n}")
        ledger.open(exchange, "")
        end(ledger, exchange)
    await becomes(lambda: not ledger.buffered)
    assert len(await rows(store)) == 999
    assert ledger.dropped_total == 1
    assert ledger.available
    assert [record.message.endswith("which is lost") for record in caplog.records] == [True]
    await ledger.stop()


async def forbid(store: Store, request_id: str) -> None:
    """From now on the store refuses rows of that request."""
    async with store.writing() as connection:
        if store.dialect == "sqlite":
            await connection.execute(
                text(
                    f"CREATE TRIGGER forbidden BEFORE INSERT ON usage WHEN NEW.request_id = '{request_id}' "
                    "BEGIN SELECT RAISE(ABORT, 'not this one'); END"
                )
            )
        else:
            await connection.execute(
                text(f"ALTER TABLE usage ADD CONSTRAINT forbidden CHECK (request_id <> '{request_id}')")
            )


async def test_a_refused_pending_row_is_no_lost_call(store: Store) -> None:
    await forbid(store, "poison")
    ledger = Ledger(store, interval=3600)
    exchange = call(id="poison")
    ledger.open(exchange, "")
    assert await ledger.flush(everything=True)
    assert (ledger.dropped_total, ledger.buffered) == (0, 0)
    async with store.writing() as connection:
        await connection.execute(
            text(
                "DROP TRIGGER forbidden" if store.dialect == "sqlite" else "ALTER TABLE usage DROP CONSTRAINT forbidden"
            )
        )
    end(ledger, exchange)
    assert await ledger.flush()
    assert [row["outcome"] for row in await rows(store)] == ["ok"]


async def test_stopping_while_the_store_is_away_ends_soon_and_says_what_is_lost(
    sqlite_url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STOP_WITHIN", 0.5)
    store = Store(sqlite_url, timeout=60)
    await store.open()
    ledger = Ledger(store, interval=0.01)
    await ledger.start()
    with locked(sqlite_url):
        for _ in range(30):
            exchange = call()
            ledger.open(exchange, "")
            end(ledger, exchange)
        ledger.open(call(), "")
        began = clock.now()
        await ledger.stop()
        assert clock.now() - began < at_most(2)
    assert ledger.dropped_total == 30
    assert [record.message for record in caplog.records] == [
        "usage ledger: 30 rows of completed calls are lost, the store did not take them"
    ]
    await store.close()


async def test_what_a_principal_spent_is_unknown_while_the_store_cannot_be_read(
    postgres_server: Postgres, postgres_url: str
) -> None:
    store = Store(postgres_url)
    await store.open()
    ledger = Ledger(store, interval=3600)
    exchange = call()
    ledger.open(exchange, "")
    end(ledger, exchange, cost=5)
    since = clock.wall().replace(year=2020)
    postgres_server.stop()
    assert await ledger.spent("web", "usd", since) is None
    await postgres_server.start()
    assert await ledger.spent("web", "usd", since) == 5
    await store.close()


async def test_rows_that_may_have_arrived_are_counted_once(postgres_server: Postgres, postgres_url: str) -> None:
    store, steady = Store(postgres_url, timeout=1.0), Store(postgres_url)
    await store.open()
    ledger = Ledger(store, interval=3600)
    since = clock.wall().replace(year=2020)
    exchange = call()
    ledger.open(exchange, "")
    end(ledger, exchange, cost=5)
    # The answer to the commit is lost: as far as the ledger can know, the batch failed.
    row = ledger._done[0]
    postgres_server.freeze()
    assert not await ledger.flush()
    postgres_server.thaw()
    async with steady.writing() as connection:
        for sql, parameters in Statements(connection.dialect).over([row]):
            await connection.exec_driver_sql(sql, parameters)
    assert (ledger.buffered, len(await rows(steady))) == (1, 1)
    assert await ledger.spent("web", "usd", since) == 5
    assert await ledger.flush()
    assert await ledger.spent("web", "usd", since) == 5
    assert len(await rows(steady)) == 1
    await store.close()
    await steady.close()


@given(st.lists(st.booleans(), min_size=1, max_size=8))
@settings(max_examples=50, deadline=None)
def test_a_rows_two_states_may_arrive_in_any_order_and_number(order: list[bool]) -> None:
    database = sqlite3.connect(":memory:")
    database.execute(str(CreateTable(tables.usage).compile(dialect=sqlite.dialect())))
    statements = Statements(sqlite.dialect())
    exchange = answered(call(ledger_id="a"))
    begun, over = pending(exchange, "", 0.0), completed(exchange, "", 0.0)
    for complete in order:
        for sql, parameters in statements.over([over if complete else begun]):
            database.execute(sql, parameters)
    expected = "ok" if True in order else "pending"
    assert database.execute("SELECT outcome FROM usage").fetchall() == [(expected,)]
    database.close()


Step = st.one_of(
    st.just(("open", 0)),
    st.tuples(st.just("end"), st.integers(0, 50)),
    st.tuples(st.sampled_from(["flush", "flush everything", "fail"]), st.just(0)),
    st.tuples(st.just("end while it is written"), st.integers(0, 50)),
)


@given(st.lists(Step, max_size=40), st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_every_call_is_one_row_whatever_happens_when(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]], batch: int
) -> None:
    asyncio.run(play(f"sqlite:///{tmp_path_factory.mktemp('ledger') / 'hapax.db'}", steps, batch))


async def play(url: str, steps: list[tuple[str, int]], batch: int) -> None:
    store = Store(url)
    await store.open()
    try:
        await play_on(store, url, steps, batch)
    finally:
        await store.close()


async def play_on(store: Store, url: str, steps: list[tuple[str, int]], batch: int) -> None:
    ledger = Ledger(store, interval=3600)
    ledger._batch = batch or ledger._batch
    running: list[Exchange] = []
    over: list[Exchange] = []

    def end_one(number: int) -> None:
        if running:
            exchange = running.pop(number % len(running))
            over.append(exchange)
            end(ledger, exchange, outcome=Outcome.FAILED if number % 2 else Outcome.OK)

    for step, number in steps:
        match step:
            case "open":
                running.append(call(id=f"req_{len(running) + len(over)}"))
                ledger.open(running[-1], "")
            case "end":
                end_one(number)
            case "fail":
                with locked(url), impatient(store):
                    nothing = not ledger.buffered
                    assert await ledger.flush(everything=True) is nothing
            case "end while it is written":
                writing = tasks.start(ledger.flush(everything=True), "flush")
                await asyncio.sleep(0)
                end_one(number)
                await writing
            case _:
                await ledger.flush(everything=step == "flush everything")
    await ledger.stop()
    found = {row["id"]: row["outcome"] for row in await rows(store)}
    expected = {exchange.ledger_id: str(exchange.outcome) for exchange in over}
    assert found == expected | {exchange.ledger_id: "pending" for exchange in running}
    assert ledger.dropped_total == 0


FULL = """
import asyncio, resource, sys
from pathlib import Path
from proxy.accounts.ledger import Ledger
from proxy.accounts.store import Store
from tests.accounts.calls import answered, call, rows


async def main(path):
    store = Store(f"sqlite:///{path}")
    await store.open()
    ledger = Ledger(store, interval=3600)
    calls = 0

    def more(number):
        nonlocal calls
        for _ in range(number):
            exchange = call()
            ledger.open(exchange, "")
            ledger.ended([answered(exchange)])
        calls += number

    more(500)
    assert await ledger.flush()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # No file may grow any more: to SQLite, a full disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (Path(path + "-wal").stat().st_size, hard))
    while await ledger.flush():
        more(500)
    more(500)
    assert not await ledger.flush()
    assert not ledger.available and ledger.dropped_total == 0
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    while ledger.buffered:
        assert await ledger.flush()
    assert ledger.available
    assert len(await rows(store)) == calls
    await store.close()
    print("all there")


asyncio.run(main(sys.argv[1]))
"""


def test_a_full_disk_stops_nothing_and_loses_nothing(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path / "hapax.db")], cwd=ROOT, capture_output=True, text=True, timeout=200
    )
    assert ended.stdout == "all there\n", ended.stderr
    assert "the store takes no rows" in ended.stderr
