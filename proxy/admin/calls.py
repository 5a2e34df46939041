"""
`GET /admin/calls`: the last calls over all workers, the newest first, in the fields of the feed's events.

They are those `trails` remembers, of each worker; what a filter leaves out is left out where it is remembered.
"""

import os
from collections.abc import Callable
from typing import Annotated, Any

from aiohttp import web
from pydantic import AfterValidator, BeforeValidator, Field

from proxy.accounts.asked import AskedWrongly, Moment, checked, filtering
from proxy.admin.trails import REMEMBERED, Trails
from proxy.core import clock
from proxy.core.exchange import Exchange, Outcome
from proxy.core.peers import CALLS, Peers
from proxy.http.inbound import INBOUND
from proxy.http.page import json_page
from proxy.http.parameters import number, parameters, refused
from proxy.settings.values import Section

Filter = Annotated[str, AfterValidator(filtering)] | None
"""What a field of a call has to be; None: anything. Its length is in characters."""
Place = tuple[float, int, int]
"""Where a call stands among those of all workers: when it ended, the worker's pid, its number there."""


class CallsQuestion(Section):
    """Which calls an operator wants to see."""

    key: Filter = Field(None, description="The name of the key that called.")
    model: Filter = Field(None, description="The model that was asked for.")
    provider: Filter = Field(None, description="The provider that answered, or was asked last.")
    outcome: Outcome | None = Field(None, description="How the call ended.")
    route: Filter = Field(None, description="The route's template, such as /v1/chat/completions.")
    since: Moment | None = Field(None, description="Calls that ended at this moment or later.")
    limit: Annotated[int, BeforeValidator(number)] = Field(100, ge=1, le=REMEMBERED, description="Calls at most.")
    before: str | None = Field(
        None,
        pattern=r"^[0-9]{1,12}(\.[0-9]{1,12})?-[0-9]{1,10}-[0-9]{1,15}$",
        description="The `next` of an answer: calls that ended before those it holds.",
    )

    def place(self) -> Place | None:
        """*before* as a place; None where all calls are asked for."""
        if self.before is None:
            return None
        ended, pid, last = self.before.split("-")
        return float(ended), int(pid), int(last)

    def wants(self, exchange: Exchange) -> bool:
        """Whether *exchange* passes the filters, that of time excepted."""
        return (
            (self.key is None or exchange.principal == self.key)
            and (self.model is None or exchange.model == self.model)
            and (self.outcome is None or exchange.outcome is self.outcome)
            and (self.route is None or exchange.route == self.route)
            and (self.provider is None or exchange.provider == self.provider)
        )


class Calls:
    """The handler, and what this worker tells its peers."""

    def __init__(
        self, trails: Trails, catch_up: Callable[[], None], fields: Callable[[Exchange], dict[str, Any]], peers: Peers
    ) -> None:
        """*catch_up* brings *trails* up to date. *fields*: what is told of a call."""
        self._trails = trails
        self._catch_up = catch_up
        self._fields = fields
        self._peers = peers

    async def show(self, request: web.Request) -> web.StreamResponse:
        """The calls that were asked for."""
        asked = parameters(request[INBOUND].request, CallsQuestion.model_fields)
        try:
            question = checked(CallsQuestion, asked, clock.wall())
        except AskedWrongly as error:
            raise refused(error) from None
        told = [self.own(question), *filter(None, await self._peers.ask(CALLS, asked))]
        # Behind the moment up to which one worker has forgotten its calls, those of the others would show a gap.
        complete_since = max(each["complete_since"] for each in told)
        rows = [row for each in told for row in each["calls"] if row[0] >= complete_since]
        rows.sort(key=lambda row: row[:3], reverse=True)
        shown = rows[: question.limit]
        following = "{!r}-{}-{}".format(*shown[-1][:3]) if len(rows) > len(shown) else None
        return json_page({"calls": [row[3] for row in shown], "next": following})

    def own_for(self, asked: dict[str, Any]) -> dict[str, Any]:
        """What a peer that was *asked* so is told of this worker's calls."""
        return self.own(checked(CallsQuestion, asked, clock.wall()))

    def own(self, question: CallsQuestion) -> dict[str, Any]:
        """
        This worker's calls as plain JSON: `calls`, each its place and what is told of it, one more than are wanted;
        `complete_since`, the moment behind which none is missing, in monotonic seconds, which all workers count alike.
        """
        self._catch_up()
        pid, before, found = os.getpid(), question.place(), list[list[Any]]()
        since = 0.0 if question.since is None else question.since.timestamp() - clock.epoch()
        for place, exchange in self._trails.newest_first():
            if exchange.ended < since or len(found) > question.limit:
                break
            if (before is None or (exchange.ended, pid, place) < before) and question.wants(exchange):
                found.append([exchange.ended, pid, place, self._fields(exchange)])
        return {"complete_since": self._trails.complete_since, "calls": found}
