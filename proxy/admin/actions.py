"""
`POST /admin/providers/{name}/{action}`: what an operator does with a provider, in force at all workers.

`drain` and `enable`, `reset` of its targets' breakers, `ask` for a probe at once. It is written to the audit log and
told in the feed; what it means for calls is decided in `proxy.providers`.
"""

import os
from typing import Any

from aiohttp import web

from proxy.admin.feed import Feed
from proxy.core import clock
from proxy.core.audit import audit
from proxy.core.errors import ProxyError
from proxy.core.peers import ACT, Peers
from proxy.http.caller import caller
from proxy.http.inbound import INBOUND
from proxy.http.page import json_page
from proxy.http.parameters import parameters
from proxy.providers.breaker import BreakerState
from proxy.providers.checks import Checks
from proxy.providers.pool import Pool
from proxy.providers.provider import Provider

DONE = {"drain": "drained", "enable": "enabled", "reset": "reset", "ask": "asked"}
"""The actions, and what was done then."""


class Actions:
    """The handler, and what this worker does for its peers."""

    def __init__(self, pool: Pool, checks: Checks, feed: Feed, peers: Peers) -> None:
        self._pool = pool
        self._checks = checks
        self._feed = feed
        self._peers = peers

    async def act(self, request: web.Request) -> web.StreamResponse:
        """Do it here and at every peer, and tell what came of it at each."""
        inbound = request[INBOUND]
        parameters(inbound.request, ())
        path = inbound.location.path.removeprefix("/admin/providers/").removesuffix("/")
        name, _, action = path.partition("/")
        if action not in DONE:
            raise ProxyError("unknown_url")
        if inbound.request.has_body:
            # Nothing is said in it; read, so that the connection can be used again.
            await inbound.read_body()
        provider = self._provider(name)
        if provider is None:
            raise ProxyError("unknown_url", "There is no provider of that name.")
        told: dict[str, Any] = {"provider": name, "action": action}
        before = self._state(provider)
        workers = [found for found in (self.own(told), *await self._peers.ask(ACT, told)) if found is not None]
        # Each worker has breakers of its own, and the states before and after are this worker's.
        closed = sorted({target for worker in workers for target in worker["reset"]})
        audit(
            f"provider_{DONE[action]}",
            f"provider {name} {DONE[action]}",
            caller(inbound),
            before,
            self._state(provider),
            provider=name,
            workers=len(workers),
            **({"reset": closed} if action == "reset" else {}),
        )
        self._feed.tell("action", {"name": name, "action": action, "by": inbound.principal.name})
        if action == "ask":
            began = clock.now()
            problem = await self._checks.ask_now(provider)
            probe = {"ok": not problem, "problem": problem or None, "seconds": round(clock.now() - began, 6)}
            return json_page({**told, "workers": workers, "probe": probe})
        return json_page({**told, "workers": workers})

    def own(self, of: dict[str, Any]) -> dict[str, Any] | None:
        """
        Do at this worker what *of* says, its `provider` and `action`; returns how the provider is now: the worker's
        `pid`, whether it is `drained`, and the targets whose breaker was `reset`. None where there is no such provider.
        """
        name, action = of["provider"], of["action"]
        reset: list[str] = []
        if action in ("drain", "enable"):
            self._pool.drain(name, action == "drain")
        provider = self._provider(name)
        if provider is None:
            return None
        if action == "reset":
            reset = self._reset(provider)
        return {"pid": os.getpid(), "drained": provider.drained, "reset": reset}

    def for_peer(self, of: dict[str, Any]) -> dict[str, Any] | None:
        """As `own`, for a peer, which waits for no probe but its own."""
        provider = self._provider(of["provider"])
        if of["action"] == "ask" and provider is not None:
            self._checks.ask_now(provider)
        return self.own(of)

    def _state(self, provider: Provider) -> dict[str, Any]:
        """What an action may change of *provider* at this worker: whether it is drained, and breakers not closed."""
        now = clock.now()
        breakers = {
            str(target): target.breaker.state(now).value
            for target in self._pool.all_targets
            if target.provider is provider and target.breaker.state(now) is not BreakerState.CLOSED
        }
        return {"drained": provider.drained, "breakers": breakers}

    def _reset(self, provider: Provider) -> list[str]:
        """Close the breakers of its targets; returns those that were not closed."""
        now, found = clock.now(), []
        for target in self._pool.all_targets:
            if target.provider is provider:
                if target.breaker.state(now) is not BreakerState.CLOSED:
                    found.append(str(target))
                target.breaker.reset(now)
        return found

    def _provider(self, name: str) -> Provider | None:
        return next((each for each in self._pool.providers if each.name == name), None)
