"""
The rooms of a gateway that outlast its configuration: what is counted, held, kept and connected, and what asks for it.

Made once. What is made anew with each configuration stands in `configured`; how one takes another's place, in
`gateway`.
"""

import random
import uuid
from collections.abc import Mapping

from proxy.admin.admin import standing
from proxy.admin.configuration import Configuration, Reloading
from proxy.admin.feed import Feed
from proxy.admin.pages import OperatorPages
from proxy.admin.series import Series
from proxy.admin.trails import Trails
from proxy.admission.accounting import Accounting
from proxy.admission.admission import Admission
from proxy.admission.charges import Charges
from proxy.api.chat import Chat
from proxy.api.generate import Generate
from proxy.api.models import Models
from proxy.api.processed import Processed
from proxy.api.shared import Shared
from proxy.api.websocket import WebSockets
from proxy.cache.answer_cache import answer_cache
from proxy.cache.single_flight import SingleFlight
from proxy.core import clock
from proxy.core.exchange import Observer
from proxy.core.peers import NoPeers, Peers
from proxy.health import checklist
from proxy.health.checkup import Checkup
from proxy.health.debug import Debug
from proxy.health.health import Health
from proxy.health.readiness import Readiness
from proxy.health.route_checks import RouteChecks
from proxy.http.buffered import Buffered
from proxy.http.connections import Served
from proxy.http.reader import Reader
from proxy.middleware.authenticator import Authenticator
from proxy.middleware.records import Records
from proxy.middleware.under_way import UnderWay
from proxy.observe import configuration
from proxy.observe.access import AccessLog, fields
from proxy.observe.cached import CacheFamilies
from proxy.observe.clients import Clients
from proxy.observe.failures import Failures
from proxy.observe.lag import LoopLag
from proxy.observe.log import Logs
from proxy.observe.metrics import Metrics
from proxy.observe.outlets import Outlets
from proxy.observe.page import Pages
from proxy.observe.processing import Processing as ProcessingFamilies
from proxy.observe.state import StateCollector
from proxy.observe.surroundings import Surroundings
from proxy.observe.verbosity import Verbosity
from proxy.providers.checks import Checks
from proxy.relay.owners import Owners
from proxy.relay.relay import Relay
from proxy.relay.session import Sessions
from proxy.relay.step import retrying
from proxy.relay.upstreams import Upstreams, probing
from proxy.settings import Loaded, Settings
from proxy.settings.in_force import InForce
from proxy.upstream.control_plane import ControlPlane


