"""
The page at `/`: that something is here, what it is, and where the rest lies.

SDKs, browsers and load balancers look here first. It names no provider and needs no key.
"""

from aiohttp import web

from proxy import __version__
from proxy.http.page import json_page


async def welcome(request: web.Request) -> web.StreamResponse:
    """`GET /` and `HEAD /`."""
    return json_page(
        {
            "name": "hapax",
            "version": __version__,
            "description": "An LLM gateway. Set base_url to this address and /v1 in any OpenAI client.",
            "api": "/v1",
            "models": "/v1/models",
            "health": "/health",
            "live": "/live",
            "ready": "/ready",
        }
    )
