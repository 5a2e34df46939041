"""
The gateway, wired: from settings to an application of aiohttp's.

The only file that knows all rooms. It builds and holds; it listens on nothing.
"""

import asyncio
import logging
import random
import uuid
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

from aiohttp import web
from prometheus_async.aio import time

from proxy.admin.admin import Admin, standing
from proxy.admin.configured import configured
from proxy.admin.debug import Debug
from proxy.admin.events import Events
from proxy.admin.feed import Feed
from proxy.admin.keys import KeysAdmin
from proxy.admin.metrics import MetricsPages
from proxy.admin.metrics_port import MetricsPort
from proxy.admin.trails import Trails
from proxy.admin.usage import UsagePages
from proxy.admission.accounting import Accounting
from proxy.admission.admission import Admission
from proxy.admission.charges import Charges
from proxy.api.generate import Generate
from proxy.api.models import Models
from proxy.api.native import Native
from proxy.api.openai import OpenAI
from proxy.api.websocket import WebSockets
from proxy.api.welcome import welcome
from proxy.core import clock
from proxy.core.errors import ProxyError
from proxy.core.peers import EVENTS, METRICS, PROVIDERS, TRAIL, NoPeers, Peers
from proxy.health import checklist
from proxy.health.checkup import Checkup, Condition
from proxy.health.health import Health
from proxy.health.route_checks import RouteChecks
from proxy.http.address import trusting
from proxy.http.connections import ClientConnections
from proxy.http.files import affordable_requests
from proxy.http.reader import Reader
from proxy.middleware.authenticator import Authenticator
from proxy.middleware.cors import Cors
from proxy.middleware.front import Access, Front, Route
from proxy.middleware.origin import Neighbourhood
from proxy.middleware.records import Records
from proxy.middleware.trace import TraceContext
from proxy.observe import outlets
from proxy.observe.access import AccessLog, epoch, fields
from proxy.observe.lag import LoopLag
from proxy.observe.log import Logs
from proxy.observe.metrics import Metrics
from proxy.observe.page import Pages
from proxy.observe.processing import Processing as ProcessingFamilies
from proxy.observe.state import StateCollector
from proxy.observe.surroundings import Surroundings
from proxy.providers.budget import RetryBudget
from proxy.providers.checks import Checks, ProbeFailed
from proxy.relay import upstreams
from proxy.relay.owners import Owners
from proxy.relay.relay import Relay
from proxy.relay.session import Sessions
from proxy.relay.step import Rules
from proxy.relay.upstreams import Upstreams, probing
from proxy.settings import Settings
from proxy.upstream.control_plane import ControlPlane

_GET = frozenset(("GET", "HEAD"))
_POST = frozenset(("POST",))
_MODEL = frozenset(("DELETE", "GET", "HEAD"))
_KEYS = frozenset(("GET", "HEAD", "POST"))
_KEY = frozenset(("DELETE", "GET", "HEAD", "POST"))
_RELAYED = frozenset(("GET", "POST", "PUT", "PATCH", "DELETE"))
_SERVICES = ["/v1/chat/completions", "/v1/completions", "/v1/completion", "/v1/embeddings", "/v1/responses"]


