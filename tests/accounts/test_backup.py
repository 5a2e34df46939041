"""Backup and restore: one state of the store, from and to either database, whole or not at all."""

import os
import sqlite3
import stat
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from proxy.accounts import tables
from proxy.accounts.asked import NewKey
from proxy.accounts.backup import BackupError, back_up, restore
from proxy.accounts.keys import Keys
from proxy.accounts.ledger import Ledger
from proxy.accounts.store import Store, StoreError
from proxy.core import clock, tasks
from proxy.settings import Budget, KeyLimits
from tests.accounts.calls import answered, call, rows, total
from tests.accounts.test_usage import row, written
from tests.spec.wire import becomes

NOTHING = KeyLimits(requests_per_minute=None, tokens_per_minute=None, concurrent=None)


async def a_key(keys: Keys, name: str) -> str:
    """Make one; its secret."""
    budget = Budget(usd=25, tokens=None, per="day")
    _, secret = await keys.create(NewKey(name=name, team="front", models=("gpt-*",), limits=NOTHING, budget=budget))
    return secret


async def everything(store: Store) -> dict[str, list[Any]]:
    async with store.reading() as connection:
        return {
            table.name: sorted(map(tuple, await connection.execute(select(table))))
            for table in (tables.keys, tables.usage)
        }


@pytest.fixture(params=["sqlite", "postgresql"])
def other_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Another new database, of either kind, so that every way between them is gone."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'other.db'}"
    url: str = request.getfixturevalue("second_postgres_url")
    return url


@pytest.fixture
async def second_postgres_url(postgres_server):
    url = await postgres_server.database()
    yield url
    await postgres_server.drop(url)


async def test_the_drill_a_backup_under_load_restored_elsewhere_adds_up(
    store: Store, other_url: str, tmp_path: Path
) -> None:
    file, progress = tmp_path / "backup.db", []
    await a_key(Keys(store), "web")
    await written(store, *(row(n, prompt_tokens=n, cost=n) for n in range(5000)))
    ledger = Ledger(store, interval=0.005)
    await ledger.start()
    loading = True

    async def load() -> None:
        while loading:
            exchange = call()
            ledger.open(exchange, "")
            ledger.ended([answered(exchange)])
            await becomes(lambda: ledger.buffered < 10)

    running = tasks.start(load(), "load")
    await becomes(lambda: ledger.rows_total > 10)
    earliest = ledger.rows_total
    counts = await back_up(store, file, progress=lambda *told: progress.append(told))
    latest = ledger.rows_total
    await becomes(lambda: ledger.rows_total > latest)
    loading = False
    await running
    await ledger.stop()

    assert 5000 + earliest <= counts["usage"] <= 5000 + latest + 10
    assert counts["keys"] == 1
    assert ("usage", counts["usage"], counts["usage"]) in progress
    assert stat.S_IMODE(os.stat(file).st_mode) == 0o600
    assert [name for name in os.listdir(tmp_path) if "backup" in name] == ["backup.db"]

    other = Store(other_url)
    assert (await restore(other, file))["usage"] == counts["usage"]
    since = clock.wall().replace(year=2020)
    restored = await total(other, since=since, until=None)
    loaded = counts["usage"] - 5000
    assert restored.requests == counts["usage"]
    assert restored.cost == sum(range(5000)) + 5 * loaded
    assert restored.prompt_tokens == sum(range(5000)) + 10 * loaded
    assert [key.name for key in await Keys(other).list()] == ["web"]
    there = await everything(store)
    assert set((await everything(other))["usage"]) <= set(there["usage"])
    await other.close()


async def test_what_comes_back_is_what_there_was(store: Store, other_url: str, tmp_path: Path) -> None:
    keys = Keys(store)
    for name in ("a", "b"):
        await a_key(keys, name)
    await keys.rotate("a", 60.0)
    await keys.revoke("b")
    await written(store, row(1, model="Größe", cost=None, ttft_ms=3, ended=5), row(2, outcome="pending"))
    await back_up(store, tmp_path / "backup.db")
    other = Store(other_url)
    assert await restore(other, tmp_path / "backup.db") == {"keys": 2, "objects": 0, "usage": 2, "versions": 0}
    before, after = await everything(store), await everything(other)
    assert after["usage"] == before["usage"]
    # But for the number of its last change, which counts in each store by itself.
    assert [(*key[:-2], key[-1]) for key in after["keys"]] == [(*key[:-2], key[-1]) for key in before["keys"]]
    await other.close()


