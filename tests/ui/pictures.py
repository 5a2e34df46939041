"""
Pictures of the page, made of a gateway with simulated providers and a month of invented calls: `make pictures`.

Without arguments those that the documents show, into docs/pictures; with a folder every view there, wide and as a phone
shows it, light and dark, for eyes to judge. It tests nothing.
"""

import asyncio
import json
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import ClientSession
from sqlalchemy import insert

from proxy.accounts import tables
from proxy.process.listener import Listener
from proxy.settings import Settings
from proxy.simulator.script import Delay, Send, Step
from tests.rigs.devtools import Tab, chromium, tab
from tests.rigs.simulator import Simulator

from .conftest import choose

DOCUMENTS = Path(__file__).parent.parent.parent / "docs" / "pictures"
ADMIN = "hapax-admin-5c1e0f7ab2d94836"
WEB, BATCH = "hapax-web-71d0c2f49ab3e658", "hapax-batch-08a6b3f1d2c7e459"
DOCUMENTED = {
    *(("playground", False), ("playground", True), ("live", False), ("trail", False)),
    *(("providers", False), ("usage", False)),
}
"""What the documents show, by view and whether it is dark."""
VIEWS = ("playground", "compare", "live", "trail", "providers", "keys", "usage", "usage-model", "config")
PRICES = {
    "invented": {
        "source": "invented",
        "as_of": "2026-11-01",
        "models": {
            "gpt-4o": {"input": 2.5, "output": 10},
            "gpt-4o-mini": {"input": 0.15, "output": 0.6},
            "claude-*": {"input": 3, "output": 15},
        },
    }
}
QUESTION = "What is a circuit breaker good for?"
ANSWER = """A **circuit breaker** keeps calls away from a provider that fails, so that they do not wait for nothing:

1. *closed*: calls pass, failures are counted
2. *open*: after `failure_threshold` of them the next target is asked at once
3. *half-open*: one call tries whether it is back

```python
if breaker.available(now):
    target = plan.next()
```

The client sees none of it, as long as another target answers."""


