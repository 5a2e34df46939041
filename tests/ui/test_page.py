"""The whole page in a real browser: hostile texts stay texts, a phone shows all of it, and who sees none can use it."""

from pathlib import Path
from typing import Any

import pytest

from proxy.simulator import Simulator
from tests.conftest import GatewayFactory, RunningGateway, provider
from tests.rigs.devtools import Tab
from tests.rigs.node import MODULES
from tests.spec.loop import until
from tests.spec.wire import ask, chat

from .conftest import Opening, choose, written

ADMIN, KEY = "hapax-admin-9f2b6c1de04a7788", "hapax-client-4b1e9d7730aa65c2"
VIEWS = ("playground", "live", "providers", "keys", "usage", "config")
HOSTILE = '<img src="https://evil.example/x" onerror="document.title=1"><script>document.title=2</script>'


async def world(gateway: GatewayFactory, simulator: Simulator, folder: Path) -> RunningGateway:
    """A gateway with a call behind it, whose key, provider and model have names as long as names get."""
    long = "a-key-with-a-name-that-is-as-long-as-it-may-be-and-has-no-space"
    running = await gateway(
        {
            "providers": {"sim": provider(simulator, models=["sim-*", HOSTILE])},
            "auth": {
                "admin_key": ADMIN,
                "keys": [{"name": long, "key": KEY, "team": HOSTILE, "budget": {"usd": 5, "per": "day"}}],
            },
            "store": {"url": f"sqlite:///{folder}/hapax.db"},
        }
    )
    await ask(running.port, chat("sim-fast", head=f"Authorization: Bearer {KEY}\r\n"))
    await written(running, ADMIN, 1)
    return running


async def every_view(page: Tab) -> Any:
    """Show one after the other, each with what it has; yields its name."""
    for view in VIEWS:
        await page.click(f"#views a[data-view={view}]")
        await page.until(f"document.querySelector('#views [aria-current]').dataset.view == '{view}'")
        seen = {"playground": ".model", "live": ".tiles dd", "usage": ".chart", "config": ".empty"}
        await page.until(f"document.querySelector('main {seen.get(view, '.card')}')")
        yield view


async def test_html_in_a_prompt_an_answer_a_model_and_a_key_is_text(
    gateway: GatewayFactory, opened: Opening, simulator: Simulator, tmp_path: Path
) -> None:
    running = await world(gateway, simulator, tmp_path)
    page = await opened(running, "/ui#/live", client=KEY, admin=ADMIN)
    # The view follows from when it is seen first.
    await until(lambda: running.listener.gateway.feed._readers)
    await page.click("#views a", "Playground")
    await choose(page, "sim-echo")
    for text in (HOSTILE, f"[a link](javascript:alert(1)) **{HOSTILE}**\n\n```\n{HOSTILE}\n```\n\n- {HOSTILE}"):
        await page.fill(".composer textarea", text)
        await page.click("button", "Send")
        await page.until("document.querySelector('.turn:last-child.assistant:not(.busy)')")
    await choose(page, HOSTILE)
    await page.fill(".composer textarea", "hi")
    await page.press("Enter")
    await page.until("document.querySelectorAll('.turn .trouble').length == 1")
    assert await page.evaluate(f"[...document.querySelectorAll('.prose')][0].textContent == {HOSTILE!r}")
    async for view in every_view(page):
        # The only picture is the page's own mark.
        assert await page.evaluate("[...document.images].map((each) => each.getAttribute('src'))") == ["ui/mark.svg"], (
            view
        )
        assert await page.evaluate("document.querySelectorAll('body script, iframe, object, embed').length") == 0, view
        assert await page.evaluate("document.querySelectorAll(\"a[href^='javascript' i]\").length") == 0, view
        assert (await page.evaluate("document.title")).endswith("· hapax")
    await page.click("#views a", "Live")
    await page.until(f"document.querySelector('.calls tbody').innerText.includes({HOSTILE[:4]!r})")
    await page.click("#views a", "Keys")
    assert HOSTILE in await page.text("main")


