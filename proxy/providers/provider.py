"""
One provider as the pool sees it: its name and which models it serves.

It holds facts and predicates; how its API is reached stands in `upstream`.
"""

import math
import re
from collections.abc import Callable, Collection, Sequence
from fnmatch import translate
from typing import Any

from proxy.providers.health import ActiveHealth
from proxy.providers.last_error import LastError
from proxy.settings.models import is_glob, literally, reads_as_class


class Patterns:
    """Names and globs, matched with case, as model names are."""

    def __init__(self, patterns: Sequence[str], listed: Collection[str] = ()) -> None:
        """*listed*: the names there are, which tell whether brackets belong to a name or to a glob."""
        classes = [pattern for pattern in patterns if reads_as_class(pattern, listed)]
        globs = [translate(literally(pattern)) for pattern in patterns if is_glob(pattern)]
        globs += [translate(pattern) for pattern in classes]
        self._names = frozenset(pattern for pattern in patterns if not is_glob(pattern))
        self._globs = re.compile("|".join(globs)) if globs else None
        self.names = self._names.difference(classes)
        """Those that stand for one model each."""

    def __contains__(self, name: str) -> bool:
        return name in self._names or (self._globs is not None and self._globs.match(name) is not None)


class Provider:
    """One upstream account."""

    def __init__(
        self,
        name: str,
        models: Sequence[str] | None,
        *,
        weight: int = 1,
        max_concurrency: int = 0,
        key_count: int = 1,
        failure_threshold: int = 2,
        prefills: bool = False,
        asks_usage: bool = False,
        asks_usage_strictly: bool = False,
        takes: Sequence[str] = (),
        implied: str = "",
        accounts: Sequence[str] = (),
    ) -> None:
        """
        *models* are names or globs, and it serves no others; None means: what its own list says. *takes*: globs of
        names it takes although its list does not tell them. *implied*: the end of a name that may be left out.
        *max_concurrency* 0 is no limit. *failure_threshold* is how many probes in a row must fail to make it
        unhealthy. *asks_usage_strictly*: a refusal of the usage option is not learned from. *accounts*: what tells
        its keys apart, see `accounts`.
        """
        self.name = name
        self.declared = list(models) if models is not None else None
        self.weight = weight
        self.prefills = prefills
        """Its models continue a trailing assistant message, as far as is known."""
        self.asks_usage = asks_usage or asks_usage_strictly
        """It may be asked for the token counts of streams; unlearned by a refusal."""
        self._asks_usage_strictly = asks_usage_strictly
        self.key_count = max(1, key_count)
        self.accounts = tuple(accounts) or ("",) * self.key_count
        """Per key: a name for the account it opens that outlasts another order of keys and tells nothing of them."""
        self.listed: list[dict[str, Any]] | None = None
        """Its own model list, entries as it sent them; None until it has answered once."""
        self.on_list: Callable[[], object] = lambda: None
        """Called when the list has changed, and with it whom to ask for what."""
        self.health = ActiveHealth(failure_threshold)
        """What the probes say."""
        self.in_flight = 0
        """Attempts under way, over all of its models."""
        self.request_count = 0
        """Attempts so far."""
        self.error_count = 0
        """Those that failed by its fault."""
        self.last_error: LastError | None = None
        """How an attempt or a probe failed last; None while none has."""
        self.parked_until = [0.0] * self.key_count
        """Per key: until when it is not used, because the provider refused it or its money is gone."""
        self.spent = [False] * self.key_count
        """Per key: its money was gone when it was parked last."""
        self.drained = False
        """An operator has taken it out: it takes no new call."""
        self._places = self._max_places = max_concurrency or math.inf
        """Attempts that may be under way: none while it is drained."""
        self._serves = Patterns(self.declared) if self.declared is not None else None
        self._takes = Patterns(takes)
        self._implied = implied
        self._listed_names: frozenset[str] = frozenset()
        self.models = self.named
        """The names it is known to serve: those declared, and of its list those it serves."""

    def __repr__(self) -> str:
        count = "?" if self.listed is None else len(self.listed)
        return f"<Provider {self.name} [{count} models listed, {self.in_flight} in flight, {self.health!r}]>"

    @property
    def full(self) -> bool:
        """As many attempts are under way as it may have."""
        return self.in_flight >= self._places

    @property
    def usable(self) -> bool:
        """It may be asked, as far as probes and the operator say."""
        return self.health.healthy and not self.drained

    def drain(self, drained: bool) -> None:
        """Take no new call from now on, or take them again; those under way go on."""
        self.drained = drained
        self._places = 0 if drained else self._max_places

    def parked(self, now: float) -> bool:
        """None of its keys may be used."""
        return all(until > now for until in self.parked_until)

    def park(self, key: int, until: float, spent: bool = False) -> None:
        """Do not use *key* until then: the provider refused it, or its money is *spent*."""
        self.parked_until[key] = max(self.parked_until[key], until)
        self.spent[key] = spent

    def unlearn_usage(self) -> bool:
        """It refused the usage option and answered without it; whether that is new, and is obeyed from now on."""
        learned = self.asks_usage and not self._asks_usage_strictly
        if learned:
            self.asks_usage = False
        return learned

    @property
    def named(self) -> frozenset[str]:
        """The names among what is declared; the rest are globs."""
        return self._serves.names if self._serves is not None else frozenset()

    @property
    def unknown(self) -> bool:
        """Neither the operator nor its own list says what it serves: it is asked, since it knows better than we do."""
        return self._serves is None and not self._listed_names

    def take_list(self, entries: list[dict[str, Any]]) -> None:
        """Replace the model list by what the provider just answered; an empty one tells nothing."""
        self.listed = entries
        self._listed_names = frozenset(entry["id"] for entry in entries)
        if self.declared is not None:
            self._serves = Patterns(self.declared, self._listed_names)
        self.models = self.named.union(name for name in self._listed_names if self.serves(name))
        self.on_list()

    def serves(self, model: str) -> bool:
        """Whether it is known to serve *model*: it is declared, or where nothing is declared, it is listed."""
        names = self._serves if self._serves is not None else self._listed_names
        if model in names or not self._implied:
            return model in names
        whole = model.removesuffix(self._implied)
        return (whole if whole != model else model + self._implied) in names

    def may_serve(self, model: str) -> bool:
        """Whether it can be asked for a *model* that is nowhere listed: a list is knowledge, and not all there is."""
        return self.unknown or (self._serves is None and model in self._takes)
