"""
`GET /metrics`, `/metrics/json` and `/api/metrics/summary`: the numbers of the gateway, for who may see them.

It tells no more of a failure than that there was one.
"""

import logging
from collections.abc import Awaitable, Callable

from aiohttp import web

_log = logging.getLogger("hapax")

Page = Awaitable[tuple[bytes, str]]
"""A page's body and content type, once it is made."""


class MetricsPages:
    """The handlers."""

    def __init__(
        self, text: Callable[[str], Page], as_json: Callable[[], Page], as_summary: Callable[[], Page]
    ) -> None:
        """*text* makes the page for an Accept header."""
        self._text = text
        self._as_json = as_json
        self._as_summary = as_summary

    async def text(self, request: web.Request) -> web.StreamResponse:
        """Prometheus's text, or OpenMetrics or protobuf when that is asked for."""
        return await self._answer(self._text(request.headers.get("Accept", "")))

    async def json(self, request: web.Request) -> web.StreamResponse:
        """The same as JSON."""
        return await self._answer(self._as_json())

    async def summary(self, request: web.Request) -> web.StreamResponse:
        """What calls amount to since the start, by provider and by model."""
        return await self._answer(self._as_summary())

    async def _answer(self, page: Page) -> web.StreamResponse:
        status = 200
        try:
            body, content_type = await page
        except Exception as error:
            # One collector that breaks must not look like a bug of the whole gateway.
            _log.error("metrics cannot be shown: %s", type(error).__name__, exc_info=error)
            status, body, content_type = 500, b"Error generating metrics", "text/plain; charset=utf-8"
        return web.Response(status=status, body=body, headers={"Content-Type": content_type})
