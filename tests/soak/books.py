"""
The books compared: what clients were told, what the ledger says, what limits were settled with, what providers bill.

It reads and compares; nothing here asks the gateway for an answer.
"""

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Select, select

from proxy.accounts import tables
from proxy.accounts.store import Store
from proxy.core.usage import estimate
from tests.rigs.clock import at_most
from tests.rigs.redis import RedisServer
from tests.rigs.simulator import Simulator
from tests.spec.wire import ask, get

from .mixture import ADMIN, UNADMITTED, Asked

PATIENCE = 30.0
"""Seconds in which everything that was under way has to be written down."""
TOLD_WITHIN = at_most(2.0)
"""Seconds in which Redis has to know of everything that ended."""


@dataclass(slots=True)
class Sums:
    """Figures of one comparison, or of several together."""

    calls: int = 0
    admitted: int = 0
    rows: int = 0
    exact: int = 0
    """Rows with the provider's own counts."""
    exact_tokens: int = 0
    exact_billed: int = 0
    estimated: int = 0
    """Rows that are marked as estimated."""
    estimated_completion: int = 0
    estimated_billed_completion: int = 0
    shared: int = 0
    """Rows of calls that were answered with what an identical one under way was."""
    unbilled: int = 0
    """Rows without tokens of calls that no provider charged."""
    undelivered: int = 0
    """Tokens billed for answers of which their clients, who had left, got nothing."""
    settled: int = 0
    """What the budgets of the keys were settled with."""
    ledgered: int = 0
    """The tokens of those keys' rows."""
    outcomes: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def __iadd__(self, other: "Sums") -> "Sums":
        for name in self.__slots__:
            mine, theirs = getattr(self, name), getattr(other, name)
            if isinstance(mine, dict):
                for key, value in theirs.items():
                    mine[key] += value
            else:
                setattr(self, name, mine + theirs)
        return self

    def __str__(self) -> str:
        outcomes = ", ".join(f"{name} {count}" for name, count in sorted(self.outcomes.items()))
        return (
            f"{self.calls} calls, {self.admitted} admitted, {self.rows} rows ({outcomes}); exact rows {self.exact}: "
            f"{self.exact_tokens} tokens, billed {self.exact_billed}, "
            f"difference {self.exact_tokens - self.exact_billed}; "
            f"estimated rows {self.estimated}: {self.estimated_completion} completion tokens, "
            f"billed {self.estimated_billed_completion}; shared {self.shared}; "
            f"billed and not delivered {self.undelivered}; "
            f"budgets settled {self.settled}, rows of their keys {self.ledgered}, "
            f"difference {self.settled - self.ledgered}"
        )


async def rows_of(store: Store, prefix: str) -> list[dict[str, Any]]:
    """The rows of the requests whose ids begin with *prefix*."""
    table = tables.usage
    return await _read(store, select(table).where(table.c.request_id.like(f"{prefix}-%")))


async def all_rows(store: Store) -> list[dict[str, Any]]:
    """Every row there is."""
    return await _read(store, select(tables.usage))


async def _read(store: Store, asked: Select[Any]) -> list[dict[str, Any]]:
    async with store.reading() as connection:
        return [dict(row) for row in (await connection.execute(asked)).mappings()]


