"""
What the ledger knows of a period's budgets, asked for once for all calls that need it.

Whether a budget has to be looked up is decided in `redis`.
"""

import asyncio

from proxy.core import tasks
from proxy.limits.lease_kinds import SpendLease
from proxy.limits.limit import Spent


class Lookups:
    """The questions under way."""

    def __init__(self, spent: Spent) -> None:
        self._spent = spent
        self._tasks = tasks.Tasks()

    async def learn(self, lease: SpendLease, patience: float) -> bool:
        """Ask, together with every call that needs the same, for *patience* seconds; whether it is known now."""
        if patience <= 0:
            return False
        await asyncio.wait({self.asking(lease)}, timeout=patience)
        return lease.known is not None

    def asking(self, lease: SpendLease) -> asyncio.Task[None]:
        """The task that asks; one is started where there is none."""
        if lease.asking is None:
            lease.asking = self._tasks.start(self._look_up(lease), "spending from the ledger")
        return lease.asking

    async def stop(self) -> None:
        """Ask no more."""
        await self._tasks.stop()

    async def _look_up(self, lease: SpendLease) -> None:
        try:
            limit = lease.limit
            lease.learn(await self._spent(limit.holder, limit.unit, lease.began))
        finally:
            lease.asking = None