def spoken(text: str) -> list[Step]:
    """*text* as a provider streams it, some characters every 8 ms."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
    steps: list[Step] = [Send(head), Delay(0.18)]
    for at in range(0, len(text), 5):
        choice = {"index": 0, "delta": {"content": text[at : at + 5]}, "finish_reason": None}
        steps += [Send(_event({"choices": [choice]})), Delay(0.008)]
    usage = {"prompt_tokens": 15, "completion_tokens": len(text) // 4, "total_tokens": 15 + len(text) // 4}
    steps.append(Send(_event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})))
    steps.append(Send(_event({"choices": [], "usage": usage})))
    return [*steps, Send(b"data: [DONE]\n\n")]


def _event(chunk: dict[str, Any]) -> bytes:
    whole = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o", **chunk}
    return b"data: " + json.dumps(whole).encode() + b"\n\n"


def settings(openai: Simulator, azure: Simulator, anthropic: Simulator, folder: Path) -> dict[str, Any]:
    def at(simulator: Simulator, *models: str) -> dict[str, Any]:
        return {"type": "compatible", "base_url": simulator.base_url, "models": list(models)}

    (folder / "prices.yaml").write_text(json.dumps(PRICES))
    return {
        "server": {"host": "127.0.0.1", "port": 0},
        "providers": {
            "openai": at(openai, "gpt-4o", "gpt-4o-mini"),
            "azure": at(azure, "gpt-4o"),
            "anthropic": at(anthropic, "claude-sonnet-4-5"),
        },
        "provider_preference": ["openai", "azure", "anthropic"],
        "circuit_breaker": {"failure_threshold": 3, "timeout": "120s"},
        "failover": {"budget": 1},
        "auth": {
            "admin_key": ADMIN,
            "keys": [
                {"name": "web-app", "key": WEB, "team": "shop", "limits": {"requests_per_minute": 6000}}
                | {"budget": {"usd": 25, "per": "day"}},
                {"name": "nightly", "key": BATCH, "team": "data", "budget": {"usd": 12, "per": "day"}},
            ],
        },
        "store": {"url": f"sqlite:///{folder}/hapax.db", "prices": str(folder / "prices.yaml")},
    }


def month() -> list[dict[str, Any]]:
    """Invented rows of the ledger."""
    rng, now = random.Random(18), time.time()
    rows: list[dict[str, Any]] = []
    for day in range(60):
        busy = (1.3 - day / 90) * (0.45 if time.gmtime(now - day * 86400).tm_wday > 4 else 1)
        for number in range(int(rng.uniform(18, 30) * busy)):
            model, provider, price = rng.choice(
                [
                    ("gpt-4o", "openai", 10),
                    ("gpt-4o", "azure", 10),
                    ("gpt-4o-mini", "openai", 0.6),
                    ("claude-sonnet-4-5", "anthropic", 15),
                ]
            )
            key, team = rng.choice([("web-app", "shop"), ("web-app", "shop"), ("nightly", "data")])
            asked, said = rng.randint(20_000, 90_000), rng.randint(4_000, 16_000)
            started = int((now - day * 86400 - rng.uniform(0, min(40_000, now % 86400))) * 1000)
            bad = rng.random() < 0.03
            rows.append(
                dict.fromkeys(("cached_tokens", "reasoning_tokens", "estimated"), 0)
                | {
                    "id": f"{day}-{number}",
                    "request_id": f"r-{day}-{number}",
                    "started": started,
                    "ended": started + 900,
                }
                | {"principal": key, "team": team, "route": "/v1/chat/completions", "model": model, "stream": 1}
                | {"answered_model": model, "provider": provider, "upstream_model": model, "attempts": 1}
                | {"prompt_tokens": asked, "completion_tokens": 0 if bad else said, "ttft_ms": 300, "duration_ms": 900}
                | {"cost": 0 if bad else int(asked * price / 4 + said * price), "status": 502 if bad else 200}
                | {"outcome": "failed" if bad else "ok", "error_code": "upstream_error" if bad else ""}
            )
    return rows


@dataclass
class World:
    """What is pictured."""

    listener: Listener
    openai: Simulator
    """The provider that fails now and then."""


@asynccontextmanager
async def world(folder: Path) -> AsyncIterator[World]:
    """A gateway that has had calls, some of which moved to another provider."""
    async with AsyncExitStack() as stack:
        openai, azure, anthropic = [
            await stack.enter_async_context(Simulator(models=models))
            for models in (
                ["gpt-4o:ttft=180ms,pace=9ms", "gpt-4o-mini:ttft=60ms,pace=4ms"],
                ["gpt-4o:ttft=210ms,pace=8ms"],
                ["claude-sonnet-4-5:ttft=240ms,pace=7ms"],
            )
        ]
        listener = Listener(Settings.model_validate(settings(openai, azure, anthropic, folder)))
        await listener.start()
        stack.push_async_callback(listener.stop)
        store = listener.gateway.accounting.store
        assert store is not None
        async with store.writing() as connection:
            await connection.execute(insert(tables.usage), month())
        yield World(listener, openai)


async def calls(world: World) -> None:
    """Some that end well, some that move on, some that are refused."""
    rng = random.Random(7)
    async with ClientSession() as session:
        for number in range(34):
            model = rng.choice(["gpt-4o-mini", "claude-sonnet-4-5", "gpt-4o", "gpt-4o-mini"])
            headers = {"Authorization": f"Bearer {rng.choice((WEB, WEB, BATCH))}"}
            if number in (9, 21):
                model = "gpt-5-typo"
            if number in (13, 30, 32):
                model = "gpt-4o"
                world.openai.direct("headers=90ms,status=503" if number < 32 else "headers=70ms,rst@0")
            body = {"model": model, "stream": True, "messages": [{"role": "user", "content": "Hello " * (number + 1)}]}
            async with session.post(f"{world.listener.url}/v1/chat/completions", json=body, headers=headers) as answer:
                await answer.read()
            world.openai.direct("")


async def show(page: Tab, view: str, world: World) -> None:
    """Bring *page* to *view*."""
    name = {"compare": "playground", "trail": "live", "usage-model": "usage"}.get(view, view)
    await page.evaluate(
        f"document.querySelectorAll('dialog').forEach((each) => each.close()); location.hash = '#/{name}'"
    )
    await page.until(f"document.querySelector('#views [aria-current]').dataset.view == '{name}'")
    if view == "compare":
        await page.click("label", "Compare")
    if view in ("playground", "compare"):
        if view == "playground":
            world.openai.script(spoken(ANSWER), match="gpt-4o")
        await choose(page, "gpt-4o")
        await page.fill(".composer textarea", QUESTION if view == "playground" else "And a bulkhead?")
        await page.press("Enter")
        await page.until("document.querySelector('.turn') && !document.querySelector('.turn.busy')")
        await page.until("[...document.querySelectorAll('.turn.assistant')].at(-1).innerText.includes('Timeline')")
    if view == "live":
        await page.until("document.querySelectorAll('.calls tbody tr').length > 30")
    if view == "trail":
        await page.click(".calls tr:has(td:nth-child(4)[data-tries]) button")
        await page.until("document.querySelector('dialog dl')")
    if view in ("providers", "keys"):
        await page.until("document.querySelector('.card')")
    if view.startswith("usage"):
        await page.until("document.querySelector('.page select')")
        by = "model" if view == "usage-model" else "day"
        await page.evaluate(
            "(() => { const [, by, span] = document.querySelectorAll('.page select');"
            f" by.value = '{by}'; span.value = '30'; span.dispatchEvent(new Event('change')); }})()"
        )
        await page.until(f"document.querySelector('.page thead th')?.textContent.toLowerCase() == '{by}'")
    if view == "config":
        await page.until("document.querySelector('.page .tiles, .page .empty')")
    await page.evaluate("new Promise((wake) => setTimeout(wake, 350))")


async def main(folder: Path | None) -> None:
    """Make them."""
    # The failing provider of the pictures: its breaker opens, and calls move to the next one.
    with chromium() as address, tempfile.TemporaryDirectory() as place:
        async with world(Path(place)) as made, tab(address, made.listener.url) as page:
            for width, height, dark in ((1280, 860, False), (1280, 860, True), (390, 844, False), (390, 844, True)):
                if folder is None and width < 1000:
                    continue
                await page.size(width, height, dark)
                await page.remember({"hapax-client-key": WEB, "hapax-admin-key": ADMIN})
                await page.open("/ui#/live")
                await page.until("document.querySelector('#key-text').textContent == 'Client + Admin'")
                await page.until("document.querySelector('.page .note')?.textContent == 'Following'")
                await calls(made)
                kind = f"{'wide' if width > 1000 else 'phone'}-{'dark' if dark else 'light'}"
                for view in VIEWS:
                    if folder is None and (view, dark) not in DOCUMENTED:
                        continue
                    await show(page, view, made)
                    wide = await page.evaluate("document.documentElement.scrollWidth > innerWidth")
                    if wide:
                        print(f"{view} is wider than {kind}")
                    name = f"{view}-{kind}.png" if folder is not None else f"{view}-{'dark' if dark else 'light'}.png"
                    (folder or DOCUMENTS).mkdir(parents=True, exist_ok=True)
                    ((folder or DOCUMENTS) / name).write_bytes(await page.picture())
            print("\n".join(await page.found()))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]) if len(sys.argv) > 1 else None))
