"""
The configuration in force: how it came to be, what of it waits for a restart, and what became of the last try to
replace it.

A record that pages and metrics read; who replaces it is `process`.
"""

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal

from pydantic import SecretStr

from proxy.settings.live import NONE, LiveChange
from proxy.settings.load import Loaded
from proxy.settings.problems import path_text
from proxy.settings.values import leaves
from proxy.settings.whole import Settings

By = Literal["watch", "signal", "admin", "program"]
"""What asked for a reload: a file that changed, SIGHUP, `POST /admin/reload`, or the program that has the gateway."""
Outcome = Literal["applied", "refused"]
OUTCOMES: tuple[Outcome, ...] = ("applied", "refused")

_HASH_KEY = secrets.token_bytes(32)
"""
Made where the supervisor loads this, so that its workers have the same. Without it a hash of a secret is worth nothing:
a reader of the page, or of a copy of it, cannot try what the secret may be.
"""
_SHOWN = 12
"""Digits of a hash: equal by chance once in 10^14."""


@dataclass(frozen=True, slots=True)
class Reload:
    """One try to put another configuration in force."""

    at: str
    """When, as a date in UTC."""
    by: By
    outcome: Outcome
    problems: tuple[str, ...] = ()
    """Why it was refused."""
    changed: tuple[str, ...] = ()
    """Paths of the settings that differ from those before."""
    files: tuple[str, ...] = ()
    """Files whose content differs."""
    needs_restart: tuple[str, ...] = ()
    """Settings that differ and wait."""

    def told(self) -> dict[str, Any]:
        """As plain JSON."""
        return asdict(self)


@dataclass(slots=True, eq=False)
class InForce:
    """It."""

    loaded: Loaded
    since: datetime
    """When it was put in force."""
    needs_restart: tuple[str, ...] = ()
    last: Reload | None = None
    """The last try to replace it; None while there was none."""
    counts: dict[Outcome, int] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))
    """Tries so far, by what became of them; counted where they are decided."""
    missed: tuple[str, ...] = ()
    """Files that the configuration which was refused last was read from."""
    live: LiveChange = NONE
    """What an operator has changed beside it; it may have ended, see `LiveChange.at`."""

    @property
    def files(self) -> list[str]:
        """Every file that is to be watched."""
        return list(dict.fromkeys((*self.loaded.files, *self.missed)))

    def take(self, loaded: Loaded, reload: Reload, now: datetime) -> None:
        """*loaded* is in force from *now* on, by *reload*."""
        self.loaded, self.since, self.last, self.missed = loaded, now, reload, ()
        self.needs_restart = reload.needs_restart

    def refuse(self, reload: Reload, files: Iterable[str]) -> None:
        """It stays; what was refused was read from *files*."""
        self.last, self.missed = reload, tuple(files)

    def follow(self, other: "InForce") -> None:
        """The same as *other*, where that is decided; what is counted there is not counted here."""
        self.loaded, self.since, self.last, self.missed = other.loaded, other.since, other.last, other.missed
        self.needs_restart, self.live = other.needs_restart, other.live

    def change(self, live: LiveChange) -> None:
        """An operator has changed something beside the configuration."""
        self.live = live

    @property
    def hash(self) -> str:
        """Equal where the settings are, while the process lives."""
        return str(self.told()["hash"])

    def told(self) -> dict[str, Any]:
        """The configuration as plain JSON, secrets as stars. Hashes can be compared with those of this life alone."""
        values = {
            path_text(place): _shown(value, self.loaded.sources.get(path_text(place), "default"))
            for place, value in leaves(self.loaded.settings)
        }
        return {
            "source": self.loaded.source,
            "since": self.since.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z",
            "hash": _hash("\n".join(f"{path} {each['hash']}" for path, each in values.items())),
            "needs_restart": list(self.needs_restart),
            "last_reload": self.last and self.last.told(),
            "warnings": list(self.loaded.warnings),
            "files": self.files,
            "values": values,
        }


def shown(settings: Settings, paths: Iterable[str]) -> dict[str, Any]:
    """
    The values at these *paths*, by path, as a line of the log tells them: of a secret stars, and the hash by which it
    differs from another. What *settings* do not hold is left out.
    """
    wanted = frozenset(paths)
    found = ((path_text(place), value) for place, value in leaves(settings))
    return {path: _told(value) for path, value in found if path in wanted}


def _told(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return f"{value} {_hash(_secret(value))}"
    return [_told(each) for each in value] if isinstance(value, tuple) else value


def _shown(value: Any, source: str) -> dict[str, Any]:
    return {"value": _plain(value), "source": source, "hash": _hash(_secret(value))}


def _plain(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return str(value)
    return [_plain(each) for each in value] if isinstance(value, tuple) else value


def _secret(value: Any) -> str:
    """The value as a text that differs where it does."""
    return value.get_secret_value() if isinstance(value, SecretStr) else repr(value)


def _hash(text: str) -> str:
    return hmac.new(_HASH_KEY, text.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()[:_SHOWN]
