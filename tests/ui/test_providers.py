"""The providers in a real browser: what is thought of each, and what is done with one where the gateway can."""

from typing import Any

from proxy.simulator import Simulator
from tests.conftest import GatewayFactory, provider
from tests.spec.loop import until
from tests.spec.wire import ask, chat

from .conftest import Opening

ADMIN, KEY = "hapax-admin-9f2b6c1de04a7788", "hapax-client-4b1e9d7730aa65c2"
OPEN = {"circuit_breaker": {"failure_threshold": 1, "timeout": "600s"}, "failover": {"retries": 0}}


async def test_a_provider_that_fails_is_seen_failing(
    gateway: GatewayFactory, opened: Opening, simulator: Simulator
) -> None:
    running = await gateway({**OPEN, "providers": {"good": provider(simulator), "bad": provider(simulator)}})
    page = await opened(running, "/ui#/providers")
    await page.until("document.querySelectorAll('.card').length == 2")
    bad = running.listener.gateway.pool.providers[1]
    bad.health.healthy = False
    await page.until("document.querySelector('.card[aria-label=\"Provider bad\"] .badge').textContent == 'unhealthy'")
    assert await page.text(".card[aria-label='Provider good'] .badge") == "healthy"
    await until(lambda: bad.health.healthy is not None)


def told(drained: bool) -> dict[str, Any]:
    about: dict[str, Any] = {
        "healthy": True,
        "last_check": None,
        "consecutive_fails": 0,
        "latency_ms": 12.0,
        "error_count": 0,
    }
    about |= {"request_count": 7, "in_flight": 1, "failed_attempts": 2, "parked_keys": [2], "drained": drained}
    target = {"available": False, "blocked_by": "breaker open", "breaker": "open", "in_flight": 1}
    closed = {"available": True, "blocked_by": "", "breaker": "closed", "in_flight": 2}
    about["last_error"] = {
        "at": "2026-11-30T12:00:00.000Z",
        "code": "upstream_error",
        "class": "",
        "reason": "",
        "status": 500,
    }
    later = {**about["last_error"], "at": "2026-11-30T12:00:01.000Z", "code": "upstream_timeout"}
    mine = {"pid": 1, "providers": {"far": {**about, "targets": {"far/m": closed}}}}
    theirs = {"pid": 2, "providers": {"far": {**about, "last_error": later, "targets": {"far/m": target}}}}
    return {"providers": mine["providers"], "workers": [mine, theirs]}


SERIES = {
    "series": [
        {
            "name": "far",
            "calls": [3, 0, 4],
            "errors": {"refused": [0, 0, 0], "failed": [0, 0, 1], "cut": [0, 0, 0], "client_gone": [0, 0, 0]},
            "ttft_p50_ms": [80.0, None, 95.0],
        }
    ]
}


async def test_several_workers_are_one_and_what_a_provider_can_be_told_is_told_it(
    gateway: GatewayFactory, opened: Opening
) -> None:
    answers: dict[str, Any] = {
        "GET /admin/providers": told(False),
        "GET /admin/series": SERIES,
        "POST /admin/providers/far/drain": {"provider": "far", "action": "drain", "workers": []},
        "POST /admin/providers/far/ask": {"probe": {"ok": False, "problem": "status 503", "seconds": 0.1}},
    }
    page = await opened(await gateway(), "/ui#/providers", answers)
    card = await page.until("document.querySelector('.card')?.innerText")
    assert "as 2 workers see them" in await page.text(".head")
    # Sums of what is counted, the worst of what is thought.
    for words in ("14", "no. 2", "open", "breaker open", "3", "upstream_timeout"):
        assert words in card
    assert await page.evaluate("document.querySelectorAll('.spark-line').length") == 2
    await page.click(".card button", "Drain")
    await page.click("dialog button", "Drain")
    await page.until("asked.includes('POST /admin/providers/far/drain')")
    await page.click(".card button", "Ask now")
    await page.until("[...document.querySelectorAll('.toast')].at(-1).textContent == 'It does not answer: status 503'")


async def test_a_drained_provider_can_be_enabled(gateway: GatewayFactory, opened: Opening) -> None:
    answers: dict[str, Any] = {
        "GET /admin/providers": told(True),
        "GET /admin/series": {"series": []},
        "POST /admin/providers/far/enable": {"provider": "far", "action": "enable", "workers": []},
    }
    page = await opened(await gateway(), "/ui#/providers", answers)
    await page.until("document.querySelector('.card .badge.warn')?.textContent == 'drained'")
    await page.click(".card button", "Enable")
    await page.until("asked.includes('POST /admin/providers/far/enable')")


async def test_a_provider_is_drained_in_the_page_and_traffic_moves(
    gateway: GatewayFactory, opened: Opening, simulator: Simulator
) -> None:
    async with Simulator() as other:
        running = await gateway(
            {
                "auth": {"admin_key": ADMIN, "keys": [{"name": "me", "key": KEY}]},
                "providers": {"first": provider(simulator), "second": provider(other)},
                "provider_preference": ["first", "second"],
            }
        )

        async def answered_by() -> str | None:
            answer = await ask(running.port, chat("sim-fast", head=f"Authorization: Bearer {KEY}\r\n"))
            return answer.header("x-hapax-provider")

        first = "document.querySelector('.card[aria-label=\"Provider first\"] .badge.warn')"
        assert await answered_by() == "first"
        page = await opened(running, "/ui#/providers", admin=ADMIN)
        await page.click(".card button", "Drain: first")
        await page.click("dialog button", "Drain")
        await page.until(f"{first}?.textContent == 'drained'")
        assert await answered_by() == "second"
        await page.click(".card button", "Ask now: first")
        await page.until("[...document.querySelectorAll('.toast')].at(-1)?.textContent.startsWith('It answered in')")
        assert await answered_by() == "second", "that it answers does not enable it"
        await page.click(".card button", "Enable: first")
        await page.until(f"!{first}")
        assert await answered_by() == "first"
