"""
Health as clients and probes see it, from facts that are there already: no request here causes one upstream.

A provider is healthy as the probes say; what the breakers think of single targets is told beside it.
"""

from collections.abc import Callable
from typing import Any

from proxy import __version__, clock
from proxy.errors import ProxyError
from proxy.providers.checks import Checks
from proxy.web.auth import Doorkeeper
from proxy.web.inbound import Inbound


class Health:
    """The handlers of `/health`, `/live` and `/ready`."""

    def __init__(
        self, checks: Checks, doorkeeper: Doorkeeper, services: list[str], draining: Callable[[], bool]
    ) -> None:
        """*services* are the route templates whose health is the providers'."""
        self._checks = checks
        self._doorkeeper = doorkeeper
        self._services = services
        self._draining = draining
        self._started = clock.now()

    async def overall(self, inbound: Inbound) -> None:
        """All providers and services; 503 when one is unhealthy. Without a key only the verdict is told."""
        providers = self._checks.facts()
        fine = all(facts["healthy"] for facts in providers.values())
        usable = any(facts["healthy"] for facts in providers.values())
        body: dict[str, Any] = {
            "status": {"global": fine},
            "state": "healthy" if fine else "degraded" if usable else "critical",
            "version": __version__,
            "timestamp": clock.iso(clock.wall()),
            "uptime": round(clock.now() - self._started, 3),
        }
        if self._doorkeeper.knows(inbound.request):
            verdict = "healthy" if usable else "unhealthy"
            body["services"] = dict.fromkeys(self._services, verdict)
            body["providers"] = providers
        inbound.send_json(body, 200 if fine else 503)

    async def below(self, inbound: Inbound) -> None:
        """`/health/provider/{name}` or `/health/{route}`."""
        path = inbound.location.path.rstrip("/")
        name = path.removeprefix("/health/provider/")
        if name != path:
            await self._doorkeeper.operator(inbound.request, inbound.exchange.client_ip)
            facts = self._checks.facts().get(name)
            if facts is None:
                raise ProxyError("unknown_url", "There is no provider of that name.")
            inbound.send_json(facts, 200 if facts["healthy"] else 503)
            return
        if path.removeprefix("/health") not in self._services:
            raise ProxyError("unknown_url")
        usable = any(facts["healthy"] for facts in self._checks.facts().values())
        inbound.send_json({"status": "healthy" if usable else "unhealthy"}, 200 if usable else 503)

    async def live(self, inbound: Inbound) -> None:
        """The loop turns."""
        inbound.send_json({"status": "alive", "timestamp": clock.iso(clock.wall())})

    async def ready(self, inbound: Inbound) -> None:
        """Calls may be sent here: the providers have been asked once, one is healthy, and we are not stopping."""
        usable = any(facts["healthy"] for facts in self._checks.facts().values())
        ready = usable and self._checks.known.is_set() and not self._draining()
        body = {"status": "ready" if ready else "not_ready", "timestamp": clock.iso(clock.wall())}
        inbound.send_json(body, 200 if ready else 503)
