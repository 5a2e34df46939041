"""
A backup of the store: one SQLite file with everything in it, whichever database it was made from, and the way back.

So it is also the way from one database to the other. It copies rows as they are and leaves out nothing; the file
holds the digests of keys, never a key.
"""

import os
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Delete, Insert, Table, create_engine, delete, func, insert, select, text, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.pool import NullPool

from proxy.accounts import schema, tables
from proxy.accounts.store import Store

WITHIN = 24 * 3600.0
"""Seconds a copy may take."""
BATCH = 1000
"""Rows copied at once."""
FILE_MODE = 0o600

Progress = Callable[[str, int, int], None]
"""Is told a table, how many of its rows are copied, and how many there are."""

_TABLES = tuple(tables.metadata.sorted_tables)
_SUMS = tuple(
    tables.usage.c[name]
    for name in ("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens", "cost", "saved")
)


class BackupError(Exception):
    """No backup was made, or none was restored; the message is a sentence for the operator."""


async def back_up(store: Store, path: Path, *, force: bool = False, progress: Progress | None = None) -> dict[str, int]:
    """
    Write the state the store has now to *path*, whole or not at all; with *force* in place of what is there. Returns
    how many rows each table has. `BackupError`, `StoreError`.
    """
    _refuse_to_replace(path, force)
    beside = path.parent / f".{path.name}.{os.getpid()}.tmp"
    try:
        os.close(os.open(beside, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE))
        beside.chmod(FILE_MODE)
        with _file(beside) as copy:
            schema.migrate(copy)
            async with store.reading(WITHIN) as source:
                await _one_state(source)
                counts = await _copied_out(source, copy, progress)
            copy.commit()
        _check(beside)
        _settle(beside)
        _refuse_to_replace(path, force)
        beside.replace(path)
        _settle(path.parent)
    except (OSError, sqlite3.Error, SQLAlchemyError) as error:
        raise BackupError(f"{path} cannot be written: {_reason(error)}") from error
    finally:
        for leftover in (beside, beside.with_name(f"{beside.name}-journal")):
            with suppress(OSError):
                leftover.unlink()
    return counts


async def restore(store: Store, path: Path, *, merge: bool = False, progress: Progress | None = None) -> dict[str, int]:
    """
    Put the rows of the backup at *path* into the store, all or none. A store that holds rows is refused; with *merge*
    it keeps them and gets those it lacks. Returns how many rows were new, by table. `BackupError`, `StoreError`.
    """
    with _readable(path) as file:
        async with store.writing(WITHIN) as target:
            if store.dialect == "postgresql":
                await target.execute(text("SET LOCAL statement_timeout = 0"))
            before = {table.name: await _count(target, table) for table in _TABLES}
            if not merge and (before["keys"] or before["usage"]):
                raise BackupError("the store holds keys or usage already; add what it lacks with --merge")
            await _copied_in(file, target, progress)
            new = {table.name: await _count(target, table) - before[table.name] for table in _TABLES}
            if not merge:
                await _compare(file, target)
    return new


async def _one_state(source: AsyncConnection) -> None:
    """See to it that everything read from now on is of one moment, however long that takes; SQLite does by itself."""
    if source.dialect.name == "postgresql":
        await source.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
        await source.execute(text("SET LOCAL statement_timeout = 0"))


async def _copied_out(source: AsyncConnection, copy: Connection, progress: Progress | None) -> dict[str, int]:
    counts = {}
    for table in _TABLES:
        _write(copy, delete(table))
        count, done = await _count(source, table), 0
        async for batch in _batches(source, table):
            _write(copy, insert(table), batch)
            done += len(batch)
            if progress is not None:
                progress(table.name, done, count)
        written = copy.execute(select(func.count()).select_from(table)).scalar()
        if not done == count == written:
            raise BackupError(f"of {count} rows of {table.name}, {done} were read and {written} written")
        counts[table.name] = count
    return counts


def _write(copy: Connection, statement: Delete | Insert, rows: list[dict[str, Any]] | None = None) -> None:
    try:
        copy.execute(statement, rows)
    except SQLAlchemyError as error:
        # Said here, lest it pass for a fault of the store that is being read.
        raise BackupError(f"the backup cannot be written: {_reason(error)}") from error


