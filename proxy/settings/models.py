"""
The `models` section: public model names and where they lead, and which entry speaks for a given name.

Whether the targets name real providers and the fallbacks end is asked in checks.py.
"""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from proxy.settings.values import Section, Text


def split_target(target: str) -> tuple[str, str]:
    """Provider and upstream model of `provider/model`, split at the first slash since model names have slashes too."""
    provider, _, model = target.partition("/")
    return provider, model


def is_glob(name: str) -> bool:
    return any(letter in name for letter in "*?[")


def most_specific(name: str, patterns: Iterable[str]) -> str | None:
    """The pattern that speaks for a name: itself, else the matching glob with the most literal letters."""
    best: str | None = None
    for pattern in patterns:
        if pattern == name:
            return pattern
        if fnmatchcase(name, pattern) and (best is None or _literals(pattern) > _literals(best)):
            best = pattern
    return best


def _literals(pattern: str) -> int:
    return sum(letter not in "*?[]" for letter in pattern)


def _target(target: str) -> str:
    if not all(split_target(target)):
        raise ValueError("must be provider/model, such as openai/gpt-4o")
    return target


Target = Annotated[str, AfterValidator(_target)]
Balance = Literal["preference", "round_robin", "weighted", "least_requests", "fastest"]


class Model(Section):
    """A public model name, or a glob of them."""

    targets: tuple[Target, ...] = Field(
        (), description="provider/model in order; omitted: every provider serving the name, by preference."
    )
    balance: Balance = Field("preference", description="How the first target is chosen.")
    fallbacks: tuple[Text, ...] = Field((), description="Public models to try when every target failed.")
    context_fallbacks: tuple[Text, ...] = Field(
        (), description="Public models to try only after context_length_exceeded."
    )
    resume: bool = Field(
        False, description="Continue a committed stream that died on the next target, where that is provably safe."
    )
