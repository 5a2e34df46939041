"""
The `models` section: public model names and where they lead, and which entry speaks for a given name.

Whether the targets name real providers and the fallbacks end is asked in checks.py.
"""

from collections.abc import Callable, Collection, Iterable
from fnmatch import fnmatchcase
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from proxy.settings.values import Section, Text


def split_target(target: str) -> tuple[str, str]:
    """Provider and upstream model of `provider/model`, split at the first slash since model names have slashes too."""
    provider, _, model = target.partition("/")
    return provider, model


def is_glob(name: str) -> bool:
    """Whether *name* stands for many: only `*` and `?` say so, since names of models hold brackets (`...[1m]`)."""
    return "*" in name or "?" in name


def literally(pattern: str) -> str:
    """*pattern* for `fnmatch`, with brackets that stand for themselves."""
    return pattern.replace("[", "[[]")


def reads_as_class(pattern: str, listed: Collection[str]) -> bool:
    """
    Whether the brackets of *pattern* are meant as a glob's: read so it matches one of the names *listed*, and none
    of them as it is written.
    """
    return (
        "[" in pattern
        and any(fnmatchcase(name, pattern) for name in listed)
        and not any(fnmatchcase(name, literally(pattern)) for name in listed)
    )


def speaks_for(pattern: str, name: str, as_class: Callable[[str], bool] | None = None) -> bool:
    """
    Whether *pattern* matches *name*. *as_class* tells of a pattern with brackets whether they are a glob's; without it
    they stand for themselves.
    """
    if fnmatchcase(name, literally(pattern)):
        return True
    return as_class is not None and "[" in pattern and fnmatchcase(name, pattern) and as_class(pattern)


def either_way(pattern: str) -> bool:
    """
    For `speaks_for`: brackets are themselves and a glob's as well, where a pattern that matches nothing would be the
    greater harm (a limit that is not kept, a price that is not found).
    """
    return True


def most_specific(name: str, patterns: Iterable[str], as_class: Callable[[str], bool] | None = None) -> str | None:
    """
    The pattern that speaks for a name: itself, else the matching glob with the most literal letters; *as_class* as in
    `speaks_for`.
    """
    best: str | None = None
    for pattern in patterns:
        if pattern == name:
            return pattern
        if speaks_for(pattern, name, as_class) and (best is None or _literals(pattern) > _literals(best)):
            best = pattern
    return best


def _literals(pattern: str) -> int:
    return sum(letter not in "*?[]" for letter in pattern)


def _target(target: str) -> str:
    if not all(split_target(target)):
        raise ValueError("must be provider/model, such as openai/gpt-4o")
    return target


Target = Annotated[str, AfterValidator(_target)]
BalancePolicy = Literal["preference", "round_robin", "weighted", "least_requests", "fastest"]


class Model(Section):
    """A public model name, or a glob of them."""

    targets: tuple[Target, ...] = Field(
        (), description="provider/model in order; omitted: every provider serving the name, by preference."
    )
    balance: BalancePolicy = Field("preference", description="How the first target is chosen.")
    fallbacks: tuple[Text, ...] = Field((), description="Public models to try when every target failed.")
    context_fallbacks: tuple[Text, ...] = Field(
        (), description="Public models to try only after context_length_exceeded."
    )
    resume: bool = Field(
        False, description="Continue a committed stream that died on the next target, where that is provably safe."
    )
    cache: bool = Field(True, description="Keep its answers, where `cache.enabled` has answers kept.")