async def test_restored_keys_are_news_to_gateways_that_run(store: Store, tmp_path: Path) -> None:
    await a_key(Keys(store), "web")
    await back_up(store, tmp_path / "backup.db")
    other = Store(f"sqlite:///{tmp_path / 'other.db'}")
    for number in range(5):
        await a_key(Keys(other), f"there-{number}")
    (seen,) = [max(key.seq for key in await Keys(other).list())]
    await restore(other, tmp_path / "backup.db", merge=True)
    assert [key.name for key in await Keys(other).changed_since(seen)] == ["web"]
    await a_key(Keys(other), "later")
    assert [key.name for key in await Keys(other).changed_since(seen)] == ["web", "later"]
    await other.close()


async def test_a_store_in_use_is_refused_and_merged_when_asked(store: Store, tmp_path: Path) -> None:
    await written(store, *(row(n, cost=1) for n in range(10)))
    await back_up(store, tmp_path / "backup.db")
    async with store.writing() as connection:
        await connection.execute(tables.usage.delete().where(tables.usage.c.id < "00000005"))
    await written(store, row(99, cost=1))
    with pytest.raises(BackupError, match="holds keys or usage already"):
        await restore(store, tmp_path / "backup.db")
    assert len(await rows(store)) == 6
    assert (await restore(store, tmp_path / "backup.db", merge=True))["usage"] == 5
    assert [found["id"] for found in await rows(store)] == [f"{n:08}" for n in (*range(10), 99)]
    assert (await restore(store, tmp_path / "backup.db", merge=True))["usage"] == 0


async def test_a_file_that_exists_is_replaced_only_when_asked(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "backup.db"
    file.write_text("precious")
    with pytest.raises(BackupError, match="exists; choose another name"):
        await back_up(store, file)
    assert file.read_text() == "precious"
    await back_up(store, file, force=True)
    assert file.read_bytes().startswith(b"SQLite format 3")


async def test_a_backup_that_fails_leaves_nothing_behind(sqlite_url: str, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    away = Store("postgresql://nobody:x@127.0.0.1:1/none", timeout=1)
    with pytest.raises(StoreError):
        await back_up(away, folder / "backup.db")
    await away.close()
    store = Store(sqlite_url)
    await store.open()
    with pytest.raises(BackupError, match=r"backup\.db cannot be written: No such file or directory"):
        await back_up(store, folder / "none" / "backup.db")
    os.symlink("/etc/passwd", folder / f".backup.db.{os.getpid()}.tmp")
    with pytest.raises(BackupError, match="cannot be written"):
        await back_up(store, folder / "backup.db")
    assert list(folder.iterdir()) == []
    await store.close()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "is not there"),
        (b"", "is no backup of a store"),
        (b"no database at all" * 100, "cannot be used: file is not a database"),
    ],
)
async def test_what_is_no_backup_is_refused(
    sqlite_url: str, tmp_path: Path, content: bytes | None, complaint: str
) -> None:
    store = Store(sqlite_url)
    if content is not None:
        (tmp_path / "backup.db").write_bytes(content)
    with pytest.raises(BackupError, match=complaint):
        await restore(store, tmp_path / "backup.db")
    await store.close()


async def test_a_damaged_backup_is_refused_and_changes_nothing(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "backup.db"
    await written(store, *(row(n, model="m" * 200) for n in range(2000)))
    await back_up(store, file)
    async with store.writing() as connection:
        await connection.execute(tables.usage.delete())
    content = bytearray(file.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 8192] = bytes(8192)
    file.write_bytes(content)
    with pytest.raises(BackupError, match=r"is damaged|cannot be used"):
        await restore(store, file)
    assert await rows(store) == []


async def test_a_backup_of_a_newer_release_without_our_tables_is_refused(sqlite_url: str, tmp_path: Path) -> None:
    store = Store(sqlite_url)
    await store.open()
    await back_up(store, tmp_path / "backup.db")
    database = sqlite3.connect(tmp_path / "backup.db")
    database.executescript("UPDATE alembic_version SET version_num = '9999'; ALTER TABLE keys RENAME TO principals;")
    database.close()
    with pytest.raises(BackupError, match=r"cannot be used: it is at revision '9999', unknown here, and lacks keys"):
        await restore(store, tmp_path / "backup.db")
    await store.close()


async def test_a_backup_is_of_one_moment_though_rows_go_meanwhile(store: Store, tmp_path: Path) -> None:
    now = clock.wall()
    await written(store, *(row(n, now - timedelta(days=1)) for n in range(3000)))

    def halfway(table: str, done: int, count: int) -> None:
        if table == "usage" and done == 1000:
            deleting.append(tasks.start(delete(), "delete"))

    async def delete() -> None:
        async with store.writing() as connection:
            await connection.execute(tables.usage.delete())

    deleting: list[Any] = []
    assert (await back_up(store, tmp_path / "backup.db", progress=halfway))["usage"] == 3000
    await deleting[0]
    assert await rows(store) == []
