"""
What the pages about providers, keys, usage and metrics answer, as the document of the API tells it.

They are made elsewhere, each by its page; a test holds what comes against what is told here.
"""

from typing import Literal, NotRequired

from proxy.middleware.described import Media, Open, Shape
from proxy.middleware.provider_shapes import LastErrorTold

CSV = Media("text/csv")
EVENTS = Media("text/event-stream")
TEXT = tuple(map(Media, ("text/plain", "application/openmetrics-text", "application/vnd.google.protobuf")))
"""Metrics, in the format that was asked for."""

BreakerState = Literal["closed", "open", "half-open"]


class TargetTold(Shape):
    """A provider's model."""

    available: bool
    blocked_by: str
    breaker: BreakerState
    in_flight: int


class ProviderTold(Shape):
    """What is thought of a provider."""

    healthy: bool
    last_check: str | None
    consecutive_fails: int
    latency_ms: int
    error_count: int
    request_count: int
    last_error: LastErrorTold | None
    drained: bool
    in_flight: int
    failed_attempts: int
    parked_keys: list[int]
    """By their place in the list, from 1."""
    targets: dict[str, TargetTold]


class ProvidersOfWorker(Shape):
    """What one worker thinks."""

    pid: int
    providers: dict[str, ProviderTold]


class ProvidersTold(Shape):
    """What is thought of all providers."""

    providers: dict[str, ProviderTold]
    workers: NotRequired[list[ProvidersOfWorker]]
    """Where there are several."""


class ActedWorker(Shape):
    """What an action came to at a worker."""

    pid: int
    drained: bool
    reset: list[str]
    """Targets whose breaker was not closed."""


class ProbeTold(Shape):
    """What a probe found."""

    ok: bool
    problem: str | None
    seconds: float


class ActionTold(Shape):
    """What was done with a provider."""

    provider: str
    action: Literal["drain", "enable", "reset", "ask"]
    workers: list[ActedWorker]
    probe: NotRequired[ProbeTold]
    """Of `ask`."""


class ClearedTold(Shape):
    """What was let go."""

    cleared: int
    """Stored answers."""


class KeyLimitsTold(Shape):
    """A key's own limits; null: what `limits.default` says."""

    requests_per_minute: int | None
    tokens_per_minute: int | None
    concurrent: int | None


class BudgetOfKey(Shape):
    """What a key may spend."""

    usd: NotRequired[float]
    tokens: NotRequired[int]
    per: Literal["hour", "day", "week", "month"]


class KeyTold(Shape):
    """A key, without its secret."""

    name: str
    source: Literal["store", "file"]
    status: Literal["active", "rotating", "expired", "revoked"]
    prefix: str | None
    team: str
    models: list[str]
    routes: list[str]
    limits: KeyLimitsTold
    budget: BudgetOfKey | None
    cache: bool
    """Its calls may have stored answers."""
    created: str | None
    expires: str | None
    revoked: str | None
    previous_expires: str | None
    last_used: str | None
    """When its last call began that the ledger holds."""


class KeyMade(KeyTold):
    """A key with its secret, which is told this once."""

    key: str


class KeysTold(Shape):
    """All keys."""

    keys: list[KeyTold]


class UsageSums(Open):
    """What calls used."""

    requests: int
    ok: int
    failed: int
    pending: int
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    reasoning_tokens: int
    cost_micro_usd: int
    cost_usd: str
    cached: int
    """Calls that got a stored answer."""
    saved_micro_usd: int
    saved_usd: str
    unpriced: int
    estimated: int


class UsageLineTold(UsageSums):
    """What the calls of a group used."""

    group: str


class UsageTold(Shape):
    """What was used."""

    by: str
    since: str
    until: str | None
    lines: list[UsageLineTold]
    total: UsageSums


class LimitTold(Shape):
    """A limit, and what is left of it."""

    limit: Literal["requests_per_minute", "tokens_per_minute", "concurrent"]
    route: str | None
    model: str | None
    amount: int
    left: int
    whole_at: str | None


class BudgetTold(Shape):
    """A budget, and what is left of it."""

    unit: Literal["micro_usd", "tokens"]
    per: Literal["hour", "day", "week", "month"]
    amount: int
    spent: int | None
    left: int | None
    resets_at: str


class OwnUsageTold(UsageTold):
    """What a caller has used, and what it has left."""

    limits: list[LimitTold]
    budget: BudgetTold | None


class MetricValue(Shape):
    """A value of a family."""

    name: str
    labels: dict[str, str]
    value: float | None


class MetricFamily(Shape):
    """A family of metrics."""

    name: str
    help: str
    type: str
    values: list[MetricValue]


class CallsSummed(Shape):
    """What calls amount to since the start."""

    calls: int
    seconds: float
    """Their times added up."""
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float


class ProviderSummed(CallsSummed):
    """Calls that a provider answered, and what was tried there."""

    provider: str
    attempts: int
    failed_attempts: int


class ModelSummed(CallsSummed):
    """Calls for a model, for which a provider was asked; and those that got a stored answer."""

    model: str
    failed: int
    cached: int


class SummaryOfMetrics(Shape):
    """In all, by provider and by model."""

    total: int
    by_provider: list[ProviderSummed]
    by_model: list[ModelSummed]


class MetricsSummaryTold(Shape):
    """A few numbers, all workers together."""

    ok: Literal[True]
    summary: SummaryOfMetrics
