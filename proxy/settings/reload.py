"""
What a configuration that was read again changes, and what of it has to wait for a restart.

What is wrong with it by itself load.py says; here is what only the comparison shows.
"""

from dataclasses import replace
from typing import TypeVar

from proxy.settings import checks
from proxy.settings.load import Loaded
from proxy.settings.problems import Problem, SettingsError, path_text
from proxy.settings.values import Section, leaves
from proxy.settings.whole import Settings

SomeSection = TypeVar("SomeSection", bound=Section)

FIXED = (
    *("server.host", "server.port", "server.http3.enabled", "server.http3.port"),
    *("server.workers", "store.url", "state.url"),
)
"""
Settings a running gateway keeps: what its sockets are bound to, and what holds the levels, keys and rows of calls that
are under way.
"""


def accepted(before: Loaded, after: Loaded) -> Loaded:
    """
    *after*; `SettingsError` where it would quietly send calls elsewhere: its file is gone, or it names no provider any
    more and the environment, a local Ollama or the simulator would answer instead.
    """
    if before.path is not None and after.path is None:
        raise SettingsError([Problem("", f"{before.path} is gone; put it back, or restart to go on without a file")])
    switched = after.providers_from not in ("settings", before.providers_from)
    if switched and before.providers_from != "simulator":
        message = (
            f"are not named any more, and {after.source} would answer instead; name them, or restart if that is meant"
        )
        raise SettingsError([Problem("providers", message)])
    return after


def waiting(before: Settings, after: Settings) -> list[str]:
    """
    The settings that differ and wait for a restart. Between two numbers of workers above one there is a supervisor, who
    starts some more or sends some away.
    """
    differing = [path for path in FIXED if _at(before, path) != _at(after, path)]
    if before.server.workers > 1 and after.server.workers > 1:
        differing = [path for path in differing if path != "server.workers"]
    return differing


def held_back(before: Settings, after: Settings) -> Settings:
    """*after*, with what waits for a restart as it was *before*."""
    for path in waiting(before, after):
        after = _with(after, path.split("."), _at(before, path))
    return after


def combined(before: Loaded, after: Loaded) -> tuple[Loaded, list[str]]:
    """
    *after* as far as it can be put in force, with what stays as it was *before*; and what that is. `SettingsError`
    where the two together make no sense, such as an address other machines reach without a key.
    """
    fixed = waiting(before.settings, after.settings)
    if not fixed:
        return after, fixed
    settings, sources = held_back(before.settings, after.settings), dict(after.sources)
    for path in fixed:
        sources.pop(path, None)
        if path in before.sources:
            sources[path] = before.sources[path]
    found = list(checks.problems(settings, {}, list(settings.providers)))
    if found:
        words = f"; {' and '.join(fixed)} stays as it was until a restart"
        raise SettingsError([replace(problem, message=problem.message + words) for problem in found])
    return replace(after, settings=settings, sources=sources), fixed


def changed(before: Settings, after: Settings) -> list[str]:
    """The path of every value that differs, and of those that only one of them has."""
    old, new = dict(leaves(before)), dict(leaves(after))
    return [path_text(place) for place in {**old, **new} if old.get(place, ...) != new.get(place, ...)]


def _at(settings: Settings, path: str) -> object:
    value: object = settings
    for name in path.split("."):
        value = getattr(value, name)
    return value


def _with(section: SomeSection, steps: list[str], value: object) -> SomeSection:
    """*section* with *value* where *steps* lead."""
    name, *rest = steps
    return section.model_copy(update={name: _with(getattr(section, name), rest, value) if rest else value})
