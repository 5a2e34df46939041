"""
The models: who may use which is answered here from the lists that are at hand; to delete one is its provider's.

A name need not stand in a list to be called, and so it need not to be found.
"""

from typing import Any
from urllib.parse import quote

from aiohttp import web

from proxy.admission.admission import Admission
from proxy.core.errors import ProxyError
from proxy.core.headers import TO_PROVIDER, TO_PROVIDER_TRACED, for_provider
from proxy.http.inbound import INBOUND, Inbound
from proxy.http.page import json_page
from proxy.providers.checks import Checks
from proxy.providers.pool import Pool
from proxy.relay.endpoints import operation
from proxy.relay.question import Question
from proxy.relay.relay import Relay


class Models:
    """The handlers of `/v1/models` and what is below."""

    def __init__(self, relay: Relay, admission: Admission, pool: Pool, checks: Checks) -> None:
        self._relay = relay
        self._admission = admission
        self._pool = pool
        self._checks = checks

    async def all(self, request: web.Request) -> web.StreamResponse:
        """The models this caller may use."""
        inbound = request[INBOUND]
        return json_page({"object": "list", "data": await self._visible(inbound)})

    async def one(self, request: web.Request) -> web.StreamResponse:
        """One of them: its entry, or where it is to be deleted, what its provider says to that."""
        inbound = request[INBOUND]
        wanted = inbound.location.path.removeprefix("/v1/models/").rstrip("/")
        if inbound.request.method == "DELETE":
            return await self._delete(inbound, wanted)
        for entry in await self._visible(inbound):
            if entry["id"] == wanted:
                return json_page(entry)
        found = self._pool.found(wanted) if inbound.principal.may_use(wanted) else None
        if found is None:
            raise ProxyError("model_not_found", param="model")
        return json_page(found)

    async def _visible(self, inbound: Inbound) -> list[dict[str, Any]]:
        # Only the first moments of a process wait here: a client that asks just once must not see an empty list.
        await self._checks.known.wait()
        return [entry for entry in self._pool.listing() if inbound.principal.may_use(entry["id"])]

    async def _delete(self, inbound: Inbound, wanted: str) -> web.StreamResponse:
        """Have the provider that serves *wanted* delete it, by the name and in the spelling that came."""
        request, exchange = inbound.request, inbound.exchange
        if not inbound.principal.may_use(wanted):
            raise ProxyError("model_not_allowed", param="model")
        await self._checks.known.wait()
        spelled = request.target.partition("?")[0].partition("/models/")[2].rstrip("/")
        names = {target.model for target in self._pool.targets(wanted)}
        if names and names != {wanted}:
            # A public name: what leads to several models is none of them.
            name = names.pop()
            if names or name is None:
                raise ProxyError("model_not_found", param="model")
            spelled = quote(name, safe="")
        exchange.model = wanted
        path = f"/models/{spelled}"
        asked = operation(path)
        if request.has_body:
            # Nothing is said in it (RFC 9110 section 9.3.5); read, so that the connection can be used again.
            await inbound.read_body()
        await self._admission.admit(inbound, asked, 0, None)
        await self._relay.relay(
            exchange,
            Question(
                "DELETE",
                path + inbound.location.query,
                asked,
                for_provider(request.passing, TO_PROVIDER_TRACED if exchange.span_id else TO_PROVIDER),
                None,
                {},
                wanted,
                stream=False,
                repeatable=False,
                patience=None,
                # Another model is no substitute for the one that is to go.
                may_use=wanted.__eq__,
                timeout=inbound.timeout,
            ),
            inbound.answer,
        )
        return inbound.answer
