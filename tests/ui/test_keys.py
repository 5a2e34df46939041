"""The keys in a real browser: one is made, used, given a new secret and revoked, by an operator who sees it once."""

import asyncio
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from proxy.core import clock
from tests.conftest import GatewayFactory
from tests.rigs.devtools import PATIENCE
from tests.spec.wire import ask, chat

from .conftest import Opening, written

ADMIN, KEY = "hapax-admin-9f2b6c1de04a7788", "hapax-client-4b1e9d7730aa65c2"


def settings(folder: Path) -> dict[str, Any]:
    return {
        "auth": {
            "admin_key": ADMIN,
            "keys": [{"name": "filed", "key": KEY, "budget": {"tokens": 50000, "per": "day"}}],
        },
        "store": {"url": f"sqlite:///{folder}/hapax.db"},
    }


async def test_a_key_is_made_used_given_a_new_secret_and_revoked(
    gateway: GatewayFactory, opened: Opening, tmp_path: Path
) -> None:
    running = await gateway(settings(tmp_path))
    page = await opened(running, "/ui#/keys")
    # The gateway wants a key, and the page asks for it.
    await page.click("main button", "Enter a key")
    await page.fill("dialog input", "hapax-admin-not-this-one-0000000")
    await page.press("Enter")
    await page.until("document.querySelector('dialog .trouble').textContent == 'The gateway knows no such key.'")
    await page.fill("dialog input", ADMIN)
    await page.press("Enter")
    await page.until("document.querySelector('.card h2')?.textContent == 'filed'")

    await page.click("button", "New key")
    await page.fill("dialog input[required]", "shop")
    await page.fill("dialog input[placeholder='none']", "25")
    await page.click("dialog button", "Make it")
    secret = await page.until("document.querySelector('.secret')?.textContent")
    await page.until("document.querySelectorAll('.card').length == 2")
    assert "$0 of $25.00 a day" in await page.text(".card[aria-label='Key shop']")
    answer = await ask(running.port, chat("sim-fast", head=f"Authorization: Bearer {secret}\r\n"))
    assert answer.status == 200

    # The tab may have it as its own key, and calls with it.
    await page.click("dialog button", "Use it in this tab")
    await page.until("document.querySelector('#key-text').textContent == 'Client + Admin'")
    await page.click("#views a", "Playground")
    await page.until("document.querySelector('.model select').value")
    await page.fill(".composer textarea", "hi")
    await page.press("Enter")
    await page.until("document.querySelector('.turn.assistant:not(.busy) .figures')")
    await page.click("#views a", "Keys")
    await page.until("document.querySelectorAll('.card').length == 2")

    await page.click(".card button", "Rotate shop")
    await page.evaluate("document.querySelector('dialog select').value = '0s'")
    await page.click("dialog button", "Give it a new secret")
    fresh = await page.until("document.querySelector('.secret')?.textContent")
    assert fresh != secret
    await page.press("Escape")
    # The list is drawn anew, with the first letters of the new secret.
    await page.until(f"!document.querySelector('dialog') && document.body.innerText.includes('{fresh[:10]}')")

    await page.click(".card button", "Revoke shop")
    await page.click("dialog button", "Cancel")
    assert (await ask(running.port, chat("sim-fast", head=f"Authorization: Bearer {fresh}\r\n"))).status == 200
    await page.click(".card button", "Revoke shop")
    await page.click("dialog button", "Revoke")
    await page.until("document.querySelectorAll('.card').length == 1")
    # Every process learns of it within a second.
    async with asyncio.timeout(PATIENCE):
        while (await ask(running.port, chat("sim-fast", head=f"Authorization: Bearer {fresh}\r\n"))).status != 401:
            pass
    await page.click("label", "Revoked")
    await page.until("document.querySelector(\".card[aria-label='Key shop'] .badge\").textContent == 'revoked'")
    # It was shown in the dialog and is nowhere else.
    assert secret not in await page.evaluate("document.documentElement.outerHTML")


async def test_a_budget_is_a_bar_of_what_was_used(gateway: GatewayFactory, opened: Opening, tmp_path: Path) -> None:
    running = await gateway(settings(tmp_path))
    await ask(running.port, chat("sim-fast", head=f"Authorization: Bearer {KEY}\r\n"))
    await written(running, ADMIN, 1)
    page = await opened(running, "/ui#/keys", admin=ADMIN)
    bar = await page.until("document.querySelector('[role=meter]')?.getAttribute('aria-valuetext')")
    assert bar == "Budget of filed: 34 tokens of 50K tokens a day"


async def test_a_key_says_when_it_was_used_last(gateway: GatewayFactory, opened: Opening, tmp_path: Path) -> None:
    running = await gateway(settings(tmp_path))
    page = await opened(running, "/ui#/keys", admin=ADMIN)
    await page.until("document.querySelector('.card')?.innerText.includes('no call known')")
    await ask(running.port, chat("sim-fast", head=f"Authorization: Bearer {KEY}\r\n"))
    await written(running, ADMIN, 1)
    page = await opened(running, "/ui#/keys", admin=ADMIN)
    assert (await page.until("document.querySelector('.card time')?.textContent")).endswith(" s ago")
    exact = await page.evaluate("document.querySelector('.card time').title")
    assert abs(clock.wall() - datetime.fromisoformat(exact)) < timedelta(seconds=80)


async def test_a_client_key_shows_no_keys_and_says_which_key_would(
    gateway: GatewayFactory, opened: Opening, tmp_path: Path
) -> None:
    page = await opened(await gateway(settings(tmp_path)), "/ui#/keys", client=KEY)
    assert "needs the admin key" in await page.until("document.querySelector('main .empty')?.textContent")


async def test_an_open_gateway_shows_all_and_changes_nothing_without_its_token(
    gateway: GatewayFactory, opened: Opening, tmp_path: Path
) -> None:
    page = await opened(await gateway({"store": {"url": f"sqlite:///{tmp_path}/hapax.db"}}), "/ui#/keys")
    await page.click("main button", "Make the first key")
    await page.fill("dialog input[required]", "shop")
    await page.click("dialog button", "Make it")
    trouble = await page.until("document.querySelector('dialog .trouble')?.textContent")
    assert "the token that was printed at the start" in trouble
