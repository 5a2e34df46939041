"""
`GET /admin/config`: what is in force and where it came from. `POST /admin/reload`: read it again.

How a configuration is read and put in force is `process`'s; no secret is in an answer.
"""

from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from proxy.core import clock
from proxy.core.errors import ProxyError
from proxy.http.caller import caller
from proxy.http.inbound import INBOUND
from proxy.http.page import json_page
from proxy.http.parameters import parameters
from proxy.settings.in_force import By, InForce, Reload

Reloading = Callable[[By, Mapping[str, str]], Awaitable[Reload]]
"""Reads the configuration again and puts it in force, at every worker; what became of it. It is told who asks."""


class Configuration:
    """The two handlers."""

    def __init__(self, in_force: InForce, reloading: Reloading | None) -> None:
        """*reloading*: None where a program gave the settings, which no file can be read for."""
        self._in_force = in_force
        self._reloading = reloading

    async def show(self, request: web.Request) -> web.StreamResponse:
        """All of it, redacted."""
        parameters(request[INBOUND].request, ())
        live = self._in_force.live.at(clock.wall().timestamp())
        return json_page({**self._in_force.told(), "live": live.told()})

    async def reload(self, request: web.Request) -> web.StreamResponse:
        """Do as at SIGHUP, and answer with what became of it; 409 when nothing has changed since it is no good."""
        inbound = request[INBOUND]
        parameters(inbound.request, ())
        if self._reloading is None:
            raise ProxyError("reload_refused", "A program gave this gateway its settings; there is no file to read.")
        done = await self._reloading("admin", caller(inbound))
        if done.outcome == "refused":
            raise ProxyError("reload_refused", details={"problems": list(done.problems)})
        return json_page(done.told())
