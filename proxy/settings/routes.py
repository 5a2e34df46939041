"""
The `routes` section: what differs from the built-in behaviour on one path.

Routes describe; what they change is worked out in `admin.configured`.
"""

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from proxy.settings.access import Path, RateLimits
from proxy.settings.values import Duration, HeaderName, HeaderValue, Section, Text, duration

UNVERSIONED = frozenset(("admin", "api", "debug", "health", "live", "metrics", "ready"))
"""First steps of paths that have no version in front."""


def _upper(value: object) -> object:
    return value.strip().upper() if isinstance(value, str) else value


Method = Annotated[
    Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"],
    BeforeValidator(_upper),
]


class RouteHealthCheck(Section):
    """Checks that make a route healthy or not."""

    enabled: bool = Field(False, description="Check this route.")
    interval: Duration = duration("30s", "Time between checks.")
    timeout: Duration = duration("5s", "A check must answer within this.")
    threshold: int = Field(3, ge=1, description="Consecutive failures that make the route unhealthy.")
    checks: dict[str, Literal["http", "tcp", "threshold"]] = Field(
        default_factory=dict, description="Kind of each named check."
    )


class RouteSettings(Section):
    """One path."""

    path: Path = Field(description="The path, with or without the version in front.")
    handler: Literal["completion", "health", "metrics", "relay"] = Field(
        description="What answers at a path that is not the gateway's own: the native endpoint, a page, a provider."
    )
    version: Text = Field("v1", description="API version.")
    methods: tuple[Method, ...] = Field(
        ("POST", "OPTIONS"), min_length=1, description="Methods it answers; omitted: those of what answers."
    )
    headers: dict[HeaderName, HeaderValue] = Field(
        default_factory=dict, description="Headers a request must carry; their values are kept secret."
    )
    middleware: tuple[Literal["auth", "rate-limit", "cors", "logging"], ...] = Field(
        ("auth", "rate-limit", "cors", "logging"),
        description="What a request passes: what is left out does not happen on this path. Omitted: as its handler has "
        "it. auth may be left out on pages of health and metrics only.",
    )
    limits: RateLimits | None = Field(
        None, description="Limits of every key on this path, as in limits.routes; omitted: none of its own."
    )
    timeout: Duration | None = Field(
        None,
        description="Seconds a call may take, a stream until its first content; omitted: what its provider is given.",
    )
    health_check: RouteHealthCheck | None = Field(None, description="Checks of this path; omitted: none.")

    @property
    def full_path(self) -> str:
        """The path as calls name it, version included."""
        first = self.path[1:].partition("/")[0]
        if first == self.version or first in UNVERSIONED or re.fullmatch(r"v[0-9]+", first):
            return self.path
        return f"/{self.version}{self.path}"
