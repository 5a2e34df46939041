"""
`/admin/logging`: the level of the log and the share of traces recorded, changed while the gateway runs, at all workers.

Each change is written to the audit log. What a change means for a process stands in `observe.verbosity`.
"""

import os
from typing import Annotated, Any

from aiohttp import web
from pydantic import Field

from proxy.accounts.asked import AskedWrongly, checked
from proxy.core import clock
from proxy.core.audit import audit
from proxy.core.errors import ProxyError
from proxy.core.peers import LIVE, Peers
from proxy.http.caller import caller
from proxy.http.inbound import INBOUND, Inbound
from proxy.http.page import json_page
from proxy.http.parameters import parameters, refused
from proxy.observe.verbosity import Verbosity
from proxy.settings.live import NONE, LiveChange
from proxy.settings.observation import LogLevel
from proxy.settings.values import Duration, Section

Ratio = Annotated[float, Field(ge=0, le=1)]


class LoggingAsked(Section):
    """What is to be otherwise than configured, and for how long."""

    level: LogLevel | None = Field(None, description="The least important line to write.")
    sample_ratio: Ratio | None = Field(None, description="Share of new traces that are recorded.")
    for_: Duration | None = Field(
        None, alias="for", description="How long; omitted: until it is changed again, or the gateway ends."
    )


class LivePages:
    """The handler, and what this worker does for its peers."""

    def __init__(self, verbosity: Verbosity, peers: Peers) -> None:
        self._verbosity = verbosity
        self._peers = peers

    async def page(self, request: web.Request) -> web.StreamResponse:
        """GET: how it is. PUT: change it, in the place of an earlier change. DELETE: as configured again."""
        inbound = request[INBOUND]
        parameters(inbound.request, ())
        if inbound.request.method == "PUT":
            _, asked = await inbound.read_json()
            return await self._change(inbound, self._read(asked), "logging_changed")
        if inbound.request.method == "DELETE":
            return await self._change(inbound, NONE, "logging_restored")
        return json_page(self._told())

    def own(self, of: dict[str, Any]) -> dict[str, Any]:
        """Change it at this worker to what *of* says, a `LiveChange` as plain JSON; how it is then, with the `pid`."""
        self._verbosity.change(LiveChange(**of))
        return {"pid": os.getpid(), **self._verbosity.told()}

    def _read(self, asked: dict[str, Any]) -> LiveChange:
        now = clock.wall()
        try:
            wanted = checked(LoggingAsked, asked, now)
        except AskedWrongly as error:
            raise refused(error) from None
        if wanted.level is None and wanted.sample_ratio is None:
            raise ProxyError("invalid_parameter", "Name a level, a sample_ratio, or both; DELETE ends a change.")
        if wanted.level is not None and not self._verbosity.has_level:
            raise ProxyError(
                "invalid_parameter", "A program has set up this process's log; the level is its own.", param="level"
            )
        if wanted.sample_ratio is not None and not self._verbosity.has_traces:
            raise ProxyError(
                "invalid_parameter", "No traces are recorded; set tracing.otlp_endpoint.", param="sample_ratio"
            )
        until = None if wanted.for_ is None else now.timestamp() + wanted.for_
        return LiveChange(wanted.level, wanted.sample_ratio, until)

    async def _change(self, inbound: Inbound, live: LiveChange, event: str) -> web.StreamResponse:
        before = self._verbosity.live
        plain = live.plain()
        workers = [self.own(plain), *filter(None, await self._peers.ask(LIVE, plain))]
        message = "logging is as configured again" if live.empty else "logging changed while the gateway runs"
        more = {"in_force": self._verbosity.told(), "workers": len(workers)}
        audit(event, message, caller(inbound), before.told(), live.told(), **more)
        return json_page({**self._told(), "workers": workers})

    def _told(self) -> dict[str, Any]:
        verbosity = self._verbosity
        return {**verbosity.told(), "configured": verbosity.configured(), "live": verbosity.live.told()}
