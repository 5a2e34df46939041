"""
What the ledger knows of a period's budgets, asked for once for all calls that need it.

Whether a budget has to be looked up is decided in `redis`.
"""

import asyncio

from proxy.core import tasks
from proxy.limits.holding_kinds import SpendHolding
from proxy.limits.holdings import Holdings
from proxy.limits.limit import Spent


class Lookups:
    """The questions under way."""

    def __init__(self, spent: Spent, ledger: bool, holdings: Holdings) -> None:
        """*ledger*: *spent* is what a ledger says."""
        self._spent = spent
        self._ledger = ledger
        self._holdings = holdings
        self._asking: dict[SpendHolding, asyncio.Task[None]] = {}
        self._tasks = tasks.Tasks()

    async def learn(self, holding: SpendHolding, patience: float) -> bool:
        """Ask, together with every call that needs the same, for *patience* seconds; whether it is known now."""
        await asyncio.wait({self.asking(holding)}, timeout=patience)
        return holding.known is not None

    def asking(self, holding: SpendHolding) -> asyncio.Task[None]:
        """The task that asks; one is started where there is none."""
        task = self._asking.get(holding)
        if task is None:
            task = self._asking[holding] = self._tasks.start(self._look_up(holding), "spending from the ledger")
            task.add_done_callback(lambda _: self._asking.pop(holding))
        return task

    async def stop(self) -> None:
        """Ask no more."""
        await self._tasks.stop()

    async def _look_up(self, holding: SpendHolding) -> None:
        limit = holding.limit
        holding.learn(await self._spent(limit.holder, limit.unit, holding.began), self._ledger)
        self._holdings.note(holding)
