"""
The providers as they are configured now: their pool, how each is reached, probed and timed.

It builds them from the settings, and a reload replaces what differs. What happens on a call stands in the rooms below.
"""

import asyncio
import hashlib
import math
import random
from typing import TYPE_CHECKING

import orjson

from proxy.core import clock, tasks
from proxy.providers.breaker import Breaker
from proxy.providers.chat_model import chat_model
from proxy.providers.checks import Checks, Listless, ProbeFailed
from proxy.providers.pool import Entry, Pool
from proxy.providers.provider import Provider
from proxy.relay.clocks import Clocks
from proxy.settings import Settings
from proxy.settings.models import is_glob
from proxy.upstream.control_plane import ControlPlane, FetchError
from proxy.upstream.endpoint import Endpoint
from proxy.upstream.fetch import fetch
from proxy.upstream.model_list import NoList, model_list
from proxy.upstream.presets import PRESETS

if TYPE_CHECKING:
    from proxy.simulator import Simulator

READ = ("providers", "provider_preference", "models", "failover", "circuit_breaker", "health_check")
"""Sections of the settings that are read here."""
LIST_INTERVAL = 60.0
"""Seconds between refreshes of the model lists where health checks are switched off."""
PREFILLING = frozenset(("anthropic", "simulator"))
"""Provider types known to continue a trailing assistant message; others do when `prefill: true` says so."""
GONE_LOOK = 1.0
"""Seconds between two looks whether a provider that was taken out has ended its last call."""