async def metrics(port: int, key: str = ADMIN) -> dict[str, float]:
    """The series of the metrics page, with their labels."""
    answer = await ask(port, get("/metrics", head=f"X-API-Key: {key}\r\n"))
    assert answer.status == 200, answer.body
    lines = (line.rpartition(" ") for line in answer.body.decode().splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


async def settled(port: int, key: str = ADMIN) -> dict[str, float]:
    """The metrics, once no call is under way and every row is written."""
    async with asyncio.timeout(PATIENCE):
        while True:
            found = await metrics(port, key)
            # The page itself is a call.
            active = sum(value for name, value in found.items() if name.startswith("hapax_http_active_requests"))
            if active <= 1 and not found.get("hapax_ledger_buffered"):
                return found
            await asyncio.sleep(0.02)  # a look now and then is all there is


def bills_of(simulators: Iterable[Simulator]) -> dict[str, list[tuple[int, int]]]:
    """What each request is charged for, by its id: prompt and completion, once for each attempt."""
    bills: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for simulator in simulators:
        assert simulator.ledger.seen == len(simulator.ledger), "the simulator has begun to forget"
        for record in simulator.ledger:
            bills[(record.header("x-request-id") or b"").decode()].append(
                (record.prompt_tokens, record.completion_tokens)
            )
    return bills


def compare(
    calls: Sequence[Asked],
    rows: Sequence[dict[str, Any]],
    bills: dict[str, list[tuple[int, int]]],
    name_of: Callable[[str], str],
) -> Sums:
    """The figures; raises `AssertionError` with the call at fault where the books disagree."""
    sums = Sums(calls=len(calls), rows=len(rows))
    by_request = {row["request_id"]: row for row in rows}
    assert len(by_request) == len(rows), "a call has two rows"
    assert len({row["id"] for row in rows}) == len(rows), "an id came twice"
    for call in calls:
        row = by_request.pop(call.id, None)
        billed = bills.get(call.id, [])
        _compare_one(call, row, billed, sums, name_of)
    assert not by_request, f"rows of calls that were not made: {sorted(by_request)[:5]}"
    return sums


def _compare_one(
    call: Asked,
    row: dict[str, Any] | None,
    billed: list[tuple[int, int]],
    sums: Sums,
    name_of: Callable[[str], str],
) -> None:
    kind = call.kind
    told = f"{call.id} {kind.name}: status {call.status}, row {row}, billed {billed}, {call.text[:300]!r}"
    prompt, completion = sum(bill[0] for bill in billed), sum(bill[1] for bill in billed)
    if kind.leaves:
        assert call.status in (0, 200), told
    elif kind.name == "over its limit":
        assert call.status in (200, 429), told
    else:
        assert call.status == kind.status, told
    if call.status in UNADMITTED:
        assert row is None, told
        assert not billed, told
        return
    if row is None:
        # Its client had gone before a worker could look at it.
        assert kind.leaves, told
        assert not call.status, told
        assert not billed, told
        return
    sums.admitted += 1
    sums.outcomes[row["outcome"]] += 1
    assert row["outcome"] != "pending", told
    assert row["principal"] == name_of(call.key), told
    used = row["prompt_tokens"] + row["completion_tokens"]
    sums.ledgered += used if row["principal"] != "once" else 0
    if row["estimated"]:
        sums.estimated += 1
        sums.estimated_completion += row["completion_tokens"]
        sums.estimated_billed_completion += completion
        _within_the_band(call, row, billed, told)
    elif used:
        sums.exact += 1
        sums.exact_tokens += used
        sums.exact_billed += prompt + completion
        assert (row["prompt_tokens"], row["completion_tokens"]) == (prompt, completion), told
        assert row["outcome"] in ("ok", "client_gone"), told
    elif call.shared:
        # The one it shared is billed and charged.
        assert not billed, told
        assert row["outcome"] == "ok", told
        sums.shared += 1
    elif kind.leaves:
        # Nothing of it had reached its client, whatever the provider had begun.
        assert not call.pieces, told
        sums.undelivered += prompt + completion
    else:
        assert not prompt + completion, told
        assert row["outcome"] in ("failed", "refused"), told
        sums.unbilled += 1


def _within_the_band(call: Asked, row: dict[str, Any], billed: list[tuple[int, int]], told: str) -> None:
    """
    What an estimate may say. Prompt: a token for every four bytes of the question, or what the provider said at the
    beginning. Completion of what was streamed: every piece that reached the client, and none the provider did not send.
    """
    kind = call.kind
    prompt, completion = sum(bill[0] for bill in billed), sum(bill[1] for bill in billed)
    rough = estimate(len(call.body))
    if kind.name.startswith("resumed"):
        assert row["outcome"] == "ok", told
        assert row["completion_tokens"] == completion, told
        assert row["prompt_tokens"] == rough + billed_last(billed)[0], told
    elif kind.leaves:
        assert call.pieces <= row["completion_tokens"] <= completion, told
        assert row["prompt_tokens"] == rough, told
    elif kind.name == "cut message":
        assert (row["outcome"], row["prompt_tokens"], row["completion_tokens"]) == ("cut", prompt, completion), told
    elif kind.name == "cut":
        assert (row["outcome"], row["prompt_tokens"], row["completion_tokens"]) == ("cut", rough, completion), told
    elif kind.name == "no usage told, streamed":
        assert (row["prompt_tokens"], row["completion_tokens"]) == (rough, completion), told
    else:
        assert kind.name == "no usage told", told
        text = json.loads(call.text)["choices"][0]["message"]["content"]
        assert (row["prompt_tokens"], row["completion_tokens"]) == (rough, estimate(len(text))), told


def billed_last(billed: list[tuple[int, int]]) -> tuple[int, int]:
    """The bill of the answer that came to its end: the larger one, since each continuation is asked with more."""
    return max(billed, key=lambda bill: bill[0])


def spent_in_redis(server: RedisServer, name: str) -> int:
    """What Redis says was spent of the budget of the key *name*, without what is held."""
    keys = server.ask("KEYS", f"*:s:{name}|*")
    assert isinstance(keys, list)
    return sum(int(str(server.ask("HGET", str(key), "level") or 0)) for key in keys)


async def told(server: RedisServer, names: Sequence[str], expected: int) -> int:
    """What Redis says was spent of the budgets of *names*, once that is *expected*, or after some time in any case."""
    deadline = time.monotonic() + TOLD_WITHIN
    while True:
        spent = sum(spent_in_redis(server, name) for name in names)
        if spent == expected or time.monotonic() > deadline:
            return spent
        await asyncio.sleep(0.02)  # a look now and then is all there is


async def no_place_is_held(server: RedisServer, name: str) -> None:
    """Wait until no process holds a place of the key *name*."""
    async with asyncio.timeout(TOLD_WITHIN):
        while server.ask("HGETALL", f"{{hapax}}:p:{name}||concurrent"):  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.02)
