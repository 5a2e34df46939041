"""
The sections that shape traffic: failover, circuit_breaker, health_check, queue, deduplication, cache, store, state.

Numbers only; the machines they drive live in rooms of their own.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from proxy.settings.values import Duration, DurationOrZero, SecretUrl, Section, Size, WrittenUrl, duration, size


class Failover(Section):
    """What happens when an attempt fails before its answer has begun."""

    retries: int = Field(2, ge=0, le=100, description="Attempts after the first one.")
    initial_delay: DurationOrZero = duration("100ms", "Pause before the same target is tried again.")
    max_delay: DurationOrZero = duration("5s", "Longest such pause.")
    multiplier: float = Field(2.0, ge=1, allow_inf_nan=False, description="Growth of the pause.")
    budget: float = Field(0.2, ge=0, le=1, description="Retries as a share of all requests.")
    patience: DurationOrZero = duration(
        "0s",
        "A target without content for this long gets another one started beside it, if there is one; both may bill. "
        "0s: never.",
    )


class CircuitBreaker(Section):
    """When a target is left alone, and how it comes back."""

    max_requests: int = Field(100, ge=1, description="Trial requests while half-open.")
    interval: DurationOrZero = duration("30s", "While closed, failures older than this are forgotten.")
    timeout: Duration = duration("10s", "Open for this long, then half-open.")
    failure_threshold: int = Field(5, ge=1, description="Consecutive failures that open it.")


class HealthCheck(Section):
    """Probes of providers."""

    enabled: bool = Field(True, description="Probe providers.")
    interval: Duration = duration("15s", "Time between probes.")
    timeout: Duration = duration("5s", "A probe must answer within this.")
    failure_threshold: int = Field(2, ge=1, description="Consecutive failures that make a provider unhealthy.")
    probe: Literal["models", "completion"] = Field("models", description="GET /models, or a one-token completion.")


class Queue(Section):
    """Waiting room for requests beyond what runs at once."""

    enabled: bool = Field(False, description="Let requests wait.")
    max_running: int = Field(256, ge=1, description="Requests that run at once.")
    initial_size: int = Field(1000, ge=1, description="Requests that may wait.")
    max_wait: Duration = duration("30s", "Longest wait.")
    state_path: str = Field("", description="File that remembers the size; empty: none.")
    save_interval: Duration = duration("30s", "How often that file is written.")


def _off(value: object) -> object:
    """YAML reads a bare `off` as false."""
    return "off" if value is False else value


class Deduplication(Section):
    """One upstream call for identical requests of one principal in flight at once."""

    mode: Annotated[Literal["off", "deterministic", "all"], BeforeValidator(_off)] = Field(
        "deterministic",
        description="deterministic: embeddings, moderations, and chat, completions and responses with temperature 0 or "
        "a seed; all: whatever generates. Never calls with tools or store.",
    )


class Cache(Section):
    """Whole answers kept for calls that ask exactly the same."""

    enabled: bool = Field(False, description="Keep answers, and give them to calls that ask the same.")
    scope: Literal["principal", "team", "all"] = Field(
        "principal",
        description="Who shares answers: each key has its own, a team shares them, or all keys do. A key without a "
        "team has its own.",
    )
    ttl: Duration = duration("24h", "How long an answer is kept.")
    max_size: Size = size(
        "256MiB",
        "Memory for the answers of each worker, of which one may take a sixteenth; of what is in Redis only that "
        "counts.",
    )
    pace: bool = Field(False, description="Send a stored stream at the pace it came; otherwise at once.")
    tools: bool = Field(False, description="Keep answers to calls with tools as well.")


def _store(url: SecretUrl) -> SecretUrl:
    value = url.get_secret_value()
    if value and not value.startswith(("sqlite:///", "postgresql://", "postgres://")):
        raise ValueError("must begin with sqlite:/// or postgresql://, or be empty for none")
    return url


def _state(url: SecretUrl) -> SecretUrl:
    if not url.get_secret_value().startswith(("memory://", "redis://", "rediss://")):
        raise ValueError("must begin with memory:// or redis:// or rediss://")
    return url


class Store(Section):
    """Where keys and the usage ledger are kept."""

    url: Annotated[SecretUrl, AfterValidator(_store), WrittenUrl] = Field(
        "sqlite:///hapax.db",
        validate_default=True,
        description="sqlite:///file or postgresql://user:pass@host/db; empty: no ledger, and only the keys above.",
    )
    retention: DurationOrZero = duration("0s", "Rows of the ledger older than this are deleted; 0s: none are.")
    objects: DurationOrZero = duration(
        "90d",
        "How long is remembered which account made a file, batch, response and the like, counted from its last use; "
        "0s: for ever.",
    )
    prices: str = Field("", description="A price file laid over the built-in one; see config/prices.yaml.")


class StateSettings(Section):
    """Where limits and caches are kept."""

    url: Annotated[SecretUrl, AfterValidator(_state), WrittenUrl] = Field(
        "memory://",
        validate_default=True,
        description="memory://, or redis://host:6379/0 to share them between workers and machines.",
    )
