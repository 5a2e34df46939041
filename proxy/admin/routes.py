"""What operators read and change, as docs/http.md lists it, and the usage a caller may read of its own key."""

from typing import Any

from proxy.accounts.asked import NewKey, Rotation, UsageQuestion
from proxy.admin.call_shapes import CallsTold, SeriesPageTold, TrailTold
from proxy.admin.calls import CallsQuestion
from proxy.admin.configuration_shapes import ConfigurationTold, LoggingTold, ReloadTold
from proxy.admin.keys import KeysAdmin
from proxy.admin.left import Left
from proxy.admin.live import LoggingAsked
from proxy.admin.pages import OperatorPages
from proxy.admin.series_page import SeriesQuestion
from proxy.admin.shapes import (
    CSV,
    EVENTS,
    TEXT,
    ActionTold,
    ClearedTold,
    KeyMade,
    KeysTold,
    KeyTold,
    MetricFamily,
    MetricsSummaryTold,
    OwnUsageTold,
    ProvidersTold,
    UsageTold,
)
from proxy.admin.usage import UsagePages
from proxy.admission.accounting import Accounting
from proxy.http.inbound import Handler
from proxy.middleware.described import Operation, get
from proxy.middleware.route import GET, Access, Route, readers
from proxy.settings import Settings

_FORMAT = {"format": {"type": "string", "enum": ["json", "csv"], "default": "json"}}
_NAMED = {"type": "string", "minLength": 1}
_OF_ANSWERS = {"model": _NAMED, "key": _NAMED}
_ACTIONS = {
    "drain": "Take a provider out: it takes no new call, at no worker",
    "enable": "Let a drained provider take calls again",
    "reset": "Close the breakers of a provider's targets, and forget what they have counted",
    "ask": "Probe a provider now",
}


def admin_routes(settings: Settings, accounting: Accounting, pages: OperatorPages) -> list[Route]:
    """The routes the settings allow."""
    keys, left = KeysAdmin(accounting.keys, lambda: accounting.file_keys), Left(accounting.limits, accounting.policy)
    usage = UsagePages(accounting.store, left, pages.catch_up)
    own = get(
        "What this key has used, what it cost, and what is left of its limits and budget",
        (OwnUsageTold, CSV),
        query=UsageQuestion,
        without=frozenset(("key", "team")),
        besides=_FORMAT,
    )
    routes = [
        Route("/v1/usage", GET, usage.own, page=True, operations=(own,)),
        _admin(
            "/admin/requests/*",
            pages.admin.request,
            get("The decision trail of one of the last calls", TrailTold, path="/admin/requests/{request_id}"),
        ),
        _admin("/admin/calls", pages.calls.show, get("The last calls of all workers", CallsTold, query=CallsQuestion)),
        _admin(
            "/admin/series",
            pages.series.show,
            get("The last day in steps of minutes", SeriesPageTold, query=SeriesQuestion),
        ),
        _admin("/admin/providers", pages.admin.providers, get("What is thought of every provider", ProvidersTold)),
        _admin(
            "/admin/providers/*",
            pages.actions.act,
            *(_post(summary, f"/admin/providers/{{name}}/{name}", ActionTold) for name, summary in _ACTIONS.items()),
        ),
        _admin("/admin/events", pages.events.follow, get("What happens, as it happens", EVENTS)),
        _admin(
            "/admin/keys",
            keys.collection,
            get("All keys", KeysTold),
            Operation("POST", "Make a key", {201: KeyMade}, body=NewKey),
        ),
        _admin(
            "/admin/keys/*",
            keys.one,
            get("A key", KeyTold, path="/admin/keys/{name}"),
            Operation("DELETE", "Revoke a key", {200: KeyTold}, "/admin/keys/{name}"),
            _post("Give a key a new secret", "/admin/keys/{name}/rotate", KeyMade, body=Rotation),
        ),
        _admin(
            "/admin/usage",
            usage.all,
            get("What all keys have used", (UsageTold, CSV), query=UsageQuestion, besides=_FORMAT),
        ),
        _admin(
            "/admin/config",
            pages.configuration.show,
            get("The configuration in force, without its secrets", ConfigurationTold),
        ),
        _admin(
            "/admin/logging",
            pages.live.page,
            get("How much is logged and traced", LoggingTold),
            Operation("PUT", "Log or trace more or less, for a while", {200: LoggingTold}, body=LoggingAsked),
            Operation("DELETE", "Log and trace as configured again", {200: LoggingTold}),
        ),
        _admin("/admin/reload", pages.configuration.reload, _post("Read the configuration again", "", ReloadTold)),
        _admin(
            "/admin/cache",
            pages.cache.clear,
            Operation("DELETE", "Let stored answers go", {200: ClearedTold}, besides=_OF_ANSWERS),
        ),
    ]
    if settings.metrics.enabled and settings.metrics.prometheus.enabled:
        text, families = get("All metrics as Prometheus reads them", TEXT), get("All metrics", list[MetricFamily])
        routes.append(Route("/metrics", GET, pages.metrics.text, readers(settings), operations=(text,)))
        routes.append(Route("/metrics/json", GET, pages.metrics.json, readers(settings), operations=(families,)))
        few = get("What calls amount to since the start, by provider and by model", MetricsSummaryTold)
        routes.append(Route("/api/metrics/summary", GET, pages.metrics.summary, readers(settings), operations=(few,)))
    return routes


def _admin(template: str, handler: Handler, *operations: Operation) -> Route:
    """A route for the admin key, with the methods of its operations."""
    methods = frozenset(each.method for each in operations)
    return Route(template, methods | GET if "GET" in methods else methods, handler, Access.ADMIN, operations=operations)


def _post(summary: str, path: str, answer: Any, body: Any = None) -> Operation:
    return Operation("POST", summary, {200: answer}, path, body=body)
