"""
What outlives a call: keys, limits, prices, the queue and the ledger, opened at the start and closed in the end.

It wires the rooms of accounts and limits from the settings, and obeys others when they are put in force. Calls are led
through it by `admission.admission`.
"""

import sys
from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime
from typing import Any

from proxy.accounts.keys import Keys
from proxy.accounts.ledger import Ledger
from proxy.accounts.objects import Objects
from proxy.accounts.prices import Prices
from proxy.accounts.principals import Principal, Principals
from proxy.accounts.retention import Retention
from proxy.accounts.store import Store, StoreError
from proxy.accounts.watch import KeyWatch
from proxy.admission.keyless import Keyless
from proxy.limits.limit import Limits
from proxy.limits.memory import MemoryLimits
from proxy.limits.policy import Policy
from proxy.limits.queue import Queue
from proxy.limits.queue_file import QueueFile
from proxy.settings import ClientKey, Settings
from proxy.settings import Queue as QueueRules
from proxy.settings.checks import loopback

MOST_ADDRESSES = 20_000
"""Client addresses remembered; at some 500 bytes each, a flood of strangers costs 10 MB."""


class Accounting:
    """Everything that is kept between calls."""

    def __init__(self, settings: Settings, reads_as_class: Callable[[str], bool]) -> None:
        """
        *reads_as_class* tells of a pattern with brackets whether they are a glob's, by the models there are when it is
        asked. `ValueError` for a store or a price file that cannot be used, with the path of the setting.
        """
        self._settings = settings
        self.store = _store(settings.store.url.get_secret_value())
        self.keys = Keys(self.store) if self.store is not None else None
        self.principals = Principals(
            settings.auth.keys,
            _admin_key(settings),
            may_be_open=loopback(settings.server.host),
            has_store=self.store is not None,
            as_class=reads_as_class,
        )
        self.watch = KeyWatch(self.keys, self.principals) if self.keys is not None else None
        self.ledger = Ledger(self.store) if self.store is not None else None
        self._retention = None
        if self.store is not None:
            self._retention = Retention(self.store, settings.store.retention, settings.store.objects)
        of_a_file = self.store is not None and self.store.dialect == "sqlite"
        self.objects = Objects(self.store, alone=of_a_file and settings.server.workers == 1)
        self.prices = prices_of(settings)
        self.limits: Limits = self._make_limits(settings.state.url.get_secret_value())
        self.policy = Policy(settings.limits)
        self.keyless = Keyless(settings.limits.keyless, MemoryLimits(self._spent, most_buckets=MOST_ADDRESSES))
        self._room: Queue | None = None
        """The queue, also while it is switched off and calls under way have places in it."""
        self.queue_file: QueueFile | None = None
        self.queue: Queue | None = None
        self._open_queue(settings.queue)

    async def start(self) -> None:
        """Read the keys and begin background work. A store that cannot be reached is tried again, not waited for."""
        if self.watch is not None:
            await self.watch.start()
        if self.ledger is not None:
            await self.ledger.start()
        await self.objects.start()
        if self._retention is not None:
            await self._retention.start()
        await self.limits.start()
        if self.queue is not None and self.queue_file is not None:
            self.queue_file.start(self.queue)

    async def stop(self) -> None:
        """Give back what is held, write down what is left to write, and close."""
        if self.queue is not None:
            self.queue.close()
            if self.queue_file is not None:
                await self.queue_file.stop()
        await self.limits.stop()
        if self._retention is not None:
            await self._retention.stop()
        await self.objects.stop()
        if self.ledger is not None:
            await self.ledger.stop()
        if self.watch is not None:
            await self.watch.stop()
        if self.store is not None:
            await self.store.close()

    @property
    def counted(
        self,
    ) -> tuple[Limits, Principals, KeyWatch | None, Ledger | None, Queue | None, QueueFile | None, Objects]:
        """What `observe.state` tells of."""
        return self.limits, self.principals, self.watch, self.ledger, self.queue, self.queue_file, self.objects

    @property
    def file_keys(self) -> Sequence[ClientKey]:
        """The keys of the configuration, as last loaded."""
        return self._settings.auth.keys

    def obstacle(self) -> str | None:
        """Why this process must not serve with the keys there are, as a sentence with what to do; None when it may."""
        host = self._settings.server.host
        # The holder of the admin key can make the first client key over HTTP.
        keyless = not len(self.principals) and not self.principals.has_admin
        if keyless and not loopback(host) and (self.watch is None or self.watch.reachable):
            return (
                f"server.host ({host}) is reachable from other machines and there is no key; make one with "
                "`hapax keys create NAME`, or listen on 127.0.0.1"
            )
        workers = self._settings.server.workers
        if (
            workers > 1
            and isinstance(self.limits, MemoryLimits)
            and any(_is_limited(each) for each in self.principals.all())
        ):
            return (
                f"server.workers is {workers} and some keys have limits, which one process alone cannot keep; "
                'set `state: {url: "redis://127.0.0.1:6379/0"}`, or server.workers to 1'
            )
        return None

    def obey(self, settings: Settings, prices: Prices) -> list[Coroutine[Any, Any, None]]:
        """
        Put *settings* in force, with what `prices_of` them said; what waits for a restart must be in them as it was.
        Levels, keys of the store and places of calls stay. Returns the ends of what is no longer in use, to be awaited.
        """
        before, self._settings = self._settings, settings
        self.prices = prices
        if settings.auth != before.auth:
            self.principals.replace_file_keys(settings.auth.keys, _admin_key(settings))
        if settings.limits != before.limits:
            self.policy.replace(settings.limits)
            self.keyless.replace(settings.limits.keyless)
        kept = settings.store.retention, settings.store.objects
        if self._retention is not None and kept != (before.store.retention, before.store.objects):
            self._retention.keep_for(*kept)
        return self._obey_queue(before.queue, settings.queue)

    def _obey_queue(self, before: QueueRules, rules: QueueRules) -> list[Coroutine[Any, Any, None]]:
        ending = []
        if (rules.enabled, rules.state_path, rules.save_interval) != (
            before.enabled,
            before.state_path,
            before.save_interval,
        ):
            if self.queue is not None and self.queue_file is not None:
                ending.append(self.queue_file.stop())
            if self.queue is not None and not rules.enabled:
                # Those that wait may go on, and those that run give back their places where they have them.
                self.queue.run_at_most(sys.maxsize)
            self._open_queue(rules)
            if self.queue is not None and self.queue_file is not None:
                self.queue_file.start(self.queue)
        elif self.queue is not None:
            self.queue.run_at_most(rules.max_running)
            self.queue.max_wait = rules.max_wait
        if self.queue is not None and rules.initial_size != before.initial_size:
            self.queue.resize(rules.initial_size)
            if self.queue_file is not None:
                self.queue_file.save_soon()
        return ending

    def _open_queue(self, rules: QueueRules) -> None:
        was_open = self.queue is not None
        self.queue_file = QueueFile(rules.state_path, rules.save_interval) if rules.state_path else None
        if not rules.enabled:
            self.queue = None
            return
        size = None
        if self.queue_file is not None and not was_open:
            size = self.queue_file.restore()
        if self._room is None:
            self._room = Queue(rules.max_running, size or rules.initial_size, rules.max_wait)
        elif not was_open:
            self._room.resize(size or rules.initial_size)
        self._room.run_at_most(rules.max_running)
        self._room.max_wait = rules.max_wait
        self.queue = self._room

    def _make_limits(self, url: str) -> Limits:
        if url.startswith("memory:"):
            return MemoryLimits(self._spent)
        # Only who shares limits loads the client.
        from proxy.limits.redis import RedisLimits

        try:
            return RedisLimits(url, self._spent, ledger=self.ledger is not None)
        except ValueError as error:
            raise ValueError(f"state.url: {error}") from None

    async def _spent(self, holder: str, unit: str, since: datetime) -> int | None:
        # Without a ledger nothing is remembered: budgets begin anew with the process.
        return 0 if self.ledger is None else await self.ledger.spent(holder, unit, since)


def prices_of(settings: Settings) -> Prices:
    """Those the settings name; `ValueError` for a file that cannot be used, with the path of the setting."""
    try:
        return Prices.load(settings.store.prices or None)
    except ValueError as error:
        raise ValueError(f"store.prices: {error}") from None


def _store(url: str) -> Store | None:
    try:
        return Store(url) if url else None
    except StoreError as error:
        raise ValueError(f"store.url: {error}") from None


def _is_limited(principal: Principal) -> bool:
    return principal.limits.any or principal.budget is not None


def _admin_key(settings: Settings) -> str | None:
    return settings.auth.admin_key.get_secret_value() if settings.auth.admin_key else None
