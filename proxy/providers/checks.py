"""
The probes: every provider asked in the background for its model list, which also shows whether it is there.

They run in parallel from the start, each with jitter, through a function that is handed in; they are not traffic, and
what they find closes no breaker. A provider that falls silent keeps the list it gave last.
"""

import asyncio
import heapq
import logging
import random
from collections.abc import Awaitable, Callable, Sequence, Set
from typing import Any

from proxy.core import clock, tasks
from proxy.providers.last_error import PROBE_FAILED, LastError
from proxy.providers.provider import Provider
from proxy.providers.target import UNWELL

_log = logging.getLogger("hapax")

_audit = logging.getLogger("hapax.audit")
_metrics = logging.getLogger("hapax.metrics")

MOST_NAMES = 20
"""Names of models on one line of the log; some providers list thousands."""
JITTER = 0.1
"""Part of the interval by which each probe is moved at random, so that providers are not asked in lockstep."""

Probe = Callable[[str], Awaitable[list[dict[str, Any]]]]
"""Asks the provider of that name for its model list. Raises `Listless` or `ProbeFailed`."""


class ProbeFailed(Exception):
    """The provider did not show that it works; the text says how, for the log."""


class Listless(Exception):
    """The provider answered, and has no list for us; the text says how. Whether it serves calls, the calls show."""


class Checks:
    """Probes providers, and keeps their model lists and health."""

    def __init__(
        self, providers: Sequence[Provider], probe: Probe, interval: float, judge: bool, rng: random.Random
    ) -> None:
        """*interval*: seconds between two probes of a provider. *judge*: failures make a provider unhealthy."""
        self._providers = providers
        self._probe = probe
        self._interval = interval
        self._judge = judge
        self._rng = rng
        self._tasks: dict[Provider, asyncio.Task[None]] = {}
        self._asked_now = tasks.Tasks()
        self._unknown = set(providers)
        self._checked_at: dict[str, str] = {}
        self._loaded: dict[str, frozenset[str]] = {}
        """By provider's name: its models as the log has told them, which outlive a change of its settings."""
        self._listless: dict[str, str] = {}
        """By provider's name: why it gave no list, as the log has told."""
        self.known = asyncio.Event()
        """Every provider has been asked once: the lists, or their absence, mean something."""

    def start(self) -> None:
        """Begin to probe; the first round goes out at once and is not waited for."""
        for provider in self._providers:
            if provider not in self._tasks:
                self._tasks[provider] = tasks.start(self._run(provider), f"probes of {provider.name}")

    async def stop(self) -> None:
        """Stop probing."""
        await tasks.end(*self._tasks.values())
        await self._asked_now.stop()

    def replace(self, providers: Sequence[Provider], interval: float, judge: bool) -> None:
        """Probe these from now on; those that are new at once, the others when their time has come."""
        if not self._tasks:
            self._unknown = set(providers)
        self._interval, self._judge = interval, judge
        for provider in set(self._providers) - set(providers):
            self._tasks.pop(provider).cancel()
            self._unknown.discard(provider)
        self._providers = providers
        names = {provider.name for provider in providers}
        for name in self._loaded.keys() - names:
            _tell("unload", name, self._loaded.pop(name))
        for name in self._listless.keys() - names:
            del self._listless[name]
        self.start()
        if not self._unknown:
            self.known.set()

    def ask_now(self, provider: Provider) -> asyncio.Task[str]:
        """Probe *provider* at once, beside its own rhythm; the task ends with how the probe failed, empty if well."""
        return self._asked_now.start(self._ask(provider), f"probe of {provider.name}")

    def facts(self) -> dict[str, dict[str, Any]]:
        """What is known of each provider, in the form of the health pages."""
        return {
            provider.name: {
                "healthy": provider.health.healthy,
                "last_check": self._checked_at.get(provider.name),
                "consecutive_fails": provider.health.consecutive_fails,
                "latency_ms": provider.health.latency_ms,
                "error_count": provider.health.consecutive_fails,
                "request_count": provider.request_count,
                "last_error": provider.last_error and provider.last_error.as_json(),
            }
            for provider in self._providers
        }

    async def _run(self, provider: Provider) -> None:
        while True:
            await self._ask(provider)
            self._unknown.discard(provider)
            if not self._unknown:
                self.known.set()
            await asyncio.sleep(pause(self._interval, provider.health.healthy, self._rng))

    async def _ask(self, provider: Provider) -> str:
        """Returns how the probe failed; empty for one that went well."""
        started = clock.now()
        failed: ProbeFailed | None = None
        try:
            try:
                provider.take_list(await self._probe(provider.name))
                self._listless.pop(provider.name, None)
            except Listless as error:
                self._note_listless(provider.name, str(error))
            # One without a list has what the settings declare, from its first answer on.
            before, now_there = self._loaded.get(provider.name, frozenset()), provider.models
            self._loaded[provider.name] = now_there
            _tell("load", provider.name, now_there - before, clock.now() - started)
            _tell("unload", provider.name, before - now_there)
        except ProbeFailed as error:
            failed = error
        now = clock.now()
        self._checked_at[provider.name] = at = clock.iso(clock.wall())
        problem = "" if failed is None else str(failed)
        if problem:
            provider.last_error = LastError(at, PROBE_FAILED, reason=problem)
        told = {"event": "probe", "stage": "probe", "provider": provider.name}
        if _log.isEnabledFor(logging.DEBUG):
            took = round((now - started) * 1000, 3)
            more = {**told, "ok": failed is None, "reason": problem, "latency_ms": took}
            _log.debug("provider %s: probed, %s", provider.name, problem or "well", extra={"fields": more})
        if not self._judge:
            return problem
        health = provider.health
        if health.record(failed is None, now, now - started):
            if health.healthy:
                told["event"] = "provider_healthy"
                _log.info("provider %s: healthy again", provider.name, extra={"fields": told})
            else:
                # Those that an operator has drained stand in for none, and are not lost.
                last = not provider.drained and not any(each.usable for each in self._providers)
                told |= {"event": "last_provider_lost" if last else "provider_unhealthy", "reason": problem}
                words = "provider %s: unhealthy after %d probes: %s" + "; it was the last healthy one" * last
                level = logging.ERROR if last else logging.WARNING
                _log.log(level, words, provider.name, health.consecutive_fails, problem, extra={"fields": told})
        return problem

    def _note_listless(self, provider: str, why: str) -> None:
        """Once for each reason: being asked for a list is not its job."""
        if self._listless.get(provider) != why:
            self._listless[provider] = why
            told = {"event": "list_missing", "stage": "probe", "provider": provider, "reason": why}
            if why.endswith("401"):
                words = "provider %s: gives no model list (%s); its key may be bad, calls will show"
                _log.warning(words, provider, why, extra={"fields": told})
            else:
                words = "provider %s: gives no model list (%s), and is asked all the same"
                _log.info(words, provider, why, extra={"fields": told})


