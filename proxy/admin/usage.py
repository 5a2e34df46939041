"""
What was used and what it cost, over HTTP: of all keys for the operator, its own for a client, with what it has left.

A client's question is always put for its own principal, whatever it sends. It adds nothing up itself.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

from proxy.accounts.asked import AskedWrongly, usage_question
from proxy.accounts.shown import usage_csv, usage_fields
from proxy.accounts.store import Store, StoreError
from proxy.accounts.usage import added_up, summary
from proxy.admin.left import Left
from proxy.admission.keyless import holder_of
from proxy.core import clock
from proxy.core.errors import ProxyError
from proxy.http.inbound import INBOUND
from proxy.http.page import json_page
from proxy.http.parameters import parameters, refused

_log = logging.getLogger("hapax")

AT_ONCE = 2
"""
Reports made at once. One may have to look at every row, and they share the store's few connections with what must not
wait: the watch over keys, the ledger, the look-up of budgets.
"""
_OWN = frozenset(("by", "since", "until", "format"))
_ALL = _OWN | {"key", "team"}


class UsagePages:
    """The handlers of `/admin/usage` and `/v1/usage`."""

    def __init__(self, store: Store | None, left: Left, catch_up: Callable[[], None]) -> None:
        """*store*: None where none is configured. *catch_up* has calls that have ended settle what they hold."""
        self._store = store
        self._left = left
        self._catch_up = catch_up
        self._running = 0

    async def all(self, request: web.Request) -> web.StreamResponse:
        """The usage of all keys, or of the `key` or `team` that was named."""
        return await self._answer(parameters(request[INBOUND].request, _ALL))

    async def own(self, request: web.Request) -> web.StreamResponse:
        """The caller's own usage. A named key or team is refused, not ignored: an answer would pass for theirs."""
        inbound = request[INBOUND]
        asked = {"by": "model", **parameters(inbound.request, _OWN)}
        self._catch_up()
        left = await self._left.of(inbound.principal, holder_of(inbound))
        return await self._answer(asked, inbound.principal.name, left)

    async def _answer(
        self, asked: dict[str, str], only: str | None = None, beside: Mapping[str, Any] | None = None
    ) -> web.StreamResponse:
        """
        *only*: the one principal whose usage may be told; None: the one the question names. *beside*: what else stands
        in an answer that is JSON.
        """
        form = asked.pop("format", "json")
        if form not in ("json", "csv"):
            raise ProxyError("invalid_parameter", "format must be json or csv.", param="format")
        try:
            question = usage_question(asked, clock.wall())
        except AskedWrongly as error:
            raise refused(error) from None
        if self._store is None:
            raise ProxyError("store_unavailable", "No store is configured, so nothing is written down.")
        if self._running >= AT_ONCE:
            raise ProxyError("overloaded", "Enough reports are being made; try again.", headers=(("Retry-After", "1"),))
        principal = question.key if only is None else only
        since, until, team = question.since, question.until, question.team
        self._running += 1
        try:
            lines = await summary(self._store, question.by, since=since, until=until, principal=principal, team=team)
        except StoreError as error:
            _log.warning("usage cannot be read: %s", error)
            raise ProxyError("store_unavailable", "The ledger cannot be reached; try again.") from error
        finally:
            self._running -= 1
        if form == "csv":
            return web.Response(
                body=usage_csv(question.by, lines).encode(),
                headers={
                    "Content-Type": "text/csv; charset=utf-8",
                    "Content-Disposition": 'attachment; filename="usage.csv"',
                    "X-Content-Type-Options": "nosniff",
                },
            )
        return json_page({**usage_fields(question, lines, added_up(lines)), **(beside or {})})