@pytest.mark.parametrize("width", [320, 390, 768, 1920])
async def test_no_view_is_wider_than_the_window(
    gateway: GatewayFactory, opened: Opening, simulator: Simulator, tmp_path: Path, width: int
) -> None:
    page = await opened(await world(gateway, simulator, tmp_path), "/ui", client=KEY, admin=ADMIN)
    await page.size(width, 700)
    async for view in every_view(page):
        assert await page.evaluate("document.documentElement.scrollWidth") <= width, view


@pytest.mark.parametrize("dark", [False, True])
async def test_axe_finds_nothing_serious_in_any_view(
    gateway: GatewayFactory, opened: Opening, simulator: Simulator, tmp_path: Path, dark: bool
) -> None:
    running = await world(gateway, simulator, tmp_path)
    page = await opened(running, "/ui", client=KEY, admin=ADMIN)
    await page.size(1280, 860, dark)
    await page.evaluate((MODULES / "axe-core" / "axe.min.js").read_text() + "; 1")

    async def serious() -> Any:
        return await page.evaluate(
            "axe.run(document, {resultTypes: ['violations']}).then(({violations}) => violations"
            ".filter(({impact}) => impact == 'serious' || impact == 'critical')"
            ".map(({id, nodes}) => id + ': ' + nodes.map(({html}) => html.slice(0, 200)).join('; ')))"
        )

    async for view in every_view(page):
        if view == "playground":
            await choose(page, "sim-echo")
            await page.fill(".composer textarea", "# One\n\n`two` [three](https://example.com)\n\n```\nfour\n```")
            await page.press("Enter")
            await page.until("document.querySelector('.turn.assistant:not(.busy) .actions button:nth-child(2)')")
        if view == "live":
            await ask(running.port, chat("sim-fast", head=f"Authorization: Bearer {KEY}\r\n"))
            await page.until("document.querySelector('.calls tbody button')")
        assert await serious() == [], view
        if view == "live":
            # A row that is drawn between the press of a mouse and its release would move the button away.
            await page.evaluate("document.querySelector('.calls tbody button').click()")
            await page.until("document.querySelector('dialog svg')")
            assert await serious() == [], "trail"
            await page.press("Escape")
        if view == "keys":
            await page.click("button", "New key")
            assert await serious() == [], "new key"
            await page.press("Escape")


async def test_it_is_used_by_keyboard_alone(gateway: GatewayFactory, opened: Opening) -> None:
    page = await opened(await gateway(), "/ui#/providers")
    await page.evaluate("document.activeElement.blur()")
    await page.press("Tab")
    assert await page.evaluate("document.activeElement.textContent") == "Skip to content"
    for _ in range(3):
        await page.press("Tab")
    assert await page.evaluate("document.activeElement.textContent") == "Live"
    await page.press("Enter")
    await page.until("document.querySelector('main h1').textContent == 'Live'")
    # Where one is now is said, and the focus is there.
    assert await page.evaluate("[document.activeElement.id, document.querySelector('#said').textContent]") == [
        "content",
        "Live · hapax",
    ]


async def test_colours_follow_the_system_until_they_are_chosen(gateway: GatewayFactory, opened: Opening) -> None:
    page = await opened(await gateway(), "/ui#/usage")
    ground = "getComputedStyle(document.body).backgroundColor"
    light = await page.evaluate(ground)
    await page.size(1280, 860, dark=True)
    dark = await page.evaluate(ground)
    assert light != dark
    await page.click("#theme")
    assert await page.evaluate(ground) == light
    await page.open("/ui")
    assert await page.evaluate(ground) == light


async def test_the_page_works_below_a_path_of_another_application(gateway: GatewayFactory, opened: Opening) -> None:
    """Every address in it is relative: to the page for its files, to its own place for the API."""
    page = await opened(await gateway(), "/ui")
    root = await page.evaluate("import('/ui/api.js').then(({ROOT}) => ROOT)")
    assert root == page.root
    assert await page.evaluate(
        "[...document.querySelectorAll('[src], link[href]')].every((each) =>"
        " (each.getAttribute('src') ?? each.getAttribute('href')).startsWith('ui/'))"
    )
