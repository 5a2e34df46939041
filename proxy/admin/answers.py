"""
What this worker says when a peer asks, see `core.peers`.

The questions come over `process.ipc`; who asks is no matter here.
"""

from typing import Any

from proxy.admin.actions import Actions
from proxy.admin.admin import Admin
from proxy.admin.calls import Calls
from proxy.admin.feed import Feed
from proxy.admin.live import LivePages
from proxy.admin.series_page import SeriesPage
from proxy.cache.answer_cache import AnswerCache
from proxy.core.peers import ACT, CALLS, CLEAR, EVENTS, LIVE, METRICS, PROVIDERS, SERIES, TRAIL
from proxy.middleware.records import Records
from proxy.observe.page import Pages


class Answers:
    """An answer to each question there is."""

    def __init__(
        self,
        pages: Pages,
        admin: Admin,
        records: Records,
        feed: Feed,
        calls: Calls,
        series: SeriesPage,
        actions: Actions,
        live: LivePages,
        cache: AnswerCache,
    ) -> None:
        self._pages = pages
        self._admin = admin
        self._records = records
        self._feed = feed
        self._calls = calls
        self._series = series
        self._actions = actions
        self._live = live
        self._cache = cache

    def to(self, what: str, of: Any) -> Any:
        """Plain JSON; None to a question of another version of the gateway."""
        if what == METRICS:
            return self._pages.snapshot()
        if what == TRAIL:
            return self._admin.trail(str(of))
        if what == PROVIDERS:
            return self._admin.assessment()
        if what == EVENTS:
            self._records.hand_over()
            return self._feed.own_after(of)
        if what == CLEAR:
            return self._cache.answers.forget(of["model"], of["key"])
        if what == CALLS:
            return self._calls.own_for(of)
        if what == SERIES:
            return self._series.own(of)
        if what == ACT:
            return self._actions.for_peer(of)
        if what == LIVE:
            return self._live.own(of)
        return None
