"""
What the pages of health answer, as the document of the API tells it.

They are made in `health` and `debug`; a test holds what comes against what is told here.
"""

from typing import Any, Literal, NotRequired

from proxy.middleware.described import Shape
from proxy.middleware.provider_shapes import LastErrorTold

ConditionName = Literal["healthy", "degraded", "critical"]


class CheckTold(Shape):
    """What a check found."""

    healthy: bool
    message: str
    details: dict[str, Any]
    critical: bool
    """Without it calls had better go elsewhere."""
    duration: float
    """Milliseconds."""
    timestamp: str
    failures: int
    """In a row."""


class CheckForProbes(Shape):
    """As much of a check as may be read without a key."""

    healthy: bool
    critical: bool
    failures: int


class Summary(Shape):
    """How many checks there are."""

    total: int
    healthy: int
    unhealthy: int


class ProviderHealth(Shape):
    """What probes and calls have shown of a provider."""

    healthy: bool
    last_check: str | None
    consecutive_fails: int
    latency_ms: int
    error_count: int
    request_count: int
    last_error: LastErrorTold | None
    targets: dict[str, str]
    """The state of each breaker."""


class HealthTold(Shape):
    """All of it; without a key only the verdict."""

    status: dict[Literal["global"], bool]
    state: ConditionName
    version: str
    timestamp: str
    uptime: float
    """Seconds."""
    services: NotRequired[dict[str, Literal["healthy", "unhealthy"]]]
    providers: NotRequired[dict[str, ProviderHealth]]
    checks: NotRequired[dict[str, CheckTold]]
    summary: NotRequired[Summary]


class RouteHealth(Shape):
    """Of one route."""

    status: Literal["healthy", "unhealthy"]
    consecutive_fails: NotRequired[int]
    last_check: NotRequired[str | None]
    checks: NotRequired[dict[str, bool]]


class LifeTold(Shape):
    """That the process turns."""

    status: Literal["alive", "not ready"]
    timestamp: str
    event_loop_lag_max_seconds: float


class ReadyTold(Shape):
    """Whether calls may be sent here."""

    status: Literal["ready", "not_ready"]
    timestamp: str
    providers_drained: int
    """How many an operator has taken out."""


class ReadyInFull(Shape):
    """The same with every check."""

    status: Literal["healthy", "degraded", "critical", "draining"]
    version: str
    timestamp: str
    uptime: float
    checks: dict[str, CheckForProbes]
    summary: Summary


class Environment(Shape):
    """The process."""

    python_version: str
    platform: str
    uptime: float
    memory: int
    """Bytes."""
    pid: int
    env: str


class DebugTold(Shape):
    """What an operator asks first."""

    status: ConditionName
    version: str
    health: dict[str, CheckTold]
    metrics: int
    """Families."""
    environment: Environment