class Gateway:
    """Everything between a listening socket and the providers."""

    def __init__(self, settings: Settings, logs: Logs | None = None, peers: Peers | None = None) -> None:
        """
        *logs*: where the lines of exchanges go; None where the embedding program owns this process's logging.
        *peers*: the workers beside this one.
        """
        self.settings = settings
        self._peers = peers or NoPeers()
        self._instance = str(uuid.uuid4())
        self._logs = logs
        self.state = Accounting(settings)
        self._rng = random.Random()
        self._control = control = ControlPlane()
        self.upstreams = Upstreams(settings, self._rng, control)
        self.reports = outlets.error_reports(settings.tracing)
        self.traces = outlets.traces(settings.tracing, lambda: self.settings.providers, self._instance, control)
        self.lag = LoopLag()
        self.clients: ClientConnections | None = None
        """Those it is served over; None where another server than ours does."""
        self.address: tuple[str, int] | None = None
        """Where it listens, once it does."""
        state, behind, rng = self.state, self.upstreams, self._rng
        self.pool = pool = behind.pool
        state.principals.reads_as_class = pool.reads_as_class
        self.relay = relay = Relay(pool, behind.endpoints, behind.clocks, *_retrying(settings), rng)
        self.admission = admission = Admission(
            state.limits, state.policy, Charges(state.prices, self._upstream_models), state.queue, state.ledger
        )
        self.metrics = Metrics(pool)
        self.surroundings = around = self._surroundings()
        self.metrics.registry.register(around)
        if state.store is not None:
            state.store.on_done = around.stored
        known = state.limits, state.principals, state.watch, state.ledger, state.queue, state.queue_file, state.objects
        self.metrics.registry.register(StateCollector(admission.hits, *known))
        self.checks = Checks((), self._probe, *probing(settings), rng)
        native = Native(relay, admission, pool, settings.processing)
        done = native.processed
        self.metrics.registry.register(ProcessingFamilies(done.templates, done.answers, done.changes, done.seconds))
        generate = Generate(relay, admission, pool)
        trails = Trails()
        self.feed = Feed(
            lambda exchange: fields(exchange, epoch()), lambda: standing(pool), self._peers, self._instance[:8]
        )
        self.records = records = Records(
            [
                admission,
                *([self.metrics] if settings.metrics.enabled else []),
                AccessLog(self._logs),
                trails,
                self.feed,
                *([state.ledger] if state.ledger is not None else []),
                *([self.traces] if self.traces is not None else []),
            ]
        )
        self.sessions = sessions = Sessions(pool, behind.endpoints, rng, control)
        websockets, owners = WebSockets(sessions, admission, records), Owners(state.objects, pool)
        openai = OpenAI(relay, admission, native, websockets, settings.server, owners)
        models = Models(relay, admission, pool, self.checks)
        authenticator = Authenticator(state.principals, state.keyless, state.watch)
        checkup = Checkup(
            checklist.checks_of(settings, state, pool, self.checks, self.lag),
            settings.health.interval,
            settings.health.timeout,
        )
        self.route_checks = RouteChecks(settings.routes, lambda: pool.usable(clock.now()), self._accepts, self._slow)
        health = Health(
            self.checks,
            checkup,
            pool,
            authenticator,
            _SERVICES,
            lambda: self.front.draining,
            self.route_checks,
            lambda: self.lag.worst,
        )
        debug = Debug(health, self.metrics.registry)
        self.admin = admin = Admin(trails, records.hand_over, pool, self.checks.facts, self._peers)
        keys = KeysAdmin(state.keys, lambda: state.file_keys)
        usage = UsagePages(state.store)
        operator = Access.OPEN
        if settings.metrics.auth:
            # The page names every key: where there is an admin key, only its holder needs the page.
            operator = Access.ADMIN if settings.auth.admin_key is not None else Access.OPERATOR
        routes = [
            Route("/", _GET, welcome, Access.PROBE),
            Route("/v1/models", _GET, models.all, page=True),
            Route("/v1/models/*", _MODEL, models.one, page=True),
            Route("/v1/completion", _POST, native.handle, error_body=ProxyError.native_body),
            Route("/api/generate", _POST, generate.handle, error_body=ProxyError.generate_body),
            Route("/v1/health", _GET, health.overall, Access.OPEN),
            Route("/v1/usage", _GET, usage.own, page=True),
            Route("/v1/*", _RELAYED, openai.relay),
            Route("/health", _GET, health.overall, Access.OPEN),
            Route("/health/*", _GET, health.below, Access.OPEN),
            Route("/live", _GET, health.live, Access.PROBE),
            Route("/health/live", _GET, health.started, Access.PROBE),
            Route("/ready", _GET, health.ready, Access.PROBE),
            Route("/health/ready", _GET, health.ready_in_full, Access.PROBE),
            Route("/debug", _GET, debug.show, operator),
            Route("/admin/requests/*", _GET, admin.request, Access.ADMIN),
            Route("/admin/providers", _GET, admin.providers, Access.ADMIN),
            Route("/admin/events", _GET, Events(self.feed).follow, Access.ADMIN),
            Route("/admin/keys", _KEYS, keys.collection, Access.ADMIN),
            Route("/admin/keys/*", _KEY, keys.one, Access.ADMIN),
            Route("/admin/usage", _GET, usage.everybody, Access.ADMIN),
        ]
        self.pages = Pages(self.metrics.registry, records.hand_over, self._peers)
        if settings.metrics.enabled and settings.metrics.prometheus.enabled:
            pages = MetricsPages(self.pages.text, self.pages.json)
            routes.append(Route("/metrics", _GET, pages.text, operator))
            routes.append(Route("/metrics/json", _GET, pages.json, operator))
        cors = Cors(settings.server.cors)
        self.reader = Reader(settings.server.read_timeout)
        self.front = Front(
            configured(routes, settings.routes),
            authenticator,
            state.keyless,
            trusting(settings.server.trusted_proxies),
            cors,
            Neighbourhood(state.principals, cors.allows, settings.server.host),
            admission,
            records,
            TraceContext(settings.tracing.sample_ratio if settings.tracing.otlp_endpoint else None),
            max_header_bytes=settings.server.max_header_bytes,
            max_body_bytes=settings.server.max_body_bytes,
            max_buffered=settings.server.max_buffered,
            reader=self.reader,
            read_timeout=settings.server.read_timeout,
            max_requests=settings.server.max_requests or affordable_requests(),
            keep_content=settings.logging.log_content,
        )
        self.metrics_port = self._metrics_port(health)
        self._reports_of_metrics = outlets.metrics_out(
            settings.metrics, self.metrics.registry, records.hand_over, self._peers.asker, self._instance, control
        )

    async def start(self) -> None:
        """Open what the rooms need and begin background work."""
        if self.reports is not None:
            self.reports.start()
        await self.state.start()
        await self._control.start()
        await self.upstreams.start()
        self.checks.replace(self.pool.providers, *probing(self.settings))
        self.lag.start()
        self.route_checks.start()
        for each in self._reports_of_metrics:
            each.start()
        if self.traces is not None:
            self.traces.start()

    def answer(self, what: str, of: Any) -> Any:
        """What this worker says to a question of `others`; None to one it does not know."""
        if what == METRICS:
            return self.pages.snapshot()
        if what == TRAIL:
            return self.admin.trail(str(of))
        if what == PROVIDERS:
            return self.admin.assessment()
        if what == EVENTS:
            self.records.hand_over()
            return self.feed.own_after(of)
        return None

    def served_over(self, clients: ClientConnections) -> None:
        """Its clients' connections, which are counted."""
        self.clients = clients
        clients.on_closed = self.surroundings.disconnected

    async def reload(self, settings: Settings) -> list[str]:
        """Put in force what changes without a restart; returns the sections that differ and wait for one."""
        waiting = self.state.reload(settings)
        before = self.settings
        self.settings = before.model_copy(update={name: getattr(settings, name) for name in upstreams.RELOADED})
        await self.upstreams.reload(self.settings, self.checks)
        if self.settings.failover != before.failover:
            self.relay.obey(*_retrying(self.settings))
        return [name for name in waiting if name not in upstreams.RELOADED]

    async def stop(self) -> None:
        """End background work and close every connection to a provider."""
        self.lag.stop()
        if self.metrics_port is not None:
            await self.metrics_port.stop()
        for each in self._reports_of_metrics:
            await each.stop()
        await self.checks.stop()
        await self.route_checks.stop()
        await self.reader.stop()
        await self.upstreams.stop()
        self.records.hand_over()
        if self.traces is not None:
            await self.traces.stop()
        await self._control.stop()
        await self.state.stop()
        if self.reports is not None:
            await self.reports.stop()

    def _upstream_models(self, model: str) -> list[str]:
        """The targets that may come to answer for *model*, its fallbacks included, by the names providers know."""
        entry = self.pool.entry(model or None)
        names = (model, *entry.fallbacks, *entry.context_fallbacks) if model else (model,)
        return [target.model or name for name in names for target in self.pool.targets(name or None)]

    def _metrics_port(self, health: Health) -> MetricsPort | None:
        """The operators' own port, not yet open; None where there is none."""
        if not self.settings.metrics.port:
            return None
        checks, pages = self.checks, self.pages

        async def json(accept: str) -> tuple[bytes, str]:
            return await pages.json()

        async def condition() -> Condition:
            return (await health.condition())[0]

        shown = {"/metrics": pages.text, "/metrics/json": json}
        return MetricsPort(shown, condition, checks.known.is_set, lambda: health.uptime, self.pool)

    async def _accepts(self) -> bool:
        """Whether this gateway takes a connection."""
        if self.address is None:
            return False
        try:
            _, writer = await asyncio.open_connection(*self.address)
        except OSError:
            return False
        writer.close()
        return True

    def _slow(self, route: str, seconds: float) -> tuple[int, int]:
        self.records.hand_over()
        return self.metrics.slow(route, seconds)

    async def _probe(self, name: str) -> list[dict[str, object]]:
        """Ask a provider for its models, and take the time."""
        try:
            return await time(self.surroundings.probes.of(name), self.upstreams.probe(name))
        except ProbeFailed:
            self.surroundings.probe_failed(name)
            raise

    def _surroundings(self) -> Surroundings:
        dropped: dict[str, Callable[[], int]] = {}
        if self.traces is not None:
            traces = self.traces
            dropped["hapax_spans_dropped"] = lambda: traces.dropped_total
        if self._logs is not None:
            logs = self._logs
            dropped["hapax_log_dropped"] = lambda: logs.dropped_total
        return Surroundings(
            self.pool,
            self.upstreams.endpoints,
            lambda: self.front.active_by_route(),
            lambda: self.clients.open if self.clients is not None else 0,
            lambda: self.clients.turned_away if self.clients is not None else {},
            self.lag,
            self.settings.health.memory_limit,
            dropped,
        )


