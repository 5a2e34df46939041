"""
A port for what operators and their tools read, apart from the clients': metrics and health, without a key.

It listens on loopback unless told otherwise. The pages are those of the gateway's own port, but for `/health`, whose
status is a plain string here.
"""

import os
import resource
import socket
from contextlib import AsyncExitStack

import orjson
from aiohttp import web

from proxy import __version__
from proxy.core import clock
from proxy.health.checkup import Condition, resident_bytes
from proxy.health.health import Health
from proxy.http.compression import compress_where_asked
from proxy.observe.page import Pages
from proxy.providers.checks import Checks
from proxy.providers.pool import Pool


class MetricsPort:
    """The listener."""

    def __init__(self, pages: Pages, health: Health, checks: Checks, pool: Pool) -> None:
        self._pages = pages
        self._of_gateway = health
        self._checks = checks
        self._pool = pool
        self._ending = AsyncExitStack()
        self.port = 0
        """The port it listens on, once started."""

    async def start(self, listening: socket.socket) -> None:
        """Begin to serve on a socket that is bound."""
        # Nothing here may outlast its client.
        runner = web.ServerRunner(web.Server(self._answer, handler_cancellation=True, access_log=None))
        self._ending.push_async_callback(runner.cleanup)
        await runner.setup()
        await web.SockSite(runner, listening).start()
        self.port = runner.addresses[0][1]

    async def stop(self) -> None:
        """Close every connection."""
        await self._ending.aclose()

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        page = await self._page(request)
        compress_where_asked(page, request.headers.getall("Accept-Encoding", []))
        return page

    async def _page(self, request: web.BaseRequest) -> web.Response:
        path = request.path
        if request.method not in ("GET", "HEAD"):
            return web.Response(status=405, headers={"Allow": "GET, HEAD"})
        if path in ("/metrics", "/metrics/json"):
            as_text = path == "/metrics"
            accept = request.headers.get("Accept", "")
            body, content_type = await (self._pages.text(accept) if as_text else self._pages.json())
            return web.Response(body=body, headers={"Content-Type": content_type})
        if path == "/health":
            return await self._health()
        if path in ("/live", "/ready"):
            fine = path == "/live" or (await self._of_gateway.condition())[0] is not Condition.CRITICAL
            words = "alive" if path == "/live" else "ready" if fine else "not_ready"
            return _json({"status": words, "timestamp": clock.iso(clock.wall())}, 200 if fine else 503)
        return web.Response(status=404)

    async def _health(self) -> web.Response:
        initialised = self._checks.known.is_set()
        condition, _ = await self._of_gateway.condition()
        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        body: dict[str, object] = {
            "status": condition if initialised else "initializing",
            "timestamp": clock.iso(clock.wall()),
            "uptime": self._of_gateway.uptime,
            "memory": {"rss": resident_bytes(), "limit": None if limit == resource.RLIM_INFINITY else limit},
            "models": {"loaded": len(self._pool.listing()), "registry_size": len(self._pool.listing())},
            "engine": "hapax",
            "version": __version__,
            "environment": os.environ.get("HAPAX_ENV", "production"),
        }
        return _json(body, 200 if initialised and condition is not Condition.CRITICAL else 503)


def _json(body: dict[str, object], status: int) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json")
