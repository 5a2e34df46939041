"""What load balancers, orchestrators and whom they wake ask, as docs/http.md lists it."""

from proxy.health.debug import Debug
from proxy.health.health import Health
from proxy.health.shapes import (
    DebugTold,
    HealthTold,
    LifeTold,
    ProviderHealth,
    ReadyInFull,
    ReadyTold,
    RouteHealth,
)
from proxy.middleware.described import Answer, Operation, get
from proxy.middleware.route import GET, Access, Route, readers
from proxy.settings import Settings


def health_routes(settings: Settings, health: Health, debug: Debug) -> list[Route]:
    """The routes of these handlers."""
    overall = _judged("All providers, services and checks", HealthTold)
    below = (
        _judged("One provider, with a key", ProviderHealth, "/health/provider/{name}"),
        _judged("One service, by its path without the first slash", RouteHealth, "/health/{route}"),
    )
    return [
        Route("/v1/health", GET, health.overall, Access.OPEN, operations=(overall,)),
        Route("/health", GET, health.overall, Access.OPEN, operations=(overall,)),
        Route("/health/*", GET, health.below, Access.OPEN, operations=below),
        Route("/live", GET, health.live, Access.PROBE, operations=(get("That the process turns", LifeTold),)),
        Route(
            "/health/live",
            GET,
            health.started,
            Access.PROBE,
            operations=(_judged("The same, once every provider has been asked", LifeTold),),
        ),
        Route(
            "/debug",
            GET,
            debug.show,
            readers(settings),
            operations=(get("Status, checks and the process", DebugTold),),
        ),
        Route(
            "/ready",
            GET,
            health.ready,
            Access.PROBE,
            operations=(_judged("Whether calls may be sent here", ReadyTold),),
        ),
        Route(
            "/health/ready",
            GET,
            health.ready_in_full,
            Access.PROBE,
            operations=(_judged("The same with every check", ReadyInFull),),
        ),
    ]


def _judged(summary: str, answer: Answer, path: str = "") -> Operation:
    """A page whose status is the verdict: 503 where it is a bad one."""
    return Operation("GET", summary, {200: answer, 503: answer}, path)
