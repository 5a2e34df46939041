"""
Settings this release accepts without acting on them yet.

`IDLE` is the whole list: a path, and the value with which the setting asks for nothing. A change that
makes one of them act removes its line.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from proxy.settings.problems import path_text
from proxy.settings.shape import Place
from proxy.settings.values import Section
from proxy.settings.whole import Settings

IDLE: Mapping[str, Any] = {
    "routes.*.middleware": ("auth", "rate-limit", "cors", "logging"),
}


def without_effect(settings: Settings) -> list[str]:
    """Paths the user set, to something other than nothing, that change nothing in this release."""
    found = []
    for pattern, nothing in IDLE.items():
        for place, value in _matches(settings, pattern.split("."), ()):
            if not _asks_nothing(value, nothing):
                found.append(path_text(place))
    return found


def _matches(value: Any, steps: list[str], place: Place) -> Iterator[tuple[Place, Any]]:
    if not steps:
        yield place, value
    elif steps[0] == "*":
        entries = value.items() if isinstance(value, dict) else enumerate(value)
        for key, entry in entries:
            yield from _matches(entry, steps[1:], (*place, key))
    elif steps[0] in value.model_fields_set:
        yield from _matches(getattr(value, steps[0]), steps[1:], (*place, steps[0]))


def _asks_nothing(value: Any, nothing: Any) -> bool:
    if isinstance(value, Section):
        # A section written with nothing in it asks for nothing, whatever it is.
        if not value.model_fields_set:
            return True
        return isinstance(nothing, dict) and all(getattr(value, name) == quiet for name, quiet in nothing.items())
    return bool(value == nothing)