class Rooms:
    """All of them, with nothing opened yet."""

    def __init__(
        self,
        settings: Settings,
        logs: Logs | None,
        peers: Peers | None,
        in_force: InForce | None,
        reloading: Reloading | None,
    ) -> None:
        """Arguments as for `build`."""
        peers, instance, rng = peers or NoPeers(), str(uuid.uuid4()), random.Random()
        self.settings = settings
        """Those in force."""
        self.peers = peers
        self.in_force = in_force or InForce(Loaded(settings, "the program", None, []), clock.wall())
        self.logs = logs
        self.verbosity = Verbosity(settings, self.in_force, logs)
        self.control = control = ControlPlane()
        self.lag, self.served, self.under_way = LoopLag(), Served(), UnderWay()
        self.upstreams = behind = Upstreams(settings, rng, control)
        self.pool = pool = behind.pool
        self.accounting = accounting = Accounting(settings, pool.reads_as_class)
        self.relay = Relay(pool, behind.endpoints, behind.clocks, *retrying(settings.failover), rng)
        self.sessions = Sessions(pool, behind.endpoints, rng, control)
        charges = Charges(accounting.prices, pool.upstream_names)
        self.admission = Admission(accounting.limits, accounting.policy, charges, accounting.queue, accounting.ledger)
        self.flights, self.cache = SingleFlight(settings.deduplication.mode), answer_cache(settings, pool, charges.cost)
        self.admission.tokens_first = not settings.cache.enabled
        self.processed = done = Processed()
        self.metrics, self.access = Metrics(pool), AccessLog(logs)
        self.clients, self.failures = Clients(accounting.principals.team_of), Failures()
        self.trails, self.series = Trails(), Series(pool)
        self.records = records = Records(())
        self.outlets = Outlets(
            settings.metrics,
            settings.tracing,
            self.metrics.registry,
            records.hand_over,
            lambda: behind.settings.providers,
            peers.asker,
            instance,
            control,
        )
        surroundings = Surroundings(
            pool,
            behind.endpoints,
            self.under_way.by_route,
            self.served.by_protocol,
            self.served.turned_away,
            self.lag,
            lambda: self.settings.health.memory_limit,
            self._dropped,
            lambda: self.flights.shared_total,
            self.relay.refused,
            self.served.certificates,
        )
        self.served.on_closed = surroundings.disconnected
        if accounting.store is not None:
            accounting.store.on_done = surroundings.stored
        registry = self.metrics.registry
        registry.register(surroundings)
        registry.register(StateCollector(self.admission.hits, lambda: accounting.counted))
        registry.register(ProcessingFamilies(done))
        registry.register(CacheFamilies(self.cache))
        registry.register(configuration.Configuration(self.in_force))
        registry.register(self.clients)
        registry.register(self.failures)
        self.feed = Feed(lambda exchange: fields(exchange, clock.epoch()), lambda: standing(pool), peers, instance[:8])
        self.checks = Checks((), surroundings.timed(behind.probe), *probing(settings), rng)
        self.authenticator = Authenticator(accounting.principals, accounting.keyless, accounting.watch)
        self.health = Health(
            self.checks,
            self.checkup_of(settings),
            pool,
            self.authenticator,
            lambda: self.under_way.draining,
            self.route_checks_of(settings),
            lambda: self.lag.worst,
        )
        registry.register(Readiness(self.health))
        self.debug = Debug(self.health, registry)
        self.pages = Pages(
            registry, records.hand_over, peers, lambda: self.settings.metrics.prometheus.native_histograms
        )
        self.operators = OperatorPages(
            records,
            self.trails,
            self.series,
            self.feed,
            self.pages,
            pool,
            self.checks,
            Configuration(self.in_force, reloading),
            self.cache,
            self.verbosity,
            peers,
        )
        self.answers = self.operators.answers
        self.websockets = WebSockets(self.sessions, self.admission, records)
        self.owners = Owners(accounting.objects, pool)
        self.shared = Shared(self.flights, self.admission)
        self.chat = Chat(self.relay, self.shared)
        self.generate = Generate(self.chat, pool)
        self.models = Models(self.relay, self.admission, pool, self.checks)
        self.buffered, self.reader = Buffered(settings.server.max_buffered), Reader(settings.server.read_timeout)
        records.replace(self.observers(settings))

    def checkup_of(self, settings: Settings) -> Checkup:
        """What `/health` looks at by these settings."""
        well = checklist.checks_of(settings, self.accounting, self.pool, self.checks, self.lag)
        return Checkup(well, settings.health.interval, settings.health.timeout)

    def route_checks_of(self, settings: Settings) -> RouteChecks:
        """The checks of single paths by these settings."""
        return RouteChecks(
            settings.routes,
            lambda: self.pool.usable(clock.now()),
            self.served.accepts,
            self.metrics.slow,
            self.records.hand_over,
        )

    def observers(self, settings: Settings) -> list[Observer]:
        """What reads ended exchanges by these settings; spans go where the outlets in force send them."""
        outlets = self.outlets
        counting = (self.metrics, self.clients, self.failures) if settings.metrics.enabled else ()
        optional = *counting, self.accounting.ledger, outlets.traces, outlets.statsd
        found: list[Observer] = [self.admission, self.access, self.trails, self.series, self.feed]
        return [*found, *(each for each in optional if each is not None)]

    def _dropped(self) -> Mapping[str, int]:
        """By the name of a counter, how many lines or spans were not sent for want of room."""
        counts = {}
        if (spans := self.outlets.spans_dropped) is not None:
            counts["hapax_spans_dropped"] = spans
        if self.logs is not None:
            counts["hapax_log_dropped"] = self.logs.dropped_total
        return counts
