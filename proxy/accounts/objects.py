"""
Where the objects live that accounts at providers keep, and who made them: by id, in memory and in the store.

What is remembered is written a moment later, beside the traffic; who asks for an unknown id is answered from the store.
It knows no provider and decides nothing.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence

from sqlalchemy import select

from proxy.accounts import tables
from proxy.accounts.homes import Home, Statements
from proxy.accounts.store import Store, StoreError
from proxy.core import clock, tasks

KNOWN = 50_000
"""Ids held in memory, at some 500 bytes each; without a store those are all."""
WAITING = 100_000
"""Rows that may wait for the store; the oldest are given up beyond."""
PAUSE = 0.03
"""Seconds that what is to be written waits for more."""
AGAIN = 0.1
"""Seconds after which an unknown id is looked up once more: by then another process has written what it was told."""
RETRY = 1.0
"""Seconds between two tries while the store is away."""
READ_WITHIN = 2.0
"""Seconds a look into the store may take."""
SETTLE_WITHIN = 1.0
"""Seconds an answer waits until what it tells is written."""
STOP_WITHIN = 5.0
"""Seconds `stop` may take to write what is left."""
TOUCH_AFTER = 24 * 3600.0
"""Seconds after which the use of an object is written down again: kept is what is used, see `store.objects`."""
_log = logging.getLogger("hapax")


class Objects:
    """Remembers homes, in a store where there is one."""

    def __init__(self, store: Store | None, *, alone: bool = False) -> None:
        """*alone*: no other process writes to the store."""
        self._store = store
        self._alone = alone
        # By id, the latest home first; the id used last stands last.
        self._known: dict[str, tuple[Home, ...]] = {}
        self._touched: dict[str, float] = {}
        """When an id's use was written last, in monotonic seconds, for those in `_known`."""
        self._rows: dict[tuple[str, Home], None] = {}
        self._gone: dict[str, None] = {}
        self._flying = 0
        self._due = asyncio.Event()
        self._urgent = asyncio.Event()
        self._waiters: list[asyncio.Future[None]] = []
        """Of those who wait until what there is has been written."""
        self._stopping = False
        self._tasks = tasks.Tasks()
        self.available = True
        """The last write was taken."""
        self.dropped_total = 0
        """Rows given up."""

    def __repr__(self) -> str:
        return f"<Objects {len(self._known)} known, {self.waiting} wait>"

    @property
    def waiting(self) -> int:
        """Rows that are not in the store yet."""
        return len(self._rows) + len(self._gone) + self._flying

    async def start(self) -> None:
        """Begin to write."""
        if self._store is not None:
            self._tasks.start(self._run(self._store, Statements(self._store.sql)), "objects")

    async def stop(self) -> None:
        """Write what is left, within `STOP_WITHIN` seconds."""
        self._stopping = True
        self._due.set()
        if await self._tasks.finish(STOP_WITHIN) and self.waiting:
            _log.error("objects: the homes of %d are lost, the store did not take them", self.waiting)

    async def find(self, ids: Sequence[str], fresh: bool = False) -> Mapping[str, Sequence[Home]] | None:
        """
        The homes of each of *ids* that is known, the latest first; None when the store cannot be asked for one that is
        not known here. *fresh*: what another process was told a moment ago must be among them.
        """
        found: dict[str, Sequence[Home]] = {}
        missing = []
        for each in ids:
            homes = self._known.pop(each, None)
            if homes is None:
                if each not in self._gone and "\0" not in each:
                    missing.append(each)
            else:
                found[each] = self._known[each] = homes
                self._touch(each, homes)
        if missing and self._store is not None:
            try:
                # The store may have to be opened first.
                async with asyncio.timeout(READ_WITHIN + AGAIN):
                    stored = await self._read(self._store, missing)
                    if fresh and not self._alone and not stored and not found:
                        await asyncio.sleep(AGAIN)
                        stored = await self._read(self._store, missing)
            except (StoreError, TimeoutError):
                return None
            found.update(stored)
        return found

    def remember(self, ids: Sequence[str], provider: str, account: str, principal: str, team: str) -> None:
        """They live there, from now on."""
        home = Home(provider, account, principal, team)
        for each in ids:
            before = self._known.pop(each, ())
            self._keep(each, (home, *[other for other in before if other != home]))
            if before and before[0] == home:
                continue
            self._gone.pop(each, None)
            self._write(each, home)

    def forget(self, id: str) -> None:
        """It is gone."""
        self._known.pop(id, None)
        self._touched.pop(id, None)
        for row in [row for row in self._rows if row[0] == id]:
            del self._rows[row]
        if self._store is not None:
            self._gone[id] = None
            self._due.set()

    async def settled(self) -> None:
        """Return when what was remembered is in the store, or after `SETTLE_WITHIN`."""
        if not self._tasks or not self.waiting or not self.available:
            return
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(written)
        self._due.set()
        self._urgent.set()
        await asyncio.wait((written,), timeout=SETTLE_WITHIN)

    def _keep(self, id: str, homes: tuple[Home, ...]) -> None:
        self._known[id] = homes
        self._touched[id] = clock.now()
        if len(self._known) > KNOWN:
            oldest = next(iter(self._known))
            del self._known[oldest]
            del self._touched[oldest]

    def _touch(self, id: str, homes: tuple[Home, ...]) -> None:
        now = clock.now()
        if now - self._touched[id] > TOUCH_AFTER:
            self._touched[id] = now
            self._write(id, homes[0])

    def _write(self, id: str, home: Home) -> None:
        if self._store is None or "\0" in id:
            return
        self._rows.pop((id, home), None)
        self._rows[id, home] = None
        if len(self._rows) > WAITING:
            del self._rows[next(iter(self._rows))]
            self.dropped_total += 1
        self._due.set()

    async def _read(self, store: Store, ids: Sequence[str]) -> dict[str, tuple[Home, ...]]:
        table, found = tables.objects, dict[str, list[Home]]()
        asked = select(table).where(table.c.id.in_(ids)).order_by(table.c.used.desc())
        day_ago = _milliseconds() - int(TOUCH_AFTER * 1000)
        old = set()
        async with store.reading(READ_WITHIN) as connection:
            for row in (await connection.execute(asked)).mappings():
                if row["id"] not in self._gone:
                    found.setdefault(row["id"], []).append(
                        Home(row["provider"], row["account"], row["principal"], row["team"])
                    )
                    if row["used"] < day_ago:
                        old.add(row["id"])
        for each, homes in found.items():
            self._known.pop(each, None)
            self._keep(each, tuple(homes))
            if each in old:
                self._write(each, homes[0])
        return {each: tuple(homes) for each, homes in found.items()}

    async def _run(self, store: Store, statements: Statements) -> None:
        while True:
            await self._due.wait()
            if not self._stopping:
                await tasks.happens(self._urgent, PAUSE)
            self._due.clear()
            self._urgent.clear()
            waiters, self._waiters = self._waiters, []
            written = await self._flush(store, statements)
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)
            if self._stopping and not self.waiting:
                return
            if not written:
                await asyncio.sleep(RETRY if not self._stopping else PAUSE)
                self._due.set()

    async def _flush(self, store: Store, statements: Statements) -> bool:
        """Write what waits; False when the store is away."""
        rows, gone = self._rows, self._gone
        self._rows, self._gone = {}, {}
        self._flying = len(rows) + len(gone)
        if not self._flying:
            return True
        try:
            await store.write(statements.over(list(rows), list(gone), _milliseconds()))
        except StoreError as error:
            self._rows = {**{row: None for row in rows if row[0] not in self._gone}, **self._rows}
            self._gone = {**{each: None for each in gone if each not in self._known}, **self._gone}
            if self.available:
                self.available = False
                _log.error("objects: the store takes no homes, they are kept here meanwhile: %s", error)
            return False
        finally:
            self._flying = 0
        if not self.available:
            self.available = True
            _log.info("objects: the store takes homes again")
        return True


def _milliseconds() -> int:
    return int(clock.wall().timestamp() * 1000)
