"""
What the providers say they serve, fetched in the background and kept when they fall silent.

It asks through a function it is given and never on a client's request. What the lists mean for a call is the pool's.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from proxy import clock, tasks
from proxy.providers.provider import Provider

_log = logging.getLogger("hapax")

Fetch = Callable[[str], Awaitable[list[dict[str, Any]]]]
"""Fetches the model list of the provider of that name; raises `CatalogError` when it cannot."""


class CatalogError(Exception):
    """A provider's model list could not be had; the text says why, for the log."""


class Catalog:
    """Keeps the model lists fresh."""

    def __init__(self, providers: Sequence[Provider], fetch: Fetch, interval: float, retry_interval: float) -> None:
        """Seconds between refreshes: *interval* while all is well, *retry_interval* while some provider is not."""
        self._providers = providers
        self._fetch = fetch
        self._interval = interval
        self._retry_interval = retry_interval
        self._facts = {provider.name: _unknown() for provider in providers}
        self._task: asyncio.Task[None] | None = None
        self.known = asyncio.Event()
        """Every provider has been asked once: the lists, or their absence, mean something."""

    async def start(self) -> None:
        """Begin to refresh; the first round goes out at once and is not waited for."""
        self._task = tasks.start(self._run(), "model lists")

    async def stop(self) -> None:
        """Stop refreshing."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def health(self) -> dict[str, dict[str, Any]]:
        """Facts per provider, in the form of the health pages."""
        return self._facts

    async def _run(self) -> None:
        while True:
            await asyncio.gather(*(self._refresh(provider) for provider in self._providers))
            self.known.set()
            fine = all(facts["healthy"] for facts in self._facts.values())
            await asyncio.sleep(self._interval if fine else self._retry_interval)

    async def _refresh(self, provider: Provider) -> None:
        facts = self._facts[provider.name]
        started = clock.now()
        try:
            provider.take_list(await self._fetch(provider.name))
        except CatalogError as error:
            provider.list_fails += 1
            if provider.list_fails == 1:
                _log.warning("provider %s: no model list: %s", provider.name, error)
            facts["healthy"] = False
            facts["error_count"] += 1
        else:
            if not facts["healthy"]:
                _log.info("provider %s: model list fetched", provider.name)
            facts["healthy"] = True
            facts["error_count"] = 0
        facts["consecutive_fails"] = provider.list_fails
        facts["last_check"] = clock.iso(clock.wall())
        facts["latency_ms"] = round((clock.now() - started) * 1000)


def _unknown() -> dict[str, Any]:
    # Until the first check has said otherwise a provider is taken as healthy: a start must not look like an outage.
    return {
        "healthy": True,
        "last_check": None,
        "consecutive_fails": 0,
        "latency_ms": 0,
        "error_count": 0,
        "request_count": 0,
    }
