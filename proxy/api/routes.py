"""
What callers use, as docs/http.md lists it. What operators use stands in `admin.routes`, what load balancers ask in
`health.routes`.
"""

from proxy.api.generate import Generate
from proxy.api.models import Models
from proxy.api.native import Native
from proxy.api.openai import OpenAI
from proxy.api.welcome import Welcome
from proxy.core.errors import ProxyError
from proxy.middleware.route import DELETE, GET, POST, Access, Route
from proxy.settings import Settings

RELAYED = GET | POST | DELETE | {"PUT", "PATCH"}


def api_routes(settings: Settings, openai: OpenAI, native: Native, generate: Generate, models: Models) -> list[Route]:
    """The routes of these handlers, and of what is told at `/`."""
    return [
        Route("/", GET, Welcome(settings.ui.enabled).show, Access.PROBE),
        Route("/v1/models", GET, models.all, page=True),
        Route("/v1/models/*", GET | DELETE, models.one, page=True),
        Route("/v1/completion", POST, native.handle, error_body=ProxyError.native_body),
        Route("/api/generate", POST, generate.handle, error_body=ProxyError.generate_body),
        Route("/v1/*", RELAYED, openai.relay),
    ]
