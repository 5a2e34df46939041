"""A SQLite database that no process has open is one file: no log and no index lie beside it."""

import asyncio
import os
import sqlite3
from pathlib import Path

from proxy.accounts.store import Store, put_to_rest
from tests.accounts.calls import count_up, counter
from tests.accounts.scripts import run_scripts

KILLED = """
    import asyncio, os, signal, sys
    from proxy.accounts.store import Store
    from tests.accounts.calls import count_up

    async def main():
        store = Store(sys.argv[1])
        await asyncio.gather(*(count_up(store) for _ in range(10)))
        os.kill(os.getpid(), signal.SIGKILL)

    asyncio.run(main())
"""


def beside(folder: Path) -> list[str]:
    return sorted(name for name in os.listdir(folder) if name.startswith("hapax.db"))


async def test_a_store_that_was_closed_is_one_file(sqlite_url: str, tmp_path: Path) -> None:
    store = Store(sqlite_url)
    await asyncio.gather(*(count_up(store) for _ in range(20)), *(counter(store) for _ in range(20)))
    assert beside(tmp_path) == ["hapax.db", "hapax.db-shm", "hapax.db-wal"]
    await store.close()
    assert beside(tmp_path) == ["hapax.db"]
    database = sqlite3.connect(tmp_path / "hapax.db")
    assert database.execute("SELECT value FROM versions WHERE name = 'keys'").fetchone() == (20,)
    database.close()


async def test_the_log_stays_while_another_connection_has_the_database_open(sqlite_url: str, tmp_path: Path) -> None:
    store, other = Store(sqlite_url), Store(sqlite_url)
    await count_up(store)
    assert await counter(other) == 1
    await store.close()
    assert beside(tmp_path) == ["hapax.db", "hapax.db-shm", "hapax.db-wal"]
    await count_up(other)
    await other.close()
    assert beside(tmp_path) == ["hapax.db"]


async def test_a_process_after_the_last_has_what_the_killed_ones_left_put_in_order(
    sqlite_url: str, tmp_path: Path
) -> None:
    ends = await run_scripts(KILLED, sqlite_url, times=3)
    assert [end.code for end in ends] == [-9, -9, -9]
    assert "hapax.db-wal" in beside(tmp_path)
    put_to_rest(sqlite_url)
    assert beside(tmp_path) == ["hapax.db"]
    store = Store(sqlite_url)
    assert await counter(store) == 30
    await store.close()


def test_what_is_not_there_is_not_made_and_what_is_damaged_is_left(tmp_path: Path) -> None:
    for url in ("sqlite:///", "sqlite:///:memory:", "postgresql://me@127.0.0.1:1/x", "", f"sqlite:///{tmp_path}/a.db"):
        put_to_rest(url)
    assert os.listdir(tmp_path) == []
    for name in ("a.db", "a.db-wal"):
        (tmp_path / name).write_bytes(b"no database at all" * 100)
    put_to_rest(f"sqlite:///{tmp_path}/a.db")
    assert (tmp_path / "a.db").read_bytes() == b"no database at all" * 100
