"""
Stored answers as operators see them: they can be cleared, all or those of a model or a key, in every worker.

What is stored, and for how long, is the cache's business.
"""

import logging

from aiohttp import web

from proxy.cache.answer_cache import AnswerCache
from proxy.cache.lookup import Unreachable
from proxy.core.audit import audit
from proxy.core.errors import ProxyError
from proxy.core.peers import CLEAR, Peers
from proxy.http.caller import caller
from proxy.http.inbound import INBOUND
from proxy.http.page import json_page
from proxy.http.parameters import parameters

_log = logging.getLogger("hapax")


class CachePages:
    """The handler of `/admin/cache`."""

    def __init__(self, cache: AnswerCache, peers: Peers) -> None:
        self._cache = cache
        self._peers = peers

    async def clear(self, request: web.Request) -> web.StreamResponse:
        """Let go every stored answer, or those of the `model` and of the `key` that are named; says how many."""
        inbound = request[INBOUND]
        asked = parameters(inbound.request, ("model", "key"))
        empty = next((name for name, value in asked.items() if not value), None)
        if empty is not None:
            # Left empty by a script's mistake, it must not mean all.
            raise ProxyError("invalid_parameter", "It must name something; leave it out for all.", param=empty)
        model, key = asked.get("model"), asked.get("key")
        try:
            cleared = await self._cache.answers.clear(model, key)
        except Unreachable as error:
            _log.warning("stored answers cannot be cleared: %s", error)
            raise ProxyError(
                "store_unavailable", "Redis, which keeps the answers, does not answer; try again."
            ) from error
        theirs = await self._peers.ask(CLEAR, {"model": model, "key": key})
        cleared += sum(each for each in theirs if each is not None)
        what, gone = {"model": model, "key": key}, {"answers": cleared}
        audit("cache_cleared", f"{cleared} stored answers cleared", caller(inbound), gone, {"answers": 0}, **what)
        return json_page({"cleared": cleared})
