"""What operators read and change, as docs/http.md lists it, and the usage a caller may read of its own key."""

from proxy.admin.admin import Admin
from proxy.admin.cache import CachePages
from proxy.admin.configuration import Configuration
from proxy.admin.events import Events
from proxy.admin.feed import Feed
from proxy.admin.keys import KeysAdmin
from proxy.admin.metrics import MetricsPages
from proxy.admin.usage import UsagePages
from proxy.admission.accounting import Accounting
from proxy.cache.answer_cache import AnswerCache
from proxy.core.peers import Peers
from proxy.middleware.route import DELETE, GET, POST, Access, Route, readers
from proxy.observe.page import Pages
from proxy.settings import Settings


def admin_routes(
    settings: Settings,
    accounting: Accounting,
    admin: Admin,
    feed: Feed,
    pages: Pages,
    configuration: Configuration,
    cache: AnswerCache,
    peers: Peers,
) -> list[Route]:
    """The routes the settings allow."""
    keys, usage = KeysAdmin(accounting.keys, lambda: accounting.file_keys), UsagePages(accounting.store)
    routes = [
        Route("/v1/usage", GET, usage.own, page=True),
        Route("/admin/requests/*", GET, admin.request, Access.ADMIN),
        Route("/admin/providers", GET, admin.providers, Access.ADMIN),
        Route("/admin/events", GET, Events(feed).follow, Access.ADMIN),
        Route("/admin/keys", GET | POST, keys.collection, Access.ADMIN),
        Route("/admin/keys/*", GET | POST | DELETE, keys.one, Access.ADMIN),
        Route("/admin/usage", GET, usage.all, Access.ADMIN),
        Route("/admin/config", GET, configuration.show, Access.ADMIN),
        Route("/admin/reload", POST, configuration.reload, Access.ADMIN),
        Route("/admin/cache", DELETE, CachePages(cache, peers).clear, Access.ADMIN),
    ]
    if settings.metrics.enabled and settings.metrics.prometheus.enabled:
        shown = MetricsPages(pages.text, pages.json)
        routes.append(Route("/metrics", GET, shown.text, readers(settings)))
        routes.append(Route("/metrics/json", GET, shown.json, readers(settings)))
    return routes
