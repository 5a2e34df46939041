"""Traffic of every kind, each call ending another way: what a gateway is configured with for it, and the calls."""

import asyncio
from typing import Any

from tests.spec.wire import ask, chat, get

ADMIN, KEY, POOR = "hpx_admin_5b1e77d0c2a94f", "hpx_client_90c3f1aa7be2d4", "hpx_client_poor_1c84e0f9"
AGAIN = "hpx_client_again_7d25b0e613"
SETTINGS: dict[str, Any] = {
    "server": {"drain_delay": "0s"},
    "providers": {
        name: {"type": "simulator", "timeouts": {"first_token": "200ms"}, "models": ["sim-*"]}
        for name in ("one", "two")
    },
    "models": {
        "flaky": {"targets": ["one/sim-fault:status=503", "two/sim-fast"]},
        "late": {"targets": ["one/sim-fault:stall@1", "two/sim-fast"]},
        "away": {"targets": ["one/sim-fault:status=500"], "fallbacks": ["sim-fast"]},
        "broken": {"targets": ["one/sim-1:tokens=9,rst@4"]},
    },
    "circuit_breaker": {"failure_threshold": 3},
    "health_check": {"interval": "500ms"},
    "queue": {"enabled": True, "max_running": 2},
    "cache": {"enabled": True},
    "auth": {
        "admin_key": ADMIN,
        "keys": [
            {
                "name": "web",
                "key": KEY,
                "team": "shop",
                "limits": {"requests_per_minute": 10_000, "tokens_per_minute": 1_000_000},
                "budget": {"usd": 9, "per": "day"},
                "cache": False,
            },
            {"name": "poor", "key": POOR, "limits": {"requests_per_minute": 1}, "cache": False},
            {"name": "again", "key": AGAIN, "budget": {"tokens": 1_000_000, "per": "day"}},
        ],
    },
    "store": {"url": "sqlite:///hapax.db", "prices": "prices.yaml"},
}
PRICES = {"ours": {"source": "this test", "as_of": "2026-11-25", "models": {"sim-*": {"input": 1, "output": 2}}}}
"""For `prices.yaml`."""


async def traffic(port: int) -> None:
    """Some of it."""
    head = f"X-API-Key: {KEY}\r\n"
    calls = [chat(model, head=head, stream=stream) for stream in (True, False) for model in ("sim-1:tokens=9", "flaky")]
    calls += [chat(model, head=head, stream=True) for model in ("late", "away", "broken", "nobody-has-it")]
    calls += [chat(head=f"X-API-Key: {POOR}\r\n")] * 2
    calls.append(chat("sim-fast", head=f"X-API-Key: {AGAIN}\r\n"))
    calls += [get("/v1/models", head=head), get("/ready"), get("/nowhere", head=head)]
    # One of them breaks its connection.
    await asyncio.gather(*(ask(port, call) for call in calls), return_exceptions=True)
