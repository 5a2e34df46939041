"""
The store: where keys and the usage ledger are kept, in SQLite or PostgreSQL.

It gives out connections inside a transaction and a deadline, and turns whatever goes wrong with them into one error.
It knows no statement.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

from sqlalchemy import Dialect
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from proxy.accounts import engines, schema
from proxy.core import clock, tasks

MIGRATION_TIMEOUT = 300.0
"""Seconds a migration may take, waiting for another process's included."""

_ASK_AGAIN = (0.001, 0.01)
"""Seconds between two tries to get SQLite's right to write, drawn anew each time."""


class StoreError(Exception):
    """The store cannot be used; the message is for the operator and holds no credential and no value of a row."""


def put_to_rest(url: str) -> None:
    """
    Have the database at *url* be one file, where it is one of SQLite's. For a process whose children used it, after the
    last of them has ended: two that close it at the same moment may each leave the log to the other.
    """
    if url.startswith("sqlite:"):
        with suppress(ValueError):
            engines.put_to_rest(engines.sqlite_url(url))


class Store:
    """One database, and this process's connections to it."""

    def __init__(self, url: str, *, timeout: float = 5.0) -> None:
        """
        *url*: `sqlite:///file.db`, `sqlite:////absolute/file.db` or `postgresql://user:password@host/database`.
        *timeout* seconds bound every operation, also where the server hangs. `StoreError` for any other URL.
        """
        self._timeout = timeout
        self._turn: asyncio.Lock | None = None
        """Whose turn it is to write, where only one can."""
        self._file = None
        self._errors: tuple[type[Exception], ...] = engines.ERRORS
        """Whatever this database, its driver or the way to it raises."""
        if url.startswith(("postgresql://", "postgres://")):
            from proxy.accounts import postgres

            self.dialect = "postgresql"
            self._errors += postgres.ERRORS
            self._reader = self._writer = postgres.engine(url, timeout)
        elif url.startswith("sqlite:///"):
            self.dialect = "sqlite"
            try:
                self._file = engines.sqlite_url(url)
            except ValueError as error:
                raise StoreError(str(error)) from None
            self._reader = engines.sqlite_reader(self._file, timeout)
            self._writer = engines.sqlite_writer(self._file, timeout)
            self._turn = asyncio.Lock()
        else:
            raise StoreError("the URL must begin with sqlite:/// or postgresql://")
        self.sql: Dialect = self._writer.dialect
        """Compiles statements for `write`."""
        self.available = False
        """The last operation worked."""
        self.on_done: Callable[[str, float, bool], object] = lambda what, seconds, failed: None
        """Told of each operation's end: `read` or `write`, its seconds, whether it failed."""
        self._opened = False
        self._opening: asyncio.Task[StoreError | None] | None = None

    def __repr__(self) -> str:
        state = "available" if self.available else "unavailable" if self._opened else "not open"
        return f"<Store {self.dialect} [{state}]>"

    async def open(self) -> None:
        """Connect, and migrate where that is due; nothing if it was done. `StoreError`; may be called again."""
        if self._opened:
            return
        # Every task that comes while it opens waits for the same try, and none that leaves ends a migration.
        if self._opening is None or self._opening.done():
            self._opening = tasks.start(self._open(), "store opening")
        error = await asyncio.shield(self._opening)
        if error is not None:
            raise StoreError(str(error))

    async def close(self) -> None:
        """
        Let go of every connection. Using the store afterwards opens it again. A SQLite database that no other process
        has open is one file then.
        """
        await tasks.end(self._opening)
        self._opened = self.available = False
        for engine in {self._reader, self._writer}:
            try:
                async with asyncio.timeout(self._timeout):
                    await engine.dispose()
            except self._errors:
                # A server that hangs is not told that we go.
                await engine.dispose(close=False)
        if self._file is not None:
            await asyncio.to_thread(engines.put_to_rest, self._file)

    def reading(self, timeout: float | None = None) -> AbstractAsyncContextManager[AsyncConnection]:
        """
        A connection that sees one state of the database, for at most *timeout* seconds (None: the store's); opens the
        store when it is not open yet. What goes wrong with the database inside leaves as `StoreError`.
        """
        return self._transaction(self._reader, self._timeout if timeout is None else timeout, writes=False)

    def writing(self, timeout: float | None = None) -> AbstractAsyncContextManager[AsyncConnection]:
        """Like `reading`, with changes: committed together at the end, or undone when the block raises."""
        return self._transaction(self._writer, self._timeout if timeout is None else timeout, writes=True)

    async def write(self, statements: Sequence[engines.Statement]) -> None:
        """Run *statements*, SQL as the driver takes it, in a transaction; `StoreError` like `writing`."""
        if self._turn is None:
            async with self.writing() as connection:
                for sql, parameters in statements:
                    await connection.exec_driver_sql(sql, parameters)
            return
        async with self._bounded(self._timeout, writes=True), self._turn:
            while True:
                if await _written(self._writer, statements):
                    return
                await asyncio.sleep(random.uniform(*_ASK_AGAIN))

    @asynccontextmanager
    async def _transaction(self, engine: AsyncEngine, timeout: float, writes: bool) -> AsyncIterator[AsyncConnection]:
        async with self._bounded(timeout, writes):
            connection = await self._begin(engine, writes)
            try:
                yield connection
                if writes:
                    await connection.commit()
            finally:
                await self._leave(connection, writes)

    @asynccontextmanager
    async def _bounded(self, timeout: float, writes: bool) -> AsyncIterator[None]:
        """An operation of *timeout* seconds at most, whose errors leave as `StoreError`."""
        await self.open()
        began = clock.now()
        try:
            async with asyncio.timeout(timeout):
                yield
        except self._errors as error:
            self.available = False
            self._done(writes, began, failed=True)
            raise StoreError(engines.told(error, timeout)) from None
        self.available = True
        self._done(writes, began, failed=False)

    def _done(self, writes: bool, began: float, failed: bool) -> None:
        self.on_done("write" if writes else "read", clock.now() - began, failed)

    async def _begin(self, engine: AsyncEngine, writes: bool) -> AsyncConnection:
        """A connection whose transaction has begun; with `_leave` whatever it took is given back."""
        if self._turn is None or not writes:
            return await _begun(engine)
        await self._turn.acquire()
        try:
            while True:
                try:
                    return await _begun(engine)
                except engines.ERRORS as error:
                    if not engines.locked(error):
                        raise
                await asyncio.sleep(random.uniform(*_ASK_AGAIN))
        except BaseException:
            self._turn.release()
            raise

    async def _leave(self, connection: AsyncConnection, writes: bool) -> None:
        try:
            await _given_back(connection)
        finally:
            if self._turn is not None and writes:
                self._turn.release()

    async def _open(self) -> StoreError | None:
        """Why it cannot be opened, told rather than raised since perhaps no task waits any longer."""
        try:
            if self._file is not None:
                engines.create_file(self._file)
            timeout = self._timeout
            async with asyncio.timeout(timeout):
                connection = await self._begin(self._reader, writes=False)
                try:
                    at_head = await connection.run_sync(schema.at_head)
                finally:
                    await self._leave(connection, writes=False)
            if not at_head:
                timeout = MIGRATION_TIMEOUT
                async with asyncio.timeout(timeout):
                    connection = await self._begin(self._writer, writes=True)
                    try:
                        await connection.run_sync(schema.migrate)
                        await connection.commit()
                    finally:
                        await self._leave(connection, writes=True)
        except self._errors as error:
            return StoreError(engines.told(error, timeout))
        except schema.UnknownSchema as error:
            return StoreError(str(error))
        self._opened = self.available = True
        return None


async def _written(engine: AsyncEngine, statements: Sequence[engines.Statement]) -> bool:
    """Whether *statements* were run; False when another process holds SQLite's right to write."""
    try:
        await engines.transact(engine, statements)
    except engines.ERRORS as error:
        if not engines.locked(error):
            raise
        return False
    return True


async def _begun(engine: AsyncEngine) -> AsyncConnection:
    connection = await engine.connect()
    try:
        await connection.begin()
    except BaseException:
        await _given_back(connection)
        raise
    return connection


async def _given_back(connection: AsyncConnection) -> None:
    try:
        # Within the caller's deadline. `async with` would do it in a task of its own, which no deadline ends.
        await connection.rollback()
    finally:
        await connection.close()
