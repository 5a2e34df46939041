"""
The gateway, wired: from settings to the one function that answers requests.

The only file that knows all rooms. It builds and holds; it listens on nothing.
"""

import random
from typing import Any

import orjson
from prometheus_async.aio import time as timed

from proxy.observe.log import AccessLog
from proxy.observe.metrics import Metrics
from proxy.observe.state import StateCollector
from proxy.providers.breaker import Breaker
from proxy.providers.budget import RetryBudget
from proxy.providers.checks import Checks, ProbeFailed
from proxy.providers.pool import Entry, Pool
from proxy.providers.provider import Provider
from proxy.relay.clocks import Clocks
from proxy.relay.course import Rules
from proxy.relay.relay import Relay
from proxy.settings import Settings
from proxy.simulator import Simulator
from proxy.state import State
from proxy.upstream.endpoint import Endpoint
from proxy.upstream.fetch import FetchError, fetch
from proxy.upstream.presets import PRESETS
from proxy.web.address import trusting
from proxy.web.admin import Admin, Trails
from proxy.web.admission import Admission
from proxy.web.auth import Doorkeeper
from proxy.web.connection import GatewayServer
from proxy.web.cors import Cors
from proxy.web.front import Access, Front, Route
from proxy.web.health import Health
from proxy.web.inbound import Inbound
from proxy.web.keys import KeysAdmin
from proxy.web.native import Native
from proxy.web.openai import OpenAI
from proxy.web.records import Records
from proxy.web.usage import UsagePages

LIST_INTERVAL = 60.0
"""Seconds between refreshes of the model lists where health checks are switched off."""

RESERVED_FILES = 64
"""Descriptors kept for logs, probes, listening sockets and operators."""
PREFILLING = frozenset(("anthropic", "simulator"))
"""Provider types known to continue a trailing assistant message; others do when `prefill: true` says so."""

_GET = frozenset(("GET", "HEAD"))
_POST = frozenset(("POST",))
_KEYS = frozenset(("GET", "HEAD", "POST"))
_KEY = frozenset(("DELETE", "GET", "HEAD", "POST"))
_RELAYED = frozenset(("GET", "POST", "PUT", "PATCH", "DELETE"))
_SERVICES = ["/v1/chat/completions", "/v1/completions", "/v1/completion", "/v1/embeddings", "/v1/responses"]


