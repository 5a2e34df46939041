"""
`GET /admin/series`: what the calls of the last day amount to, in equal steps of time, over all workers.

The numbers are kept in `series`; here they are asked for, added up over workers and told.
"""

import math
from collections.abc import Callable, Iterable
from operator import add
from typing import Annotated, Any, Literal, cast

from aiohttp import web
from pydantic import AfterValidator, BeforeValidator, Field

from proxy.accounts.asked import AskedWrongly, Moment, checked, filtering
from proxy.admin.series import COMPLETION, COST, MINUTES, OUTCOMES, PROMPT, Cell, Series, quantile
from proxy.core import clock
from proxy.core.errors import ProxyError
from proxy.core.exchange import Outcome
from proxy.core.peers import SERIES, Peers
from proxy.http.inbound import INBOUND
from proxy.http.page import json_page
from proxy.http.parameters import number, parameters, refused
from proxy.settings.values import Section

By = Literal["model", "provider", "key"]
MOST_STEPS = 288
"""Steps of several series at once, such as a day's of five minutes: more would hold up calls."""
Told = dict[str, dict[int, Cell]]
"""By name and number of the step, see `Series.told`."""


class SeriesQuestion(Section):
    """Of what, and of which time."""

    by: By | None = Field(None, description="A series for each name of these; omitted: one of all calls.")
    name: Annotated[str, AfterValidator(filtering)] | None = Field(None, description="The one name that is wanted.")
    since: Moment = Field("1h", validate_default=True, description="The first moment; a day ago at most.")
    until: Moment | None = Field(None, description="The first moment that is not asked for.")
    step: Annotated[int, BeforeValidator(number)] = Field(1, ge=1, le=MINUTES, description="Minutes in a step.")


class SeriesPage:
    """The handler, and what this worker tells its peers."""

    def __init__(self, series: Series, catch_up: Callable[[], None], peers: Peers) -> None:
        """*catch_up* brings *series* up to date."""
        self._series = series
        self._catch_up = catch_up
        self._peers = peers

    async def show(self, request: web.Request) -> web.StreamResponse:
        """The series that were asked for."""
        asked, now = parameters(request[INBOUND].request, SeriesQuestion.model_fields), clock.wall()
        try:
            question = checked(SeriesQuestion, asked, now)
            if question.name is not None and question.by is None:
                raise AskedWrongly("by", "by must say what the name is of: model, provider or key.")
            if question.until is not None and question.until <= question.since:
                raise AskedWrongly("until", "until must be after since.")
        except AskedWrongly as error:
            raise refused(error) from None
        present = int(now.timestamp() // 60)
        last = present if question.until is None else min(math.ceil(question.until.timestamp() / 60) - 1, present)
        first = min(max(math.ceil(question.since.timestamp() / 60), present - MINUTES + 1), last)
        steps = (last - first) // question.step + 1
        if question.by is not None and question.name is None and steps > MOST_STEPS:
            raise ProxyError(
                "invalid_parameter",
                f"Series by {question.by} have at most {MOST_STEPS} steps; ask for longer steps or for one name.",
                param="step",
            )
        span = {"by": question.by, "name": question.name, "first": first, "last": last, "step": question.step}
        told = [self.own(span), *filter(None, await self._peers.ask(SERIES, span))]
        added_up = _added_up(told)
        named = sorted(added_up, key=lambda name: (-_calls(added_up[name].values()), name))
        return json_page(
            {
                "by": question.by,
                "since": clock.iso_of(first * 60),
                "until": clock.iso_of((last + 1) * 60),
                "step_minutes": question.step,
                "series": [{"name": name or None, **_columns(added_up[name], steps)} for name in named],
            }
        )

    def own(self, span: dict[str, Any]) -> list[list[Any]]:
        """What this worker's calls amount to in *span*, the arguments of `Series.told`: names and steps, as JSON."""
        self._catch_up()
        told = self._series.told(span["by"], span["name"], span["first"], span["last"], span["step"])
        return [[name, list(steps.items())] for name, steps in told.items()]


def _added_up(told: Iterable[list[list[Any]]]) -> Told:
    """What several workers *told*, as one."""
    whole: Told = {}
    for worker in told:
        for name, steps in worker:
            known = whole.setdefault(name, {})
            for step, cell in steps:
                known[step] = list(map(add, known[step], cell)) if step in known else cast(Cell, cell)
    return whole


def _calls(cells: Iterable[Cell]) -> int:
    return sum(sum(cell[: len(OUTCOMES)]) for cell in cells)


def _columns(told: dict[int, Cell], steps: int) -> dict[str, Any]:
    """A list of as many values as there are *steps* for each thing that is counted."""
    cells = [told.get(step) for step in range(steps)]

    def column(index: int) -> list[int]:
        return [0 if cell is None else cell[index] for cell in cells]

    def percentile(share: float) -> list[float | None]:
        return [_milliseconds(None if cell is None else quantile(share, cell)) for cell in cells]

    errors = {each.value: column(OUTCOMES.index(each)) for each in OUTCOMES if each is not Outcome.OK}
    return {
        "calls": [0 if cell is None else _calls((cell,)) for cell in cells],
        "errors": errors,
        "prompt_tokens": column(PROMPT),
        "completion_tokens": column(COMPLETION),
        "cost_micro_usd": column(COST),
        "ttft_p50_ms": percentile(0.5),
        "ttft_p95_ms": percentile(0.95),
    }


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)
