"""Fixtures of the page's tests: a browser for all of them, and a tab of its own for each."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from aiohttp import ClientSession

from tests.conftest import RunningGateway
from tests.rigs.devtools import PATIENCE, Tab, chromium, tab

Opening = Callable[..., Awaitable[Tab]]


async def written(running: RunningGateway, admin: str, calls: int) -> None:
    """The ledger holds so many calls that ended well; it writes ten times a second."""
    running.caught_up()
    async with asyncio.timeout(PATIENCE), ClientSession(headers={"Authorization": f"Bearer {admin}"}) as session:
        total: dict[str, int] = {}
        while total.get("ok") != calls:
            async with session.get(f"{running.url}/admin/usage?by=key&since=1d") as answer:
                total = (await answer.json())["total"]


async def choose(page: Tab, model: str, column: int = 0) -> None:
    """Choose a model in the playground, in its second column with *column* 1: of the list, else by its name."""
    box = f"document.querySelectorAll('.model')[{column}]"
    await page.until(f"{box}?.querySelector('select').value")
    await page.evaluate(
        f"(() => {{ const list = {box}.querySelector('select'), name = {json.dumps(model)};"
        " list.value = [...list.options].some((each) => each.value == name) ? name : '';"
        " list.dispatchEvent(new Event('change'));"
        f" if (!list.value) {box}.querySelector('input').value = name; }})()"
    )


@pytest.fixture(scope="session")
def browser() -> Iterator[str]:
    with chromium() as address:
        yield address


@pytest.fixture
async def opened(browser: str) -> AsyncIterator[Opening]:
    """
    `await opened(gateway, "/ui#/keys", admin=KEY)`: a tab in which that is shown, with these keys entered and, of
    *answers*, what is answered in the gateway's place. It must not complain of anything.
    """
    async with AsyncExitStack() as tabs:
        all_tabs: list[Tab] = []

        async def opening(
            running: RunningGateway, path: str, answers: dict[str, Any] | None = None, **keys: str
        ) -> Tab:
            page = await tabs.enter_async_context(tab(browser, running.url))
            all_tabs.append(page)
            if keys:
                await page.remember({f"hapax-{kind}-key": key for kind, key in keys.items()})
            if answers:
                await page.answer(answers)
            await page.open(path)
            await page.until("document.querySelector('#key').dataset.state")
            return page

        yield opening
        for page in all_tabs:
            assert await page.found() == []
