"""
The gateway: started, put under another configuration while calls are under way, and stopped.

A call keeps the front it came in by; what the next ones meet is swapped in one turn of the event loop.
"""

import asyncio
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Any

from aiohttp import web

from proxy.admin.configuration import Reloading
from proxy.admission.accounting import prices_of
from proxy.core import clock, tasks
from proxy.core.errors import ProxyError
from proxy.core.peers import Peers
from proxy.gateway.configured import Configured, configured, front_of
from proxy.gateway.rooms import Rooms
from proxy.http.answer import Answer
from proxy.observe.log import Logs
from proxy.observe.traces import Traces
from proxy.relay.step import retrying
from proxy.relay.upstreams import probing
from proxy.settings import Loaded, Settings
from proxy.settings.in_force import InForce, Reload
from proxy.settings.reload import changed, held_back, waiting


class Gateway(Rooms):
    """Everything between a listening socket and the providers."""

    def __init__(
        self,
        settings: Settings,
        logs: Logs | None = None,
        peers: Peers | None = None,
        in_force: InForce | None = None,
        reloading: Reloading | None = None,
    ) -> None:
        """Arguments as for `build`."""
        super().__init__(settings, logs, peers, in_force, reloading)
        self.front = front_of(self, settings)
        """What calls that come now meet."""
        self.under_way.routes = self.front.routes.templates
        self._ending: set[asyncio.Task[None]] = set()
        """Ends of what is no longer in use."""

    @property
    def traces(self) -> Traces | None:
        """Where spans wait to be sent; None while traces are not recorded."""
        return self.outlets.traces

    def refuse(self, request: web.BaseRequest, error: ProxyError) -> Answer:
        """Answer bytes that never became a request, see `Front.refuse`."""
        return self.front.refuse(request, error)

    async def start(self) -> None:
        """Open what the rooms need and begin background work."""
        if self.outlets.reports is not None:
            self.outlets.reports.start()
        await self.accounting.start()
        await self.upstreams.start()
        self.checks.replace(self.pool.providers, *probing(self.settings))
        self.lag.start()
        self.health.routes.start()
        self.outlets.start()
        self.verbosity.start()

    async def prepare(self, settings: Settings) -> Configured:
        """
        What *settings* ask for, made beside what is in force: for `put_in_force`, or for `discard`. `ValueError` for
        what cannot be had, with the path of the setting; nothing has changed then.
        """
        # A price list is a file that has to be read and understood.
        prices = await asyncio.to_thread(prices_of, settings)
        await self.upstreams.prepare(settings)
        return configured(self, settings, prices)

    def discard(self, made: Configured) -> None:
        """It is not put in force after all."""
        if self.logs is not None and made.logs is not None:
            self.logs.discard(made.logs)

    def put_in_force(self, made: Configured) -> None:
        """
        Have every call that comes from now on meet it. What waits for a restart must be in its settings as it was; see
        `settings.reload`. What is no longer in use ends by itself.
        """
        settings, before = made.settings, self.settings
        self.settings = settings
        if self.logs is not None and made.logs is not None:
            self.logs.obey(made.logs)
        self.verbosity.obey(settings)
        ending = self.accounting.obey(settings, made.prices)
        self.admission.obey(self.accounting.prices, self.accounting.queue)
        self.flights.obey(settings.deduplication.mode)
        self.cache.obey(settings.cache)
        self.admission.tokens_first = not settings.cache.enabled
        if settings.failover != before.failover:
            self.relay.obey(*retrying(settings.failover))
        self.upstreams.obey(settings, self.checks)
        self.buffered.most, self.reader.patience = settings.server.max_buffered, settings.server.read_timeout
        ending += self.outlets.obey(made.sending)
        self.records.replace(self.observers(settings))
        former = self.health.routes
        self.health.checkup, self.health.routes = made.checkup, made.route_checks
        if former is not made.route_checks:
            made.route_checks.start()
            ending.append(former.stop())
        self.under_way.routes = made.front.routes.templates
        self.front = made.front
        for each in ending:
            self._end(each)

    async def reload(self, settings: Settings) -> list[str]:
        """
        Put *settings* in force, for a program that has the gateway as an application of its own. Returns the settings
        that differ and wait for a restart; `ValueError` where they cannot be used, and then nothing has changed.
        """
        before, fixed = self.settings, waiting(self.settings, settings)
        after = held_back(before, settings)
        self.put_in_force(await self.prepare(after))
        told = Reload(
            clock.iso(clock.wall()),
            "program",
            "applied",
            changed=tuple(changed(before, after)),
            needs_restart=tuple(fixed),
        )
        self.in_force.counts["applied"] += 1
        self.in_force.take(Loaded(after, "the program", None, []), told, clock.wall())
        return fixed

    async def stop(self) -> None:
        """
        End background work and close every connection to a provider, also of a gateway that did not start. An error of
        one room keeps no other from its end; the last one is raised.
        """
        async with AsyncExitStack() as ending:
            # What is named last ends first.
            if self.outlets.reports is not None:
                ending.push_async_callback(self.outlets.reports.stop)
            ending.push_async_callback(self.accounting.stop)
            ending.push_async_callback(self.control.stop)
            if self.outlets.traces is not None:
                ending.push_async_callback(self.outlets.traces.stop)
            ending.callback(self.access.stop)
            ending.callback(self.records.hand_over)
            ending.push_async_callback(self.cache.answers.stop)
            for stop in (self.upstreams.stop, self.reader.stop, self.health.routes.stop, self.checks.stop):
                ending.push_async_callback(stop)
            for exporter in self.outlets.exporters:
                ending.push_async_callback(exporter.stop)
            ending.push_async_callback(self.lag.stop)
            ending.push_async_callback(self._ended)
            ending.callback(self.verbosity.stop)

    def _end(self, work: Coroutine[Any, Any, None]) -> None:
        task = tasks.start(work, "end of what a reload replaced")
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _ended(self) -> None:
        await asyncio.gather(*self._ending, return_exceptions=True)


def build(
    settings: Settings,
    logs: Logs | None = None,
    peers: Peers | None = None,
    in_force: InForce | None = None,
    reloading: Reloading | None = None,
) -> Gateway:
    """
    The gateway these settings ask for, with nothing opened yet. *logs*: where the lines of exchanges go; None where
    another program set up this process's logging, which gets records. *peers*: the workers beside this one. *in_force*:
    how the settings came to be, which pages tell; *reloading*: reads them again; None where a program gave them.
    """
    return Gateway(settings, logs, peers, in_force, reloading)
