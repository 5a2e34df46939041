"""Processes that share limits over Redis admit exactly what one would. See tests/soak too."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.rigs.cluster import Cluster, cluster
from tests.rigs.redis import RedisServer, redis_server
from tests.rigs.simulator import Simulator
from tests.soak import sharing

REPETITIONS = range(5)


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture
async def four(simulator: Simulator, redis: RedisServer, tmp_path: Path) -> AsyncIterator[Cluster]:
    """Four processes with a key for each repetition."""
    settings = sharing.settings(simulator, redis.url, len(REPETITIONS))
    async with cluster(tmp_path, settings, sharing.PROCESSES) as running:
        yield running


async def test_of_two_hundred_calls_over_four_processes_a_limit_of_a_hundred_admits_a_hundred(
    four: Cluster, simulator: Simulator
) -> None:
    rates = await sharing.requests_a_minute(four, REPETITIONS)
    print("requests per minute:", rates)
    places = await sharing.calls_at_once(four, simulator, REPETITIONS)
    print("calls at once:", places)
    budgets = await sharing.a_budget(four, REPETITIONS)
    print("budget:", budgets)
    assert set(places.admitted) == set(budgets.admitted) == {sharing.LIMIT}
    for found in (rates, places, budgets):
        assert len(found.admitted) == len(REPETITIONS) - found.apart > 0
    assert not [line for member in four.members for line in member.unreadable]