GATEWAY = web.AppKey("GATEWAY", Gateway)
"""Where an application has its gateway."""


def create_app(settings: Settings, logs: Logs | None = None, peers: Peers | None = None) -> web.Application:
    """
    The gateway as an application: to be served by `web.run_app`, by gunicorn's aiohttp workers or by `hapax serve`, or
    mounted in another with `add_subapp`. What it needs is opened when the application starts and closed when it is
    cleaned up. Arguments as for `Gateway`; `ValueError` for settings that cannot be used, with their path.

    A server that is not ours has its own limits for heads and slow clients; give it `handler_cancellation=True`, by
    which a call ends when its client leaves.
    """
    gateway = Gateway(settings, logs, peers)

    async def running(_: web.Application) -> AsyncIterator[None]:
        gateway.front.mounted()
        try:
            await gateway.start()
            yield
        finally:
            await gateway.stop()

    async def leaving(_: web.Application) -> None:
        gateway.front.draining = gateway.front.closing = True
        gateway.feed.close()

    async def unnamed(_: web.Request, response: web.StreamResponse) -> None:
        # A version is an invitation.
        response.headers.popall("Server", None)

    # A method cannot be marked as a middleware, what calls it can.
    app = web.Application(
        middlewares=[web.middleware(partial(gateway.front.handle))], logger=logging.getLogger("hapax")
    )
    app[GATEWAY] = gateway
    app.cleanup_ctx.append(running)
    app.on_shutdown.append(leaving)
    app.on_response_prepare.append(unnamed)
    gateway.front.add_routes(app.router)
    return app


def _retrying(settings: Settings) -> tuple[Rules, RetryBudget]:
    """When a call is tried again, and how often all of them together."""
    rules = settings.failover
    budget = RetryBudget(rules.budget) if rules.budget else RetryBudget(0.0, reserve=0.0, trickle=0.0)
    return Rules(rules.retries, rules.initial_delay, rules.max_delay, rules.multiplier), budget
