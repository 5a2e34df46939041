"""
The rows of the usage ledger: what of an exchange is written down, in which form, and by which statements.

Rows are plain tuples in the order of `COLUMNS`, since a gateway makes thousands of them a second. Nothing here keeps
rows or talks to a database.
"""

from itertools import chain
from typing import Any

from sqlalchemy import ColumnElement, Dialect, and_, bindparam, literal_column

from proxy.accounts import tables
from proxy.accounts.sql import compiled
from proxy.core.exchange import Exchange

Row = tuple[Any, ...]

COLUMNS = (
    *("id", "started", "request_id", "principal", "team", "route", "model"),
    *("answered_model", "provider", "upstream_model", "stream", "attempts"),
    *("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens", "estimated", "cost"),
    *("ttft_ms", "duration_ms", "status", "outcome", "error_code", "ended", "cached", "saved"),
)
STARTED = COLUMNS.index("started")
PRINCIPAL = COLUMNS.index("principal")
PROMPT_TOKENS = COLUMNS.index("prompt_tokens")
COMPLETION_TOKENS = COLUMNS.index("completion_tokens")
COST = COLUMNS.index("cost")

PENDING = "pending"
"""The outcome of a call that is under way, or whose gateway died."""
LONGEST_TEXT = 256
"""Letters of a text that are kept; names of models are whatever a client sent."""
MOST = 2**50
"""A number above this is kept as this: room for thousands of such rows in a database's integers."""

_KNOWN_AT_START = ("id", "started", "request_id", "principal", "team", "route")
MOST_AT_ONCE = 256
"""
Rows in one statement at most, where rows go into statements together: less than a millisecond's work, for which calls
may have to wait where they share a processor with it. In trials 64 cost a call 5 % more, 512 held up the slowest
hundredth of calls half as long again.
"""


def pending(exchange: Exchange, team: str, epoch: float) -> Row:
    """The row of a call under way. *epoch*: the date, in seconds, at which the monotonic clock was 0."""
    return (
        exchange.ledger_id,
        int((exchange.started + epoch) * 1000),
        *(_clean(text) for text in (exchange.id, exchange.principal, team, exchange.route, exchange.model)),
        *("", "", "", 1 if exchange.stream else 0, 0, 0, 0, 0, 0, 0, None, None, None, 0, PENDING, "", None, 0, None),
    )


def completed(exchange: Exchange, team: str, epoch: float) -> Row:
    """The row of a call that has ended."""
    started, ended = exchange.started, exchange.ended
    attempts = exchange.attempts
    provider = upstream_model = ""
    ttft = None
    if attempts:
        # As `Exchange.provider` has it: the last attempt whose content the client has, else the last one.
        source = attempts[-1]
        found = False
        for attempt in reversed(attempts):
            if attempt.first_content_at and not found:
                source, found = attempt, True
            if attempt.first_token_at:
                ttft = int((attempt.first_token_at - started) * 1000)
        provider, upstream_model = source.provider, source.model
    tokens = exchange.tokens
    if tokens is None:
        prompt = completion = cached = reasoning = estimated = 0
    else:
        prompt, completion, cached, reasoning = tokens.prompt, tokens.completion, tokens.cached, tokens.reasoning
        if prompt > MOST or completion > MOST:
            prompt, completion, cached, reasoning = (min(n, MOST) for n in (prompt, completion, cached, reasoning))
        estimated = 1 if tokens.estimated else 0
    cost = exchange.cost
    if cost is not None and cost > MOST:
        cost = MOST
    saved = exchange.saved
    if saved is not None and saved > MOST:
        saved = MOST
    request_id, principal, route, model = exchange.id, exchange.principal, exchange.route, exchange.model
    answered, code = exchange.answered_model, exchange.error_code
    together = request_id + principal + team + route + model + answered + provider + upstream_model + code
    if len(together) > LONGEST_TEXT or not together.isascii() or "\0" in together:
        request_id, principal, team, route, model = map(_clean, (request_id, principal, team, route, model))
        answered, provider, upstream_model, code = map(_clean, (answered, provider, upstream_model, code))
    return (
        exchange.ledger_id,
        int((started + epoch) * 1000),
        request_id,
        principal,
        team,
        route,
        model,
        answered,
        provider,
        upstream_model,
        1 if exchange.stream else 0,
        len(attempts),
        prompt,
        completion,
        cached,
        reasoning,
        estimated,
        cost,
        ttft,
        int((ended - started) * 1000),
        exchange.status,
        exchange.outcome._value_,  # `value` is a property written in Python, and this is done for every call
        code,
        int((ended + epoch) * 1000),
        1 if exchange.cached else 0,
        saved,
    )


def _clean(text: str) -> str:
    """*text* as PostgreSQL takes it: no NUL and no half of a surrogate pair; and bounded."""
    if len(text) > LONGEST_TEXT:
        text = text[:LONGEST_TEXT]
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()


class Statements:
    """The SQL that writes rows, compiled once for a dialect."""

    def __init__(self, dialect: Dialect) -> None:
        """*dialect* is that of the connection they will be sent over."""
        self._one = _upsert(dialect)
        self._together = dialect.name == "sqlite"
        self._many: dict[int, str] = {}

    def over(self, rows: list[Row]) -> "list[tuple[str, Row | list[Row]]]":
        """
        Statements with their parameters that write *rows*, whose ids differ: parameters, or a list of them for the same
        statement again and again.

        For SQLite they are few and hold many rows. Its driver gives up the interpreter lock for the length of a
        statement and has to queue for it afterwards, so that beside a busy event loop a statement for every row costs
        three times the processor time and ten times the wait. asyncpg sends one for every row in one go by itself.
        """
        if not self._together:
            return [(self._one, rows)]
        plan: list[tuple[str, Row | list[Row]]] = []
        for first in range(0, len(rows), MOST_AT_ONCE):
            part = rows[first : first + MOST_AT_ONCE]
            # The driver keeps what it has parsed, so there are statements for some sizes only, eight for every power of
            # two. They are filled up with the last row over again, which changes nothing.
            step = max(1, (1 << (len(part) - 1).bit_length()) >> 3)
            size = -(-len(part) // step) * step
            part += part[-1:] * (size - len(part))
            plan.append((self._sql(size), tuple(chain.from_iterable(part))))
        return plan

    def _sql(self, rows: int) -> str:
        sql = self._many.get(rows)
        if sql is None:
            marks = f"({', '.join('?' * len(COLUMNS))})"
            sql = self._many[rows] = self._one.replace(marks, ", ".join([marks] * rows))
        return sql


def _upsert(dialect: Dialect) -> str:
    """
    Inserts a row. One whose id is there is completed if it was pending; a completed one is left as it is, so that a row
    may be sent again after a failure that left it open whether it arrived.
    """
    table = tables.usage
    insert = tables.insert_into(table, dialect)
    is_pending: ColumnElement[str] = literal_column(f"'{PENDING}'")
    statement = insert.values(
        {name: bindparam(name, type_=table.c[name].type) for name in COLUMNS}
    ).on_conflict_do_update(
        index_elements=[table.c.id],
        set_={name: insert.excluded[name] for name in COLUMNS if name not in _KNOWN_AT_START},
        where=and_(table.c.outcome == is_pending, insert.excluded.outcome != is_pending),
    )
    return compiled(statement, dialect, COLUMNS)
