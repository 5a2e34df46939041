"""What operators read and change, as docs/http.md lists it, and the usage a caller may read of its own key."""

from proxy.admin.keys import KeysAdmin
from proxy.admin.left import Left
from proxy.admin.pages import OperatorPages
from proxy.admin.usage import UsagePages
from proxy.admission.accounting import Accounting
from proxy.middleware.route import DELETE, GET, POST, Access, Route, readers
from proxy.settings import Settings


def admin_routes(settings: Settings, accounting: Accounting, pages: OperatorPages) -> list[Route]:
    """The routes the settings allow."""
    keys, left = KeysAdmin(accounting.keys, lambda: accounting.file_keys), Left(accounting.limits, accounting.policy)
    usage = UsagePages(accounting.store, left, pages.catch_up)
    routes = [
        Route("/v1/usage", GET, usage.own, page=True),
        Route("/admin/requests/*", GET, pages.admin.request, Access.ADMIN),
        Route("/admin/calls", GET, pages.calls.show, Access.ADMIN),
        Route("/admin/series", GET, pages.series.show, Access.ADMIN),
        Route("/admin/providers", GET, pages.admin.providers, Access.ADMIN),
        Route("/admin/providers/*", POST, pages.actions.act, Access.ADMIN),
        Route("/admin/events", GET, pages.events.follow, Access.ADMIN),
        Route("/admin/keys", GET | POST, keys.collection, Access.ADMIN),
        Route("/admin/keys/*", GET | POST | DELETE, keys.one, Access.ADMIN),
        Route("/admin/usage", GET, usage.all, Access.ADMIN),
    ]
    if settings.metrics.enabled and settings.metrics.prometheus.enabled:
        routes.append(Route("/metrics", GET, pages.metrics.text, readers(settings)))
        routes.append(Route("/metrics/json", GET, pages.metrics.json, readers(settings)))
    return routes
