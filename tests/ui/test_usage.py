"""The usage in a real browser: its sums are the ledger's, and a client key sees its own alone."""

from pathlib import Path
from typing import Any

from tests.conftest import GatewayFactory, RunningGateway
from tests.spec.wire import ask, chat

from .conftest import Opening, written

ADMIN, KEY, OTHER = "hapax-admin-9f2b6c1de04a7788", "hapax-client-4b1e9d7730aa65c2", "hapax-client-71d0c2f49ab3e658"


async def used(gateway: GatewayFactory, folder: Path) -> RunningGateway:
    """A gateway with three calls of two keys in its ledger."""
    keys: list[dict[str, Any]] = [{"name": "mine", "key": KEY, "team": "shop"}, {"name": "other", "key": OTHER}]
    running = await gateway(
        {"auth": {"admin_key": ADMIN, "keys": keys}, "store": {"url": f"sqlite:///{folder}/hapax.db"}}
    )
    for key, model in ((KEY, "sim-fast"), (KEY, "sim-echo"), (OTHER, "sim-fast")):
        await ask(running.port, chat(model, head=f"Authorization: Bearer {key}\r\n"))
    await written(running, ADMIN, 3)
    return running


async def test_all_usage_adds_up_by_day_and_by_key(gateway: GatewayFactory, opened: Opening, tmp_path: Path) -> None:
    page = await opened(await used(gateway, tmp_path), "/ui#/usage", admin=ADMIN)
    assert await page.until("document.querySelectorAll('.tiles dd')[2]?.firstChild.textContent") == "3"
    # Seven days, those without a call too.
    assert await page.evaluate("document.querySelectorAll('.chart .column').length") == 7
    await page.evaluate(
        "(() => { const by = document.querySelectorAll('.page select')[1];"
        " by.value = 'key'; by.dispatchEvent(new Event('change')); })()"
    )
    await page.until("document.querySelector('.bars')")
    rows = await page.evaluate(
        "[...document.querySelectorAll('tbody tr, tfoot tr')].map((row) => [...row.children].slice(0, 2)"
        ".map((cell) => cell.textContent))"
    )
    assert sorted(rows[:2]) == [["mine", "2"], ["other", "1"]]
    assert rows[2] == ["All", "3"]


async def test_a_client_key_sees_its_own(gateway: GatewayFactory, opened: Opening, tmp_path: Path) -> None:
    page = await opened(await used(gateway, tmp_path), "/ui#/usage", client=KEY)
    assert await page.until("document.querySelectorAll('.tiles dd')[2]?.firstChild.textContent") == "2"
    assert await page.evaluate(
        "[...document.querySelectorAll('.page select')[1].options].map((each) => each.value)"
    ) == ["day", "model", "provider", "route", "outcome"]


async def test_it_is_downloaded_as_csv(gateway: GatewayFactory, opened: Opening, tmp_path: Path) -> None:
    page = await opened(await used(gateway, tmp_path), "/ui#/usage", admin=ADMIN)
    await page.until("document.querySelector('.chart')")
    folder = tmp_path / "downloads"
    folder.mkdir()
    await page.send("Page.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
    await page.click("button", "Download CSV")
    while not (found := list(folder.glob("*.csv"))):
        await page.evaluate("new Promise((wake) => setTimeout(wake, 20))")
    assert found[0].name == "hapax-usage-by-day.csv"
    assert found[0].read_text().startswith("day,requests,ok,failed,pending,")


async def test_nothing_used_says_what_to_do(gateway: GatewayFactory, opened: Opening, tmp_path: Path) -> None:
    page = await opened(await gateway({"store": {"url": f"sqlite:///{tmp_path}/hapax.db"}}), "/ui#/usage")
    await page.until("document.querySelector('main .empty a')?.getAttribute('href') == '#/playground'")
    page = await opened(await gateway(), "/ui#/usage")
    await page.until("document.querySelector('main .page .empty').textContent.includes('No store is configured')")


async def test_a_client_key_sees_what_is_left_of_its_limits_and_its_budget(
    gateway: GatewayFactory, opened: Opening
) -> None:
    told = {
        "by": "day",
        "since": "2026-11-24T00:00:00Z",
        "lines": [],
        "total": {},
        "limits": [
            {
                "limit": "requests_per_minute",
                "route": None,
                "model": None,
                "amount": 600,
                "left": 597,
                "whole_at": None,
            },
            {"limit": "concurrent", "route": None, "model": "gpt-4o", "amount": 5, "left": 0, "whole_at": None},
        ],
        "budget": {"unit": "micro_usd", "per": "day", "amount": 25_000_000, "spent": 21_500_000, "left": 3_500_000}
        | {"resets_at": "2026-12-01T00:00:00Z"},
    }
    running = await gateway({"auth": {"admin_key": ADMIN, "keys": [{"name": "mine", "key": KEY}]}})
    page = await opened(running, "/ui#/usage", {"GET /v1/usage": told}, client=KEY)
    left = await page.until("document.querySelector('.card')?.innerText")
    assert "Budget of the day: $21.50 of $25.00" in left
    assert "597 of 600" in left
    assert "concurrent, gpt-4o" in left
    assert await page.evaluate("document.querySelector('[role=meter]').className") == "gauge warn"
