"""
The gateway, put together: `build` makes every room from the settings, `create_app` an application of aiohttp's of them.

The only file that knows all rooms. It listens on nothing.
"""

import logging
import random
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial

from aiohttp import web

from proxy.admin.admin import Admin, standing
from proxy.admin.answers import Answers
from proxy.admin.configured import configured
from proxy.admin.feed import Feed
from proxy.admin.routes import admin_routes
from proxy.admin.trails import Trails
from proxy.admission.accounting import Accounting
from proxy.admission.admission import Admission
from proxy.admission.charges import Charges
from proxy.api.generate import Generate
from proxy.api.models import Models
from proxy.api.native import Native
from proxy.api.openai import OpenAI
from proxy.api.routes import api_routes
from proxy.api.websocket import WebSockets
from proxy.cache.single_flight import SingleFlight
from proxy.core import clock
from proxy.core.peers import NoPeers, Peers
from proxy.health import checklist
from proxy.health.checkup import Checkup
from proxy.health.debug import Debug
from proxy.health.health import Health
from proxy.health.metrics_port import MetricsPort
from proxy.health.route_checks import RouteChecks
from proxy.health.routes import health_routes
from proxy.http.address import trusting
from proxy.http.connections import Served
from proxy.http.files import affordable_requests
from proxy.http.reader import Reader
from proxy.middleware.authenticator import Authenticator
from proxy.middleware.cors import Cors
from proxy.middleware.front import Front
from proxy.middleware.origin import Neighbourhood
from proxy.middleware.records import Records
from proxy.middleware.trace import TraceContext
from proxy.middleware.under_way import UnderWay
from proxy.observe import outlets
from proxy.observe.access import AccessLog, fields
from proxy.observe.lag import LoopLag
from proxy.observe.log import Logs
from proxy.observe.metrics import Metrics
from proxy.observe.page import Pages
from proxy.observe.processing import Processing as ProcessingFamilies
from proxy.observe.sentry import ErrorReports
from proxy.observe.state import StateCollector
from proxy.observe.surroundings import Surroundings
from proxy.observe.traces import Traces
from proxy.providers.checks import Checks
from proxy.providers.pool import Pool
from proxy.relay import upstreams
from proxy.relay.owners import Owners
from proxy.relay.relay import Relay
from proxy.relay.session import Sessions
from proxy.relay.step import retrying
from proxy.relay.upstreams import Upstreams, probing
from proxy.settings import Settings
from proxy.ui.routes import ui_routes
from proxy.upstream.control_plane import ControlPlane


@dataclass(eq=False)
class Gateway:
    """Everything between a listening socket and the providers."""

    settings: Settings
    """Those in force: a reload puts others here."""
    front: Front
    under_way: UnderWay
    served: Served
    accounting: Accounting
    upstreams: Upstreams
    pool: Pool
    admission: Admission
    relay: Relay
    sessions: Sessions
    control: ControlPlane
    reader: Reader
    checks: Checks
    route_checks: RouteChecks
    records: Records
    feed: Feed
    pages: Pages
    answers: Answers
    metrics: Metrics
    lag: LoopLag
    metrics_port: MetricsPort | None
    """The operators' own port, not yet open; None where the settings name none."""
    exporters: list[outlets.Exporter]
    traces: Traces | None
    reports: ErrorReports | None

    async def start(self) -> None:
        """Open what the rooms need and begin background work."""
        if self.reports is not None:
            self.reports.start()
        await self.accounting.start()
        await self.upstreams.start()
        self.checks.replace(self.pool.providers, *probing(self.settings))
        self.lag.start()
        self.route_checks.start()
        for exporter in self.exporters:
            exporter.start()
        if self.traces is not None:
            self.traces.start()

    async def reload(self, settings: Settings) -> list[str]:
        """Put in force what changes without a restart; returns the sections that differ and wait for one."""
        waiting = self.accounting.reload(settings)
        before = self.settings
        self.settings = before.model_copy(update={name: getattr(settings, name) for name in upstreams.RELOADED})
        await self.upstreams.reload(self.settings, self.checks)
        if self.settings.failover != before.failover:
            self.relay.obey(*retrying(self.settings.failover))
        return [name for name in waiting if name not in upstreams.RELOADED]

    async def stop(self) -> None:
        """
        End background work and close every connection to a provider, also of a gateway that did not start. An error of
        one room keeps no other from its end; the last one is raised.
        """
        async with AsyncExitStack() as ending:
            # What is named last ends first.
            if self.reports is not None:
                ending.push_async_callback(self.reports.stop)
            ending.push_async_callback(self.accounting.stop)
            ending.push_async_callback(self.control.stop)
            if self.traces is not None:
                ending.push_async_callback(self.traces.stop)
            ending.callback(self.records.hand_over)
            for stop in (self.upstreams.stop, self.reader.stop, self.route_checks.stop, self.checks.stop):
                ending.push_async_callback(stop)
            for exporter in self.exporters:
                ending.push_async_callback(exporter.stop)
            if self.metrics_port is not None:
                ending.push_async_callback(self.metrics_port.stop)
            ending.push_async_callback(self.lag.stop)


GATEWAY = web.AppKey("GATEWAY", Gateway)
"""Where an application has its gateway."""


