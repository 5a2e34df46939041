"""
Whose the objects are that a call names: which account of a provider is to be asked, and who may.

It asks a memory, which is handed in, and remembers what answers tell. It sends nothing; `kept` does.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from proxy.core.errors import ProxyError
from proxy.core.exchange import Exchange
from proxy.providers.pool import Pool
from proxy.relay.ids import Named


class Home(Protocol):
    """Where an object lives, and who made it."""

    @property
    def provider(self) -> str:
        """The provider's name."""

    @property
    def account(self) -> str:
        """Which of its keys, see `Provider.accounts`."""

    @property
    def principal(self) -> str:
        """Whose key of ours made it; empty where that is not known, or there are no keys."""

    @property
    def team(self) -> str:
        """That key's team."""


class Memory(Protocol):
    """Remembers homes of objects."""

    async def find(self, ids: Sequence[str], fresh: bool = False) -> Mapping[str, Sequence[Home]] | None:
        """
        The homes of each of *ids* that is known, the latest first; None while that cannot be told. *fresh*: what
        another process was told a moment ago must be among them.
        """

    def remember(self, ids: Sequence[str], provider: str, account: str, principal: str, team: str) -> None:
        """They live there, from now on."""

    def forget(self, id: str) -> None:
        """It is gone."""

    async def settled(self) -> None:
        """Return when every process can find what was remembered here, or that takes too long."""


class Pin:
    """What a call is kept to."""

    def __init__(
        self, ids: Sequence[str], provider: str = "", account: str = "", whose: tuple[str, str] = ("", "")
    ) -> None:
        self.ids = ids
        """What it names."""
        self.provider = provider
        """Where that lives; empty where it is not known, and each account is asked in turn."""
        self.account = account
        self.whose = whose
        """Principal and team of who made it."""


class Owners:
    """Knows homes by a memory, and teaches it."""

    def __init__(self, memory: Memory, pool: Pool) -> None:
        self._memory = memory
        self._pool = pool

    async def pin(self, named: Named, principal: str, team: str) -> Pin | None:
        """
        What the call is kept to that names these objects; None where it may go anywhere. *principal*: empty for a call
        without a key. `ProxyError` 404 for an object of another principal, 503 while it cannot be told whose it is.
        """
        several = sum(provider.key_count for provider in self._pool.providers) > 1
        asked = [*named.ids, *named.cursors]
        known = await self._memory.find(asked, fresh=several and bool(named.ids)) if asked else {}
        if known is None:
            if principal:
                raise ProxyError(
                    "store_unavailable",
                    "The store cannot be reached, and whose object this is cannot be told.",
                    headers=(("Retry-After", "1"),),
                )
            known = {}
        decided: Home | None = None
        for each in named.ids:
            homes = known.get(each)
            if homes:
                mine = _visible(homes, principal, team)
                if mine is None:
                    raise ProxyError("object_not_found", param="id")
                decided = decided or mine
        for each in named.cursors:
            # A list shows what an account has, of every caller, and goes on behind any of it.
            homes = known.get(each)
            decided = decided or (_visible(homes, principal, team) or homes[0] if homes else None)
        if decided is None and named.items and several:
            # Nothing tells of these when they are made: where they live is found out, and then remembered.
            found = await self._memory.find(named.items, fresh=False) or {}
            for each in named.items:
                decided = decided or _visible(found.get(each, ()), principal, team)
        if decided is not None:
            return Pin(asked, decided.provider, decided.account, (decided.principal, decided.team))
        ids = named.ids or (named.items if several else ())
        # A list of which it is not known whose it is goes where lists go.
        return Pin(ids) if ids else None

    def made(
        self, exchange: Exchange, named: Named | None, pin: Pin | None, principal: str, team: str, ids: Sequence[str]
    ) -> None:
        """The answer to the call tells of *ids*: remember those that the call did not name itself."""
        answered = exchange.answered_by
        new = [each for each in ids if named is None or each not in named.ids]
        if answered is None or not new:
            return
        if exchange.method != "POST" and pin is not None:
            # What an object has brought forth is its maker's.
            principal, team = pin.whose
        self._memory.remember(new, answered.provider, answered.account, principal, team)

    def answered(self, exchange: Exchange, named: Named, pin: Pin | None) -> None:
        """The call was answered well: remember where what it names was found, and forget what it deleted."""
        answered = exchange.answered_by
        if answered is None:
            return
        if pin is not None and (pin.provider, pin.account) != (answered.provider, answered.account):
            # Who made it is not known, unless a key of its account was replaced.
            self._memory.remember(pin.ids, answered.provider, answered.account, *pin.whose)
        if named.deletes:
            self._memory.forget(named.deletes)

    async def settled(self) -> None:
        """Return when every process can find what was remembered here, or that takes too long."""
        await self._memory.settled()


def _visible(homes: Sequence[Home], principal: str, team: str) -> Home | None:
    """Of *homes* the caller's own, else its team's; where no maker is known, the first."""
    if principal:
        for home in homes:
            if home.principal == principal:
                return home
    if team:
        for home in homes:
            if home.team == team:
                return home
    if not homes or any(home.principal for home in homes):
        return None
    return homes[0]
