"""How a database gets its tables: once, whole or not at all, however many processes are at it."""

import asyncio
import logging
import signal

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import BigInteger, Connection, Integer, inspect, text

from proxy.accounts import schema, tables
from proxy.accounts.store import Store, StoreError
from tests.accounts.scripts import ROOT, run_script, run_scripts

OPENS = """
        import asyncio, sys
        from proxy.accounts.store import Store

        async def main():
            store = Store(sys.argv[1])
            await store.open()
            await store.close()

        asyncio.run(main())"""
"""A process that opens the store it is given, and closes it."""


async def names(store: Store) -> set[str]:
    async with store.reading() as connection:
        return set(await connection.run_sync(lambda bound: inspect(bound).get_table_names()))


async def execute(store: Store, statement: str) -> None:
    async with store.writing() as connection:
        await connection.execute(text(statement))


def test_the_newest_revision_is_the_one_the_program_expects() -> None:
    config = Config()
    config.set_main_option("script_location", str(ROOT / "proxy" / "accounts" / "migrations"))
    assert ScriptDirectory.from_config(config).get_heads() == [schema.HEAD]


async def test_the_migrations_make_what_a_new_database_begins_with(store: Store) -> None:
    def described(bound: Connection) -> dict[str, str]:
        found = inspect(bound)
        return {
            name: repr(
                (
                    found.get_columns(name),
                    found.get_pk_constraint(name),
                    found.get_unique_constraints(name),
                    sorted(found.get_indexes(name), key=lambda index: str(index["name"])),
                    bound.execute(text(f"SELECT * FROM {name}")).all(),
                )
            )
            for name in found.get_table_names()
        }

    def begun_anew(bound: Connection) -> None:
        for name in inspect(bound).get_table_names():
            bound.execute(text(f"DROP TABLE {name}"))
        schema.upgrade(bound, None)

    async with store.writing() as connection:
        new = await connection.run_sync(described)
        assert new.keys() == {"alembic_version", "keys", "objects", "usage", "versions"}
        await connection.run_sync(begun_anew)
        assert await connection.run_sync(described) == new


async def test_a_new_database_needs_no_alembic(store_url: str) -> None:
    script = f"""{OPENS}
        assert not {{"alembic", "asyncpg" if sys.argv[1].startswith("sqlite") else ""}} & set(sys.modules)
    """
    ended = await run_script(script, store_url)
    assert (ended.code, ended.stderr) == (0, b"")


async def test_the_migrations_make_the_tables_the_program_uses(store: Store) -> None:
    def differences(bound: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(bound), tables.metadata))

    async with store.reading() as connection:
        assert await connection.run_sync(differences) == []
        indexes = await connection.run_sync(lambda bound: inspect(bound).get_indexes("usage"))
    assert {tuple(index["column_names"]) for index in indexes} == {("principal", "started"), ("started",)}


async def test_migrating_again_changes_nothing(store: Store, store_url: str) -> None:
    await execute(store, "UPDATE versions SET value = 7")
    for _ in range(3):
        again = Store(store_url)
        await again.open()
        async with again.writing() as connection:
            await connection.run_sync(schema.migrate)
            assert (await connection.execute(text("SELECT value FROM versions"))).scalars().all() == [7]
        await again.close()


async def test_eight_who_open_a_new_database_at_once_all_find_it_ready(store_url: str) -> None:
    stores = [Store(store_url) for _ in range(8)]
    await asyncio.gather(*(store.open() for store in stores))
    for store in stores:
        assert {"keys", "objects", "usage", "versions"} <= await names(store)
    async with stores[0].reading() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM versions"))).scalar_one() == 1
    await asyncio.gather(*(store.close() for store in stores))


async def test_eight_processes_that_open_a_new_database_at_once_all_find_it_ready(store_url: str) -> None:
    ended = await run_scripts(OPENS, store_url, times=8)
    assert [(process.code, process.stderr) for process in ended] == [(0, b"")] * 8


