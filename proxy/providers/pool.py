"""
Which targets can answer a call for a model, in the order to try them.

Knows configuration and the providers' model lists; sends nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from proxy.providers.provider import Provider, Target
from proxy.settings.models import is_glob, most_specific, split_target


class Pool:
    """All providers, in order of preference, and the configured models."""

    def __init__(self, providers: Sequence[Provider], models: Mapping[str, Sequence[str] | None]) -> None:
        """
        *providers* come in order of preference. *models* maps a public name or glob to its targets as
        `provider/model`, or to None for every provider that serves it.
        """
        self.providers = list(providers)
        self._models = {
            name: [Target(*split_target(target)) for target in listed or ()] for name, listed in models.items()
        }
        self._configured = [name for name in models if not is_glob(name)]

    def __repr__(self) -> str:
        return f"<Pool [{', '.join(provider.name for provider in self.providers)}]>"

    def targets(self, model: str | None) -> list[Target]:
        """The targets for *model* in the order to try them; empty when nobody serves it."""
        if model is None:
            return [Target(provider.name, None) for provider in self.providers]
        configured = self._models.get(model)
        if configured is None and (pattern := most_specific(model, self._models)) is not None:
            configured = self._models[pattern]
        if configured:
            return configured
        return [Target(provider.name, model) for provider in self.providers if provider.serves(model)]

    def listing(self) -> list[dict[str, Any]]:
        """Every public model once, as entries of OpenAI's model list; configured names first, then by preference."""
        entries: dict[str, dict[str, Any]] = {}
        for name in self._configured:
            entries[name] = _entry(name, "hapax")
        for provider in self.providers:
            for entry in provider.listed or ():
                if provider.serves(entry["id"]):
                    entries.setdefault(entry["id"], {**_entry(entry["id"], provider.name), **entry})
            for name in provider.declared or ():
                if not is_glob(name):
                    entries.setdefault(name, _entry(name, provider.name))
        return list(entries.values())

    def default_model(self) -> str | None:
        """The model of a native call that names none: the first configured one, else the first any provider has."""
        for name in self._configured:
            return name
        for provider in self.providers:
            for name in provider.declared or ():
                if not is_glob(name):
                    return name
            for entry in provider.listed or ():
                if provider.serves(entry["id"]):
                    return str(entry["id"])
        return None


def _entry(name: str, owner: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": owner}
