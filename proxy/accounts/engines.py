"""
SQLAlchemy's engines for a store in SQLite, and in words what goes wrong with any database. The other is in `postgres`.

Driver, pools and connection settings only: no table, no transaction, no deadline.
"""

import asyncio
import os
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any, Self

import aiosqlite
from sqlalchemy import Connection, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

READERS = 4
"""Connections to SQLite that only read; each is a thread."""
BUSY_TIMEOUT = 5000
"""Milliseconds SQLite itself waits for another process's lock when reading."""
BUSY_SLICE = 100
"""
Milliseconds SQLite itself waits for the right to write. Short, since its own waiting grows to a tenth of a second
between looks, which starves a process among eight; a writer asks again until its deadline.
"""

WAL_PAGES = 500
"""
Pages of 4 KiB after which SQLite moves what was written from its log to the file, in one go, while its thread competes
with the event loop for the processor: in trials at half load calls were held up by some 12 ms with 4000 pages, and by
tens with more. Fewer cost more, since a page that many rows change is moved more often: 1 % of a call's CPU.
"""

PAUSE = 0.004
"""
Seconds between two of many statements, in which the event loop answers the calls that waited for the last one, if it
has to share its processor. In trials at half load 1 ms held up the slowest hundredth of calls half as long again, and
15 ms no less; other writers wait meanwhile.
"""
_BEGIN_WRITING = "BEGIN IMMEDIATE"
"""A transaction that begins by reading and then cannot get the lock has to be done over; this one waits first."""


class ForeignEngine(Exception):
    """An engine that was not made here is asked for what only ours can do."""


Statement = tuple[str, Any]
"""SQL as the driver takes it, and its parameters: those of one row, or a list of rows."""

ERRORS = (
    SQLAlchemyError,
    sqlite3.Error,
    # Timeouts are among these.
    OSError,
)
"""Whatever SQLite, SQLAlchemy or the way to a database raises."""
_DATA_ERROR = "22"
"""The class of PostgreSQL's error codes whose messages repeat a value."""


def told(error: Exception, timeout: float) -> str:
    """*error* in words for the operator: the first line of what the database said, without any value of a row."""
    cause: BaseException = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    if cause.__cause__ is not None and _sqlstate(cause.__cause__):
        cause = cause.__cause__
    if isinstance(cause, TimeoutError | PoolTimeout):
        return f"no answer within {timeout:g} s"
    if (code := _sqlstate(cause)).startswith(_DATA_ERROR):
        return f"{type(cause).__name__} ({code})"
    return (str(cause).partition("\n")[0] or type(cause).__name__)[:300]


def _sqlstate(error: BaseException) -> str:
    """PostgreSQL's code of *error*; empty for what is not from there."""
    return str(getattr(error, "sqlstate", None) or "")


def sqlite_url(url: str) -> URL:
    """*url* for the asynchronous driver; `ValueError` for one that names no file."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise ValueError("the URL cannot be understood") from None
    if not parsed.database or parsed.database == ":memory:" or parsed.host:
        raise ValueError("the URL must name a file, such as sqlite:///hapax.db or sqlite:////var/lib/hapax/hapax.db")
    return parsed.set(drivername="sqlite+aiosqlite")


def create_file(url: URL) -> None:
    """Make the file of a SQLite database unless it is there, readable for this user alone."""
    # What is wrong with the path SQLite says better.
    with suppress(OSError):
        os.close(os.open(url.database or "", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def put_to_rest(url: URL) -> None:
    """
    Have a SQLite database be one file again, where no other connection has it open: SQLite moves its log into it and
    removes the log and its index when the last connection closes, unless two close at the same moment, or the last one
    was killed.
    """
    file = Path(url.database or "").absolute()
    if not file.with_name(f"{file.name}-wal").exists():
        return
    # What keeps it from doing so now is told, or is over, when the file is opened again: nothing is lost meanwhile.
    with (
        suppress(sqlite3.Error, ValueError),
        closing(sqlite3.connect(f"{file.as_uri()}?mode=rw", uri=True, timeout=BUSY_TIMEOUT / 1000)) as database,
    ):
        database.execute("PRAGMA wal_checkpoint").fetchall()


def sqlite_reader(url: URL, timeout: float) -> AsyncEngine:
    """Several connections that read; each transaction sees one state of the file."""
    return _file_engine(
        url,
        "BEGIN",
        f"PRAGMA busy_timeout = {BUSY_TIMEOUT}",
        "PRAGMA query_only = ON",
        size=READERS,
        timeout=timeout,
    )


def sqlite_writer(url: URL, timeout: float) -> AsyncEngine:
    """
    The one connection that writes.

    In WAL mode with synchronous = NORMAL a killed process loses nothing it committed; a power failure may lose the
    last commits, and never harms the file.
    """
    return _file_engine(
        url,
        _BEGIN_WRITING,
        f"PRAGMA busy_timeout = {BUSY_SLICE}",
        "PRAGMA journal_mode = WAL",
        "PRAGMA synchronous = NORMAL",
        f"PRAGMA wal_autocheckpoint = {WAL_PAGES}",
        size=1,
        timeout=timeout,
    )


def locked(error: BaseException) -> bool:
    """Whether another process held SQLite's lock, so that asking again may help."""
    cause = getattr(error, "orig", error)
    code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
    return isinstance(cause, sqlite3.OperationalError) and code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


