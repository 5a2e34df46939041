"""
A picture as plain JSON, for `hapax top --once --json`; docs/cli.md tells its fields.

Counts are those of the last minute, or of the part of it that is known (`span_seconds`); nothing is turned into a rate.
"""

from dataclasses import asdict
from typing import Any

from proxy.cli.top.calls import Call
from proxy.cli.top.minute import Figures, quantile
from proxy.cli.top.model import Picture
from proxy.cli.top.standing import Provider
from proxy.core.clock import iso_of


def snapshot(picture: Picture, url: str, rows: int) -> dict[str, Any]:
    """*picture* of the gateway at *url*, with so many *rows* of calls of each kind."""
    calls = picture.calls
    return {
        "url": url,
        "at": iso_of(picture.at),
        "span_seconds": round(picture.span, 3),
        "workers": picture.workers,
        "figures": _figures(picture.figures),
        "providers": [_provider(*each) for each in picture.providers],
        "keys": [{**asdict(use), "share": round(use.share, 4)} for use in picture.uses],
        "latest": [_call(call) for call in calls[:rows]],
        "slowest": [_call(call) for call in sorted(calls, key=lambda call: call.took_ms, reverse=True)[:rows]],
        "failing": [_call(call) for call in [call for call in calls if not call.well][:rows]],
    }


def _figures(figures: Figures) -> dict[str, Any]:
    return {
        "calls": figures.calls,
        "failed": figures.failed,
        "refused": figures.refused,
        "client_gone": figures.gone,
        "prompt_tokens": figures.prompt,
        "completion_tokens": figures.completion,
        "cost_micro_usd": figures.cost,
        **{f"ttft_p{share}_ms": quantile(figures.first, share / 100) for share in (50, 95, 99)},
        **{f"latency_p{share}_ms": quantile(figures.took, share / 100) for share in (50, 95, 99)},
    }


def _provider(provider: Provider, figures: Figures) -> dict[str, Any]:
    return {
        "name": provider.name,
        "state": provider.state,
        "in_flight": provider.under_way,
        "parked_keys": list(provider.parked),
        "attempts": figures.attempts,
        "failed_attempts": figures.lost,
        "ttft_p50_ms": quantile(figures.first, 0.5),
        "latency_p50_ms": quantile(figures.took, 0.5),
        "latency_p95_ms": quantile(figures.took, 0.95),
        "targets": [
            {
                "name": target.name,
                "breaker": target.breaker,
                "blocked_by": target.blocked_by,
                "in_flight": target.under_way,
            }
            for target in provider.targets
        ],
    }


def _call(call: Call) -> dict[str, Any]:
    """In the names of the feed; `answered_model` only where it is another than the one that was asked for."""
    return {
        "request_id": call.id,
        "ended": iso_of(call.ended),
        "operation": call.route,
        "status": call.status,
        "outcome": call.outcome,
        "error_code": call.error,
        "principal": call.key,
        "model": call.model,
        "answered_model": call.answered,
        "provider": call.provider,
        "attempts": [{"provider": provider, "failure": failure} for provider, failure in call.attempts],
        "time_to_first_token_ms": call.first_ms,
        "latency_ms": call.took_ms,
        "prompt_tokens": call.prompt,
        "completion_tokens": call.completion,
        "cost_micro_usd": call.cost,
    }
