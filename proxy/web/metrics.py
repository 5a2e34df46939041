"""
`GET /metrics` and `/metrics/json`: the numbers of the gateway, for who may see them.

It tells no more of a failure than that there was one.
"""

import logging
from collections.abc import Awaitable, Callable

from proxy.web.inbound import NO_STORE, Inbound

_log = logging.getLogger("hapax")

Page = Awaitable[tuple[bytes, str]]
"""A page's body and content type, once it is made."""


class MetricsPages:
    """The two handlers."""

    def __init__(self, text: Callable[[str], Page], as_json: Callable[[], Page]) -> None:
        """*text* makes the page for an Accept header."""
        self._text = text
        self._as_json = as_json

    async def text(self, inbound: Inbound) -> None:
        """Prometheus's text, or OpenMetrics when that is asked for."""
        await self._answer(inbound, self._text(inbound.request.headers.get("accept", "")))

    async def json(self, inbound: Inbound) -> None:
        """The same as JSON."""
        await self._answer(inbound, self._as_json())

    async def _answer(self, inbound: Inbound, page: Page) -> None:
        status = 200
        try:
            body, content_type = await page
        except Exception as error:
            # One collector that breaks must not look like a bug of the whole gateway.
            _log.error("metrics cannot be shown: %s", type(error).__name__, exc_info=error)
            status, body, content_type = 500, b"Error generating metrics", "text/plain; charset=utf-8"
        inbound.answer.send(status, [(b"Content-Type", content_type.encode("ascii")), NO_STORE], body)
