"""
What is made anew with each configuration: routes and the front that leads calls by them, and what else its settings
need that can be had before they are in force.

It changes nothing: what was made here may be thrown away.
"""

from dataclasses import dataclass

from proxy.accounts.prices import Prices
from proxy.admin.configured import configured as with_wanted
from proxy.admin.routes import admin_routes
from proxy.api.native import Native
from proxy.api.openai import OpenAI
from proxy.api.routes import api_routes
from proxy.gateway.rooms import Rooms
from proxy.health.checkup import Checkup
from proxy.health.route_checks import RouteChecks
from proxy.health.routes import health_routes
from proxy.http.address import trusting
from proxy.http.files import affordable_requests
from proxy.middleware.cors import Cors
from proxy.middleware.front import Front
from proxy.middleware.openapi import with_document
from proxy.middleware.origin import Neighbourhood
from proxy.middleware.table import Table
from proxy.middleware.trace import TraceContext
from proxy.observe.log import Opened
from proxy.observe.outlets import Sending
from proxy.settings import Settings
from proxy.ui.routes import ui_routes


@dataclass(frozen=True, slots=True)
class Configured:
    """A configuration that can be put in force."""

    settings: Settings
    front: Front
    checkup: Checkup
    route_checks: RouteChecks
    prices: Prices
    sending: Sending
    logs: Opened | None
    """None where another program set up this process's logging."""


def front_of(rooms: Rooms, settings: Settings) -> Front:
    """The routes of *settings*, and what leads calls there."""
    native = Native(rooms.chat, rooms.pool, settings.processing, rooms.processed)
    openai = OpenAI(
        rooms.relay,
        rooms.admission,
        native,
        rooms.websockets,
        settings.server,
        rooms.owners,
        rooms.shared,
        rooms.cache,
    )
    routes = [
        *health_routes(settings, rooms.health, rooms.debug),
        *admin_routes(settings, rooms.accounting, rooms.operators),
        *ui_routes(settings),
        *api_routes(settings, openai, native, rooms.generate, rooms.models),
    ]
    server = settings.server
    cors = Cors(server.cors)
    return Front(
        Table(with_document(with_wanted(routes, settings.routes))),
        rooms.authenticator,
        rooms.accounting.keyless,
        trusting(server.trusted_proxies),
        cors,
        Neighbourhood(rooms.accounting.principals, cors.allows, server.host),
        rooms.admission,
        rooms.records,
        TraceContext(rooms.verbosity.sampling),
        rooms.under_way,
        rooms.served,
        max_header_bytes=server.max_header_bytes,
        max_body_bytes=server.max_body_bytes,
        buffered=rooms.buffered,
        reader=rooms.reader,
        read_timeout=server.read_timeout,
        max_requests=server.max_requests or affordable_requests(),
        keep_content=settings.logging.log_content,
    )


def configured(rooms: Rooms, settings: Settings, prices: Prices) -> Configured:
    """
    What *settings* ask for, with the *prices* they name. `ValueError` for what cannot be had, with the path of the
    setting. What is looked at for `/health` is made anew only where it differs: it knows of failures in a row.
    """
    before = rooms.settings
    checkup, route_checks = rooms.health.checkup, rooms.health.routes
    if (settings.health, settings.logging.dir) != (before.health, before.logging.dir):
        checkup = rooms.checkup_of(settings)
    if settings.routes != before.routes:
        route_checks = rooms.route_checks_of(settings)
    front = front_of(rooms, settings)
    sending = rooms.outlets.prepared(settings.metrics, settings.tracing)
    try:
        logs = rooms.logs.opened(settings.logging) if rooms.logs is not None else None
    except OSError as error:
        raise ValueError(f"logging.dir: {error.strerror or error}; name a directory that can be written") from None
    return Configured(settings, front, checkup, route_checks, prices, sending, logs)
