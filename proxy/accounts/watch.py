"""
Keeping the keys of this process as the store has them: it asks again and again whether anything changed.

What the store says it hands to the principals. While the store cannot be read they stay as they are, so that known keys
go on working. It decides about no key.
"""

import asyncio
import logging
import math

from prometheus_async.aio import time

from proxy.accounts.keys import KeyRecord, Keys
from proxy.accounts.principals import Principals
from proxy.accounts.store import StoreError
from proxy.accounts.took import Took
from proxy.core import clock, tasks

SPACING = 0.1
"""Seconds from one read to the next at least, however many ask."""
PATIENCE = 1.0
"""Seconds that who asks waits for a read; a store that takes longer counts as unreadable."""
PAGE = 1000
"""Keys read at once; few enough that other work of the process gets its turn."""

_log = logging.getLogger("hapax")


class KeyWatch:
    """Brings every change of a key in the store to *principals*, wherever it was made."""

    def __init__(self, keys: Keys, principals: Principals, *, interval: float = 0.5) -> None:
        """*interval*: seconds between two looks; with the time of one read, as long as a revoked key still works."""
        self._keys = keys
        self._principals = principals
        self._interval = interval
        self._seq = -1
        """The last change that was seen; none so far."""
        self._read_at = -math.inf
        self.last_read = Took()
        """How long the last look took."""
        self._one_reads = asyncio.Lock()
        self._next: asyncio.Task[bool] | None = None
        """The read that has not begun, for every caller that comes until then."""
        self._tasks = tasks.Tasks()
        self._reachable: bool | None = None

    def __repr__(self) -> str:
        return f"<KeyWatch [{'reachable' if self.reachable else 'unreachable'}, change {self._seq}]>"

    @property
    def reachable(self) -> bool:
        """The store could be read the last time."""
        return self._reachable is True

    async def start(self) -> None:
        """Read the keys, and go on looking for changes. A store that cannot be read is not waited for."""
        self._tasks.start(tasks.every(self._interval, self.look_again), "key watch")
        await asyncio.wait((self._soon(),))

    async def stop(self) -> None:
        """End what `start` began; who still waits for a read is told that there is none."""
        self._next = None
        await self._tasks.stop()

    async def look_again(self) -> bool:
        """
        See every change that was made before this was called; whether the store could be read. However many ask, there
        is one read at a time and `SPACING` between two.
        """
        if not self._tasks:
            return False
        read = self._soon()
        await asyncio.wait((read,), timeout=PATIENCE)
        return read.done() and not read.cancelled() and read.result()

    def _soon(self) -> asyncio.Task[bool]:
        if self._next is None:
            self._next = self._tasks.start(self._read_next(), "key watch read")
        return self._next

    async def _read_next(self) -> bool:
        async with self._one_reads:
            await asyncio.sleep(self._read_at + SPACING - clock.now())
            # A caller that comes from here on may know of a change this read misses.
            self._next = None
            self._read_at = clock.now()
            return await time(self.last_read, self._read())

    async def _read(self) -> bool:
        try:
            version = await self._keys.version()
            if version != self._seq:
                await self._load(version)
                self._seq = version
        except StoreError as error:
            self._tell(False, str(error))
        except Exception as error:
            # Revocations hang on this going on, whatever a row or a driver came up with.
            self._tell(False, type(error).__name__)
        else:
            self._tell(True)
        return self.reachable

    async def _load(self, version: int) -> None:
        # A counter that went back is another database's, or that of a backup: what was learnt from the old one is void.
        anew = version < self._seq
        since = 0 if anew else self._seq
        kept: list[KeyRecord] = []
        while records := await self._keys.changed_since(since, PAGE):
            since = records[-1].seq
            if anew:
                kept += records
            else:
                self._principals.put(records)
        if anew:
            self._principals.replace_store_keys(kept)
        else:
            self._principals.put(())

    def _tell(self, reachable: bool, why: str = "") -> None:
        if reachable is self._reachable:
            return
        if not reachable:
            _log.warning("keys cannot be read from the store, known ones go on working: %s", why)
        elif self._reachable is False:
            _log.info("keys can be read from the store again")
        self._reachable = reachable
