"""A hundred thousand mixed calls, and the books agree; storms, after which nothing is left."""

import random
import time
from collections import Counter
from pathlib import Path

import pytest

from proxy.accounts.store import Store
from tests.rigs.cluster import cluster
from tests.rigs.redis import RedisServer
from tests.rigs.simulator import Simulator
from tests.soak import books, mixture, storm

pytestmark = pytest.mark.timeout(1200)

KEYS = tuple(f"hpx_key_{i}_k3q8v2x7m5w9" for i in range(10))
ROUNDS, CALLS = 40, 2500
STORMS = 10


def name_of(key: str) -> str:
    """The name of the key in the settings of the mixture."""
    return f"k{KEYS.index(key)}" if key in KEYS else "once"


async def test_bill_and_rows_and_budgets_agree_over_a_hundred_thousand_calls(
    simulator: Simulator, backup: Simulator, redis: RedisServer, tmp_path: Path, store_url: str
) -> None:
    redis.ask("FLUSHALL")
    settings = {
        **mixture.settings(simulator, backup, KEYS),
        "store": {"url": store_url},
        "state": {"url": redis.url},
        "logging": {"level": "error"},
    }
    whole = books.Sums()
    store = Store(store_url)
    rng = random.Random(100_000)
    began = time.monotonic()
    async with cluster(tmp_path, settings, 1) as running:
        port = running.ports[0]
        first, again = await mixture.begin(port, KEYS, "first")
        print(f"  {again} calls sent away while a budget could not be looked up", flush=True)
        for i in range(ROUNDS):
            calls = await mixture.play(port, KEYS, CALLS, rng, f"round{i}", clients=32)
            await books.settled(port)
            rows = await books.rows_of(store, f"round{i}")
            if first:
                # They are all of the time before the first round.
                calls, rows = calls + first, rows + await books.rows_of(store, "first")
                first = []
            whole += books.compare(calls, rows, books.bills_of((simulator, backup)), name_of)
            for each in (simulator, backup):
                each.ledger.clear()
            if i % 5 == 4:
                print(f"  {whole.calls} calls, {whole.calls / (time.monotonic() - began):.0f} a second", flush=True)
        # What is spent is told to Redis within moments.
        whole.settled = await books.told(redis, [f"k{i}" for i in range(len(KEYS))], whole.ledgered)
        found = await books.settled(port)
    every = await books.all_rows(store)
    await store.close()
    print(f"{store.dialect}: {whole}")
    assert whole.calls == ROUNDS * CALLS + len(KEYS)
    assert whole.exact_tokens == whole.exact_billed > 0
    assert whole.settled == whole.ledgered > 0
    assert whole.rows == whole.admitted == len(every)
    assert sum(row["outcome"] == "pending" for row in every) == 0
    charged = sum(row["prompt_tokens"] + row["completion_tokens"] for row in every)
    assert charged == sum(found[f'hapax_tokens_total{{kind="{kind}"}}'] for kind in ("prompt", "completion"))


async def test_after_every_storm_nothing_is_held_and_nothing_pending(
    simulator: Simulator, redis: RedisServer, tmp_path: Path, store_url: str
) -> None:
    redis.ask("FLUSHALL")
    settings = {**storm.settings(simulator), "store": {"url": store_url}, "state": {"url": redis.url}}
    store = Store(store_url)
    statuses: Counter[int] = Counter()
    async with cluster(tmp_path, settings, 1) as running:
        port = running.ports[0]
        for i in range(STORMS):
            statuses += await storm.blow(port, 1000, random.Random(i))
            found = await books.settled(port, storm.KEY)
            assert (found["hapax_queue_running"], found["hapax_queue_waiting"]) == (0, 0)
            rows = await books.all_rows(store)
            assert not [row for row in rows if row["outcome"] == "pending"]
            used = sum(row["prompt_tokens"] + row["completion_tokens"] for row in rows)
            assert await books.told(redis, ["storm", "few"], used) == used
            await books.no_place_is_held(redis, "few")
    await store.close()
    print(f"{store.dialect}: {STORMS} storms, statuses {dict(statuses)}, {len(rows)} rows, none pending, nothing held")