async def _batches(source: AsyncConnection, table: Table) -> AsyncIterator[list[dict[str, Any]]]:
    result = await source.stream(select(table))
    async for part in result.mappings().partitions(BATCH):
        yield [dict(row) for row in part]


async def _copied_in(file: Connection, target: AsyncConnection, progress: Progress | None) -> None:
    for table in _TABLES:
        count = file.execute(select(func.count()).select_from(table)).scalar() or 0
        # Unless there is a row like it.
        adding = tables.insert_into(table, target.dialect).on_conflict_do_nothing()
        if table is tables.keys and count:
            seq = await _sequence(target, count)
        done = 0
        for part in file.execute(select(table).order_by(*table.primary_key)).mappings().partitions(BATCH):
            batch = [dict(row) for row in part]
            if table is tables.keys:
                # To gateways that run, they are changes that come after all others.
                for number, row in enumerate(batch, seq + done):
                    row["seq"] = number
            await target.execute(adding, batch)
            done += len(batch)
            if progress is not None:
                progress(table.name, done, count)


async def _sequence(target: AsyncConnection, count: int) -> int:
    """The first of *count* numbers of changes of keys that no other change will have."""
    version = tables.versions.c
    taken = update(tables.versions).where(version.name == "keys").values(value=version.value + count)
    return int((await target.execute(taken.returning(version.value))).scalar_one()) - count + 1


async def _compare(file: Connection, target: AsyncConnection) -> None:
    """Counts, and the sums of the ledger, are those of the backup."""
    for table in _TABLES:
        if table is tables.versions:
            continue
        asked = select(func.count(), *(func.sum(column) for column in (_SUMS if table is tables.usage else ())))
        asked = asked.select_from(table)
        expected, found = file.execute(asked).one(), (await target.execute(asked)).one()
        # PostgreSQL's sums are decimals.
        if [int(number or 0) for number in expected] != [int(number or 0) for number in found]:
            raise BackupError(f"what was restored of {table.name} does not add up to what the backup holds")


async def _count(connection: AsyncConnection, table: Table) -> int:
    return int((await connection.execute(select(func.count()).select_from(table))).scalar_one())


@contextmanager
def _file(path: Path) -> Iterator[Connection]:
    """A connection to a SQLite file that no other task uses."""
    engine = create_engine("sqlite://", creator=lambda: sqlite3.connect(path), poolclass=NullPool)
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


@contextmanager
def _readable(path: Path) -> Iterator[Connection]:
    """The backup at *path*, looked over; one of an older release is brought up to date in a copy of it."""
    if not path.is_file():
        raise BackupError(f"{path} is not there")
    try:
        _check(path)
        with tempfile.TemporaryDirectory(prefix="hapax-restore-") as folder:
            copy = Path(folder) / "backup.db"
            # The file itself is not touched, not even by a journal beside it.
            source, target = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True), sqlite3.connect(copy)
            try:
                source.backup(target)
            finally:
                source.close()
                target.close()
            with _file(copy) as connection:
                schema.migrate(connection)
                connection.commit()
                yield connection
    except (OSError, sqlite3.Error, SQLAlchemyError, schema.UnknownSchema) as error:
        raise BackupError(f"{path} cannot be used: {_reason(error)}") from error


def _refuse_to_replace(path: Path, force: bool) -> None:
    if not force and path.exists():
        raise BackupError(f"{path} exists; choose another name, or replace it with --force")


def _check(path: Path) -> None:
    """`BackupError` unless the file is whole and holds what a backup holds."""
    database = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    try:
        found = [row[0] for row in database.execute("PRAGMA integrity_check(1)")]
        names = {row[0] for row in database.execute("SELECT name FROM sqlite_master")}
    finally:
        database.close()
    if found != ["ok"]:
        raise BackupError(f"{path} is damaged: {found[0]}")
    if "alembic_version" not in names or "usage" not in names:
        raise BackupError(f"{path} is no backup of a store")


def _settle(path: Path) -> None:
    """Wait until a file, or the names in a folder, would outlast a power cut."""
    number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _reason(error: Exception) -> str:
    cause = getattr(error, "orig", None) or error
    return getattr(cause, "strerror", None) or str(cause).partition("\n")[0]
