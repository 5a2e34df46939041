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
    "/v1/health",
    "preflight",
)
"""Routes whose requests are no calls."""


def is_call(exchange: Exchange) -> bool:
    """Whether it is one that a client made for an answer, refused ones included: no probe and no operator's page."""
    return exchange.route != "/" and not exchange.route.startswith(_HOUSEKEEPING)
