"""
What the pages about the configuration answer, as the document of the API tells it.

They are made in `settings.in_force`; a test holds what comes against what is told here.
"""

from typing import Any, Literal

from proxy.middleware.described import Shape


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


class ConfigurationTold(Shape):
    """The configuration in force."""

    source: str
    since: str
    hash: str
    needs_restart: list[str]
    """Settings that differ and wait."""
    last_reload: ReloadTold | None
    warnings: list[str]
    files: list[str]
    """What it was read from, and is watched."""
    values: dict[str, ValueTold]
    """By the path of the setting."""
