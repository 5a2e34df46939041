"""The live view in a real browser: calls as they end, one that moved on as a timeline, and as many as come."""

import asyncio

from proxy.simulator import Simulator
from tests.conftest import GatewayFactory, RunningGateway, provider
from tests.rigs.clock import at_most
from tests.spec.loop import until
from tests.spec.wire import ask, chat

from .conftest import Opening

ADMIN, KEY = "hapax-admin-9f2b6c1de04a7788", "hapax-client-4b1e9d7730aa65c2"
AUTH = {"auth": {"admin_key": ADMIN, "keys": [{"name": "me", "key": KEY}]}}
KEYED = f"Authorization: Bearer {KEY}\r\n"
ROWS = "document.querySelectorAll('.calls tbody tr')"


async def followed(running: RunningGateway) -> None:
    """The page reads the feed."""
    await until(lambda: running.listener.gateway.feed._readers)


async def test_a_call_that_moved_on_is_seen_as_a_timeline(
    gateway: GatewayFactory, opened: Opening, simulator: Simulator
) -> None:
    async with Simulator() as failing:
        running = await gateway(
            {
                **AUTH,
                "providers": {"first": provider(failing), "second": provider(simulator)},
                "provider_preference": ["first", "second"],
            }
        )
        failing.direct("status=503")
        page = await opened(running, "/ui#/live", admin=ADMIN)
        await followed(running)
        await page.fill("input[type=search]", "completions")
        await page.until("document.querySelector('.empty') && document.querySelector('.calls').hidden")
        await ask(running.port, chat("sim-fast", head=KEYED + "X-Request-ID: moved\r\n", stream=True))
        await page.until(f"{ROWS}.length == 1")
        assert "second \u00d72" in await page.text(".calls tbody")
        await page.click(".calls tbody button")
        await page.until("document.querySelector('dialog svg')")
        lanes = await page.evaluate("[...document.querySelectorAll('dialog .lane')].map((each) => each.textContent)")
        assert lanes == ["1  first/sim-fast  ·  upstream_unavailable (503)", "2  second/sim-fast"]
        assert await page.evaluate("document.querySelectorAll('dialog .fault, dialog .spark').length") == 2
        told = await page.text("dialog")
        assert "moved" in told
        assert "2 in, 32 out" in told
        await page.press("Escape")
        await page.until("!document.querySelector('dialog')")


async def test_refused_calls_tell_why_and_are_found_by_a_filter(gateway: GatewayFactory, opened: Opening) -> None:
    running = await gateway(AUTH)
    page = await opened(running, "/ui#/live", admin=ADMIN)
    await followed(running)
    await page.fill("input[type=search]", "completions")
    await ask(running.port, chat("sim-fast", head=KEYED))
    await ask(running.port, chat("no-such", head=KEYED))
    await page.until(f"{ROWS}.length == 2")
    await page.fill("input[type=search]", "no-such")
    await page.until(f"{ROWS}.length == 1")
    assert "model_not_found" in await page.text(".calls tbody")
    await page.click(".calls tbody button")
    await page.until("document.querySelector('dialog').innerText.includes('No target was asked')")


async def test_rows_stand_still_under_a_mouse_button_that_is_down(gateway: GatewayFactory, opened: Opening) -> None:
    running = await gateway(AUTH)
    page = await opened(running, "/ui#/live", admin=ADMIN)
    await followed(running)
    await page.fill("input[type=search]", "completions")
    await ask(running.port, chat("sim-fast", head=KEYED + "X-Request-ID: pressed\r\n"))
    await page.until(f"{ROWS}.length == 1")
    box = "document.querySelector('.calls tbody button').getBoundingClientRect()"
    x, y = await page.evaluate(f"(() => {{ const box = {box}; return [box.x + 5, box.y + 5]; }})()")
    await page.send("Input.dispatchMouseEvent", type="mousePressed", x=x, y=y, button="left", clickCount=1)
    await ask(running.port, chat("sim-fast", head=KEYED))
    # What came is known by the rates, and would be drawn by now.
    await page.until("document.querySelector('.tiles dd').textContent == '2'")
    assert await page.evaluate(f"{ROWS}.length") == 1
    await page.send("Input.dispatchMouseEvent", type="mouseReleased", x=x, y=y, button="left", clickCount=1)
    await page.until("document.querySelector('dialog[open]')?.innerText.includes('pressed')")
    await page.until(f"{ROWS}.length == 2")


async def test_while_it_is_paused_nothing_moves_and_nothing_is_lost(gateway: GatewayFactory, opened: Opening) -> None:
    running = await gateway(AUTH)
    page = await opened(running, "/ui#/live", admin=ADMIN)
    await followed(running)
    await page.fill("input[type=search]", "completions")
    await page.click("button", "Pause")
    for _ in range(3):
        await ask(running.port, chat("sim-fast", head=KEYED))
    # What came is known by the rates, which go on.
    await page.until("document.querySelector('.tiles dd').textContent == '3'")
    assert await page.evaluate(f"{ROWS}.length") == 0
    await page.click("button", "Go on")
    await page.until(f"{ROWS}.length == 3")


async def test_ten_thousand_calls_leave_a_bounded_page_that_answers_at_once(
    gateway: GatewayFactory, opened: Opening
) -> None:
    running = await gateway(AUTH)
    page = await opened(running, "/ui#/live", admin=ADMIN)
    await followed(running)
    feed = running.listener.gateway.feed
    await ask(running.port, chat("sim-fast", head=KEYED))
    await page.until("document.querySelector('.tiles dd').textContent == '1'")
    event = feed._events[-1]
    for _ in range(100):
        for _ in range(100):
            feed._happened(event.at, "call", event.about)
        # As a reader that is not too slow gets them.
        await until(lambda: feed._told == feed._last)
        await asyncio.sleep(0)
    await page.until("document.querySelector('.tiles dd').textContent == '10,001'")
    await page.until(f"{ROWS}.length == 100")
    # A click while nothing else happens, and the dialog that is there in the next picture.
    took = await page.evaluate(
        "(async () => { const began = performance.now(); document.querySelector('.calls tbody button').click();"
        " await new Promise(requestAnimationFrame); return document.querySelector('dialog[open]')"
        " ? performance.now() - began : Infinity; })()"
    )
    assert took < 1000 * at_most(0.1)
    await page.send("HeapProfiler.collectGarbage")
    used = (await page.send("Runtime.getHeapUsage"))["usedSize"]
    assert used < 100e6