def pause(interval: float, healthy: bool, rng: random.Random) -> float:
    """Seconds until the next probe of a provider; one that is unwell is looked at at least every `UNWELL` seconds."""
    if healthy or interval <= UNWELL:
        return interval * rng.uniform(1 - JITTER, 1 + JITTER)
    return UNWELL * rng.uniform(1 - JITTER, 1)


def _tell(event: str, provider: str, models: Set[str], seconds: float | None = None) -> None:
    """
    Models have come (*event* `load`) or gone (`unload`); *seconds*: how long the list took. One line in each stream,
    however many models.
    """
    if not models:
        return
    names = heapq.nsmallest(MOST_NAMES, models)
    told = {"event": f"model_{event}", "stage": "probe", "provider": provider, "count": len(models), "models": names}
    if seconds is not None:
        told["load_duration"] = round(seconds, 6)
        metric = {"name": "model_load_duration", "value": told["load_duration"], "labels": {"provider": provider}}
        fields = {"event": "metric", "stage": "probe", "metric": metric}
        _metrics.info("model_load_duration", extra={"fields": fields})
    _log.info("Model %sed", event, extra={"fields": told})
    if _log.isEnabledFor(logging.INFO):
        # Unlike what an operator changes, it is told at the log's level.
        _audit.info("Audit: model_%s", event, extra={"fields": {**told, "by": "gateway"}})
