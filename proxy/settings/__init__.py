"""
The configuration: typed sections with their defaults and units, and the way a file and the environment become one.

`load` finds and checks a configuration and returns it whole; `Settings` is what the other rooms are given. Nothing here
acts on a setting.
"""

from proxy.settings.access import Auth, Budget, ClientKey, KeyLimits, LimitSettings, RateLimits
from proxy.settings.load import Loaded, load
from proxy.settings.models import Model, most_specific, split_target
from proxy.settings.observation import Health, Logging, Metrics, Tracing
from proxy.settings.problems import Problem, SettingsError
from proxy.settings.processing import Processing, RequestTemplates, ResponseFormatting
from proxy.settings.providers import PRESETS, Preset, Provider, Timeouts
from proxy.settings.routes import RouteSettings
from proxy.settings.server import Cors, Http3, Server, Tls
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
from proxy.settings.whole import Settings

__all__ = [
    "PRESETS",
    "Auth",
    "Budget",
    "Cache",
    "CircuitBreaker",
    "ClientKey",
    "Cors",
    "Deduplication",
    "Failover",
    "Health",
    "HealthCheck",
    "Http3",
    "KeyLimits",
    "LimitSettings",
    "Loaded",
    "Logging",
    "Metrics",
    "Model",
    "Preset",
    "Problem",
    "Processing",
    "Provider",
    "Queue",
    "RateLimits",
    "RequestTemplates",
    "ResponseFormatting",
    "RouteSettings",
    "Server",
    "Settings",
    "SettingsError",
    "StateSettings",
    "Store",
    "Timeouts",
    "Tls",
    "Tracing",
    "load",
    "most_specific",
    "split_target",
]