def create_app(settings: Settings, logs: Logs | None = None, peers: Peers | None = None) -> web.Application:
    """
    The gateway as an application: to be served by `web.run_app`, by gunicorn's aiohttp workers or by `hapax serve`, or
    mounted in another with `add_subapp`. What it needs is opened when the application starts and closed when it is
    cleaned up. Arguments as for `build`; `ValueError` for settings that cannot be used, with their path.

    A server that is not ours has its own limits for heads and slow clients; give it `handler_cancellation=True`, by
    which a call ends when its client leaves.
    """
    gateway = build(settings, logs, peers)

    async def running(app: web.Application) -> AsyncIterator[None]:
        gateway.front.mounted(app.router)
        try:
            await gateway.start()
            yield
        finally:
            await gateway.stop()

    async def leaving(_: web.Application) -> None:
        gateway.under_way.draining = gateway.under_way.closing = True
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


def build(settings: Settings, logs: Logs | None = None, peers: Peers | None = None) -> Gateway:
    """
    The gateway these settings ask for, with nothing opened yet. *logs*: where the lines of exchanges go; None where
    another program set up this process's logging, which gets records. *peers*: the workers beside this one.
    """
    peers, instance, rng = peers or NoPeers(), str(uuid.uuid4()), random.Random()
    control, lag, served, under_way = ControlPlane(), LoopLag(), Served(), UnderWay()
    behind = Upstreams(settings, rng, control)
    pool = behind.pool
    accounting = Accounting(settings, pool.reads_as_class)
    relay = Relay(pool, behind.endpoints, behind.clocks, *retrying(settings.failover), rng)
    sessions = Sessions(pool, behind.endpoints, rng, control)
    charges = Charges(accounting.prices, pool.upstream_names)
    admission = Admission(accounting.limits, accounting.policy, charges, accounting.queue, accounting.ledger)
    native, generate = Native(relay, admission, pool, settings.processing), Generate(relay, admission, pool)
    metrics, trails, flights = Metrics(pool), Trails(), SingleFlight(settings.deduplication.mode)
    traces = outlets.traces(settings.tracing, lambda: behind.settings.providers, instance, control)
    surroundings = Surroundings(
        pool,
        behind.endpoints,
        under_way.by_route,
        lambda: served.open,
        served.turned_away,
        lag,
        settings.health.memory_limit,
        outlets.dropped(logs, traces),
        lambda: flights.shared_total,
    )
    served.on_closed = surroundings.disconnected
    if accounting.store is not None:
        accounting.store.on_done = surroundings.stored
    done = native.processed
    processing = ProcessingFamilies(done.templates, done.answers, done.changes, done.seconds)
    for family in (surroundings, StateCollector(admission.hits, *accounting.counted), processing):
        metrics.registry.register(family)
    feed = Feed(lambda exchange: fields(exchange, clock.epoch()), lambda: standing(pool), peers, instance[:8])
    optional = metrics if settings.metrics.enabled else None, accounting.ledger, traces
    records = Records([admission, AccessLog(logs), trails, feed, *(each for each in optional if each is not None)])
    checks = Checks((), surroundings.timed(behind.probe), *probing(settings), rng)
    well = checklist.checks_of(settings, accounting, pool, checks, lag)
    checkup = Checkup(well, settings.health.interval, settings.health.timeout)
    route_checks = RouteChecks(
        settings.routes, lambda: pool.usable(clock.now()), served.accepts, metrics.slow, records.hand_over
    )
    authenticator = Authenticator(accounting.principals, accounting.keyless, accounting.watch)
    health = Health(checks, checkup, pool, authenticator, lambda: under_way.draining, route_checks, lambda: lag.worst)
    admin = Admin(trails, records.hand_over, pool, checks.facts, peers)
    pages = Pages(metrics.registry, records.hand_over, peers)
    websockets, owners = WebSockets(sessions, admission, records), Owners(accounting.objects, pool)
    openai = OpenAI(relay, admission, native, websockets, settings.server, owners, flights)
    routes = [
        *health_routes(settings, health, Debug(health, metrics.registry)),
        *admin_routes(settings, accounting, admin, feed, pages),
        *ui_routes(settings),
        *api_routes(settings, openai, native, generate, Models(relay, admission, pool, checks)),
    ]
    server, cors, reader = settings.server, Cors(settings.server.cors), Reader(settings.server.read_timeout)
    front = Front(
        configured(routes, settings.routes),
        authenticator,
        accounting.keyless,
        trusting(server.trusted_proxies),
        cors,
        Neighbourhood(accounting.principals, cors.allows, server.host),
        admission,
        records,
        TraceContext(settings.tracing.sample_ratio if settings.tracing.otlp_endpoint else None),
        under_way,
        max_header_bytes=server.max_header_bytes,
        max_body_bytes=server.max_body_bytes,
        max_buffered=server.max_buffered,
        reader=reader,
        read_timeout=server.read_timeout,
        max_requests=server.max_requests or affordable_requests(),
        keep_content=settings.logging.log_content,
    )
    exporters = outlets.exporters(settings.metrics, metrics.registry, records.hand_over, peers.asker, instance, control)
    return Gateway(
        settings=settings,
        front=front,
        under_way=under_way,
        served=served,
        accounting=accounting,
        upstreams=behind,
        pool=pool,
        admission=admission,
        relay=relay,
        sessions=sessions,
        control=control,
        reader=reader,
        checks=checks,
        route_checks=route_checks,
        records=records,
        feed=feed,
        pages=pages,
        answers=Answers(pages, admin, records, feed),
        metrics=metrics,
        lag=lag,
        metrics_port=MetricsPort(pages, health, checks, pool) if settings.metrics.port else None,
        exporters=exporters,
        traces=traces,
        reports=outlets.error_reports(settings.tracing),
    )
