"""The configuration in a real browser: what is in force and where it came from, where the gateway tells it."""

from typing import Any

from tests.conftest import GatewayFactory

from .conftest import Opening

TOLD: dict[str, Any] = {
    "source": "hapax.yaml",
    "since": "2026-11-30T12:36:04.118Z",
    "hash": "21f578107a77",
    "needs_restart": ["server.port"],
    "last_reload": {
        "at": "2026-11-30T12:36:04.118Z",
        "by": "watch",
        "outcome": "refused",
        "problems": ["models.gpt-4o.targets: <b>nowhere</b> is no provider"],
        "changed": [],
        "files": ["hapax.yaml"],
        "needs_restart": [],
    },
    "warnings": [],
    "files": ["hapax.yaml"],
    "values": {
        "server.port": {"value": 8080, "source": "default", "hash": "13f473ced82d"},
        "providers.openai.api_key": {"value": "**********", "source": "hapax.yaml:3", "hash": "5aa0b7c1f3e2"},
        "providers.openai.models": {"value": ["gpt-*"], "source": "hapax.yaml:4", "hash": "ff00b7c1f3e2"},
    },
}
ROWS = "document.querySelectorAll('tbody tr')"


async def test_what_is_in_force_is_shown_with_the_problems_of_the_last_reload(
    gateway: GatewayFactory, opened: Opening
) -> None:
    answers = {"GET /admin/config": TOLD, "POST /admin/reload": {"outcome": "applied"}}
    page = await opened(await gateway(), "/ui#/config", answers)
    await page.until(f"{ROWS}.length == 2")
    shown = await page.text("main")
    assert "models.gpt-4o.targets: <b>nowhere</b> is no provider" in shown
    assert "server.port" in shown
    assert '["gpt-*"]' in shown
    await page.click("label", "Only what was set")
    await page.until(f"{ROWS}.length == 3")
    await page.fill("input[type=search]", "api_key")
    await page.until(f"{ROWS}.length == 1")
    await page.click("button", "Read it again")
    await page.until("asked.includes('POST /admin/reload')")
