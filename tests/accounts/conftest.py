"""Stores to test with: a fresh one in SQLite and one in PostgreSQL, the same tests for both."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from proxy.accounts.keys import Keys
from proxy.accounts.store import Store
from tests.rigs.postgres import Postgres, postgres


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """One server for all tests. Whoever stops or freezes it sees to it that it answers again."""
    with postgres() as server:
        asyncio.run(server.start())
        yield server


@pytest.fixture
async def postgres_url(postgres_server: Postgres) -> AsyncIterator[str]:
    """A new, empty database."""
    url = await postgres_server.database()
    yield url
    await postgres_server.drop(url)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A database whose file does not exist yet."""
    return f"sqlite:///{tmp_path / 'hapax.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest) -> str:
    """A new, empty database of either kind."""
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    return url


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    opened = Store(store_url)
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
def keys(store: Store) -> Keys:
    return Keys(store)
