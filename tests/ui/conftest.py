"""Fixtures of the page's tests: a browser for all of them, and a tab of its own for each."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack

import pytest

from tests.conftest import RunningGateway
from tests.rigs.devtools import Tab, chromium, tab

Opening = Callable[[RunningGateway, str], Awaitable[Tab]]


@pytest.fixture(scope="session")
def browser() -> Iterator[str]:
    with chromium() as address:
        yield address


@pytest.fixture
async def opened(browser: str) -> AsyncIterator[Opening]:
    """`await opened(gateway, "/ui#/keys")`: a tab in which that is shown. It must not complain of anything."""
    async with AsyncExitStack() as tabs:
        all_tabs: list[Tab] = []

        async def opening(running: RunningGateway, path: str) -> Tab:
            page = await tabs.enter_async_context(tab(browser, running.url))
            all_tabs.append(page)
            await page.open(path)
            await page.until("document.querySelector('#views a')")
            return page

        yield opening
        for page in all_tabs:
            assert await page.found() == []
