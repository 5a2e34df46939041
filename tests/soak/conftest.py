"""What the soak starts once for all its tests; collected only on demand, since it takes minutes."""

import os
from collections.abc import Iterator

import pytest

from tests.rigs.redis import RedisServer, redis_server

collect_ignore_glob = [] if os.environ.get("HAPAX_SOAK") else ["test_*.py"]


@pytest.fixture(scope="session")
def redis() -> Iterator[RedisServer]:
    """One Redis. A test that stops or freezes it sees to it that it answers again."""
    with redis_server() as server:
        yield server
