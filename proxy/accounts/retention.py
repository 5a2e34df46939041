"""
Retention: rows of the usage ledger that are older than they have to be kept are deleted.

It deletes a little at a time, so that those who write never wait long, and it looks at nothing but a row's age.
"""

import asyncio
import logging
import random
from datetime import timedelta

from sqlalchemy import delete, select

from proxy import clock, tasks
from proxy.accounts import tables
from proxy.accounts.store import Store, StoreError

EVERY = 3600.0
"""Seconds between two looks, before jitter."""
JITTER = 0.2
"""A pause is this share longer or shorter at random, so that workers do not look in step."""
FIRST_WITHIN = 60.0
"""Seconds after the start within which the first look comes, so that a gateway often restarted does it, too."""
BATCH = 1000
"""Rows deleted in one transaction."""
BREATH = 0.05
"""Seconds between two transactions, for those who wait to write."""

_log = logging.getLogger("hapax")


class Retention:
    """Deletes old rows once an hour, pending ones as well: no call lasts as long as anybody keeps rows."""

    def __init__(self, store: Store, keep: float) -> None:
        """*keep*: seconds a row is kept after its call began; 0: for ever."""
        self._store = store
        self._keep = keep
        self._task: asyncio.Task[None] | None = None
        self.deleted_total = 0
        """Rows deleted."""

    async def start(self) -> None:
        """Begin to look, if rows are to be deleted at all."""
        if self._keep:
            self._task = tasks.start(self._run(), "usage retention")

    async def stop(self) -> None:
        """Look no more; a transaction under way is undone."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait((task,))

    async def delete(self) -> int:
        """Delete what is too old by now; how many rows that were. `StoreError`."""
        table = tables.usage
        edge = int((clock.wall() - timedelta(seconds=self._keep)).timestamp() * 1000)
        old = select(table.c.id).where(table.c.started < edge).order_by(table.c.started).limit(BATCH)
        deleted = 0
        while True:
            async with self._store.writing() as connection:
                batch = (await connection.execute(delete(table).where(table.c.id.in_(old)))).rowcount
            deleted += batch
            self.deleted_total += batch
            if batch < BATCH:
                return deleted
            await asyncio.sleep(BREATH)

    async def _run(self) -> None:
        await asyncio.sleep(random.uniform(0, FIRST_WITHIN))
        while True:
            try:
                deleted = await self.delete()
            except StoreError as error:
                _log.warning("usage ledger: old rows cannot be deleted: %s", error)
            else:
                if deleted:
                    _log.info("usage ledger: %d rows deleted that were older than store.retention", deleted)
            await asyncio.sleep(EVERY * random.uniform(1 - JITTER, 1 + JITTER))
