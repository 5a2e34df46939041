"""
From credentials to a principal.

`X-API-Key` and `Authorization: Bearer` are equal in rank; where both are sent they must agree. Nothing here sends a
credential on.
"""

from proxy.accounts.keys import looks_minted
from proxy.accounts.principals import ANYONE, Principal, Principals
from proxy.accounts.watch import KeyWatch
from proxy.errors import ProxyError
from proxy.web.keyless import Keyless
from proxy.web.request import Request

ADMIN = Principal("admin")
"""Whoever holds the admin key."""
CHALLENGE = (("WWW-Authenticate", "Bearer"),)


def key_of(request: Request) -> str | None:
    """The key the client sent, or None."""
    headers = request.headers
    direct = headers.get("x-api-key")
    bearer = None
    authorization = headers.get("authorization")
    if authorization is not None:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() == "bearer":
            bearer = token.strip()
    if direct and bearer and direct != bearer:
        raise ProxyError("bad_request", "X-API-Key and Authorization name different keys.")
    return direct or bearer or None


class Doorkeeper:
    """Lets in who has a key."""

    def __init__(self, principals: Principals, keyless: Keyless, watch: KeyWatch | None) -> None:
        """*watch*: what else the store may know; None where there is no store."""
        self._principals = principals
        self._keyless = keyless
        self._watch = watch

    async def client(self, request: Request, address: str) -> Principal:
        """Who calls; `ProxyError` 401 when there are keys and none of them was sent, 429 after too many of those."""
        if self._principals.open:
            return ANYONE
        key = key_of(request)
        principal = None if key is None else self._principals.find(key)
        return principal if principal is not None else await self._stranger(key, address)

    async def operator(self, request: Request, address: str) -> Principal:
        """Like `client`, for pages an operator reads: the admin key opens them as well."""
        key = key_of(request)
        if key is not None and self._principals.is_admin(key):
            return ADMIN
        return await self.client(request, address)

    async def admin(self, request: Request, address: str) -> Principal:
        """For pages that show everybody's calls: the admin key, or anybody where there are no keys at all."""
        if self._principals.open and not self._principals.has_admin:
            return ANYONE
        key = key_of(request)
        if key is not None and self._principals.is_admin(key):
            return ADMIN
        if key is not None and self._principals.find(key) is not None:
            raise ProxyError("admin_key_required")
        await self._stranger(key, address)
        raise ProxyError("admin_key_required")

    def knows(self, request: Request) -> bool:
        """Whether *request* brings a key that opens anything, or needs none."""
        if self._principals.open:
            return True
        try:
            key = key_of(request)
        except ProxyError:
            return False
        return key is not None and (self._principals.is_admin(key) or self._principals.find(key) is not None)

    async def _stranger(self, key: str | None, address: str) -> Principal:
        """Somebody whose key is not known here, or not yet."""
        self._keyless.leave(self._keyless.enter(address))
        if key is None:
            if self._watch is not None and not self._watch.reachable and not len(self._principals):
                # Nobody could be let in, whatever they brought.
                raise ProxyError(
                    "store_unavailable", "The key store cannot be reached.", headers=(("Retry-After", "1"),)
                )
            raise ProxyError("missing_api_key", headers=CHALLENGE)
        if self._principals.is_admin(key):
            raise ProxyError(
                "invalid_api_key",
                "That is the admin key, which is for /admin; calls need a client key.",
                headers=CHALLENGE,
            )
        if self._watch is not None and looks_minted(key):
            read = await self._watch.look_again()
            principal = self._principals.find(key)
            if principal is not None:
                return principal
            if not read:
                raise ProxyError("store_unavailable", headers=(("Retry-After", "1"),))
        raise ProxyError("invalid_api_key", headers=CHALLENGE)
