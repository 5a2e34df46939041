"""
What an operator may ask about single calls and providers: the decision trail of a request, the state of every target.

Facts at hand only; nothing here changes anything: see `actions`.
"""

import os
from collections.abc import Callable
from typing import Any

from aiohttp import web

from proxy.admin.trails import Trails
from proxy.core import clock
from proxy.core.errors import ProxyError
from proxy.core.exchange import AttemptRecord
from proxy.core.peers import PROVIDERS, TRAIL, Peers
from proxy.http.inbound import INBOUND
from proxy.http.page import json_page
from proxy.providers.pool import Pool


class Admin:
    """The handlers below `/admin`."""

    def __init__(
        self,
        trails: Trails,
        catch_up: Callable[[], None],
        pool: Pool,
        facts: Callable[[], dict[str, dict[str, Any]]],
        peers: Peers,
    ) -> None:
        """
        *catch_up* brings *trails* up to date; *facts* tells what the probes found, per provider; *peers* know of what
        they did themselves.
        """
        self._trails = trails
        self._catch_up = catch_up
        self._pool = pool
        self._facts = facts
        self._peers = peers

    async def request(self, request: web.Request) -> web.StreamResponse:
        """The decision trail of one request: who was passed over and why, who was tried and what came of it."""
        inbound = request[INBOUND]
        request_id = inbound.location.path.removeprefix("/admin/requests/")
        trail = self.trail(request_id)
        if trail is None:
            trail = next(filter(None, await self._peers.ask(TRAIL, request_id)), None)
        if trail is None:
            raise ProxyError("unknown_url", "No such request is remembered; only the last ones are, in memory.")
        return json_page(trail)

    def trail(self, request_id: str) -> dict[str, Any] | None:
        """The same as plain JSON; None for a request this worker does not remember."""
        self._catch_up()
        exchange = self._trails.find(request_id)
        if exchange is None:
            return None
        tokens = exchange.tokens
        return {
            "request_id": exchange.id,
            "route": exchange.route,
            "principal": exchange.principal,
            "model": exchange.model,
            "answered_model": exchange.answered_model,
            "stream": exchange.stream,
            "status": exchange.status,
            "outcome": exchange.outcome.value,
            "error_code": exchange.error_code,
            "duration_ms": _ms(exchange.duration),
            "queued_ms": _ms(exchange.queued),
            "provider": exchange.provider,
            "tokens": tokens and {"prompt": tokens.prompt, "completion": tokens.completion},
            "cost_micro_usd": exchange.cost,
            "hedged": exchange.hedged,
            "resumed": exchange.resumed,
            "shared_with": exchange.shared,
            "cached": exchange.cached,
            "kept_to": exchange.kept_to,
            "skipped": exchange.skipped,
            "attempts": [_attempt(attempt, exchange.started) for attempt in exchange.attempts],
        }

    async def providers(self, request: web.Request) -> web.StreamResponse:
        """Every provider and target, and what is thought of it now; by each worker where there are several."""
        mine = self.assessment()
        theirs = await self._peers.ask(PROVIDERS)
        workers = {"workers": [mine, *filter(None, theirs)]} if theirs else {}
        return json_page({"providers": mine["providers"], **workers})

    def assessment(self) -> dict[str, Any]:
        """The same as plain JSON, with the pid of who thinks so."""
        now = clock.now()
        facts = self._facts()
        for provider in self._pool.providers:
            about = facts[provider.name]
            about["drained"] = provider.drained
            about["in_flight"] = provider.in_flight
            about["failed_attempts"] = provider.error_count
            about["parked_keys"] = [index + 1 for index, until in enumerate(provider.parked_until) if until > now]
            about["targets"] = {
                str(target): {
                    "available": target.available(now),
                    "blocked_by": target.blocked_by(now),
                    "breaker": target.breaker.state(now).value,
                    "in_flight": target.in_flight,
                }
                for target in self._pool.told_targets
                if target.provider is provider
            }
        return {"pid": os.getpid(), "providers": facts}


def standing(pool: Pool) -> dict[tuple[str, str], str]:
    """What is thought of every provider, breaker and provider's key now, see `feed.Standing`."""
    now = clock.now()
    told: dict[tuple[str, str], str] = {}
    for provider in pool.providers:
        well = "healthy" if provider.health.healthy else "unhealthy"
        told["provider", provider.name] = "drained" if provider.drained else well
        for number, until in enumerate(provider.parked_until, 1):
            told["key", f"{provider.name} {number}"] = "parked" if until > now else "in use"
    for target in pool.told_targets:
        told["breaker", str(target)] = target.breaker.state(now).value
    return told


def _attempt(attempt: AttemptRecord, started: float) -> dict[str, Any]:
    return {
        "target": f"{attempt.provider}/{attempt.model}" if attempt.model else attempt.provider,
        "began_ms": _ms(attempt.started - started),
        "beside": attempt.began_beside,
        "sent_ms": _ms(attempt.sent_at - started) if attempt.sent_at else None,
        "head_ms": _ms(attempt.head_at - started) if attempt.head_at else None,
        "first_content_ms": _ms(attempt.first_content_at - started) if attempt.first_content_at else None,
        "ended_ms": _ms(attempt.ended - started) if attempt.ended else None,
        "status": attempt.status,
        "failure": attempt.failure,
        "class": attempt.reach,
        "reason": attempt.reason,
    }


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
