"""What a gateway tells, as literal pages and events, and pictures made of them."""

from typing import Any

from proxy.cli.top.calls import Call, call_of
from proxy.cli.top.model import Model, Picture
from proxy.core.clock import iso_of

NOON = 1_796_040_000.0
"""2026-11-30T12:00:00Z."""


def told(at: float = NOON, **changes: Any) -> dict[str, Any]:
    """An event `call` of one that ended *at*, after 250 ms."""
    whole: dict[str, Any] = {
        "request_id": "req-1",
        "operation": "/v1/chat/completions",
        "status": 200,
        "outcome": "ok",
        "error_code": "",
        "latency_ms": 250.0,
        "time_to_first_token_ms": 120.0,
        "principal": "web",
        "model": "gpt-4o",
        "answered_model": "gpt-4o",
        "provider": "openai",
        "attempts": [{"provider": "openai", "status": 200, "failure": ""}],
        "tokens": {"prompt": 10, "completion": 20, "total": 30},
        "cost_micro_usd": 1500,
        **changes,
    }
    return {**whole, "start_time": iso_of(at - whole["latency_ms"] / 1000 + 0.0001)}


def refused(at: float = NOON, **changes: Any) -> dict[str, Any]:
    """The same of one that its key's limit turned away."""
    nothing = {"attempts": [], "provider": "", "tokens": None, "cost_micro_usd": None, "time_to_first_token_ms": None}
    return told(at, **{"status": 429, "outcome": "refused", "error_code": "rate_limit_exceeded", **nothing, **changes})


def failed(at: float = NOON, **changes: Any) -> dict[str, Any]:
    """The same of one for which two providers were asked in vain."""
    lost = [{"provider": name, "status": 503, "failure": "upstream_error"} for name in ("openai", "azure")]
    nothing = {"tokens": None, "cost_micro_usd": None, "time_to_first_token_ms": None}
    ended = {"status": 503, "outcome": "failed", "error_code": "upstream_unavailable"}
    return told(at, **{**ended, "attempts": lost, "provider": "azure", **nothing, **changes})


def call(at: float = NOON, **changes: Any) -> Call:
    return call_of(told(at, **changes))


def provider(**changes: Any) -> dict[str, Any]:
    """What `/admin/providers` tells of one."""
    return {
        "healthy": True,
        "drained": False,
        "in_flight": 0,
        "parked_keys": [],
        "targets": {"openai/gpt-4o": target()},
        **changes,
    }


def target(**changes: Any) -> dict[str, Any]:
    return {"available": True, "blocked_by": "", "breaker": "closed", "in_flight": 0, **changes}


def key(name: str = "web", **changes: Any) -> dict[str, Any]:
    """What `/admin/keys` tells of one."""
    limits = {"requests_per_minute": None, "tokens_per_minute": None, "concurrent": None}
    return {
        "name": name,
        "status": "active",
        "limits": {**limits, **changes.pop("limits", {})},
        "budget": None,
        **changes,
    }


def model(*calls: dict[str, Any], now: float = NOON, providers: dict[str, Any] | None = None) -> Model:
    """One that was told of these."""
    made = Model()
    for each in calls:
        made.happened("call", each, now)
    made.providers_told({"providers": {"openai": provider()} if providers is None else providers})
    return made


def picture(*calls: dict[str, Any], now: float = NOON, providers: dict[str, Any] | None = None) -> Picture:
    return model(*calls, now=now, providers=providers).picture(now)
