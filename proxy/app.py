"""
The gateway, wired: from settings to the one function that answers requests.

The only file that knows all rooms. It builds and holds; it listens on nothing.
"""

from typing import Any

import orjson
from prometheus_async.aio import time as timed

from proxy.accounts.principals import Principals
from proxy.observe.log import AccessLog
from proxy.observe.metrics import Metrics
from proxy.providers.catalog import Catalog, CatalogError
from proxy.providers.pool import Pool
from proxy.providers.provider import Provider
from proxy.relay.attempt import Clocks
from proxy.relay.relay import Relay
from proxy.settings import Settings
from proxy.simulator import Simulator
from proxy.upstream.endpoint import Endpoint
from proxy.upstream.fetch import FetchError, fetch
from proxy.upstream.presets import PRESETS
from proxy.web.connection import GatewayServer
from proxy.web.cors import Cors
from proxy.web.front import Access, Front, Route
from proxy.web.health import Health
from proxy.web.inbound import Inbound
from proxy.web.native import Native
from proxy.web.openai import OpenAI

LIST_INTERVAL = 60.0
"""Seconds between refreshes of the model lists."""
LIST_RETRY_INTERVAL = 5.0
"""The same while some provider's list cannot be had."""
LIST_TIMEOUT = 5.0

_GET = frozenset(("GET", "HEAD"))
_POST = frozenset(("POST",))
_RELAYED = frozenset(("GET", "POST", "PUT", "PATCH", "DELETE"))
_SERVICES = ["/v1/chat/completions", "/v1/completions", "/v1/completion", "/v1/embeddings", "/v1/responses"]


class Gateway:
    """Everything between a listening socket and the providers."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.simulator = Simulator() if _needs_simulator(settings) else None
        self._endpoints: dict[str, Endpoint] = {}

    async def start(self) -> None:
        """Wire the rooms and begin background work."""
        settings = self.settings
        if self.simulator is not None:
            await self.simulator.start()
        self._endpoints = {name: self._endpoint(name) for name in settings.preferred_order}
        clocks = {
            name: Clocks(provider.timeouts.first_token, provider.timeouts.idle, provider.timeouts.total)
            for name, provider in settings.providers.items()
        }
        providers = [Provider(name, _declared_models(settings, name)) for name in settings.preferred_order]
        pool = Pool(providers, {name: model.targets for name, model in settings.models.items()})
        relay = Relay(pool, self._endpoints, clocks, settings.failover.retries)
        principals = Principals(
            ((key.name, key.key.get_secret_value(), key.models) for key in settings.auth.keys),
            settings.auth.admin_key.get_secret_value() if settings.auth.admin_key else None,
        )
        self.metrics = Metrics(lambda: self.front.active)
        self.catalog = Catalog(
            providers,
            timed(self.metrics.model_list_seconds)(self._fetch_models),
            LIST_INTERVAL,
            LIST_RETRY_INTERVAL,
        )
        native = Native(relay, pool, settings.processing)
        openai = OpenAI(relay, pool, self.catalog, native)
        health = Health(self.catalog, principals, _SERVICES, lambda: self.front.draining)
        operator = Access.OPERATOR if settings.metrics.auth else Access.OPEN
        routes = [
            Route("/v1/models", _GET, openai.models),
            Route("/v1/models/*", _GET, openai.model),
            Route("/v1/completion", _POST, native.handle, native=True),
            Route("/v1/health", _GET, health.overall, Access.OPEN),
            Route("/v1/*", _RELAYED, openai.relay),
            Route("/health", _GET, health.overall, Access.OPEN),
            Route("/health/*", _GET, health.below, Access.OPEN),
            Route("/live", _GET, health.live, Access.OPEN),
            Route("/health/live", _GET, health.live, Access.OPEN),
            Route("/ready", _GET, health.ready, Access.OPEN),
            Route("/health/ready", _GET, health.ready, Access.OPEN),
        ]
        if settings.metrics.enabled and settings.metrics.prometheus.enabled:
            routes.append(Route("/metrics", _GET, self._show_metrics, operator))
        cors = settings.server.cors
        self.front = Front(
            routes,
            principals,
            Cors(cors.allow_origins, cors.allow_methods, cors.allow_headers, cors.expose_headers, cors.max_age),
            [self.metrics, AccessLog()],
            max_header_bytes=settings.server.max_header_bytes,
            max_body_bytes=settings.server.max_body_bytes,
            read_timeout=settings.server.read_timeout,
        )
        await self.catalog.start()

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
        await self.catalog.stop()
        for endpoint in self._endpoints.values():
            await endpoint.close()
        if self.simulator is not None:
            await self.simulator.stop()

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

    async def _fetch_models(self, name: str) -> list[dict[str, Any]]:
        endpoint = self._endpoints[name]
        try:
            status, body = await fetch(endpoint, endpoint.models_path, LIST_TIMEOUT)
            if status != 200:
                raise CatalogError(f"status {status}")
            entries = orjson.loads(body)["data"]
            return [
                {**entry, "id": entry["id"].removeprefix(endpoint.model_prefix)} for entry in entries if entry["id"]
            ]
        except FetchError as error:
            raise CatalogError(str(error)) from error
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            raise CatalogError("not a model list") from error

    async def _show_metrics(self, inbound: Inbound) -> None:
        body, content_type = self.metrics.render(inbound.request.headers.get("Accept", ""))
        inbound.answer.send(200, [(b"Content-Type", content_type.encode("ascii"))], body)


def _declared_models(settings: Settings, name: str) -> tuple[str, ...] | None:
    """Names and globs; None where the provider's own list decides."""
    provider = settings.providers[name]
    if not provider.models and provider.type == "simulator":
        # Its model names carry directives, which no list can hold.
        return ("sim-*",)
    return provider.models or None


def _needs_simulator(settings: Settings) -> bool:
    return any(provider.type == "simulator" and not provider.base_url for provider in settings.providers.values())
