"""A minute of ten thousand calls in the page's live view, in a real browser: what it holds, and when it answers."""

import asyncio
import itertools
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from proxy.core import clock, tasks
from tests.rigs.clock import at_most
from tests.rigs.devtools import Tab, chromium, tab
from tests.rigs.hapax import hapax
from tests.rigs.simulator import Simulator
from tests.spec.wire import chat, connect, target

pytestmark = pytest.mark.timeout(600)

CALLS, MINUTE, CLIENTS = 10_000, 60.0, 8
ADMIN, KEY = "hapax-admin-9f2b6c1de04a7788", "hapax-client-4b1e9d7730aa65c2"
KEYED = f"X-API-Key: {KEY}\r\n"
MOST_HELD = 100e6
"""Bytes the page may hold."""
SOONEST = 0.1
"""Seconds within which a click is answered: the dialog is in the next picture."""

MODELS = [*["sim-fast"] * 18, "sim-fast:tokens=300", "no-such"]
"""What is asked for, in turns; one of twenty is refused."""

WATCH = """
window.answered = [];
addEventListener("click", (event) => {
  if (!event.target.closest(".calls tbody")) return;
  // Behind the next picture: what is in the document by then has been drawn.
  requestAnimationFrame(() => setTimeout(() => answered.push(
    document.querySelector("dialog[open]") ? performance.now() - event.timeStamp : 1e9)));
}, true);
"""


async def call_steadily(port: int) -> float:
    """Ten thousand calls, spread over a minute; the seconds they took."""
    numbers, began = itertools.count(), clock.now()

    async def client() -> None:
        async with connect(port) as wire:
            while (number := next(numbers)) < CALLS:
                await asyncio.sleep(began + number * MINUTE / CALLS - clock.now())
                wire.send(chat(MODELS[number % len(MODELS)], head=KEYED, stream=number % 2 == 0))
                await wire.response()

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return clock.now() - began


async def held(page: Tab) -> float:
    """Bytes of the page's script and of what it holds in the browser, garbage included."""
    usage = await page.send("Runtime.getHeapUsage")
    return float(usage["usedSize"] + usage["embedderHeapUsedSize"] + usage["backingStorageSize"])


async def click_on(page: Tab, calling: "asyncio.Task[Any]") -> list[float]:
    """Open the trail of some call in the table and close it, again and again; what the page holds each time."""
    sizes = []
    for number in itertools.count(1):
        if calling.done():
            break
        await page.click(".calls tbody button")
        await page.until(f"answered.length == {number}")
        sizes.append(await held(page))
        await page.press("Escape")
        await page.until("!document.querySelector('dialog')")
        await asyncio.sleep(0.5)
    return sizes


@pytest.fixture(scope="module")
def browser() -> Iterator[str]:
    with chromium() as address:
        yield address


async def test_ten_thousand_calls_a_minute_leave_the_page_small_and_quick(
    browser: str, simulator: Simulator, tmp_path: Path
) -> None:
    settings = {
        "auth": {"admin_key": ADMIN, "keys": [{"name": "me", "key": KEY}]},
        "providers": {"sim": target(simulator)},
        "store": {"url": f"sqlite:///{tmp_path}/hapax.db"},
    }
    async with hapax(tmp_path, settings) as running, tab(browser, f"http://127.0.0.1:{running.port}") as page:
        await page.remember({"hapax-admin-key": ADMIN})
        await page.open("/ui#/live")
        await page.until("document.querySelector('.head .note')?.textContent == 'Following'")
        await page.evaluate(WATCH)
        calling = tasks.start(call_steadily(running.port), "calls")
        await page.until("document.querySelectorAll('.calls tbody tr').length > 50")
        sizes = await click_on(page, calling)
        seconds = await calling
        answered = sorted(await page.evaluate("answered"))
        # The last of all is there as well, and no event was missed on the way.
        async with connect(running.port) as wire:
            wire.send(chat("the-last", head=KEYED))
            await wire.response()
        await page.until("document.querySelector('.calls tbody').innerText.includes('the-last')")
        assert await page.text(".head .note") == "Following"
        assert await page.evaluate("document.querySelectorAll('.calls tbody tr').length") == 100
        assert await page.found() == []
    print(
        f"\n{CALLS:,} calls in {seconds:.1f} s; the page held {max(sizes) / 1e6:.1f} MB at most; {len(answered)} clicks"
        f" answered after {statistics.median(answered):.0f} ms (median), {answered[-1]:.0f} ms (the longest)"
    )
    assert seconds < at_most(MINUTE + 3)
    assert max(sizes) < MOST_HELD
    assert len(answered) > 10
    assert answered[-1] < 1000 * at_most(SOONEST)
