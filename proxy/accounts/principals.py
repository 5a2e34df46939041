"""
Who calls: the keys an operator configured, found by digest.

A key is kept as its SHA-256 only, and looked up by it, so that no comparison walks along a secret. It knows no limits
and no store yet.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True, slots=True)
class Principal:
    """The holder of a key."""

    name: str
    models: tuple[str, ...] = ("*",)
    """Names and globs of the models it may use."""

    @property
    def restricted(self) -> bool:
        """Some models are not for it."""
        return "*" not in self.models

    def may_use(self, model: str) -> bool:
        """Whether *model* is among its models."""
        return any(pattern in ("*", model) or fnmatchcase(model, pattern) for pattern in self.models)


ANYONE = Principal("anonymous")
"""Everybody, where no keys are configured."""


class Principals:
    """All keys and whom they belong to."""

    def __init__(self, keys: Iterable[tuple[str, str, Sequence[str]]], admin_key: str | None) -> None:
        """*keys* are (name, key, models)."""
        self._by_digest = {_digest(key.encode()): Principal(name, tuple(models)) for name, key, models in keys}
        self._admin = _digest(admin_key.encode()) if admin_key else None

    @property
    def open(self) -> bool:
        """No keys are configured: anybody may call, with any key or none."""
        return not self._by_digest

    @property
    def has_admin(self) -> bool:
        """An admin key is configured."""
        return self._admin is not None

    def find(self, key: str) -> Principal | None:
        """The holder of *key*; the same work for known and unknown ones."""
        return self._by_digest.get(_digest(key.encode("utf-8", "surrogateescape")))

    def is_admin(self, key: str) -> bool:
        """Whether *key* is the admin key."""
        return self._admin is not None and _digest(key.encode("utf-8", "surrogateescape")) == self._admin


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
