"""
What operators read and do, put together from the rooms it is about; and what a worker answers its peers of it.

What each page tells stands in its own file, and where it lies in `routes`.
"""

from proxy.admin.actions import Actions
from proxy.admin.admin import Admin
from proxy.admin.answers import Answers
from proxy.admin.cache import CachePages
from proxy.admin.calls import Calls
from proxy.admin.configuration import Configuration
from proxy.admin.events import Events
from proxy.admin.feed import Feed
from proxy.admin.live import LivePages
from proxy.admin.metrics import MetricsPages
from proxy.admin.series import Series
from proxy.admin.series_page import SeriesPage
from proxy.admin.trails import Trails
from proxy.cache.answer_cache import AnswerCache
from proxy.core.peers import Peers
from proxy.middleware.records import Records
from proxy.observe.page import Pages
from proxy.observe.verbosity import Verbosity
from proxy.providers.checks import Checks
from proxy.providers.pool import Pool


class OperatorPages:
    """All of them, but for keys and usage, which are the accounts' own."""

    def __init__(
        self,
        records: Records,
        trails: Trails,
        series: Series,
        feed: Feed,
        metrics: Pages,
        pool: Pool,
        checks: Checks,
        configuration: Configuration,
        cache: AnswerCache,
        verbosity: Verbosity,
        peers: Peers,
    ) -> None:
        """*records* bring *trails*, *series* and *feed* up to date, which are among their observers."""
        self.catch_up = records.hand_over
        self.admin = Admin(trails, records.hand_over, pool, checks.facts, peers)
        self.calls = Calls(trails, records.hand_over, feed.fields, peers)
        self.series = SeriesPage(series, records.hand_over, peers)
        self.actions = Actions(pool, checks, feed, peers)
        self.events = Events(feed)
        self.metrics = MetricsPages(metrics.text, metrics.json, metrics.summary)
        self.configuration = configuration
        self.cache = CachePages(cache, peers)
        self.live = LivePages(verbosity, peers)
        self.answers = Answers(
            metrics, self.admin, records, feed, self.calls, self.series, self.actions, self.live, cache
        )
