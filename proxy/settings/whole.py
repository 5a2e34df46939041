"""
`Settings`, the whole configuration as one frozen value, and how it is shown without its secrets.

It holds what the user decided and the defaults of the rest. Finding and reading files is in load.py; rules that span
sections are in checks.py.
"""

from typing import Any

from pydantic import Field, SecretStr, field_validator

from proxy.settings.access import Auth, LimitSettings, RateLimits
from proxy.settings.models import Model
from proxy.settings.observation import Health, Logging, Metrics, Tracing, Ui
from proxy.settings.processing import Processing
from proxy.settings.providers import PRESETS, Provider, ProviderName
from proxy.settings.routes import RouteSettings
from proxy.settings.server import Server
from proxy.settings.traffic import (
    Cache,
    CircuitBreaker,
    Deduplication,
    Failover,
    HealthCheck,
    Queue,
    StateSettings,
    Store,
)
from proxy.settings.values import Section, Text, section


class Settings(Section):
    """The gateway's configuration."""

    server: Server = section(Server, "Where the gateway listens, and its limits towards clients.")
    providers: dict[ProviderName, Provider] = Field(
        default_factory=dict, description="Upstream accounts by name; omitted: those whose key the environment holds."
    )
    provider_preference: tuple[ProviderName, ...] = Field(
        ("ollama", "anthropic", "openai"), description="Who is asked first; providers not listed follow as written."
    )
    models: dict[Text, Model] = Field(
        default_factory=dict, description="Public models by name or glob, the most specific wins; all optional."
    )
    failover: Failover = section(Failover, "What happens when an attempt fails before its answer has begun.")
    circuit_breaker: CircuitBreaker = section(CircuitBreaker, "When a target is left alone.")
    health_check: HealthCheck = section(HealthCheck, "Probes of providers.")
    auth: Auth = section(Auth, "Who may call.")
    limits: LimitSettings = section(LimitSettings, "How much may be asked.")
    store: Store = section(Store, "Where keys and the usage ledger are kept.")
    state: StateSettings = section(StateSettings, "Where limits and caches are kept.")
    queue: Queue = section(Queue, "Waiting room for requests beyond what runs at once.")
    deduplication: Deduplication = section(Deduplication, "One upstream call for identical requests.")
    cache: Cache = section(Cache, "Answers kept for identical requests.")
    processing: Processing = section(Processing, "The native endpoint's prompts and answers.")
    logging: Logging = section(Logging, "One line per exchange.")
    metrics: Metrics = section(Metrics, "Counts and durations.")
    tracing: Tracing = section(Tracing, "OpenTelemetry spans, and errors told to a tracker.")
    health: Health = section(Health, "What /health and /ready look at besides the providers.")
    ui: Ui = section(Ui, "The page for people; it has the rights of the key that is entered there.")
    routes: tuple[RouteSettings, ...] = Field((), description="What differs on single paths.")

    @field_validator("providers", mode="before")
    @classmethod
    def _type_from_name(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        return {
            name: {"type": name, **entry} if isinstance(entry, dict) and name in PRESETS else entry
            for name, entry in given.items()
        }

    @property
    def preferred_order(self) -> tuple[str, ...]:
        """Every configured provider, the preferred ones first."""
        first = [name for name in dict.fromkeys(self.provider_preference) if name in self.providers]
        return (*first, *(name for name in self.providers if name not in first))

    @property
    def route_limits(self) -> dict[str, RateLimits]:
        """LimitSettings by path, wherever they are written."""
        own = {route.full_path: route.limits for route in self.routes if route.limits is not None}
        return self.limits.routes | own

    def masked(self) -> dict[str, Any]:
        """Everything as plain values, secrets as stars."""
        return {name: _plain(value) for name, value in self.model_dump().items()}


def _plain(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return str(value)
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value
