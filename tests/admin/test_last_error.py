"""The last error of a provider, of an attempt or a probe, on the pages of health and of operators: never content."""

import asyncio
import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest

from tests.conftest import GatewayFactory, RunningGateway, provider
from tests.rigs.simulator import Simulator
from tests.spec.wire import ask, becomes, chat, get

ADMIN, KEY = "hpx_admin_0f2d9be1c5a877", "hpx_client_4be19d0c77aa21"
AUTH = {"admin_key": ADMIN, "keys": [{"name": "web", "key": KEY}]}
HEAD, HEADS = f"X-API-Key: {KEY}\r\n", f"X-API-Key: {ADMIN}\r\n"


async def page(running: RunningGateway, path: str) -> Any:
    return (await ask(running.port, get(path, head=HEADS))).json


async def last_error(running: RunningGateway, name: str = "sim") -> dict[str, Any] | None:
    """The one of the provider of that name, which every page tells in the same words."""
    told = [
        (await page(running, "/admin/providers"))["providers"][name]["last_error"],
        (await page(running, "/health"))["providers"][name]["last_error"],
        (await page(running, f"/health/provider/{name}"))["last_error"],
    ]
    assert told[0] == told[1] == told[2]
    found: dict[str, Any] | None = told[0]
    return found


@pytest.mark.parametrize(
    ("model", "stream", "code", "reach", "status"),
    [
        ("sim-fault:status=500", False, "upstream_error", "sent, nothing usable received", 500),
        ("sim-fault:status=503", False, "upstream_unavailable", "refused before any work", 503),
        ("sim-fault:status=429", False, "rate_limit_exceeded", "refused before any work", 429),
        ("sim-fault:status=401", False, "upstream_auth_error", "refused before any work", 401),
        ("sim-1:tokens=9,rst@4", True, "upstream_truncated", "committed", 200),
    ],
)
async def test_a_failed_attempt_is_told_by_code_class_and_moment(
    gateway: GatewayFactory, simulator: Simulator, model: str, stream: bool, code: str, reach: str, status: int
) -> None:
    running = await gateway(
        {"auth": AUTH, "providers": {"sim": provider(simulator)}, "failover": {"retries": 0}, "store": {"url": ""}}
    )
    assert await last_error(running) is None
    before = datetime.now(UTC)
    # A stream that breaks off takes the client's connection along.
    with suppress(asyncio.IncompleteReadError):
        await ask(running.port, chat(model, head=HEAD, stream=stream))
    await becomes(lambda: running.listener.gateway.under_way.count == 0)
    told = await last_error(running)
    assert told is not None
    assert (told["code"], told["class"], told["status"]) == (code, reach, status)
    assert before.timestamp() - 1 <= datetime.fromisoformat(told["at"]).timestamp() <= datetime.now(UTC).timestamp() + 1
    assert told["reason"]


async def test_a_request_that_was_at_fault_is_no_error_of_the_provider(
    gateway: GatewayFactory, simulator: Simulator
) -> None:
    running = await gateway({"auth": AUTH, "providers": {"sim": provider(simulator)}})
    for status in (400, 404, 413, 422):
        assert (await ask(running.port, chat(f"sim-fault:status={status}", head=HEAD))).status == status
    assert await last_error(running) is None


async def test_a_failed_probe_is_told_and_stays_until_the_next_failure(gateway: GatewayFactory) -> None:
    away = {"type": "compatible", "base_url": "http://127.0.0.1:1/v1", "models": ["sim-*"]}
    running = await gateway({"auth": AUTH, "providers": {"away": away}})
    await running.listener.gateway.checks.known.wait()
    told = await last_error(running, "away")
    assert told is not None
    assert (told["code"], told["reason"]) == ("probe_failed", "connect: ECONNREFUSED")


async def test_a_session_that_was_refused_is_told(gateway: GatewayFactory, simulator: Simulator) -> None:
    away = {"type": "compatible", "base_url": "http://127.0.0.1:1/v1", "models": ["sim-*"]}
    running = await gateway({"auth": AUTH, "providers": {"away": away}, "health_check": {"interval": "1h"}})
    await running.listener.gateway.checks.known.wait()
    async with aiohttp.ClientSession(headers={"X-API-Key": KEY}) as client:
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await client.ws_connect(f"{running.url}/v1/realtime?model=sim-fast")
    told = await last_error(running, "away")
    assert told is not None
    assert (told["code"], told["class"]) == ("upstream_connect_error", "never sent")


async def test_no_word_of_a_call_and_no_key_is_in_it(gateway: GatewayFactory, simulator: Simulator) -> None:
    secret = "sk-Zx8Kq2vLw7Rt4Yb9Nm3Pc6Hd1Jf5Gs0A"
    running = await gateway({"auth": AUTH, "providers": {"sim": provider(simulator, api_key=secret)}})
    for status in (401, 403, 404, 429, 500, 503):
        await ask(running.port, chat(f"sim-fault:status={status}", head=HEAD))
        told = json.dumps(await last_error(running))
        for content in ("Hello", secret, "sim-fault"):
            assert content not in told
