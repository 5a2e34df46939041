"""
From credentials to a principal.

SDKs send a key where their vendor has it: `X-API-Key`, `Authorization: Bearer`, `api-key` or `x-goog-api-key`. Where
several came, the first that opens something counts. Nothing here sends a credential on.
"""

import hmac
import secrets

from proxy.accounts.principals import ANYONE, Principal, Principals
from proxy.accounts.secret import looks_minted
from proxy.accounts.watch import KeyWatch
from proxy.admission.keyless import Keyless
from proxy.core.errors import ProxyError
from proxy.http.request import Request

ADMIN = Principal("admin")
"""The principal of the admin key."""
CHALLENGE = (("WWW-Authenticate", "Bearer"),)


_DIRECT = ("x-api-key", "api-key", "x-goog-api-key")
"""
Headers that hold a key and nothing else: Anthropic's (https://docs.claude.com/en/api/overview), Azure OpenAI's
(https://learn.microsoft.com/azure/ai-foundry/openai/reference), Gemini's (https://ai.google.dev/api).
"""


TERMINAL_TOKEN = "hpx_terminal_" + secrets.token_urlsafe(24)
"""
Who reads the terminal of a gateway without keys may change it; other programs and web pages of this machine may not.
Made where the supervisor loads this, so that its workers have the same.
"""

IN_PROTOCOL = "openai-insecure-api-key."
"""How a subprotocol begins that is a key."""


def keys_of(request: Request) -> list[str]:
    """The keys the client sent, in the order they count; empty when it sent none."""
    headers = request.headers
    keys = []
    for name in _DIRECT:
        key = headers.get(name)
        if key:
            keys.append(key)
    authorization = headers.get("authorization")
    if authorization is not None:
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        if token and scheme.lower() == "bearer":
            # Behind X-API-Key, before the others.
            keys.insert(1 if headers.get("x-api-key") else 0, token)
    protocols = headers.get("sec-websocket-protocol")
    if protocols is not None:
        # A browser can give a WebSocket no header: https://platform.openai.com/docs/guides/realtime-websocket.
        offered = [name.strip() for name in protocols.split(",")]
        keys += [name[len(IN_PROTOCOL) :] for name in offered if name.startswith(IN_PROTOCOL)]
    return keys


class Authenticator:
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
        keys = keys_of(request)
        for key in keys:
            principal = self._principals.find(key)
            if principal is not None:
                return principal
        return await self._stranger(keys, address)

    async def operator(self, request: Request, address: str) -> Principal:
        """Like `client`, for pages an operator reads: the admin key opens them as well."""
        if self._has_admin_key(keys_of(request)):
            return ADMIN
        return await self.client(request, address)

    async def admin(self, request: Request, address: str) -> Principal:
        """
        For pages that show every key's calls: the admin key. Where there are no keys at all any caller may look, and
        `TERMINAL_TOKEN` is needed to change anything.
        """
        keys = keys_of(request)
        if self._principals.open and not self._principals.has_admin:
            if request.method in ("GET", "HEAD") or any(map(_is_token, keys)):
                return ANYONE
            raise ProxyError(
                "admin_key_required",
                "While there is no key, changes need the token that was printed at the start; or use `hapax keys`.",
            )
        if self._has_admin_key(keys):
            return ADMIN
        if any(self._principals.find(key) is not None for key in keys):
            raise ProxyError("admin_key_required")
        await self._stranger(keys, address)
        raise ProxyError("admin_key_required")

    def knows(self, request: Request) -> bool:
        """Whether *request* brings a key that opens anything, or needs none."""
        if self._principals.open:
            return True
        keys = keys_of(request)
        return self._has_admin_key(keys) or any(self._principals.find(key) is not None for key in keys)

    def _has_admin_key(self, keys: list[str]) -> bool:
        return any(self._principals.is_admin(key) for key in keys)

    async def _stranger(self, keys: list[str], address: str) -> Principal:
        """The caller's keys are not known here, or not yet."""
        self._keyless.leave(self._keyless.enter(address, "key"))
        if not keys:
            if self._watch is not None and not self._watch.reachable and not len(self._principals):
                # No caller could be let in, whatever key it sent.
                raise ProxyError(
                    "store_unavailable", "The key store cannot be reached.", headers=(("Retry-After", "1"),)
                )
            raise ProxyError("missing_api_key", headers=CHALLENGE)
        if self._has_admin_key(keys):
            raise ProxyError(
                "invalid_api_key",
                "That is the admin key, which is for /admin; calls need a client key.",
                headers=CHALLENGE,
            )
        minted = [key for key in keys if looks_minted(key)]
        if self._watch is not None and minted:
            read = await self._watch.look_again()
            for key in minted:
                principal = self._principals.find(key)
                if principal is not None:
                    return principal
            if not read:
                raise ProxyError("store_unavailable", headers=(("Retry-After", "1"),))
        raise ProxyError("invalid_api_key", headers=CHALLENGE)


def _is_token(key: str) -> bool:
    return hmac.compare_digest(key.encode("utf-8", "surrogateescape"), TERMINAL_TOKEN.encode())
