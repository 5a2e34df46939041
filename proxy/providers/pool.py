"""
All providers and targets, and which of them can take a call for a model now, in the order to try them.

Knows configuration, the providers' model lists and every target's state; sends nothing.
"""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from proxy.providers.balance import Balance
from proxy.providers.breaker import Breaker
from proxy.providers.choice import Choice
from proxy.providers.provider import Provider
from proxy.providers.target import Target
from proxy.settings.models import BalancePolicy, is_glob, most_specific, reads_as_class, split_target

PANIC = 0.5
"""Below this share of healthy targets the verdicts are not believed and all are used again (Envoy, Finagle)."""
MAX_TARGETS = 4096
"""Targets remembered; a model name invented by a client must not cost memory for ever."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A public model as configured."""

    targets: Sequence[str] = ()
    """`provider/model`; empty for every provider that serves the name."""
    balance: BalancePolicy = "preference"
    fallbacks: Sequence[str] = ()
    context_fallbacks: Sequence[str] = ()
    resume: bool = False
    cache: bool = True
    """Its answers may be stored, where any are."""


_PLAIN = Entry()


@dataclass(slots=True)
class _Model:
    """An entry and the balance that keeps its turn."""

    entry: Entry
    balance: Balance = field(init=False)

    def __post_init__(self) -> None:
        self.balance = Balance(self.entry.balance)


