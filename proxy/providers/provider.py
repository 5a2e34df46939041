"""
One provider as the pool sees it: its name and which models it serves.

It holds facts and predicates; how its API is reached stands in `upstream`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import translate
from typing import Any

from proxy.settings.models import is_glob


class Patterns:
    """Names and globs, matched with case, as model names are."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._names = frozenset(pattern for pattern in patterns if not is_glob(pattern))
        globs = [translate(pattern) for pattern in patterns if is_glob(pattern)]
        self._globs = re.compile("|".join(globs)) if globs else None

    def __contains__(self, name: str) -> bool:
        return name in self._names or (self._globs is not None and self._globs.match(name) is not None)


class Provider:
    """One upstream account."""

    def __init__(self, name: str, models: Sequence[str] | None) -> None:
        """*models* are names or globs; None means: what its own list says."""
        self.name = name
        self.declared = list(models) if models is not None else None
        self.listed: list[dict[str, Any]] | None = None
        """Its own model list, entries as it sent them; None until it has answered once."""
        self.list_fails = 0
        """Refreshes of that list that failed in a row."""
        self._serves = Patterns(models) if models is not None else None
        self._listed_names: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        count = "?" if self.listed is None else len(self.listed)
        return f"<Provider {self.name} [{count} models listed]>"

    def take_list(self, entries: list[dict[str, Any]]) -> None:
        """Replace the model list by what the provider just answered."""
        self.listed = entries
        self.list_fails = 0
        self._listed_names = frozenset(entry["id"] for entry in entries)

    def serves(self, model: str) -> bool:
        """
        Whether to send calls for *model* here. While its list is unknown the provider is asked rather than passed
        over: it knows better than we do, and a 404 is its to say.
        """
        if self._serves is not None:
            return model in self._serves
        return self.listed is None or model in self._listed_names


@dataclass(frozen=True, slots=True)
class Target:
    """A provider and the model name to ask it for."""

    provider: str
    model: str | None
    """None for calls that name no model, such as `GET /v1/files`."""

    def __str__(self) -> str:
        return f"{self.provider}/{self.model}" if self.model else self.provider
