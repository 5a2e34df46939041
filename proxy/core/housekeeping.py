"""
Which requests are calls of clients, and which only keep the house: probes, metrics, and pages of operators and people.

It knows routes by their templates and nothing else of a request.
"""

from proxy.core.exchange import Exchange

_HOUSEKEEPING = (
    "/admin",
    "/health",
    "/live",
    "/ready",
    "/metrics",
    "/debug",
    "/openapi",
    "/ui",
    "preflight",
)
"""Routes whose requests are no calls."""
_CALLED, _ALIAS = "/v1/", "/v1/health"
"""Where nearly all that is called lies, and the one page that lies there too."""


def is_call(exchange: Exchange) -> bool:
    """Whether it is one that a client made for an answer, refused ones included: no probe and no operator's page."""
    route = exchange.route
    if route.startswith(_CALLED):
        return route != _ALIAS
    return route != "/" and not route.startswith(_HOUSEKEEPING)
