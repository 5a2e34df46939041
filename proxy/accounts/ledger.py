"""
The usage ledger: every admitted call becomes one row, pending while it runs and completed once.

Rows are buffered here and written in batches beside the traffic, which never waits for the store. It adds up nothing
but what one principal has spent; reports are in `usage`.
"""

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Sequence
from datetime import datetime
from itertools import count

from prometheus_async.aio import time
from sqlalchemy import func, select

from proxy.accounts import tables
from proxy.accounts.row_errors import is_of_a_row
from proxy.accounts.rows import (
    COMPLETION_TOKENS,
    COST,
    PRINCIPAL,
    PROMPT_TOKENS,
    STARTED,
    Row,
    Statements,
    completed,
    pending,
)
from proxy.accounts.store import Store, StoreError
from proxy.accounts.took import Took
from proxy.core import clock, tasks
from proxy.core.exchange import Exchange

BATCH = 1024
"""Rows written in one transaction at most, so that other writers get their turn with the database."""
LONGEST_PAUSE = 1.0
"""Seconds between two tries while the store is away, at most."""
STOP_WITHIN = 5.0
"""Seconds `stop` may take to write what is left."""

_log = logging.getLogger("hapax")


_Call = tuple[Exchange, str]
"""A call under way and its principal's team."""


