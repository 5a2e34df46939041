"""What load balancers and orchestrators ask, as docs/http.md lists it."""

from proxy.health.health import Health
from proxy.middleware.route import GET, Access, Route


def health_routes(health: Health) -> list[Route]:
    """The routes of this handler."""
    return [
        Route("/v1/health", GET, health.overall, Access.OPEN),
        Route("/health", GET, health.overall, Access.OPEN),
        Route("/health/*", GET, health.below, Access.OPEN),
        Route("/live", GET, health.live, Access.PROBE),
        Route("/health/live", GET, health.started, Access.PROBE),
        Route("/ready", GET, health.ready, Access.PROBE),
        Route("/health/ready", GET, health.ready_in_full, Access.PROBE),
    ]
