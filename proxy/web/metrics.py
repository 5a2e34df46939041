"""
`GET /metrics` and `/metrics/json`: the numbers of this process, for who may see them.

It brings the readers of exchanges up to date first, and tells no more of a failure than that there was one.
"""

import logging
from collections.abc import Callable

from proxy.web.inbound import Inbound

_log = logging.getLogger("hapax")


class MetricsPages:
    """The two handlers."""

    def __init__(
        self, catch_up: Callable[[], None], render: Callable[[str], tuple[bytes, str]], as_json: Callable[[], bytes]
    ) -> None:
        """*render* makes the page for an Accept header, and says its content type."""
        self._catch_up = catch_up
        self._render = render
        self._as_json = as_json

    async def text(self, inbound: Inbound) -> None:
        """Prometheus's text, or OpenMetrics when that is asked for."""
        accept = inbound.request.headers.get("Accept", "")
        self._answer(inbound, lambda: self._render(accept))

    async def json(self, inbound: Inbound) -> None:
        """The same as JSON."""
        self._answer(inbound, lambda: (self._as_json(), "application/json"))

    def _answer(self, inbound: Inbound, make: Callable[[], tuple[bytes, str]]) -> None:
        self._catch_up()
        status = 200
        try:
            body, content_type = make()
        except Exception as error:
            # One collector that breaks must not look like a bug of the whole gateway.
            _log.error("metrics cannot be shown: %s", type(error).__name__, exc_info=error)
            status, body, content_type = 500, b"Error generating metrics", "text/plain; charset=utf-8"
        inbound.answer.send(status, [(b"Content-Type", content_type.encode("ascii"))], body)
