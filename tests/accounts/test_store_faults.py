"""What a database can do to a store: go away, hang, come back, fill up, be read-only. And processes that die."""

import asyncio
import os
import random
import shutil
import sqlite3
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import select, text, update

from proxy.accounts import tables
from proxy.accounts.store import Store, StoreError
from tests.accounts.calls import COUNTER, count_up, counter
from tests.accounts.scripts import begin_script, run_script, run_scripts
from tests.rigs.clock import at_most
from tests.rigs.postgres import Postgres

PATIENCE = 2.0


async def failure(work: Awaitable[object]) -> tuple[str, float]:
    """The words of the error *work* ends with, and how long that took."""
    began = time.monotonic()
    with pytest.raises(StoreError) as caught:
        await work
    return str(caught.value), time.monotonic() - began


@pytest.fixture
async def impatient(postgres_url: str, server: Postgres) -> AsyncIterator[Store]:
    """A store in PostgreSQL that has been used."""
    store = Store(postgres_url, timeout=PATIENCE)
    assert await counter(store) == 0
    yield store
    await store.close()


async def test_a_server_that_is_gone_is_an_error_at_once_and_used_again_when_it_is_back(
    impatient: Store, server: Postgres
) -> None:
    await asyncio.gather(*(counter(impatient) for _ in range(5)))
    server.stop()
    for work in (counter, count_up):
        words, took = await failure(work(impatient))
        assert took < at_most(PATIENCE + 0.2)
        assert "Connect call failed" in words
    assert not impatient.available
    await server.start()
    await count_up(impatient)
    assert await asyncio.gather(*(counter(impatient) for _ in range(10))) == [1] * 10
    assert impatient.available


async def test_a_server_that_hangs_is_an_error_in_time_and_used_again_when_it_goes_on(
    impatient: Store, server: Postgres
) -> None:
    await asyncio.gather(*(counter(impatient) for _ in range(5)))
    server.freeze()
    failures = await asyncio.gather(*(failure(work(impatient)) for work in (counter, count_up) * 10))
    assert {words for words, _ in failures} == {"no answer within 2 s"}
    assert max(took for _, took in failures) < at_most(PATIENCE + 0.3)
    server.thaw()
    assert await asyncio.gather(*(counter(impatient) for _ in range(10))) == [0] * 10
    await count_up(impatient)
    assert await counter(impatient) == 1


@pytest.mark.parametrize("moment", ["before the statement", "before the end"])
async def test_a_server_that_hangs_in_the_middle_of_a_transaction_is_an_error_in_time(
    impatient: Store, server: Postgres, moment: str
) -> None:
    async def work() -> None:
        async with impatient.writing() as connection:
            await connection.execute(select(COUNTER))
            if moment == "before the statement":
                server.freeze()
            await connection.execute(update(tables.versions).values(value=COUNTER + 1))
            if moment == "before the end":
                server.freeze()

    words, took = await failure(work())
    assert words == "no answer within 2 s"
    assert took < at_most(PATIENCE + 0.3)
    server.thaw()
    assert await counter(impatient) in ({0} if moment == "before the statement" else {0, 1})


async def test_a_store_opened_while_the_server_hangs_or_is_gone_fails_in_time_for_every_caller(
    postgres_url: str, server: Postgres
) -> None:
    store = Store(postgres_url, timeout=PATIENCE)
    server.freeze()
    failures = await asyncio.gather(*(failure(counter(store)) for _ in range(20)))
    assert max(took for _, took in failures) < at_most(PATIENCE + 0.3)
    server.thaw()
    server.stop()
    assert "Connect call failed" in (await failure(store.open()))[0]
    await server.start()
    assert await counter(store) == 0
    await store.close()


async def test_closing_does_not_wait_for_a_server_that_hangs(postgres_url: str, server: Postgres) -> None:
    store = Store(postgres_url, timeout=PATIENCE)
    await asyncio.gather(*(counter(store) for _ in range(5)))
    server.freeze()
    began = time.monotonic()
    await store.close()
    assert time.monotonic() - began < at_most(2 * PATIENCE + 0.3)


async def test_the_server_itself_ends_statements_that_take_too_long(impatient: Store) -> None:
    async with impatient.reading() as connection:
        assert (await connection.execute(text("SHOW statement_timeout"))).scalar_one() == "2s"