class Ledger:
    """
    Opens and completes rows in memory, and writes them by a task of its own.

    While the store is away rows wait in a buffer. When that is full, first the pending rows in it are let go, which
    costs nothing unless the gateway dies before the call ends, and then the oldest completed ones, which are lost and
    counted. After a crash the calls that ran are pending in the store, except those younger than two intervals, which
    have no row; completed rows of the last interval are missing or still pending.
    """

    def __init__(self, store: Store, *, interval: float = 0.1, capacity: int = 100_000) -> None:
        """*interval*: seconds between two batches. *capacity*: rows that may wait."""
        self._store = store
        self._interval = interval
        self._capacity = capacity
        # Calls without a row in the store yet, by id, oldest first; and those whose row is pending there.
        self._fresh: dict[str, _Call] = {}
        self._opened: dict[str, _Call] = {}
        self._done: deque[Row] = deque()
        self._flying = 0
        # Rows of failed batches: it is not known whether they arrived.
        self._doubtful: set[str] = set()
        # A random prefix for this process: ids are never made twice, and yet come in order, as an index likes it.
        self._prefix = secrets.token_hex(6)
        self._numbers = count()
        self._epoch = clock.epoch()
        self._statements = Statements(store.sql)
        self._turn = asyncio.Lock()
        self._batch = BATCH
        self._due = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._writing = False
        self._tasks = tasks.Tasks()
        self._pause = interval
        self._losing = False
        self.available = True
        """The last batch was written."""
        self.dropped_total = 0
        """Rows of completed calls that were lost."""
        self.failures_total = 0
        """Batches the store did not take."""
        self.rows_total = 0
        """Rows written; a call whose row was pending first counts twice."""
        self.last_flush = Took()
        """How long the last batch took that was written."""

    def __repr__(self) -> str:
        state = "available" if self.available else "store away"
        return f"<Ledger {state}, {self.buffered} of {self._capacity} rows wait, {len(self._opened)} calls are pending>"

    @property
    def buffered(self) -> int:
        """Rows that are not in the store yet."""
        return len(self._done) + len(self._fresh) + self._flying

    def open(self, exchange: Exchange, team: str) -> None:
        """The call was admitted: it has a row from now on."""
        ledger_id = exchange.ledger_id = f"{self._prefix}{next(self._numbers):010x}"
        if len(self._fresh) + len(self._done) < self._capacity:
            self._fresh[ledger_id] = (exchange, team)
        else:
            self._opened[ledger_id] = (exchange, team)
        if self._timer is None:
            self._wake_in(self._pause)

    def ended(self, exchanges: Sequence[Exchange]) -> None:
        """The calls are over; nothing for one that was not opened here, or was ended before."""
        self._epoch = epoch = clock.epoch()
        fresh, opened, done = self._fresh, self._opened, self._done
        for exchange in exchanges:
            ledger_id = exchange.ledger_id
            if ledger_id and (call := fresh.pop(ledger_id, None) or opened.pop(ledger_id, None)) is not None:
                done.append(completed(exchange, call[1], epoch))
        if len(done) + len(fresh) > self._capacity:
            self._make_room()
        if self._timer is None and done:
            self._wake_in(self._pause)

    async def start(self) -> None:
        """Begin to write."""
        self._writing = True
        self._tasks.start(self._run(), "usage ledger")
        if self.buffered:
            self._wake_in(self._interval)

    async def stop(self) -> None:
        """Write what is left, within `STOP_WITHIN` seconds; what cannot be written by then is lost, and said to be."""
        self._writing = False
        if self._timer is not None:
            self._timer.cancel()
        self._due.set()
        try:
            async with asyncio.timeout(STOP_WITHIN):
                await self._tasks.finish()
                while self.buffered:
                    if not await self.flush(everything=True):
                        await asyncio.sleep(self._interval)
        except TimeoutError:
            await self._tasks.stop()
        if self._done:
            self.dropped_total += len(self._done)
            _log.error(
                "usage ledger: %d rows of completed calls are lost, the store did not take them", len(self._done)
            )

    async def flush(self, *, everything: bool = False) -> bool:
        """
        Write one batch of what is buffered; False when the store is away. Calls under way get their pending row when
        they have been so for an interval, since most end sooner; with *everything*, at once.
        """
        async with self._turn:
            now = clock.now()
            self._epoch = clock.epoch()
            rows, calls = self._take(len(self._fresh) if everything else self._ripe(now))
            if not rows:
                return True
            try:
                await time(self.last_flush, self._store.write(self._statements.over(rows)))
            except Exception as error:
                # Not `StoreError` alone: whatever a driver makes of a row, the rows after it must not wait for ever.
                if is_of_a_row(error):
                    self._halve(rows, calls)
                    return True
                self._failed(error, rows, calls)
                return False
            except BaseException:
                self._put_back(rows, calls)
                raise
            finally:
                self._flying = 0
            self._succeeded(rows)
            return True

    async def spent(self, principal: str, unit: str, since: datetime) -> int | None:
        """
        What the calls of *principal* that began at *since* or later have used: micro-USD for *unit* `usd`, prompt and
        completion tokens for `tokens`. The store's sum and what is still buffered here, not what other workers buffer.
        None when the store cannot be read.
        """
        table = tables.usage
        first = int(since.timestamp() * 1000)
        amount = table.c.cost if unit == "usd" else table.c.prompt_tokens + table.c.completion_tokens
        # A row must not move from the buffer to the store meanwhile.
        async with self._turn:
            asked = select(func.sum(amount)).where(table.c.principal == principal, table.c.started >= first)
            if self._doubtful:
                asked = asked.where(table.c.id.not_in(self._doubtful))
            try:
                async with self._store.reading() as connection:
                    stored = (await connection.execute(asked)).scalar()
            except StoreError:
                return None
            return int(stored or 0) + sum(
                (row[COST] or 0) if unit == "usd" else row[PROMPT_TOKENS] + row[COMPLETION_TOKENS]
                for row in self._done
                if row[PRINCIPAL] == principal and row[STARTED] >= first
            )

    async def _run(self) -> None:
        while self._writing:
            await self._due.wait()
            self._due.clear()
            while self._writing and await self.flush() and self._many_wait():
                pass
            self._timer = None
            if self._writing and self.buffered:
                self._wake_in(self._pause)

    def _wake_in(self, seconds: float) -> None:
        # A timer instead of a loop that sleeps: an idle gateway does nothing.
        if self._writing:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._due.set)

    def _many_wait(self) -> bool:
        return len(self._done) >= self._batch

    def _ripe(self, now: float) -> int:
        """How many of the calls without a row are old enough for a pending one."""
        number = 0
        for exchange, _ in self._fresh.values():
            if exchange.started > now - self._interval:
                break
            number += 1
        return number

    def _take(self, fresh: int) -> tuple[list[Row], list[str]]:
        """The next batch, completed rows first; and the ids of the calls it holds a pending row of."""
        rows = [self._done.popleft() for _ in range(min(len(self._done), self._batch))]
        ids = [ledger_id for ledger_id, _ in zip(self._fresh, range(min(fresh, self._batch - len(rows))), strict=False)]
        for ledger_id in ids:
            exchange, team = self._opened[ledger_id] = self._fresh.pop(ledger_id)
            rows.append(pending(exchange, team, self._epoch))
        self._flying = len(rows)
        return rows, ids

    def _put_back(self, rows: list[Row], ids: list[str]) -> None:
        self._done.extendleft(reversed(rows[: len(rows) - len(ids)]))
        # Calls that ended meanwhile have their completed row among the others.
        again = {ledger_id: self._opened.pop(ledger_id) for ledger_id in ids if ledger_id in self._opened}
        self._fresh = {**again, **self._fresh}
        self._make_room()

    def _make_room(self) -> None:
        while len(self._done) + len(self._fresh) > self._capacity:
            if self._fresh:
                ledger_id = next(iter(self._fresh))
                self._opened[ledger_id] = self._fresh.pop(ledger_id)
                continue
            self._doubtful.discard(self._done.popleft()[0])
            self.dropped_total += 1
            if not self._losing:
                self._losing = True
                _log.error("usage ledger: %d rows wait and no more fit, so the oldest are lost", self._capacity)

    def _succeeded(self, rows: list[Row]) -> None:
        self.rows_total += len(rows)
        self._batch = min(BATCH, 2 * self._batch)
        self._pause = self._interval
        if self._doubtful:
            self._doubtful.difference_update(row[0] for row in rows)
        if not self.available:
            self.available = True
            self._losing = False
            _log.info(
                "usage ledger: the store takes rows again, %d wait, %d were lost", self.buffered, self.dropped_total
            )

    def _halve(self, rows: list[Row], ids: list[str]) -> None:
        """The store works and does not want one of *rows*: the halves show which one, and that is let go."""
        self.failures_total += 1
        if len(rows) > 1:
            self._batch = max(1, len(rows) // 2)
            self._put_back(rows, ids)
        else:
            self.dropped_total += not ids
            self._doubtful.discard(rows[0][0])
            _log.error("usage ledger: the store refuses row %s, which is lost", rows[0][0])

    def _failed(self, error: Exception, rows: list[Row], ids: list[str]) -> None:
        self.failures_total += 1
        self._doubtful.update(row[0] for row in rows)
        self._put_back(rows, ids)
        self._pause = min(2 * self._pause, max(LONGEST_PAUSE, self._interval))
        if self.available:
            self.available = False
            # What is not the store's own wording may repeat a value.
            reason = str(error) if isinstance(error, StoreError) else type(error).__name__
            _log.error("usage ledger: the store takes no rows, up to %d are kept meanwhile: %s", self._capacity, reason)