class Gateway:
    """Everything between a listening socket and the providers."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.simulator = Simulator() if _needs_simulator(settings) else None
        self.state = State(settings)
        self._endpoints: dict[str, Endpoint] = {}
        self.checks: Checks | None = None
        self.records: Records | None = None

    async def start(self) -> None:
        """Wire the rooms and begin background work."""
        settings, state = self.settings, self.state
        await state.start()
        if self.simulator is not None:
            await self.simulator.start()
        self._endpoints = {name: self._endpoint(name) for name in settings.preferred_order}
        rng = random.Random()
        providers = [self._provider(name) for name in settings.preferred_order]
        self.pool = pool = Pool(
            providers,
            {
                name: Entry(model.targets, model.balance, model.fallbacks, model.context_fallbacks, model.resume)
                for name, model in settings.models.items()
            },
            self._new_breaker,
            rng,
        )
        failover = settings.failover
        self.relay = relay = Relay(
            pool,
            self._endpoints,
            {name: self._clocks(name) for name in settings.providers},
            Rules(failover.retries, failover.initial_delay, failover.max_delay, failover.multiplier),
            RetryBudget(failover.budget) if failover.budget else RetryBudget(0.0, reserve=0.0, trickle=0.0),
            rng,
        )
        self.admission = admission = Admission(
            state.limits, state.policy, state.prices, self._upstream_models, state.queue, state.ledger
        )
        self.metrics = Metrics(lambda: self.front.active, pool)
        self.metrics.registry.register(
            StateCollector(
                admission.hits,
                state.limits,
                state.principals,
                state.watch,
                state.ledger,
                state.queue,
                state.queue_file,
            )
        )
        health_check = settings.health_check
        self.checks = Checks(
            providers,
            timed(self.metrics.probe_seconds)(self._probe),
            health_check.interval if health_check.enabled else LIST_INTERVAL,
            health_check.enabled,
            rng,
        )
        native = Native(relay, admission, pool, settings.processing)
        openai = OpenAI(relay, admission, pool, self.checks, native)
        doorkeeper = Doorkeeper(state.principals, state.keyless, state.watch)
        health = Health(self.checks, doorkeeper, _SERVICES, lambda: self.front.draining)
        trails = Trails()
        self.records = records = Records(
            [self.metrics, AccessLog(), trails, *([state.ledger] if state.ledger is not None else [])]
        )
        admin = Admin(trails, records.hand_over, pool, self.checks.facts)
        keys = KeysAdmin(state.keys, lambda: state.file_keys)
        usage = UsagePages(state.store)
        operator = Access.OPERATOR if settings.metrics.auth else Access.OPEN
        routes = [
            Route("/v1/models", _GET, openai.models),
            Route("/v1/models/*", _GET, openai.model),
            Route("/v1/completion", _POST, native.handle, native=True),
            Route("/v1/health", _GET, health.overall, Access.OPEN),
            Route("/v1/usage", _GET, usage.own),
            Route("/v1/*", _RELAYED, openai.relay),
            Route("/health", _GET, health.overall, Access.OPEN),
            Route("/health/*", _GET, health.below, Access.OPEN),
            Route("/live", _GET, health.live, Access.PROBE),
            Route("/health/live", _GET, health.live, Access.PROBE),
            Route("/ready", _GET, health.ready, Access.PROBE),
            Route("/health/ready", _GET, health.ready, Access.PROBE),
            Route("/admin/requests/*", _GET, admin.request, Access.ADMIN),
            Route("/admin/providers", _GET, admin.providers, Access.ADMIN),
            Route("/admin/keys", _KEYS, keys.collection, Access.ADMIN),
            Route("/admin/keys/*", _KEY, keys.one, Access.ADMIN),
            Route("/admin/usage", _GET, usage.everybody, Access.ADMIN),
        ]
        if settings.metrics.enabled and settings.metrics.prometheus.enabled:
            routes.append(Route("/metrics", _GET, self._show_metrics, operator))
        cors = settings.server.cors
        self.front = Front(
            routes,
            doorkeeper,
            state.keyless,
            trusting(settings.server.trusted_proxies),
            Cors(cors.allow_origins, cors.allow_methods, cors.allow_headers, cors.expose_headers, cors.max_age),
            admission.settle,
            records,
            max_header_bytes=settings.server.max_header_bytes,
            max_body_bytes=settings.server.max_body_bytes,
            read_timeout=settings.server.read_timeout,
            max_requests=settings.server.max_requests or _affordable_requests(),
        )
        self.checks.start()

    def protocols(self) -> GatewayServer:
        """What a listening socket makes its connections with."""
        return GatewayServer(
            self.front.handle,
            self.front.refuse,
            read_timeout=self.settings.server.read_timeout,
            write_timeout=self.settings.server.write_timeout,
            max_header_bytes=self.settings.server.max_header_bytes,
        )

    async def stop(self) -> None:
        """End background work and close every connection to a provider."""
        if self.checks is not None:
            await self.checks.stop()
        for endpoint in self._endpoints.values():
            await endpoint.close()
        if self.simulator is not None:
            await self.simulator.stop()
        if self.records is not None:
            self.records.hand_over()
        await self.state.stop()

    def _upstream_models(self, model: str) -> list[str]:
        """Whoever may come to answer for *model*, its fallbacks included, by the names providers know."""
        entry = self.pool.entry(model or None)
        names = (model, *entry.fallbacks, *entry.context_fallbacks) if model else (model,)
        return [target.model or name for name in names for target in self.pool.targets(name or None)]

    def _endpoint(self, name: str) -> Endpoint:
        provider = self.settings.providers[name]
        base_url = provider.base_url
        if not base_url and self.simulator is not None:
            base_url = self.simulator.base_url
        return Endpoint(
            name,
            PRESETS[provider.type],
            base_url,
            [key.get_secret_value() for key in provider.keys],
            [(header, value.get_secret_value()) for header, value in provider.headers.items()],
            provider.timeouts.connect,
        )

    def _provider(self, name: str) -> Provider:
        provider = self.settings.providers[name]
        return Provider(
            name,
            _declared_models(self.settings, name),
            weight=provider.weight,
            max_concurrency=provider.max_concurrency,
            key_count=len(provider.keys),
            failure_threshold=self.settings.health_check.failure_threshold,
            prefills=provider.type in PREFILLING if provider.prefill == "auto" else provider.prefill,
            asks_usage=provider.stream_usage is not False,
            asks_usage_strictly=provider.stream_usage is True,
        )

    def _clocks(self, name: str) -> Clocks:
        timeouts = self.settings.providers[name].timeouts
        return Clocks(
            timeouts.first_token,
            timeouts.idle,
            timeouts.total,
            self.settings.failover.patience,
            strict="first_token" in timeouts.model_fields_set,
        )

    def _new_breaker(self) -> Breaker:
        rules = self.settings.circuit_breaker
        return Breaker(rules.max_requests, rules.interval, rules.timeout, rules.failure_threshold)

    async def _probe(self, name: str) -> list[dict[str, Any]] | None:
        endpoint, rules = self._endpoints[name], self.settings.health_check
        try:
            if rules.probe == "completion":
                await self._ask_for_a_token(name, endpoint, rules.timeout)
            for key in range(max(1, len(self.settings.providers[name].keys))):
                status, body = await fetch(endpoint, endpoint.models_path, rules.timeout, key)
                if status not in (401, 403):
                    # One key that was revoked does not make a provider sick whose other keys are good.
                    break
        except FetchError as error:
            raise ProbeFailed(str(error)) from error
        if status in (404, 405, 429):
            # It is there, and has no list for us; whether it serves calls is for the calls to show.
            return None
        if status != 200:
            raise ProbeFailed(f"GET /models: status {status}")
        try:
            entries = orjson.loads(body)["data"]
            return [
                {**entry, "id": entry["id"].removeprefix(endpoint.model_prefix)} for entry in entries if entry["id"]
            ]
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            raise ProbeFailed("GET /models: not a model list") from error

    async def _ask_for_a_token(self, name: str, endpoint: Endpoint, timeout: float) -> None:
        """The probe that costs money: one token of the first model the provider is known to have."""
        target = next(
            (target for target in self.pool.all_targets if target.provider.name == name and target.model), None
        )
        if target is None:
            return
        question = {"model": target.model, "max_tokens": 1, "messages": [{"role": "user", "content": "health check"}]}
        status, _ = await fetch(endpoint, "/chat/completions", timeout, body=orjson.dumps(question))
        if status >= 500:
            raise ProbeFailed(f"completion: status {status}")

    async def _show_metrics(self, inbound: Inbound) -> None:
        assert self.records is not None
        self.records.hand_over()
        body, content_type = self.metrics.render(inbound.request.headers.get("Accept", ""))
        inbound.answer.send(200, [(b"Content-Type", content_type.encode("ascii"))], body)


def _declared_models(settings: Settings, name: str) -> tuple[str, ...] | None:
    """Names and globs; None where the provider's own list decides."""
    provider = settings.providers[name]
    if not provider.models and provider.type == "simulator":
        # Its model names carry directives, which no list can hold.
        return ("sim-*",)
    return provider.models or None


def _affordable_requests() -> int:
    """How many calls the file descriptors allow: each takes a client's and a provider's connection."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return 10_000
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, (min(allowed, 1_000_000) - RESERVED_FILES) // 2)


def _needs_simulator(settings: Settings) -> bool:
    return any(provider.type == "simulator" and not provider.base_url for provider in settings.providers.values())
