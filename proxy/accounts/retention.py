"""
Retention: rows of the usage ledger, and homes of objects, that are older than they have to be kept are deleted.

It deletes a little at a time, so that those who write never wait long, and it looks at nothing but a row's age.
"""

import asyncio
import logging
import random
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

from sqlalchemy import Column, Table, delete, select

from proxy.accounts import tables
from proxy.accounts.store import Store, StoreError
from proxy.core import clock, tasks

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
    """Deletes old rows once an hour, pending ones as well: no call lasts as long as rows are kept."""

    def __init__(self, store: Store, keep: float, keep_objects: float = 0.0) -> None:
        """
        *keep*: seconds a row is kept after its call began; *keep_objects*: seconds the home of an object is kept after
        it was used last. 0: for ever.
        """
        self._store = store
        self._keep = keep
        self._keep_objects = keep_objects
        self._tasks = tasks.Tasks()

    async def start(self) -> None:
        """Begin to look, if rows are to be deleted at all."""
        if self._keep or self._keep_objects:
            self._tasks.start(self._run(), "usage retention")

    def keep_for(self, keep: float, keep_objects: float) -> None:
        """Other ages from now on; the next look comes as soon as after a start."""
        self._keep, self._keep_objects = keep, keep_objects
        self._tasks.cancel()
        if keep or keep_objects:
            self._tasks.start(self._run(), "usage retention")

    async def stop(self) -> None:
        """Look no more; a transaction under way is undone."""
        await self._tasks.stop()

    async def delete(self) -> int:
        """Delete the rows of usage that are too old by now; how many that were. `StoreError`."""
        deleted = 0
        async for batch in self._old_rows(tables.usage, tables.usage.c.id, tables.usage.c.started, self._keep):
            deleted += batch
        return deleted

    async def delete_objects(self) -> int:
        """Delete the homes that were not used for too long; how many that were. `StoreError`."""
        table, deleted = tables.objects, 0
        async for batch in self._old_rows(table, table.c.id, table.c.used, self._keep_objects):
            deleted += batch
        return deleted

    async def _old_rows(self, table: Table, id: Column[Any], at: Column[Any], keep: float) -> AsyncIterator[int]:
        """Delete rows of *table* whose *at* is more than *keep* seconds ago, and tell how many after each batch."""
        edge = int((clock.wall() - timedelta(seconds=keep)).timestamp() * 1000)
        old = select(id).where(at < edge).order_by(at).limit(BATCH)
        while keep:
            async with self._store.writing() as connection:
                batch = (await connection.execute(delete(table).where(id.in_(old), at < edge))).rowcount
            yield batch
            if batch < BATCH:
                return
            await asyncio.sleep(BREATH)

    async def _run(self) -> None:
        await asyncio.sleep(random.uniform(0, FIRST_WITHIN))
        while True:
            try:
                deleted, objects = await self.delete(), await self.delete_objects()
            except StoreError as error:
                _log.warning("usage ledger: old rows cannot be deleted: %s", error)
            else:
                if deleted:
                    _log.info("usage ledger: %d rows deleted that were older than store.retention", deleted)
                if objects:
                    _log.info("objects: %d homes deleted that were not used within store.objects", objects)
            await asyncio.sleep(EVERY * random.uniform(1 - JITTER, 1 + JITTER))