async def test_eight_processes_write_one_file_and_none_finds_it_locked(sqlite_url: str) -> None:
    script = """
        import asyncio, sys, time
        from sqlalchemy import update
        from proxy.accounts import tables
        from proxy.accounts.store import Store

        async def main():
            store = Store(sys.argv[1])
            slowest = 0.0
            for _ in range(200):
                began = time.monotonic()
                async with store.writing() as connection:
                    await connection.execute(update(tables.versions).values(value=tables.versions.c.value + 1))
                slowest = max(slowest, time.monotonic() - began)
            await store.close()
            print(slowest)

        asyncio.run(main())
    """
    ended = await run_scripts(script, sqlite_url, times=8)
    assert [(process.code, process.stderr) for process in ended] == [(0, b"")] * 8
    store = Store(sqlite_url)
    assert await counter(store) == 1600
    await store.close()


async def test_a_writer_killed_again_and_again_loses_nothing_it_committed_and_harms_nothing(
    sqlite_url: str, tmp_path: Path
) -> None:
    script = """
        import asyncio, sys
        from sqlalchemy import text, update
        from proxy.accounts import tables
        from proxy.accounts.store import Store

        async def main():
            store = Store(sys.argv[1])
            while True:
                async with store.writing() as connection:
                    await connection.execute(update(tables.versions).values(value=tables.versions.c.value + 1))
                    await connection.execute(text("INSERT INTO junk VALUES (randomblob(2000))"))
                    value = (await connection.execute(tables.versions.select())).one().value
                print(value, flush=True)

        asyncio.run(main())
    """
    store = Store(sqlite_url)
    async with store.writing() as connection:
        await connection.execute(text("CREATE TABLE junk (bytes BLOB)"))
    await store.close()
    promised = 0
    for _ in range(8):
        process = await begin_script(script, sqlite_url)
        assert process.stdout is not None
        await process.stdout.readline()
        await asyncio.sleep(random.uniform(0, 0.1))  # at no particular moment
        process.kill()
        lines = (await process.stdout.read()).split()
        await process.wait()
        promised = max([promised, *map(int, lines)])
        with sqlite3.connect(tmp_path / "hapax.db") as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            ((value,),) = connection.execute("SELECT value FROM versions").fetchall()
            ((rows,),) = connection.execute("SELECT count(*) FROM junk").fetchall()
        connection.close()
        # One more may have been committed than it came to tell.
        assert promised <= value == rows
        promised = value
    assert promised > 8


async def test_a_full_disk_is_an_error_in_words_and_reading_goes_on(sqlite_url: str, tmp_path: Path) -> None:
    script = """
        import asyncio, resource, signal, sys
        from sqlalchemy import text
        from proxy.accounts.store import Store, StoreError

        async def main():
            store = Store(sys.argv[1])
            await store.open()
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            limits = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))
            try:
                async with store.writing() as connection:
                    await connection.execute(text("CREATE TABLE junk (bytes BLOB)"))
                    await connection.execute(text("INSERT INTO junk VALUES (zeroblob(1000000))"))
            except StoreError as error:
                print(error)
            async with store.reading() as connection:
                print((await connection.execute(text("SELECT count(*) FROM keys"))).scalar_one())
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            async with store.writing() as connection:
                await connection.execute(text("UPDATE versions SET value = 5"))
            await store.close()

        asyncio.run(main())
    """
    ended = await run_script(script, sqlite_url)
    assert (ended.code, ended.stderr) == (0, b"")
    words, count = ended.stdout.decode().splitlines()
    assert words in ("disk I/O error", "database or disk is full")
    assert count == "0"
    with sqlite3.connect(tmp_path / "hapax.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("SELECT value FROM versions").fetchall() == [(5,)]
    connection.close()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder every user can reach, as pytest's are not."""
    folder = Path(tempfile.mkdtemp(prefix="hapax-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


async def test_a_file_that_must_not_be_written_is_an_error_in_words_and_can_be_read(open_folder: Path) -> None:
    script = """
        import asyncio, concurrent.futures.thread, os, sys  # libraries that `nobody` may not be able to read
        from sqlalchemy import text
        from proxy.accounts import engines, schema
        from proxy.accounts.store import Store, StoreError

        async def main():
            if os.geteuid() == 0:
                os.setuid(65534)  # nobody; root may write anything
            store = Store(sys.argv[1])
            async with store.reading() as connection:
                print((await connection.execute(text("SELECT value FROM versions"))).scalar_one())
            try:
                async with store.writing() as connection:
                    await connection.execute(text("UPDATE versions SET value = 5"))
            except StoreError as error:
                print(error)
            await store.close()

        asyncio.run(main())
    """
    url = f"sqlite:///{open_folder}/hapax.db"
    holder = Store(url)
    assert await counter(holder) == 0
    for name in os.listdir(open_folder):
        (open_folder / name).chmod(0o444)
    ended = await run_script(script, url)
    assert (ended.code, ended.stderr) == (0, b"")
    assert ended.stdout.decode().splitlines() == ["0", "attempt to write a readonly database"]
    await holder.close()
