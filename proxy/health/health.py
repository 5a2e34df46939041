"""
Health as clients and probes see it, from facts that are there already: no request here causes one upstream.

Four systems called their bodies by the same paths; docs/health.md says which path gives which. What is looked at
stands in `checkup`; a provider is healthy as the probes say.
"""

from collections.abc import Callable
from typing import Any

from aiohttp import web

from proxy import __version__
from proxy.core import clock
from proxy.core.errors import ProxyError
from proxy.health.checkup import Checkup, Condition
from proxy.health.route_checks import RouteChecks
from proxy.http.inbound import INBOUND
from proxy.http.page import json_page
from proxy.middleware.authenticator import Authenticator
from proxy.providers.checks import Checks
from proxy.providers.pool import Pool

_SHOWN_TO_PROBES = ("healthy", "critical", "failures")

SERVICES = ("/v1/chat/completions", "/v1/completions", "/v1/completion", "/v1/embeddings", "/v1/responses")
"""Paths whose health is the providers', unless `routes` looks at more."""


class Health:
    """The handlers of `/health`, `/live` and `/ready`."""

    def __init__(
        self,
        checks: Checks,
        checkup: Checkup,
        pool: Pool,
        authenticator: Authenticator,
        draining: Callable[[], bool],
        routes: RouteChecks,
        lateness: Callable[[], float],
    ) -> None:
        """*lateness*: seconds the event loop was late at worst within the last minute."""
        self._checks = checks
        self.checkup = checkup
        """What is looked at; a reload puts another here."""
        self._pool = pool
        self._authenticator = authenticator
        self._draining = draining
        self.routes = routes
        """The checks of single paths; a reload puts others here."""
        self._lateness = lateness
        self._started = clock.now()

    @property
    def uptime(self) -> float:
        """Seconds since the gateway was built."""
        return round(clock.now() - self._started, 3)

    async def condition(self) -> tuple[Condition, dict[str, dict[str, Any]]]:
        """How it is now, providers included, and what each check found."""
        results = await self.checkup.results()
        condition = self.checkup.condition()
        if condition is Condition.HEALTHY and not self._all_fine():
            condition = Condition.DEGRADED
        return condition, results

    @property
    def ready_now(self) -> bool:
        """What `/ready` would say: calls may be sent here."""
        return not self.checkup.fails_critically() and not self._draining()

    async def overall(self, request: web.Request) -> web.StreamResponse:
        """All providers, services and checks; 503 when a provider is unhealthy or a critical check has failed."""
        inbound = request[INBOUND]
        condition, results = await self.condition()
        fine = self._all_fine() and condition is not Condition.CRITICAL
        body: dict[str, Any] = {"status": {"global": fine}, "state": condition, **self._frame()}
        if self._authenticator.knows(inbound.request):
            watched = self.routes.results()
            healthy = dict.fromkeys(SERVICES, self._usable())
            healthy |= {path: told["healthy"] for path, told in watched.items()}
            body["services"] = {path: "healthy" if fine else "unhealthy" for path, fine in healthy.items()}
            body["providers"] = self._providers()
            body["checks"] = results
            body["summary"] = _summary(results)
        return json_page(body, 200 if fine else 503)

    async def below(self, request: web.Request) -> web.StreamResponse:
        """`/health/provider/{name}` or `/health/{route}`."""
        inbound = request[INBOUND]
        path = inbound.location.path.rstrip("/")
        name = path.removeprefix("/health/provider/")
        if name != path:
            await self._authenticator.operator(inbound.request, inbound.exchange.client_ip)
            facts = self._providers().get(name)
            if facts is None:
                raise ProxyError("unknown_url", "There is no provider of that name.")
            return json_page(facts, 200 if facts["healthy"] else 503)
        path = path.removeprefix("/health")
        watched = self.routes.results().get(path)
        if watched is None and path not in SERVICES:
            raise ProxyError("unknown_url")
        told = watched or {"healthy": self._usable()}
        healthy = told.pop("healthy")
        return json_page({"status": "healthy" if healthy else "unhealthy", **told}, 200 if healthy else 503)

    async def live(self, request: web.Request) -> web.StreamResponse:
        """The loop turns: that this is answered says so."""
        return json_page(self._life("alive"))

    async def started(self, request: web.Request) -> web.StreamResponse:
        """Like `live`, once every provider has been asked for the first time: for a probe of the start."""
        known = self._checks.known.is_set()
        return json_page(self._life("alive" if known else "not ready"), 200 if known else 503)

    async def ready(self, request: web.Request) -> web.StreamResponse:
        """Calls may be sent here: nothing critical, and we are not stopping."""
        condition, _ = await self.condition()
        ready = condition is not Condition.CRITICAL and not self._draining()
        drained = sum(provider.drained for provider in self._pool.providers)
        body = {
            "status": "ready" if ready else "not_ready",
            "timestamp": clock.iso(clock.wall()),
            "providers_drained": drained,
        }
        return json_page(body, 200 if ready else 503)

    async def ready_in_full(self, request: web.Request) -> web.StreamResponse:
        """The same verdict with every check, without naming a provider: probes bring no key."""
        condition, results = await self.condition()
        ready = condition is not Condition.CRITICAL and not self._draining()
        shown = {name: {key: each[key] for key in _SHOWN_TO_PROBES} for name, each in results.items()}
        status = "draining" if self._draining() else str(condition)
        body = {"status": status, **self._frame(), "checks": shown, "summary": _summary(results)}
        return json_page(body, 200 if ready else 503)

    def _life(self, status: str) -> dict[str, Any]:
        # How late it was is told and not judged: a process is not ended for a stall that is over.
        lateness = round(self._lateness(), 6)
        return {"status": status, "timestamp": clock.iso(clock.wall()), "event_loop_lag_max_seconds": lateness}

    def _frame(self) -> dict[str, Any]:
        return {"version": __version__, "timestamp": clock.iso(clock.wall()), "uptime": self.uptime}

    def _providers(self) -> dict[str, dict[str, Any]]:
        now = clock.now()
        facts = self._checks.facts()
        for each in facts.values():
            each["targets"] = {}
        for target in self._pool.told_targets:
            facts[target.provider.name]["targets"][str(target)] = str(target.breaker.state(now))
        return facts

    def _all_fine(self) -> bool:
        return all(provider.health.healthy for provider in self._pool.providers)

    def _usable(self) -> bool:
        return any(provider.usable for provider in self._pool.providers)


def _summary(results: dict[str, dict[str, Any]]) -> dict[str, int]:
    healthy = sum(each["healthy"] for each in results.values())
    return {"total": len(results), "healthy": healthy, "unhealthy": len(results) - healthy}
