"""
What the settings' `routes` change: methods, demanded headers and time of single paths, and paths of their own.

Worked out once for each configuration: a path not configured is found and served as if there were no such thing. What a
handler does is said elsewhere; limits and health of a path are kept where those of others are.
"""

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from aiohttp import web

from proxy.core.errors import ProxyError
from proxy.http.inbound import INBOUND, Handler
from proxy.middleware.route import Access, Route
from proxy.relay.endpoints import operation
from proxy.settings.checks import OPENED
from proxy.settings.routes import RouteSettings as Wanted

HANDLERS = {"completion": "/v1/completion", "health": "/health", "metrics": "/metrics", "relay": "/v1/*"}
"""The route that each name of a handler stands for."""


def configured(routes: Sequence[Route], wanted: Sequence[Wanted]) -> list[Route]:
    """*routes*, and in place of or beside them what is *wanted*."""
    known = {route.template: route for route in routes}
    made = [_made(each, base) for each in wanted if (base := _base(each, known)) is not None]
    taken = {route.template for route in made}
    return [*made, *(route for route in routes if route.template not in taken)]


def _base(wanted: Wanted, known: Mapping[str, Route]) -> Route | None:
    """What answers there; None where that is switched off."""
    path = wanted.full_path
    # A path of OpenAI's or of the gateway's own means what it always means: SDKs rely on it.
    if path in known:
        return known[path]
    if path.startswith("/v1/") and operation(path.removeprefix("/v1")).named:
        return known["/v1/*"]
    return known.get(HANDLERS[wanted.handler])


def _made(wanted: Wanted, base: Route) -> Route:
    methods, handler = base.methods, base.handler
    if "methods" in wanted.model_fields_set:
        named = frozenset(wanted.methods)
        methods &= named | {"HEAD"} if "GET" in named else named
    if wanted.headers or wanted.timeout is not None:
        demanded = [(name, name.lower(), value.get_secret_value().encode()) for name, value in wanted.headers.items()]
        handler = _guarded(handler, demanded, wanted.timeout)
    passed = _passed(wanted, base) if "middleware" in wanted.model_fields_set else {}
    return replace(base, template=wanted.full_path, methods=methods, handler=handler, **passed)


def _passed(wanted: Wanted, base: Route) -> dict[str, Any]:
    """What the names in `middleware` make of a route; keys of calls that ask a provider are not up to it."""
    passed: dict[str, Any] = {
        "limited": "rate-limit" in wanted.middleware,
        "cors": "cors" in wanted.middleware,
        "logged": "logging" in wanted.middleware,
    }
    if "auth" not in wanted.middleware:
        if base.template in OPENED or base.template == "/health/*":
            passed["access"] = Access.OPEN
    elif base.access in (Access.OPEN, Access.PROBE):
        passed["access"] = Access.OPERATOR
    return passed


def _guarded(handler: Handler, demanded: Sequence[tuple[str, str, bytes]], timeout: float | None) -> Handler:
    async def guarded(request: web.Request) -> web.StreamResponse:
        inbound = request[INBOUND]
        headers = inbound.request.headers
        for name, key, value in demanded:
            # Often a token, so how long the comparison takes must not tell how much of it was right.
            if not hmac.compare_digest(headers.get(key, "").encode("latin-1"), value):
                raise ProxyError("bad_request", f"Missing or invalid header: {name}.")
        inbound.timeout = timeout
        return await handler(request)

    return guarded
