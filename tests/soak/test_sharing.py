"""Two hundred calls against a limit of a hundred, over four processes and one Redis, a thousand times."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.rigs.cluster import Cluster, cluster
from tests.rigs.redis import RedisServer
from tests.rigs.simulator import Simulator
from tests.soak import sharing

pytestmark = pytest.mark.timeout(1200)

REPEATS = range(int(os.environ.get("HAPAX_SOAK_REPEATS") or 1000))


@pytest.fixture
async def four(simulator: Simulator, redis: RedisServer, tmp_path: Path) -> AsyncIterator[Cluster]:
    """Four processes with a key for each repetition."""
    async with cluster(tmp_path, sharing.settings(simulator, redis.url, len(REPEATS)), sharing.PROCESSES) as running:
        yield running
        assert not [line for member in running.members for line in member.unreadable]


async def test_a_limit_of_a_hundred_requests_admits_a_hundred_every_time(four: Cluster) -> None:
    found = await sharing.requests_a_minute(four, REPEATS)
    print("requests per minute:", found)
    assert len(found.admitted) == len(REPEATS)


async def test_a_limit_of_a_hundred_calls_at_once_admits_a_hundred_every_time(
    four: Cluster, simulator: Simulator
) -> None:
    found = await sharing.calls_at_once(four, simulator, REPEATS)
    print("calls at once:", found)
    assert found.admitted == [sharing.LIMIT] * len(REPEATS)


async def test_a_budget_for_a_hundred_calls_pays_for_a_hundred_every_time(four: Cluster) -> None:
    found = await sharing.a_budget(four, REPEATS)
    print("budget:", found)
    assert found.admitted == [sharing.LIMIT] * len(REPEATS)
