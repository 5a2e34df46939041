"""Stores to test with, open and empty: the same tests for SQLite and PostgreSQL."""

from collections.abc import AsyncIterator

import pytest

from proxy.accounts.keys import Keys
from proxy.accounts.store import Store
from tests.rigs.postgres import Postgres


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    opened = Store(store_url)
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
def keys(store: Store) -> Keys:
    return Keys(store)


@pytest.fixture
async def server(postgres_server: Postgres) -> AsyncIterator[Postgres]:
    """The server, which answers again afterwards."""
    yield postgres_server
    postgres_server.thaw()
    if not postgres_server.runs:
        await postgres_server.start()