@pytest.mark.parametrize("after", [1, 3, 5, 8])
async def test_a_migration_killed_in_the_middle_never_happened(store_url: str, after: int) -> None:
    script = """
        import asyncio, os, signal, sys
        from sqlalchemy import Engine, event
        from proxy.accounts.store import Store

        changes = 0

        @event.listens_for(Engine, "after_cursor_execute")
        def executed(connection, cursor, statement, *rest):
            global changes
            changes += statement.lstrip().upper().startswith(("CREATE", "INSERT"))
            if changes == int(sys.argv[2]):
                os.kill(os.getpid(), signal.SIGKILL)

        asyncio.run(Store(sys.argv[1]).open())
    """
    assert (await run_script(script, store_url, str(after))).code == -signal.SIGKILL
    store = Store(store_url)
    async with store._reader.connect() as connection:
        # Below what opens it: no process may have migrated since.
        assert await connection.run_sync(lambda bound: inspect(bound).get_table_names()) == []
    await store.open()
    assert {"keys", "objects", "usage", "versions"} <= await names(store)
    await store.close()


async def test_a_database_of_a_newer_release_is_used_with_a_warning_and_left_as_it_is(
    store: Store, store_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    await execute(store, "ALTER TABLE keys ADD COLUMN colour TEXT")
    await execute(store, "UPDATE alembic_version SET version_num = '9999'")
    older = Store(store_url)
    with caplog.at_level(logging.INFO, "hapax"):
        await older.open()
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "'9999'" in record.getMessage()
    async with older.reading() as connection:
        assert (await connection.execute(text("SELECT version_num FROM alembic_version"))).scalar_one() == "9999"
    await older.close()


async def test_a_database_of_another_release_that_lacks_a_table_is_refused(store: Store, store_url: str) -> None:
    await execute(store, "ALTER TABLE usage RENAME TO consumption")
    await execute(store, "UPDATE alembic_version SET version_num = '9999'")
    older = Store(store_url)
    with pytest.raises(StoreError, match=r"'9999', unknown here, and lacks usage"):
        await older.open()
    await older.close()


async def test_a_failed_migration_can_be_tried_again(store_url: str) -> None:
    blocked = Store(store_url)
    async with blocked._writer.begin() as connection:
        await connection.execute(text("CREATE TABLE usage (theirs TEXT)"))
    with pytest.raises(StoreError, match="usage"):
        await blocked.open()
    async with blocked._writer.begin() as connection:
        assert await connection.run_sync(lambda bound: inspect(bound).get_table_names()) == ["usage"]
        await connection.execute(text("DROP TABLE usage"))
    await blocked.open()
    assert blocked.available
    await blocked.close()


async def test_migrating_leaves_the_logging_of_the_process_alone(store_url: str) -> None:
    before = list(logging.getLogger().handlers), logging.getLogger().level, logging.getLogger("hapax").disabled
    store = Store(store_url)
    await store.open()
    assert (
        list(logging.getLogger().handlers),
        logging.getLogger().level,
        logging.getLogger("hapax").disabled,
    ) == before
    await store.close()


async def test_a_process_of_the_last_release_goes_on_writing_rows(store: Store) -> None:
    for table in (tables.keys, tables.usage):
        # It names those columns alone that had no default when it was made.
        named = [column for column in table.c if not column.nullable and column.server_default is None]
        values = ", ".join("0" if isinstance(column.type, BigInteger | Integer) else "''" for column in named)
        await execute(
            store, f"INSERT INTO {table.name} ({', '.join(column.name for column in named)}) VALUES ({values})"
        )
    async with store.reading() as connection:
        (key,) = (await connection.execute(text("SELECT cache FROM keys"))).all()
        (row,) = (await connection.execute(text("SELECT cached, saved FROM usage"))).all()
    assert (tuple(key), tuple(row)) == ((1,), (0, None))
