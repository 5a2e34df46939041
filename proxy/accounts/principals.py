"""
Who calls: the keys of the configuration file and of the store, found by digest.

A key is kept as its SHA-256 only, and looked up by it, so that no comparison walks along a secret. It reads no store
and counts nothing; limits and budgets are only carried along.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from proxy.accounts.keys import KeyRecord
from proxy.accounts.secret import digest
from proxy.core import clock
from proxy.settings import Budget, ClientKey, KeyLimits
from proxy.settings.models import speaks_for

_ALL = ("*",)
_NO_LIMITS = KeyLimits.model_validate({})


@dataclass(frozen=True, slots=True)
class Principal:
    """The holder of a key."""

    name: str
    team: str = ""
    """Whom its usage is counted under besides its name."""
    models: tuple[str, ...] = _ALL
    """Names and globs of the models it may use."""
    routes: tuple[str, ...] = _ALL
    """Paths and globs it may call."""
    limits: KeyLimits = _NO_LIMITS
    budget: Budget | None = None
    cache: bool = True
    """Its calls may have stored answers, where there are any."""
    as_class: Callable[[str], bool] | None = field(default=None, compare=False, repr=False)
    """Tells of a pattern with brackets among `models` whether they are a glob's; None: they stand for themselves."""

    @property
    def restricted(self) -> bool:
        """Some models are not for it."""
        return "*" not in self.models

    def may_use(self, model: str) -> bool:
        """Whether *model* is among its models."""
        models = self.models
        if "*" in models or model in models:
            return True
        return any(speaks_for(pattern, model, self.as_class) for pattern in models)

    def may_call(self, path: str) -> bool:
        """Whether *path* is among its routes."""
        routes = self.routes
        return "*" in routes or path in routes or any(fnmatchcase(path, pattern) for pattern in routes)


MOST_HASHED = 10_000
"""Keys whose digest is remembered, at some 200 bytes each."""

ANYONE = Principal("anonymous")
"""Every caller, where there are no keys."""


class Principals:
    """All keys and whom they belong to."""

    def __init__(
        self,
        file_keys: Sequence[ClientKey],
        admin_key: str | None,
        *,
        may_be_open: bool = True,
        has_store: bool = False,
        as_class: Callable[[str], bool] | None = None,
    ) -> None:
        """
        *may_be_open*: without any key, any client may call. *has_store*: more keys will come with `put`, and until the
        first time it is not known whether there are any. *as_class*: that of every principal.
        """
        self._as_class = as_class
        self._may_be_open = may_be_open
        self._store_may_hold_keys = has_store
        self._of_file: dict[bytes, Principal] = {}
        self._file_by_name: dict[str, Principal] = {}
        """Of keys of one name, the first."""
        self._of_store: dict[bytes, Principal] = {}
        self._until: dict[bytes, float] = {}
        """When digests of the store end, in seconds of the wall clock; most are not in it, since they do not."""
        self._digests: dict[str, tuple[bytes, ...]] = {}
        """Those of each key of the store that is not revoked, by name."""
        self._hashed: dict[str, bytes] = {}
        """Digests of keys that were sent lately."""
        self._held = False
        """The store has had a key, if only a revoked one."""
        self.open = False
        """No client needs a key: none is configured, and the store never had one."""
        self.replace_file_keys(file_keys, admin_key)

    def __len__(self) -> int:
        """Keys that are not revoked; expired ones count."""
        return len(self._of_file) + len(self._digests)

    def __repr__(self) -> str:
        return f"<Principals [{len(self._of_file)} in the file, {len(self._digests)} in the store]>"

    @property
    def has_admin(self) -> bool:
        """An admin key is configured."""
        return self._admin is not None

    def all(self) -> Iterator[Principal]:
        """Every principal that holds a key."""
        yield from self._of_file.values()
        for name, digests in self._digests.items():
            if name not in self._file_by_name:
                yield self._of_store[digests[0]]

    def team_of(self, name: str) -> str:
        """The team of the principal of that name; empty where it has none, or there is no such principal now."""
        if name in self._file_by_name:
            return self._file_by_name[name].team
        digests = self._digests.get(name)
        return self._of_store[digests[0]].team if digests else ""

    def find(self, key: str) -> Principal | None:
        """The holder of *key*; None for one that is unknown, expired or revoked."""
        digested = self._hashed.get(key) or self._hash(key)
        principal = self._of_file.get(digested)
        if principal is not None:
            return principal
        principal = self._of_store.get(digested)
        if principal is None or principal.name in self._file_by_name:
            return None
        if self._until:
            until = self._until.get(digested)
            if until is not None and clock.wall().timestamp() >= until:
                return None
        return principal

    def _hash(self, key: str) -> bytes:
        """The digest of *key*, remembered when a principal holds it: a client sending others must not cost memory."""
        digested = digest(key)
        if digested in self._of_file or digested in self._of_store:
            if len(self._hashed) >= MOST_HASHED:
                self._hashed.clear()
            self._hashed[key] = digested
        return digested

    def is_admin(self, key: str) -> bool:
        """Whether *key* is the admin key."""
        return self._admin is not None and digest(key) == self._admin

    def put(self, records: Iterable[KeyRecord]) -> None:
        """Know these keys of the store, as they are now. No records: the store was read and there were none."""
        for record in records:
            self._held = True
            self._forget(record.name)
            if record.revoked is None:
                self._know(record)
        self._store_may_hold_keys = False
        self._decide()

    def replace_store_keys(self, records: Iterable[KeyRecord]) -> None:
        """Know these keys of the store and no others."""
        for name in list(self._digests):
            self._forget(name)
        self.put(records)

    def replace_file_keys(self, file_keys: Sequence[ClientKey], admin_key: str | None) -> None:
        """Know these keys of the configuration file and no others."""
        self._admin = digest(admin_key) if admin_key else None
        self._of_file = {
            digest(key.key.get_secret_value()): Principal(
                key.name, key.team, key.models, key.routes, key.limits, key.budget, key.cache, self._as_class
            )
            for key in file_keys
        }
        self._file_by_name = {each.name: each for each in reversed(self._of_file.values())}
        self._decide()

    def _know(self, record: KeyRecord) -> None:
        principal = Principal(
            record.name,
            record.team,
            record.models,
            record.routes,
            record.limits,
            record.budget,
            record.cache,
            self._as_class,
        )
        digests = [record.digest]
        end = None if record.expires is None else record.expires.timestamp()
        if end is not None:
            self._until[record.digest] = end
        if record.previous_digest is not None and record.previous_expires is not None:
            digests.append(record.previous_digest)
            previous_end = record.previous_expires.timestamp()
            self._until[record.previous_digest] = previous_end if end is None else min(previous_end, end)
        for each in digests:
            self._of_store[each] = principal
        self._digests[record.name] = tuple(digests)

    def _forget(self, name: str) -> None:
        for each in self._digests.pop(name, ()):
            self._of_store.pop(each, None)
            self._until.pop(each, None)

    def _decide(self) -> None:
        self.open = self._may_be_open and not (self._of_file or self._store_may_hold_keys or self._held)
