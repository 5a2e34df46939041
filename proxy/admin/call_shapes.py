"""
What the pages about calls answer, as the document of the API tells it: trails, the last calls, series.

They are made elsewhere, each by its page; a test holds what comes against what is told here.
"""

from typing import Literal

from typing_extensions import TypedDict

from proxy.middleware.described import Open, Shape

Ended = Literal["ok", "refused", "failed", "cut", "client_gone"]
_Classed = TypedDict("_Classed", {"class": str})


class AttemptTold(Shape, _Classed):
    """One try of one target; times in milliseconds since the call began."""

    target: str
    began_ms: float
    beside: bool
    """It was begun beside another one that kept silent."""
    sent_ms: float | None
    head_ms: float | None
    first_content_ms: float | None
    ended_ms: float | None
    status: int
    """The provider's; 0 while none had come."""
    failure: str
    reason: str


class TrailTokens(Shape):
    """What its answer used."""

    prompt: int
    completion: int


class TrailTold(Shape):
    """What became of a call, and why."""

    request_id: str
    route: str
    principal: str
    model: str
    answered_model: str
    stream: bool
    status: int
    outcome: Ended
    error_code: str
    duration_ms: float
    queued_ms: float
    provider: str
    tokens: TrailTokens | None
    cost_micro_usd: int | None
    hedged: bool
    resumed: int
    shared_with: str
    cached: bool
    """It got a stored answer."""
    kept_to: str
    skipped: dict[str, str]
    """Targets that were passed over, and why."""
    attempts: list[AttemptTold]


class CallAttempt(Shape):
    """One try, as the log tells it."""

    provider: str
    status: int
    failure: str


class CallTokens(Shape):
    """What answers used."""

    prompt: int
    completion: int
    total: int


class CallTold(Open):
    """A call that has ended, in the fields of its line in the log: see docs/logs.md."""

    request_id: str
    start_time: str
    operation: str
    """The route's template."""
    method: str
    status: int
    outcome: Ended
    error_code: str
    latency_ms: float
    time_to_first_token_ms: float | None
    principal: str
    model: str
    stream: bool
    answered_model: str
    provider: str
    attempts: list[CallAttempt]
    skipped: dict[str, str]
    tokens: CallTokens | None
    cost_micro_usd: int | None


class CallsTold(Shape):
    """The last calls, the newest first."""

    calls: list[CallTold]
    next: str | None
    """For `before`; null where there is no further page."""


class Errors(Shape):
    """Calls by step of time, by how they ended."""

    refused: list[int]
    failed: list[int]
    cut: list[int]
    client_gone: list[int]


class SeriesTold(Shape):
    """What the calls of one name amount to: a value for each step of time."""

    name: str | None
    """Null for all calls."""
    calls: list[int]
    errors: Errors
    prompt_tokens: list[int]
    completion_tokens: list[int]
    cost_micro_usd: list[int]
    ttft_p50_ms: list[float | None]
    ttft_p95_ms: list[float | None]


class SeriesPageTold(Shape):
    """Series of equal steps of time."""

    by: Literal["model", "provider", "key"] | None
    since: str
    until: str
    """The first moment that is not told of."""
    step_minutes: int
    series: list[SeriesTold]
