"""
What the pages about the configuration answer, as the document of the API tells it.

They are made in `settings.in_force`; a test holds what comes against what is told here.
"""

from typing import Any, Literal, NotRequired

from proxy.middleware.described import Shape
from proxy.settings.observation import LogLevel


class ReloadTold(Shape):
    """A try to put another configuration in force."""

    at: str
    by: Literal["watch", "signal", "admin", "program"]
    outcome: Literal["applied", "refused"]
    problems: list[str]
    """Why it was refused."""
    changed: list[str]
    """Paths of the settings that differ from those before."""
    files: list[str]
    """Files whose content differs."""
    needs_restart: list[str]
    """Settings that differ and wait."""


class ValueTold(Shape):
    """The value of a setting."""

    value: Any
    """Stars where it is a secret."""
    source: str
    """What it was read from."""
    hash: str
    """Equal where the value is, while the process lives."""


class LiveTold(Shape):
    """What an operator has changed while the gateway runs; null: as configured."""

    level: LogLevel | None
    sample_ratio: float | None
    until: str | None
    """When it ends; null: with the gateway."""


class Verbose(Shape):
    """How much is told."""

    level: LogLevel
    sample_ratio: float | None
    """Share of new traces that are recorded; null where none is."""


class VerboseWorker(Verbose):
    """How much a worker tells."""

    pid: int


class LoggingTold(Verbose):
    """How much is told, and why."""

    configured: Verbose
    live: LiveTold | None
    workers: NotRequired[list[VerboseWorker]]
    """Those that have done as asked, where something was changed."""


class ConfigurationTold(Shape):
    """The configuration in force."""

    source: str
    since: str
    hash: str
    needs_restart: list[str]
    """Settings that differ and wait."""
    last_reload: ReloadTold | None
    live: LiveTold | None
    """What an operator has changed beside it; null where nothing is."""
    warnings: list[str]
    files: list[str]
    """What it was read from, and is watched."""
    values: dict[str, ValueTold]
    """By the path of the setting."""
