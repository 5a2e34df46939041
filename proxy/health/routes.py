"""What load balancers, orchestrators and whom they wake ask, as docs/http.md lists it."""

from proxy.health.debug import Debug
from proxy.health.health import Health
from proxy.middleware.route import GET, Access, Route, readers
from proxy.settings import Settings


def health_routes(settings: Settings, health: Health, debug: Debug) -> list[Route]:
    """The routes of these handlers."""
    return [
        Route("/v1/health", GET, health.overall, Access.OPEN),
        Route("/health", GET, health.overall, Access.OPEN),
        Route("/health/*", GET, health.below, Access.OPEN),
        Route("/live", GET, health.live, Access.PROBE),
        Route("/health/live", GET, health.started, Access.PROBE),
        Route("/debug", GET, debug.show, readers(settings)),
        Route("/ready", GET, health.ready, Access.PROBE),
        Route("/health/ready", GET, health.ready_in_full, Access.PROBE),
    ]
