"""
What `hapax top` knows of a gateway: fed with its events and pages, and asked for a picture of one moment.

Moments are arguments, in seconds since 1970 by the gateway's clock. It asks nothing and draws nothing.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from proxy.cli.top.calls import Call, Calls, call_of
from proxy.cli.top.minute import ALL, SPAN, Figures, Minute
from proxy.cli.top.standing import Provider, Use, providers_in, uses

CONNECTING, LIVE, AWAY = "connecting", "live", "reconnecting"
"""How the gateway is followed."""
CHANGES = 20
"""Changes of providers that are kept."""
_GOOD = frozenset(("healthy", "closed", "in use"))


@dataclass(frozen=True, slots=True)
class Change:
    """What has become of a provider, a breaker or a provider's key."""

    at: float
    about: str
    state: str
    good: bool


@dataclass(frozen=True, slots=True)
class Hour:
    """The last hour, minute by minute, the oldest first."""

    calls: tuple[int, ...] = ()
    bad: tuple[int, ...] = ()
    """Of these, calls that failed or were cut."""


@dataclass(frozen=True, slots=True)
class Picture:
    """All of it at one moment; it does not change any more."""

    at: float
    span: float
    """Seconds that the figures are of: 60, or less where not all calls of the last minute are known."""
    figures: Figures
    providers: tuple[tuple[Provider, Figures], ...]
    workers: int
    """Processes that have told how they see the providers."""
    uses: tuple[Use, ...]
    """What keys have used of their limits, the nearest first."""
    calls: tuple[Call, ...]
    """The newest first."""
    changes: tuple[Change, ...]
    """The newest first."""
    hour: Hour
    missed: int
    """Events that were not told, because this reader was too slow or away."""

    @property
    def per_minute(self) -> float:
        """What a count of the figures is to be multiplied with."""
        return 60 / self.span


@dataclass(slots=True)
class Budgets:
    """Keys, their limits, and what they have spent."""

    keys: list[Mapping[str, Any]] = field(default_factory=list)
    defaults: dict[str, int] = field(default_factory=dict)
    """The limits of a key that has none of its own."""
    spent: dict[str, dict[str, Mapping[str, int]]] = field(default_factory=dict)
    """By the budgets' periods, by key, the line of the usage since the period began."""


class Model:
    """The state."""

    def __init__(self) -> None:
        self._calls = Calls()
        self._minute = Minute()
        self._providers: tuple[Provider, ...] = ()
        self._workers = 1
        self._changes: deque[Change] = deque(maxlen=CHANGES)
        self._missed = 0
        self._since = 0.0
        """From when on every call is known."""
        self.budgets = Budgets()
        self.hour = Hour()

    def happened(self, kind: str, about: Mapping[str, Any], now: float) -> None:
        """An event of the feed (docs/http.md, "The feed"). Those of kinds that are not known here are passed over."""
        if kind == "call":
            self._took(call_of(about), now)
        elif kind == "missed":
            self._missed += int(about["events"])
        elif kind == "action":
            self._changes.appendleft(Change(now, str(about["name"]), f"{about['action']} by {about['by']}", True))
        elif kind in ("provider", "breaker", "key"):
            state = str(about["state"])
            self._changes.appendleft(Change(now, f"{kind} {about['name']}", state, state in _GOOD))

    def recalled(self, page: Mapping[str, Any], most: int, now: float) -> None:
        """Calls that ended before: what `/admin/calls` answers to one that asks for *most*."""
        calls = [call_of(told) for told in page["calls"]]
        for call in reversed(calls):
            self._took(call, now)
        if len(calls) >= most:
            # What came before is forgotten there, or left out.
            self._since = max(self._since, calls[-1].ended)

    def providers_told(self, page: Mapping[str, Any]) -> None:
        """What `/admin/providers` answers."""
        self._providers = providers_in(page)
        self._workers = len(page.get("workers") or (page,))

    def hour_told(self, page: Mapping[str, Any]) -> None:
        """What `/admin/series` answers for the last hour."""
        self.hour = Hour()
        for series in page["series"]:
            errors = series["errors"]
            bad = [failed + cut for failed, cut in zip(errors["failed"], errors["cut"], strict=True)]
            self.hour = Hour(tuple(series["calls"]), tuple(bad))

    def picture(self, now: float) -> Picture:
        """All of it as it is *now*."""
        self._minute.forget(now)
        span = min(float(SPAN), max(1.0, now - self._since))
        budgets = self.budgets
        return Picture(
            at=now,
            span=span,
            figures=self._minute.of(ALL),
            providers=tuple((each, self._minute.of(("provider", each.name))) for each in self._providers),
            workers=self._workers,
            uses=uses(budgets.keys, budgets.defaults, budgets.spent, lambda name: self._minute.of(("key", name)), span),
            calls=self._calls.every(now),
            changes=tuple(self._changes),
            hour=self.hour,
            missed=self._missed,
        )

    def _took(self, call: Call, now: float) -> None:
        if self._calls.add(call):
            self._minute.add(call, now)
