"""
From credentials to a principal.

`X-API-Key` and `Authorization: Bearer` are equal in rank; where both are sent they must agree. Nothing here sends a
credential on.
"""

from aiohttp import web

from proxy.accounts.principals import ANYONE, Principal, Principals
from proxy.errors import ProxyError


def key_of(request: web.BaseRequest) -> str | None:
    """The key the client sent, or None."""
    headers = request.headers
    direct = headers.get("X-API-Key")
    bearer = None
    authorization = headers.get("Authorization")
    if authorization is not None:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() == "bearer":
            bearer = token.strip()
    if direct and bearer and direct != bearer:
        raise ProxyError("bad_request", "X-API-Key and Authorization name different keys.")
    return direct or bearer or None


def authenticate(request: web.BaseRequest, principals: Principals) -> Principal:
    """Who calls; `ProxyError` 401 when keys are configured and none of them was sent."""
    if principals.open:
        return ANYONE
    key = key_of(request)
    if key is None:
        raise ProxyError("missing_api_key", headers=(("WWW-Authenticate", "Bearer"),))
    principal = principals.find(key)
    if principal is None:
        raise ProxyError("invalid_api_key", headers=(("WWW-Authenticate", "Bearer"),))
    return principal


def authenticate_operator(request: web.BaseRequest, principals: Principals) -> Principal:
    """Like `authenticate`, for pages an operator reads: the admin key opens them as well."""
    key = key_of(request)
    if key is not None and principals.is_admin(key):
        return Principal("admin")
    return authenticate(request, principals)


def authenticate_admin(request: web.BaseRequest, principals: Principals) -> Principal:
    """For pages that show everybody's calls: the admin key, or anybody where there are no keys at all."""
    if principals.open and not principals.has_admin:
        return ANYONE
    key = key_of(request)
    if key is None:
        raise ProxyError("missing_api_key", headers=(("WWW-Authenticate", "Bearer"),))
    if not principals.is_admin(key):
        raise ProxyError("admin_key_required" if principals.find(key) else "invalid_api_key")
    return Principal("admin")
