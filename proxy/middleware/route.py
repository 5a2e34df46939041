"""
A path, and what happens there: the rows the tables of routes are made of.

The tables stand in `api`, `admin` and `health`; `front` leads requests by them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from proxy.core.errors import ProxyError
from proxy.http.inbound import Handler
from proxy.middleware.described import Operation
from proxy.settings import Settings

GET = frozenset(("GET", "HEAD"))
POST = frozenset(("POST",))
DELETE = frozenset(("DELETE",))

ErrorBody = Callable[[ProxyError, str], bytes]


class Access(Enum):
    """Who may use a route."""

    PROBE = "any client, however often"
    OPEN = "any client, within limits.keyless"
    CLIENT = "a client key"
    OPERATOR = "a client key or the admin key"
    ADMIN = "the admin key"


@dataclass(frozen=True, slots=True)
class Route:
    """A path, and what happens there."""

    template: str
    """The path; one that ends in `/*` takes everything below it."""
    methods: frozenset[str]
    handler: Handler
    access: Access = Access.CLIENT
    error_body: ErrorBody = ProxyError.body
    """The shape of its errors: OpenAI's, unless an API of its own has another."""
    page: bool = False
    """It is answered here: no call, and limited by `limits.routes` alone."""
    limited: bool = True
    """The rates and places of its callers' limits hold for it."""
    cors: bool = True
    """Browsers' pages of other origins may call it, where any may."""
    logged: bool = True
    """Its requests have a line in the access log."""
    operations: tuple[Operation, ...] = ()
    """What it tells of itself; nothing, where what is answered comes from a provider."""

    @property
    def own(self) -> bool:
        """What is answered there is the gateway's own, and nothing a provider said."""
        return self.page or self.access is not Access.CLIENT

    def calls(self, method: str) -> bool:
        """Whether a request of *method* is a client's call, and no housekeeping. To delete a model is relayed."""
        return not self.own or (self.page and method == "DELETE")


def readers(settings: Settings) -> Access:
    """Who reads `/metrics` and `/debug`, which name every key: where there is an admin key, no other may."""
    if not settings.metrics.auth:
        return Access.OPEN
    return Access.ADMIN if settings.auth.admin_key is not None else Access.OPERATOR
