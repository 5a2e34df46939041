"""Stores to test with, open and empty: the same tests for SQLite and PostgreSQL."""

from collections.abc import AsyncIterator

import pytest

from proxy.accounts.keys import Keys
from proxy.accounts.store import Store


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    opened = Store(store_url)
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
def keys(store: Store) -> Keys:
    return Keys(store)
