"""A hundred processes killed, and weeks of outages, under load."""

from pathlib import Path

import pytest

from proxy.accounts.store import Store
from tests.rigs.cluster import cluster
from tests.rigs.postgres import Postgres
from tests.rigs.redis import RedisServer
from tests.rigs.simulator import Simulator
from tests.soak import books, kills, outages

pytestmark = pytest.mark.timeout(1200)

KILLS = 50
"""For each kind of store."""
PROCESSES = 3
WEEKS = 10


async def test_killed_processes_leave_what_they_held_and_lose_no_row_older_than_a_flush(
    simulator: Simulator, backup: Simulator, redis: RedisServer, tmp_path: Path, store_url: str
) -> None:
    settings = kills.settings(simulator, backup, redis.url, store_url, KILLS)
    redis.ask("FLUSHALL")
    async with cluster(tmp_path, settings, PROCESSES) as running:
        found = await kills.play(running, backup, store_url, "kill", KILLS, replace=True)
    store = Store(store_url)
    rows = [row for row in await books.all_rows(store) if row["principal"] == "load"]
    await store.close()
    tokens = sum(row["prompt_tokens"] + row["completion_tokens"] for row in rows)
    shared = await books.told(redis, ["load"], tokens)
    print(f"{store_url.partition(':')[0]}: {found}; of one budget Redis knows {shared} spent, the ledger {tokens}")
    kills.harmless(found)
    # What a process had not told yet when it died: the last moments of its calls, to either of them.
    assert abs(shared - tokens) <= KILLS * kills.MOMENT
    if store_url.startswith("sqlite"):
        assert kills.is_whole(tmp_path / "hapax.db") == ["ok"]


async def test_seconds_without_redis_or_postgres_are_noticed_by_no_client(
    simulator: Simulator,
    redis: RedisServer,
    postgres_server: Postgres,
    postgres_url: str,
    tmp_path: Path,
) -> None:
    redis.ask("FLUSHALL")
    tokens, weeks = 0, []
    async with cluster(tmp_path, outages.settings(simulator, redis.url, postgres_url), 1) as running:
        for i in range(WEEKS):
            week = await outages.play(
                running.members[0],
                postgres_url,
                f"week{i}",
                {
                    "Redis hangs": outages.hangs(redis),
                    "Redis is killed": outages.redis_is_killed(redis),
                    "PostgreSQL hangs": outages.hangs(postgres_server),
                    "PostgreSQL is stopped": outages.postgres_is_stopped(postgres_server),
                },
            )
            print(week, flush=True)
            outages.unnoticed(week)
            weeks.append(week)
            tokens += week.tokens
            assert await books.told(redis, ["load"], tokens) == tokens
    print(outages.summary(weeks))


async def test_seconds_with_a_locked_file_or_a_full_disk_are_noticed_by_no_client(
    simulator: Simulator, redis: RedisServer, sqlite_url: str, tmp_path: Path
) -> None:
    redis.ask("FLUSHALL")
    weeks = []
    async with cluster(tmp_path, outages.settings(simulator, redis.url, sqlite_url), 1) as running:
        for i in range(WEEKS):
            week = await outages.play(
                running.members[0],
                sqlite_url,
                f"week{i}",
                {
                    "SQLite is locked": outages.file_is_locked(tmp_path / "hapax.db"),
                    "The disk is full": outages.disk_is_full(),
                },
            )
            print(week, flush=True)
            outages.unnoticed(week)
            weeks.append(week)
    print(outages.summary(weeks))
    assert kills.is_whole(tmp_path / "hapax.db") == ["ok"]
