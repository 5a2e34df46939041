"""
How providers stand, and how near keys are to their limits: made of what the gateway's pages tell.

Functions of those pages alone. What several workers think of a provider becomes one: sums of what is counted, the
worst of what is thought.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from proxy.cli.top.minute import Figures

_WORST = ("open", "half-open", "closed")
_LIMITS = (("requests_per_minute", "calls/min"), ("tokens_per_minute", "tokens/min"))


@dataclass(frozen=True, slots=True)
class Target:
    """A provider's model."""

    name: str
    breaker: str
    blocked_by: str
    """What keeps it from being asked; empty for nothing."""
    under_way: int


@dataclass(frozen=True, slots=True)
class Provider:
    """What is thought of a provider."""

    name: str
    healthy: bool
    drained: bool
    under_way: int
    parked: tuple[int, ...]
    """Its keys that were refused, by their place in the list, from 1."""
    targets: tuple[Target, ...]

    @property
    def state(self) -> str:
        """In a word."""
        return "drained" if self.drained else "healthy" if self.healthy else "unhealthy"

    @property
    def breaker(self) -> str:
        """Of the target that stands worst, with the number of those that stand so where it is not closed."""
        for state in _WORST[:2]:
            if found := sum(target.breaker == state for target in self.targets):
                return f"{found} {state}"
        return "closed" if self.targets else ""


@dataclass(frozen=True, slots=True)
class Use:
    """How much of one limit a key has used."""

    key: str
    of: str
    """What is limited: `calls/min`, `tokens/min`, `usd/day`, `tokens/month` and so on."""
    used: float
    amount: float
    limited: int
    """Calls of the last minute that were refused because a limit of this key was used up."""

    @property
    def share(self) -> float:
        """Of the whole amount; more than 1 beyond it."""
        return self.used / self.amount


def providers_in(page: Mapping[str, Any]) -> tuple[Provider, ...]:
    """Those that `/admin/providers` tells of, in its order."""
    told = [worker["providers"] for worker in page.get("workers") or [page]]
    return tuple(_together(name, [each[name] for each in told if name in each]) for name in page["providers"])


def _together(name: str, told: list[Mapping[str, Any]]) -> Provider:
    targets: dict[str, Target] = {}
    for each in told:
        for target, its in each["targets"].items():
            known = targets.get(target, Target(target, "closed", "", 0))
            targets[target] = Target(
                target,
                min(known.breaker, its["breaker"], key=_WORST.index),
                known.blocked_by or its["blocked_by"],
                known.under_way + its["in_flight"],
            )
    return Provider(
        name=name,
        healthy=all(each["healthy"] for each in told),
        drained=any(each["drained"] for each in told),
        under_way=sum(each["in_flight"] for each in told),
        parked=tuple(sorted({key for each in told for key in each["parked_keys"]})),
        targets=tuple(targets.values()),
    )


def period_began(per: str, now: float) -> datetime:
    """When the period of a budget began in which *now* lies: in UTC, weeks from Monday (docs/limits.md, "Budgets")."""
    hour = datetime.fromtimestamp(now, UTC).replace(minute=0, second=0, microsecond=0)
    day = hour.replace(hour=0)
    return {
        "hour": hour,
        "day": day,
        "week": day - timedelta(days=day.weekday()),
        "month": day.replace(day=1),
    }[per]


def uses(
    keys: Iterable[Mapping[str, Any]],
    defaults: Mapping[str, int],
    spent: Mapping[str, Mapping[str, Mapping[str, int]]],
    figures: Callable[[str], Figures],
    span: float,
) -> tuple[Use, ...]:
    """
    How much of its limits and its budget each of *keys*, as `/admin/keys` tells them, has used, the nearest first.

    *defaults*: the limits of a key that has none of its own. *spent*: by the budgets' periods, by key, its line of
    `/admin/usage` since the period began. *figures*: those of the last minute of the key of a name. *span*: seconds
    that these are of; the rates are what a minute would have.
    """
    found = []
    for key in keys:
        if key["status"] not in ("active", "rotating"):
            continue
        name, its = key["name"], figures(key["name"])
        charged = (its.calls - its.refused, its.prompt + its.completion)
        for (limit, of), used in zip(_LIMITS, charged, strict=True):
            own = key["limits"].get(limit)
            amount = defaults.get(limit, 0) if own is None else own
            if amount:
                found.append(Use(name, of, used * 60 / span, amount, its.limited))
        budget = key["budget"]
        if budget and (lines := spent.get(budget["per"])) is not None:
            line = lines.get(name, {})
            usd = "usd" in budget
            spent_so_far = line.get("cost_micro_usd", 0) / 1e6 if usd else _tokens(line)
            whole = budget["usd"] if usd else budget["tokens"]
            found.append(Use(name, f"{'usd' if usd else 'tokens'}/{budget['per']}", spent_so_far, whole, its.limited))
    return tuple(sorted(found, key=lambda use: (-use.share, use.key, use.of)))


def _tokens(line: Mapping[str, int]) -> int:
    return line.get("prompt_tokens", 0) + line.get("completion_tokens", 0)
