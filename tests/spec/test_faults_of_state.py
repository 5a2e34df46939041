"""Processes die, Redis and the store fail under load: no client notices, and no row is lost. See tests/soak too."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rigs.cluster import cluster
from tests.rigs.postgres import Postgres
from tests.rigs.redis import RedisServer, redis_server
from tests.rigs.simulator import Simulator
from tests.soak import books, kills, outages

KILLS = 2
"""For each kind of store."""


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


async def test_a_killed_process_leaves_what_it_held_and_loses_no_row_older_than_a_flush(
    simulator: Simulator,
    backup: Simulator,
    redis: RedisServer,
    tmp_path: Path,
    store_url: str,
) -> None:
    settings = kills.settings(simulator, backup, redis.url, store_url, KILLS)
    async with cluster(tmp_path, settings, KILLS + 1) as running:
        found = await kills.play(running, backup, store_url, "kill", KILLS, replace=False)
    print(f"{store_url.partition(':')[0]}: {found}")
    kills.harmless(found)
    if store_url.startswith("sqlite"):
        assert kills.is_whole(tmp_path / "hapax.db") == ["ok"]


async def test_a_second_without_redis_or_postgres_is_noticed_by_no_client(
    simulator: Simulator,
    redis: RedisServer,
    postgres_server: Postgres,
    postgres_url: str,
    tmp_path: Path,
) -> None:
    async with cluster(tmp_path, outages.settings(simulator, redis.url, postgres_url), 1) as running:
        week = await outages.play(
            running.members[0],
            postgres_url,
            "week",
            {
                "Redis hangs": outages.hangs(redis),
                "Redis is killed": outages.redis_is_killed(redis),
                "PostgreSQL hangs": outages.hangs(postgres_server),
                "PostgreSQL is stopped": outages.postgres_is_stopped(postgres_server),
            },
        )
        # What was spent while Redis was away, or what it lost, it knows by now.
        assert await books.told(redis, ["load"], week.tokens) == week.tokens
    print(week)
    outages.unnoticed(week)


async def test_a_second_with_a_locked_file_or_a_full_disk_is_noticed_by_no_client(
    simulator: Simulator,
    redis: RedisServer,
    sqlite_url: str,
    tmp_path: Path,
) -> None:
    async with cluster(tmp_path, outages.settings(simulator, redis.url, sqlite_url), 1) as running:
        week = await outages.play(
            running.members[0],
            sqlite_url,
            "week",
            {
                "SQLite is locked": outages.file_is_locked(tmp_path / "hapax.db"),
                "The disk is full": outages.disk_is_full(),
            },
        )
    print(week)
    outages.unnoticed(week)
    assert kills.is_whole(tmp_path / "hapax.db") == ["ok"]
