"""
Reports from the usage ledger: what was used and what it cost, added up by key, model, day and so on.

The database adds up, in integers; this asks it. It writes nothing and knows no prices: costs are those of the day a
call was made.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, case, func, literal, select

from proxy.accounts import tables
from proxy.accounts.asked import By
from proxy.accounts.rows import PENDING
from proxy.accounts.store import Store
from proxy.core.exchange import Outcome

READ_WITHIN = 60.0
"""Seconds a report may take: it may have to look at every row there is."""

_DAY = 86_400_000
"""Milliseconds."""
_TOKENS = ("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens")


@dataclass(frozen=True, slots=True)
class UsageLine:
    """What one group of calls used."""

    group: str
    """Name of the key, team, model, provider, route or outcome, or the day in UTC; empty for the total."""
    requests: int = 0
    ok: int = 0
    failed: int = 0
    """Ended in any other way than well."""
    pending: int = 0
    """Under way, or lost with a gateway that died."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    cost: int = 0
    """Micro-USD, of the calls whose price is known."""
    unpriced: int = 0
    """Calls whose price was not known; `cost` leaves them out."""
    estimated: int = 0
    """Calls whose tokens were counted here, since the provider did not say."""
    cached: int = 0
    """Calls that got a stored answer, which costs nothing."""
    saved: int = 0
    """Micro-USD those answers had cost when they were made, as far as that is known."""


_NUMBERS = tuple(each.name for each in fields(UsageLine) if each.name != "group")


async def summary(
    store: Store,
    by: By,
    *,
    since: datetime,
    until: datetime | None,
    principal: str | None = None,
    team: str | None = None,
) -> list[UsageLine]:
    """
    The calls that began from *since* to before *until* (None: up to now), added up by *by*; those of *principal* and
    *team* only, where given. The most expensive group first, of equal ones that with most tokens; days in order.
    `StoreError`.
    """
    group = _group(by)
    asked = _restricted(select(group.label("group"), *_sums()).group_by(group), since, until, principal, team)
    async with store.reading(READ_WITHIN) as connection:
        rows = (await connection.execute(asked)).all()
    if by == "day":
        return [_line(_date(row.group), row) for row in sorted(rows, key=lambda row: int(row.group))]
    lines = [_line(row.group, row) for row in rows]
    return sorted(lines, key=lambda line: (-line.cost, -line.prompt_tokens - line.completion_tokens, line.group))


def added_up(lines: Iterable[UsageLine]) -> UsageLine:
    """All of *lines* in one: asked for apart, the sum might know of calls that the lines do not."""
    lines = list(lines)
    return UsageLine("", **{name: sum(getattr(line, name) for line in lines) for name in _NUMBERS})


def _group(by: By) -> ColumnElement[Any]:
    if by == "day":
        # Integer division, and no moment is before 1970.
        return tables.usage.c.started // literal(_DAY, literal_execute=True)
    return tables.usage.c["principal" if by == "key" else by]


def _sums() -> list[ColumnElement[Any]]:
    row = tables.usage.c
    is_pending = row.outcome == PENDING
    is_ok = row.outcome == str(Outcome.OK)
    counts = {
        "ok": is_ok,
        "pending": is_pending,
        "unpriced": ~is_pending & row.cost.is_(None) & (is_ok | (row.prompt_tokens + row.completion_tokens > 0)),
        "estimated": row.estimated == 1,
        "cached": row.cached == 1,
    }
    return [
        func.count().label("requests"),
        *(func.sum(case((condition, 1), else_=0)).label(name) for name, condition in counts.items()),
        *(func.sum(row[name]).label(name) for name in (*_TOKENS, "cost", "saved")),
    ]


def _restricted(
    asked: Select[Any], since: datetime, until: datetime | None, principal: str | None, team: str | None
) -> Select[Any]:
    row = tables.usage.c
    asked = asked.where(row.started >= _milliseconds(since))
    if until is not None:
        asked = asked.where(row.started < _milliseconds(until))
    if principal is not None:
        asked = asked.where(row.principal == principal)
    if team is not None:
        asked = asked.where(row.team == team)
    return asked


def _line(group: str, row: Row[Any]) -> UsageLine:
    # A sum over no rows is null, and PostgreSQL's sums of large integers are decimals.
    numbers = {name: int(value or 0) for name, value in row._mapping.items() if name != "group"}
    return UsageLine(group, failed=numbers["requests"] - numbers["ok"] - numbers["pending"], **numbers)


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _date(day: int) -> str:
    return datetime.fromtimestamp(int(day) * _DAY // 1000, UTC).date().isoformat()
