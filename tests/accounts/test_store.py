"""The store as one process meets it: transactions, deadlines, and one error for everything."""

import asyncio
import os
import sqlite3
import threading
import time
from pathlib import Path

import pytest
from sqlalchemy import insert, select, text, update

from proxy.accounts import tables
from proxy.accounts.store import Store, StoreError
from proxy.core import tasks
from tests.accounts.calls import COUNTER, count_up, counter
from tests.rigs.clock import at_most


async def test_what_is_written_is_read_by_every_process(store: Store, store_url: str) -> None:
    await count_up(store)
    other = Store(store_url)
    assert await counter(other) == await counter(store) == 1
    await other.close()


async def test_a_block_that_raises_leaves_nothing_behind_and_its_exception_comes_out(store: Store) -> None:
    async def write() -> None:
        async with store.writing() as connection:
            await connection.execute(update(tables.versions).values(value=99))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await write()
    assert await counter(store) == 0
    assert store.available


async def test_a_block_that_is_cancelled_leaves_nothing_behind_and_harms_none_after_it(store: Store) -> None:
    for _ in range(20):
        inside = asyncio.Event()

        async def write(inside: asyncio.Event = inside) -> None:
            async with store.writing() as connection:
                await connection.execute(update(tables.versions).values(value=99))
                inside.set()
                while True:
                    await connection.execute(select(COUNTER))

        writing = tasks.start(write(), "writing")
        await inside.wait()
        await asyncio.sleep(0)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        assert await counter(store) == 0
    await count_up(store)
    assert await counter(store) == 1


async def test_cancelled_answers_never_reach_the_next_query(store: Store) -> None:
    async def ask(number: int) -> int:
        async with store.reading() as connection:
            return int((await connection.execute(text(f"SELECT {number}"))).scalar_one())

    wrong = 0
    for number in range(0, 300, 3):
        asked = [tasks.start(ask(number + more), "asking") for more in range(3)]
        await asyncio.sleep(0.0002 * (number % 10))
        asked[0].cancel()
        answers = await asyncio.gather(*asked, return_exceptions=True)
        for more, answer in enumerate(answers):
            wrong += answer != number + more and not (more == 0 and isinstance(answer, asyncio.CancelledError))
    assert wrong == 0


async def test_many_use_it_at_once(store: Store) -> None:
    await asyncio.gather(*(count_up(store) for _ in range(100)), *(counter(store) for _ in range(100)))
    assert await counter(store) == 100


async def test_a_statement_that_cannot_be_is_a_store_error_without_its_values(store: Store) -> None:
    assert store.available
    with pytest.raises(StoreError) as caught:
        async with store.writing() as connection:
            await connection.execute(insert(tables.versions).values(name="keys", value=12345))
    assert "12345" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not store.available
    assert caught.value.__cause__ is None
    assert await counter(store) == 0
    assert store.available


async def test_it_opens_when_it_is_first_used_and_again_after_it_was_closed(store_url: str) -> None:
    store = Store(store_url)
    assert not store.available
    assert await counter(store) == 0
    await store.close()
    assert await counter(store) == 0
    await store.close()
    await store.close()


async def test_opening_it_many_times_at_once_is_opening_it_once(store_url: str) -> None:
    store = Store(store_url)
    await asyncio.gather(*(store.open() for _ in range(50)), *(counter(store) for _ in range(50)))
    await store.open()
    await store.close()