class Pool:
    """All providers, in order of preference, and the configured models."""

    def __init__(
        self,
        providers: Sequence[Provider],
        models: Mapping[str, Entry],
        new_breaker: Callable[[], Breaker],
        rng: random.Random,
    ) -> None:
        """*providers* come in order of preference; *models* maps public names and globs to their entries."""
        self._unlisted = _Model(_PLAIN)
        self._models: dict[str, _Model] = {}
        self._new_breaker = new_breaker
        self._rng = rng
        self._targets: dict[tuple[str, str | None], Target] = {}
        self._found: dict[str | None, tuple[Target, ...]] = {}
        """What `targets` answered, while it would answer the same."""
        self.drained: set[str] = set()
        """Providers that an operator has drained, by name: they stay so whatever a reload makes of them."""
        self._classes: dict[str, bool] = {}
        """Of patterns with brackets, whether these are a glob's, while the lists are the same."""
        self.replace(providers, models)

    def replace(
        self, providers: Sequence[Provider], models: Mapping[str, Entry], *, keep_breakers: bool = True
    ) -> None:
        """
        Other providers and models from now on. Targets of a provider that is the same object stay as they are, and so
        does the turn of a model whose entry is the same; without *keep_breakers* every target begins anew.
        """
        self.providers = list(providers)
        self._by_name = {provider.name: provider for provider in providers}
        known = self._models
        self._models = {
            name: known[name] if name in known and known[name].entry == entry else _Model(entry)
            for name, entry in models.items()
        }
        self._targets = {
            key: target
            for key, target in self._targets.items()
            if keep_breakers and self._by_name.get(target.provider.name) is target.provider
        }
        self._lists_changed()
        for provider in providers:
            provider.on_list = self._lists_changed
            provider.drain(provider.name in self.drained)
            # Known from the start, so that a dashboard shows its breaker before its first call.
            self._target(provider.name, None)
        for name, entry in models.items():
            for target in entry.targets:
                self._target(*split_target(target))
            if not entry.targets and not is_glob(name):
                self.targets(name)
        self._kept = frozenset(self._targets)

    def __repr__(self) -> str:
        return f"<Pool [{', '.join(provider.name for provider in self.providers)}]>"

    @property
    def all_targets(self) -> Iterable[Target]:
        """Every target that has been configured or asked."""
        return self._targets.values()

    @property
    def told_targets(self) -> list[Target]:
        """
        Those that pages and metrics show: configured, listed, or shown to work or fail. A name that a client made up
        is none of it.
        """
        return [target for key, target in self._targets.items() if self._is_told(key, target)]

    def provider(self, name: str) -> Provider:
        """The provider of that name; `KeyError` when there is none."""
        return self._by_name[name]

    def drain(self, name: str, drained: bool) -> None:
        """Have the provider of that name, once there is one, take no new call from now on, or take them again."""
        (self.drained.add if drained else self.drained.discard)(name)
        if name in self._by_name:
            self._by_name[name].drain(drained)

    def entry(self, model: str | None) -> Entry:
        """How a public model is configured; the defaults where it is not."""
        return self._model(model).entry

    def pattern(self, model: str) -> str | None:
        """The key of `models` that speaks for a public name; None when none does."""
        return model if model in self._models else most_specific(model, self._models, self.reads_as_class)

    def reads_as_class(self, pattern: str) -> bool:
        """Whether the brackets of *pattern* are a glob's, by the names that are listed and declared here."""
        found = self._classes.get(pattern)
        if found is None:
            names = frozenset[str]().union(*(provider.models for provider in self.providers))
            if len(self._classes) >= MAX_TARGETS:
                self._classes.clear()
            found = self._classes[pattern] = reads_as_class(pattern, names)
        return found

    def upstream_names(self, model: str) -> list[str]:
        """The targets that may come to answer for *model*, its fallbacks' included, by the names providers know."""
        entry = self.entry(model or None)
        names = (model, *entry.fallbacks, *entry.context_fallbacks) if model else (model,)
        return [target.model or name for name in names for target in self.targets(name or None)]

    def targets(self, model: str | None) -> tuple[Target, ...]:
        """Every target that could answer for *model*; empty when no provider serves it."""
        found = self._found.get(model)
        if found is None:
            found = tuple([self._target(provider, name) for provider, name in self._names(model)])
            if len(self._found) >= MAX_TARGETS:
                self._found.clear()
            self._found[model] = found
        return found

    def usable(self, now: float) -> bool:
        """
        Some provider could be asked, as far as probes and calls have shown: it is healthy, one of its keys is good,
        and not every model it was asked for is out.
        """
        asked: dict[Provider, bool] = {}
        for target in self.all_targets:
            if target.model:
                asked[target.provider] = asked.get(target.provider, False) or target.breaker.available(now)
        return any(
            provider.usable and not provider.parked(now) and asked.get(provider, True) for provider in self.providers
        )

    def choose(
        self,
        model: str | None,
        now: float,
        new_call: bool = True,
        fallbacks: Sequence[str] = (),
        wait_untold: bool = True,
    ) -> Choice:
        """
        The targets for *model* that may be asked now, in order, and what keeps the others. *new_call*: this is the
        first question of a call, which takes its turn. *fallbacks*: the models the call may go on to. *wait_untold*: a
        rest may be waited for whose end the provider did not name.
        """
        targets = self.targets(model)
        if len(targets) == 1 and targets[0].available(now):
            return Choice(targets)
        available = [target for target in targets if target.available(now)]
        if len(available) == len(targets):
            return Choice(self._model(model).balance.order(available, now, self._rng, new_call))
        stands_in = any(target.available(now) for name in fallbacks for target in self.targets(name))
        # What an operator has drained is neither judged nor waited for.
        left = [target for target in targets if not target.provider.drained]
        healthy = sum(target.healthy(now) for target in left)
        if not stands_in and healthy < PANIC * len(left):
            # Most are out: more likely our judgement is wrong than all of them are, and a try costs less than a no.
            available = [target for target in left if not target.full and not target.resting(now)]
        chosen, wait_untold = set(available), wait_untold and not stands_in
        return Choice(
            self._model(model).balance.order(available, now, self._rng, new_call),
            [
                (target, target.returns_at(now))
                for target in left
                if target not in chosen and (target.rests_as_told(now) or (wait_untold and target.rests_untold(now)))
            ],
            [(target, target.blocked_by(now)) for target in targets if target not in chosen],
            despite=not healthy,
        )

    def listing(self) -> list[dict[str, Any]]:
        """Every public model once, as entries of OpenAI's model list; configured names first, then by preference."""
        entries: dict[str, dict[str, Any]] = {}
        for name in self._models:
            if not is_glob(name) and not self.reads_as_class(name):
                entries[name] = _listed(name, "hapax")
        for provider in self.providers:
            for entry in provider.listed or ():
                if provider.serves(entry["id"]):
                    entries.setdefault(entry["id"], {**_listed(entry["id"], provider.name), **entry})
            for name in provider.declared or ():
                if name in provider.named:
                    entries.setdefault(name, _listed(name, provider.name))
        return list(entries.values())

    def found(self, model: str) -> dict[str, Any] | None:
        """The entry of a name that stands in no list and is asked for all the same; None when no provider takes it."""
        for provider, _ in self._names(model):
            return _listed(model, provider if self.pattern(model) is None else "hapax")
        return None

    def default_model(self) -> str | None:
        """The model of a native call that names none: the first configured one, else the first any provider has."""
        for entry in self.listing():
            return str(entry["id"])
        return None

    def _model(self, name: str | None) -> _Model:
        if name is None or not self._models:
            return self._unlisted
        exact = self._models.get(name)
        if exact is not None:
            return exact
        pattern = most_specific(name, self._models, self.reads_as_class)
        return self._models[pattern] if pattern is not None else self._unlisted

    def _names(self, model: str | None) -> Iterable[tuple[str, str | None]]:
        """Provider and upstream model of each of its targets."""
        if model is not None and (configured := self._model(model).entry.targets):
            return map(split_target, configured)
        if model is None:
            return [(provider.name, None) for provider in self.providers]
        serving = [provider for provider in self.providers if provider.serves(model)]
        if serving:
            # Where some list holds the name it decides, but for those of which nothing is known.
            return [(each.name, model) for each in self.providers if each.unknown or each in serving]
        return [(each.name, model) for each in self.providers if each.may_serve(model)]

    def _target(self, provider: str, model: str | None) -> Target:
        key = (provider, model)
        target = self._targets.get(key)
        if target is None:
            target = self._targets[key] = Target(self._by_name[provider], model, self._new_breaker())
            if len(self._targets) > MAX_TARGETS:
                self._forget_one()
        return target

    def _is_told(self, key: tuple[str, str | None], target: Target) -> bool:
        if key in self._kept or target.proven or target.breaker.failures_total:
            return True
        return target.model is None or target.model in target.provider.models

    def _lists_changed(self) -> None:
        self._found.clear()
        self._classes.clear()

    def _forget_one(self) -> None:
        """Drop the oldest target that no configuration names and no call is asking; one that never answered first."""
        for invented in (True, False):
            for key, target in self._targets.items():
                if key not in self._kept and not target.in_flight and not (invented and self._is_told(key, target)):
                    del self._targets[key]
                    self._found.clear()
                    return


def _listed(name: str, owner: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": owner}
