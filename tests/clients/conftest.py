"""Fixtures of the client tests: a real upstream, and an origin for pages."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.rigs.browser import PageServer, page_server
from tests.rigs.llama import Llama, llama_server


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Llama]:
    """llama.cpp itself, started once for all tests."""
    with llama_server(tmp_path_factory.mktemp("llama")) as running:
        yield running


@pytest.fixture
async def pages() -> AsyncIterator[PageServer]:
    """The origin from which a browser's page comes; not the gateway's."""
    async with page_server() as server:
        yield server