async def transact(engine: AsyncEngine, statements: Sequence[Statement]) -> None:
    """
    Run *statements* on an *engine* of `sqlite_writer` in a transaction of their own; `ForeignEngine` for any other.
    SQLAlchemy would go to the connection's thread and back for every step of it, a dozen times; each costs the event
    loop as much as thirty rows.
    """
    connection = await engine.connect()
    try:
        driver = (await connection.get_raw_connection()).driver_connection
        if not isinstance(driver, _FileConnection):
            raise ForeignEngine(repr(engine))
        await driver.transact(statements)
    except asyncio.CancelledError:
        # The statement may be under way still: no other task must get this connection.
        await connection.invalidate()
        raise
    finally:
        await connection.close()


def _transact(database: sqlite3.Connection, statements: Sequence[Statement]) -> None:
    database.execute(_BEGIN_WRITING)
    try:
        for number, (sql, parameters) in enumerate(statements):
            if number:
                time.sleep(PAUSE)
            database.execute(sql, parameters)
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise


class _FileConnection(aiosqlite.Connection):
    """A connection to SQLite whose giving up takes no time, and that ends its thread whatever happens."""

    _ended: "asyncio.Future[None] | None" = None

    async def begin(self, pragmas: Sequence[str]) -> Self:
        """Connect, and set what is set for the whole connection."""
        # SQLAlchemy does so as well: a process that dies in a hurry must not wait for a thread.
        self._thread.daemon = True
        try:
            await self
            for pragma in pragmas:
                await self.execute_fetchall(pragma)
        except BaseException:
            await self.close()
            raise
        return self

    async def transact(self, statements: Sequence[Statement]) -> None:
        """Run *statements* in a transaction of their own, all in one visit to the thread."""
        # The library left it without annotations.
        await self._execute(_transact, self._conn, statements)  # type: ignore[no-untyped-call]  # aiosqlite left it so

    def stop(self) -> "asyncio.Future[None] | None":
        self._ended = super().stop()
        return self._ended

    async def close(self) -> None:
        # A statement under way, if any, would go on to its end first.
        with suppress(ValueError):
            await self.interrupt()
        await super().close()
        if self._ended is not None:
            # A thread left alone would speak to an event loop that may be gone by then.
            await asyncio.wait((self._ended,), timeout=1.0)


def _file_engine(url: URL, begin: str, *pragmas: str, size: int, timeout: float) -> AsyncEngine:
    async def connect() -> _FileConnection:
        # Without an isolation level the driver begins no transactions of its own.
        connector = partial(sqlite3.connect, url.database, isolation_level=None, check_same_thread=False)
        return await _FileConnection(connector, 64).begin(pragmas)

    engine = create_async_engine(
        url,
        async_creator=connect,
        pool_size=size,
        max_overflow=0,
        pool_timeout=timeout,
        pool_use_lifo=True,
        # A task that gives one back has ended its transaction.
        pool_reset_on_return=None,
        hide_parameters=True,
    )

    @event.listens_for(engine.sync_engine, "begin")
    def begun(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine
