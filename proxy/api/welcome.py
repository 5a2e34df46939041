"""
The page at `/`: that something is here, what it is, and where the rest lies.

SDKs, browsers and load balancers look here first. It names no provider and needs no key.
"""

from aiohttp import web

from proxy import __version__
from proxy.http.inbound import INBOUND
from proxy.http.page import json_page


class Welcome:
    """The handler of `/`."""

    def __init__(self, page: bool) -> None:
        """*page*: whether there is one for people, at `/ui`."""
        self._page = {"page": "/ui"} if page else {}

    async def show(self, request: web.Request) -> web.StreamResponse:
        """`GET /` and `HEAD /`; a browser, which asks for HTML by name, is led to the page for people."""
        if self._page and "text/html" in request[INBOUND].request.headers.get("accept", ""):
            # Relative, since an application of others may have this one below a path.
            return web.Response(status=302, headers={"Location": "ui", "Vary": "Accept"})
        return json_page(
            {
                "name": "hapax",
                "version": __version__,
                "description": "An LLM gateway. Set base_url to this address and /v1 in any OpenAI client.",
                "api": "/v1",
                "models": "/v1/models",
                **self._page,
                "health": "/health",
                "live": "/live",
                "ready": "/ready",
            },
            headers={"Vary": "Accept"} if self._page else None,
        )
