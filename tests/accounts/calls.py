"""Calls as the front leaves them in an `Exchange`, for tests of the ledger and its reports, and a store's counter."""

from typing import Any

from sqlalchemy import select, update

from proxy.accounts import tables
from proxy.accounts.store import Store
from proxy.accounts.usage import UsageLine, added_up, summary
from proxy.core import clock
from proxy.core.exchange import AttemptRecord, Exchange, Outcome
from proxy.core.usage import Tokens

COUNTER = tables.versions.c.value


def call(principal: str = "web", ago: float = 0.0, **fields: Any) -> Exchange:
    """A call that began *ago* seconds ago and is under way."""
    exchange = Exchange("req_1", "POST", clock.now() - ago)
    exchange.route, exchange.principal, exchange.model = "/v1/chat/completions", principal, "gpt-4o"
    for name, value in fields.items():
        setattr(exchange, name, value)
    return exchange


SOME = Tokens(10, 20)


def answered(
    exchange: Exchange, tokens: Tokens | None = SOME, cost: int | None = 5, outcome: Outcome = Outcome.OK
) -> Exchange:
    """*exchange* after its end: one attempt that gave it *tokens*."""
    now = clock.now()
    attempt = AttemptRecord("openai", "gpt-4o-2024-08-06", exchange.started, 200)
    attempt.tokens = tokens
    attempt.first_content_at = now if tokens is not None else 0.0
    exchange.attempts.append(attempt)
    exchange.answered_model = exchange.model
    exchange.status, exchange.outcome, exchange.cost, exchange.ended = 200, outcome, cost, now
    return exchange


async def rows(store: Store) -> list[dict[str, Any]]:
    """Everything in the ledger, in order of ids, which is that of opening for one gateway."""
    async with store.reading() as connection:
        found = await connection.execute(select(tables.usage).order_by(tables.usage.c.id))
        return [dict(row) for row in found.mappings()]


async def counter(store: Store) -> int:
    async with store.reading() as connection:
        return int((await connection.execute(select(COUNTER))).scalar_one())


async def count_up(store: Store) -> None:
    async with store.writing() as connection:
        await connection.execute(update(tables.versions).values(value=COUNTER + 1))


async def total(store: Store, **restricted: Any) -> UsageLine:
    """Every call in one line."""
    return added_up(await summary(store, "outcome", **{"until": None, **restricted}))
