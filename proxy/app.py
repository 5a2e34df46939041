"""
The gateway as an application of aiohttp's, which any server of aiohttp applications runs: `create_app`.

What it is made of is put together in `gateway`. Its one route takes every path: which there are is for the
configuration in force to say, and a reload may change that.
"""

import logging
from collections.abc import AsyncIterator, Awaitable

from aiohttp import web

from proxy.admin.configuration import Reloading
from proxy.core.peers import Peers
from proxy.gateway.gateway import Gateway, build
from proxy.http.inbound import Handler
from proxy.middleware.front import ask_for_nothing, serve
from proxy.observe.log import Logs
from proxy.settings import Settings
from proxy.settings.in_force import InForce

__all__ = ["GATEWAY", "Gateway", "build", "create_app"]

GATEWAY = web.AppKey("GATEWAY", Gateway)
"""Where an application has its gateway."""


def create_app(
    settings: Settings,
    logs: Logs | None = None,
    peers: Peers | None = None,
    in_force: InForce | None = None,
    reloading: Reloading | None = None,
) -> web.Application:
    """
    The gateway as an application: to be served by `web.run_app`, by gunicorn's aiohttp workers or by `hapax serve`, or
    mounted in another with `add_subapp`. What it needs is opened when the application starts and closed when it is
    cleaned up. Arguments as for `build`; `ValueError` for settings that cannot be used, with their path.

    A server that is not ours has its own limits for heads and slow clients; give it `handler_cancellation=True`, by
    which a call ends when its client leaves.
    """
    gateway = build(settings, logs, peers, in_force, reloading)
    prefix = ""

    async def running(app: web.Application) -> AsyncIterator[None]:
        nonlocal prefix
        # Every application is where it will stay: this is what stands before our paths.
        prefix = next(iter(app.router.resources())).canonical.removesuffix("/{path}")
        try:
            await gateway.start()
            yield
        finally:
            await gateway.stop()

    async def leaving(_: web.Application) -> None:
        gateway.under_way.draining = gateway.under_way.closing = True
        gateway.feed.close()

    async def unnamed(_: web.Request, response: web.StreamResponse) -> None:
        # A version is an invitation.
        response.headers.popall("Server", None)

    @web.middleware
    def front(request: web.Request, handler: Handler) -> Awaitable[web.StreamResponse]:
        # The front of the configuration in force, which the request keeps to its end.
        return gateway.front.handle(request, handler, prefix)

    app = web.Application(middlewares=[front], logger=logging.getLogger("hapax"))
    app[GATEWAY] = gateway
    app.cleanup_ctx.append(running)
    app.on_shutdown.append(leaving)
    app.on_response_prepare.append(unnamed)
    app.router.add_resource("/{path:.*}").add_route("*", serve, expect_handler=ask_for_nothing)
    return app
