"""
What callers use, as docs/http.md lists it. What operators use stands in `admin.routes`, what load balancers ask in
`health.routes`.
"""

from proxy.api.generate import Generate
from proxy.api.models import Models
from proxy.api.native import Native
from proxy.api.openai import OpenAI
from proxy.api.shapes import (
    EVENTS,
    GenerateAsked,
    GenerateTold,
    ModelsTold,
    ModelTold,
    NativeAsked,
    NativeTold,
    WelcomeTold,
)
from proxy.api.welcome import Welcome
from proxy.core.errors import ProxyError
from proxy.middleware.described import Operation, get
from proxy.middleware.route import DELETE, GET, POST, Access, Route
from proxy.settings import Settings

RELAYED = GET | POST | DELETE | {"PUT", "PATCH"}


def api_routes(settings: Settings, openai: OpenAI, native: Native, generate: Generate, models: Models) -> list[Route]:
    """The routes of these handlers, and of what is told at `/`."""
    # To delete a model is relayed.
    one = get("A model, also one that stands in no list and would be asked for", ModelTold, path="/v1/models/{id}")
    said = Operation("POST", "Answer messages or a text", {200: (NativeTold, EVENTS)}, body=NativeAsked)
    made = Operation("POST", "Answer a prompt", {200: GenerateTold}, body=GenerateAsked)
    welcome = Welcome(settings.ui.enabled)
    return [
        Route("/", GET, welcome.show, Access.PROBE, operations=(get("What this is", WelcomeTold),)),
        Route("/v1/models", GET, models.all, page=True, operations=(get("The models this key may use", ModelsTold),)),
        Route("/v1/models/*", GET | DELETE, models.one, page=True, operations=(one,)),
        Route("/v1/completion", POST, native.handle, error_body=ProxyError.native_body, operations=(said,)),
        Route("/api/generate", POST, generate.handle, error_body=ProxyError.generate_body, operations=(made,)),
        Route("/v1/*", RELAYED, openai.relay),
    ]