class Upstreams:
    """Everything behind the relay."""

    def __init__(self, settings: Settings, rng: random.Random, control: ControlPlane) -> None:
        """*control*: by which providers are probed."""
        self.settings = settings
        """Those in force."""
        self._control = control
        self._simulator: Simulator | None = None
        self._rng = rng
        self._going = tasks.Tasks()
        self.endpoints: dict[Provider, Endpoint] = {}
        """How each provider is reached, those included that are on their way out."""
        self.clocks: dict[Provider, Clocks] = {}
        self.pool = Pool([], {}, self._new_breaker, rng)

    @property
    def simulates(self) -> bool:
        """The simulator of this process answers for some provider."""
        return self._simulator is not None

    async def start(self) -> None:
        """Build what the settings name."""
        await self.prepare(self.settings)
        self._rebuild(None)

    async def stop(self) -> None:
        """Close every connection to a provider."""
        await self._going.stop()
        for endpoint in self.endpoints.values():
            await endpoint.close()
        if self._simulator is not None:
            await self._simulator.stop()

    async def prepare(self, settings: Settings) -> None:
        """Start what *settings* need before they can be obeyed: the simulator, where a provider is one."""
        providers = settings.providers.values()
        if self._simulator is None and any(each.type == "simulator" and not each.base_url for each in providers):
            # A megabyte that only a start without any provider needs.
            from proxy.simulator import Simulator

            simulator = Simulator()
            await simulator.start()
            self._simulator = simulator

    def obey(self, settings: Settings, checks: Checks) -> None:
        """
        Put *settings* in force, for which `prepare` was called. Targets of a provider that stayed as it was keep their
        breakers, rests and figures; calls under way end where they are, and what they try next is decided anew.
        """
        before, self.settings = self.settings, settings
        if all(getattr(before, name) == getattr(settings, name) for name in READ):
            return
        gone = self._rebuild(before)
        checks.replace(self.pool.providers, *probing(settings))
        for provider in gone:
            self._going.start(self._let_go(provider), f"last calls of {provider.name}")

    async def probe(self, name: str) -> list[dict[str, object]]:
        """Ask the provider of that name for its models, see `proxy.providers.checks.Probe`."""
        provider, rules = self.pool.provider(name), self.settings.health_check
        endpoint = self.endpoints[provider]
        try:
            if rules.probe == "completion":
                await self._ask_for_a_token(provider, endpoint, rules.timeout)
            return await model_list(self._control, endpoint, provider.key_count, rules.timeout)
        except FetchError as error:
            raise ProbeFailed(str(error)) from error
        except NoList as error:
            raise Listless(f"GET /models: {error}") from error

    async def _ask_for_a_token(self, provider: Provider, endpoint: Endpoint, timeout: float) -> None:
        """The probe that costs money: one token of a model the provider is known to have, asked for yet or not."""
        targets = [target.model for target in self.pool.all_targets if target.provider is provider and target.model]
        declared = [name for name in provider.declared or () if not is_glob(name)]
        listed = [entry["id"] for entry in provider.listed or () if provider.serves(entry["id"])]
        model = chat_model([*targets, *declared, *listed])
        if model is None:
            return
        now = clock.now()
        key = next((key for key, until in enumerate(provider.parked_until) if until <= now), 0)
        question = {"model": model, "max_tokens": 1, "messages": [{"role": "user", "content": "health check"}]}
        status, _ = await fetch(self._control, endpoint, "/chat/completions", timeout, key, orjson.dumps(question))
        if status >= 500:
            raise ProbeFailed(f"completion: status {status}")

    def _rebuild(self, before: Settings | None) -> list[Provider]:
        """Replace what differs from *before*; returns the providers that are no longer asked."""
        settings, old = self.settings, {provider.name: provider for provider in self.pool.providers}
        same_rules = before is not None and before.circuit_breaker == settings.circuit_breaker
        providers = []
        for name in settings.preferred_order:
            known = old.get(name)
            if known is not None and before is not None and before.providers[name] == settings.providers[name]:
                del old[name]
                known.health.failure_threshold = settings.health_check.failure_threshold
                providers.append(known)
                continue
            provider = self._provider(name)
            if known is not None and known.listed is not None:
                # Until it has been asked again, its list is more likely the old one than none.
                provider.take_list(known.listed)
            self.endpoints[provider] = self._endpoint(name)
            providers.append(provider)
        for provider in providers:
            self.clocks[provider] = self._clocks(provider.name)
        self.pool.replace(
            providers,
            {
                name: Entry(
                    model.targets,
                    model.balance,
                    model.fallbacks,
                    model.context_fallbacks,
                    model.resume,
                    model.cache,
                )
                for name, model in settings.models.items()
            },
            keep_breakers=same_rules,
        )
        return list(old.values())

    async def _let_go(self, provider: Provider) -> None:
        """Close the connections of a provider that is not asked any more, once its last call has ended."""
        looks = 0
        # Twice in a row: a call may be just between two tries of the same target.
        while looks < 2:
            looks = 0 if provider.in_flight else looks + 1
            await asyncio.sleep(GONE_LOOK)
        del self.clocks[provider]
        await self.endpoints.pop(provider).close()

    def _endpoint(self, name: str) -> Endpoint:
        provider = self.settings.providers[name]
        base_url = provider.base_url
        if not base_url and self._simulator is not None:
            base_url = self._simulator.base_url
        return Endpoint(
            name,
            PRESETS[provider.type],
            base_url,
            [key.get_secret_value() for key in provider.keys],
            [(header, value.get_secret_value()) for header, value in provider.headers.items()],
            provider.timeouts.connect,
            provider.forward_proxy.get_secret_value(),
            provider.type,
        )

    def _provider(self, name: str) -> Provider:
        provider = self.settings.providers[name]
        preset = PRESETS[provider.type]
        return Provider(
            name,
            self._declared_models(name),
            weight=provider.weight,
            max_concurrency=provider.max_concurrency,
            key_count=len(provider.keys),
            failure_threshold=self.settings.health_check.failure_threshold,
            prefills=provider.type in PREFILLING if provider.prefill == "auto" else provider.prefill,
            asks_usage=provider.stream_usage is not False,
            asks_usage_strictly=provider.stream_usage is True,
            takes=preset.takes,
            implied=preset.implied,
            accounts=[hashlib.sha256(key.get_secret_value().encode()).hexdigest()[:16] for key in provider.keys],
        )

    def _declared_models(self, name: str) -> tuple[str, ...] | None:
        """Names and globs; None where the provider's own list decides."""
        provider = self.settings.providers[name]
        if not provider.models and provider.type == "simulator":
            # Its model names carry directives, which no list can hold.
            return ("sim-*",)
        return provider.models or None

    def _clocks(self, name: str) -> Clocks:
        timeouts = self.settings.providers[name].timeouts
        return Clocks(
            timeouts.first_token,
            timeouts.idle,
            timeouts.total,
            self.settings.failover.patience or math.inf,
            "first_token" in timeouts.model_fields_set,
            timeouts.stream or math.inf,
        )

    def _new_breaker(self) -> Breaker:
        rules = self.settings.circuit_breaker
        return Breaker(rules.max_requests, rules.interval, rules.timeout, rules.failure_threshold)


def probing(settings: Settings) -> tuple[float, bool]:
    """Seconds between two probes of a provider, and whether they judge it."""
    rules = settings.health_check
    return (rules.interval, True) if rules.enabled else (LIST_INTERVAL, False)