async def test_who_leaves_while_it_opens_does_not_stop_it_for_others(store_url: str) -> None:
    store = Store(store_url)
    first, second = (tasks.start(store.open(), "opening") for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await second
    assert first.cancelled()
    assert store.available
    await store.close()


async def test_closing_it_while_it_opens_leaves_nothing_behind(store_url: str) -> None:
    store = Store(store_url)
    opening = tasks.start(store.open(), "opening")
    while store._opening is None:  # noqa: ASYNC110  # it says so nowhere else
        await asyncio.sleep(0)
    await store.close()
    with pytest.raises((asyncio.CancelledError, StoreError)):
        await opening
    await store.open()
    assert await counter(store) == 0
    await store.close()


@pytest.mark.parametrize(
    "url",
    ["mysql://x/y", "sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite://host/x.db", "hapax.db", ""],
)
def test_a_url_that_names_no_store_is_refused(url: str) -> None:
    with pytest.raises(StoreError, match="the URL must"):
        Store(url)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:hunter2@127.0.0.1:x/db",
        "postgresql://me:hunter2@[::1/db",
        "postgresql://me:hunter2@127.0.0.1/db?sslmode=hunter2",
        "postgres://me:hunter2@127.0.0.1:1/db",
    ],
)
async def test_a_password_is_in_no_message(url: str) -> None:
    store = Store(url, timeout=1)
    with pytest.raises(StoreError) as caught:
        await store.open()
    assert "hunter2" not in str(caught.value) + repr(store)
    await store.close()


async def test_a_path_that_is_none_is_an_error_in_words(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere" / "hapax.db", tmp_path):
        store = Store(f"sqlite:///{path}")
        with pytest.raises(StoreError, match="unable to open"):
            await store.open()
        await store.close()


async def test_a_file_that_is_no_database_is_an_error_in_words(tmp_path: Path) -> None:
    (tmp_path / "hapax.db").write_bytes(b"not a database at all" * 100)
    store = Store(f"sqlite:///{tmp_path}/hapax.db")
    with pytest.raises(StoreError, match="not a database"):
        await store.open()
    await store.close()


async def test_a_sqlite_file_is_for_its_owner_alone_and_in_wal_mode(sqlite_url: str, tmp_path: Path) -> None:
    store = Store(sqlite_url)
    async with store.writing() as connection:
        assert (await connection.exec_driver_sql("PRAGMA journal_mode")).scalar_one() == "wal"
        assert (await connection.exec_driver_sql("PRAGMA synchronous")).scalar_one() == 1  # NORMAL
    assert {(tmp_path / name).stat().st_mode & 0o777 for name in os.listdir(tmp_path)} == {0o600}
    await store.close()


async def test_a_reader_of_sqlite_cannot_write(sqlite_url: str) -> None:
    store = Store(sqlite_url)
    with pytest.raises(StoreError, match="readonly"):
        async with store.reading() as connection:
            await connection.execute(update(tables.versions).values(value=1))
    await store.close()


async def test_a_lock_held_too_long_is_an_error_in_time_and_readers_do_not_notice(
    sqlite_url: str, tmp_path: Path
) -> None:
    store = Store(sqlite_url, timeout=0.5)
    await store.open()
    other = sqlite3.connect(tmp_path / "hapax.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    with pytest.raises(StoreError, match=r"within 0\.5 s"):
        await count_up(store)
    assert 0.4 < time.monotonic() - began < at_most(1.0)
    assert await counter(store) == 0
    waiting = tasks.start(count_up(store), "writing")
    await asyncio.sleep(0)
    other.execute("COMMIT")
    other.close()
    await waiting
    assert await counter(store) == 1
    await store.close()


async def test_a_statement_that_takes_too_long_is_ended(store: Store) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    began = time.monotonic()
    with pytest.raises(StoreError, match=r"within 0\.3 s"):
        async with store.reading(timeout=0.3) as connection:
            await connection.execute(text(endless))
    assert time.monotonic() - began < at_most(1.0)
    assert await counter(store) == 0


def test_a_thread_of_a_store_that_cannot_be_opened_never_speaks_to_a_loop_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(url: str) -> None:
        store = Store(url)
        with pytest.raises(StoreError):
            await store.open()
        await store.close()

    (tmp_path / "text").write_bytes(b"not a database at all" * 100)
    raised: list[object] = []
    monkeypatch.setattr(threading, "excepthook", raised.append)
    before = set(threading.enumerate())
    for path in (tmp_path / "nowhere" / "hapax.db", tmp_path / "text"):
        for _ in range(50):
            asyncio.run(fail(f"sqlite:///{path}"))
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
        assert not thread.is_alive()
    assert raised == []
