"""
What models cost: the price list, and the price of a call's tokens by it.

Integers only, from the file to the sum. It counts no tokens and knows no budgets; a model without a price stays without
one.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from proxy.core.usage import Tokens
from proxy.settings import SettingsError, most_specific
from proxy.settings.models import either_way
from proxy.settings.yamlfile import parse

BUILT_IN = (Path(__file__).with_name("prices.yaml"), Path(__file__).parents[2] / "config" / "prices.yaml")
"""Where the list that comes with the gateway may lie: beside this file in a wheel, in `config/` of a checkout."""
PICO = 1_000_000
"""A US dollar for a million tokens is so many picodollars for one; a micro-dollar is as many."""
MOST = 1_000_000
"""US dollars for a million tokens; a price above it is a slip."""
REMEMBERED = 4096
"""Model names whose price is kept at hand."""

# Every value as text. The parser in C is ten times as fast, and not everywhere.
_Loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?", re.ASCII)
_KINDS = ("input", "output", "cached_input", "cache_write", "cache_write_1h", "audio_input", "audio_output")
_INSTEAD = {
    "cached_input": "input",
    "cache_write": "input",
    "cache_write_1h": "cache_write",
    "audio_input": "input",
    "audio_output": "output",
}
"""What a price that is not written is taken for; those that stand for others come first."""
_GROUP = ("source", "as_of", "models")


@dataclass(frozen=True, slots=True)
class Price:
    """What one token of each kind costs, in picodollars."""

    input: int
    output: int
    cached_input: int
    cache_write: int
    """Of the prompt, what is put into the provider's cache."""
    cache_write_1h: int
    """The same, where it is kept for an hour."""
    audio_input: int
    audio_output: int

    def cost(self, tokens: Tokens) -> int:
        """The price of *tokens* in micro-USD, rounded half up."""
        prompt, completion = tokens.prompt, tokens.completion
        cached = tokens.cached if tokens.cached < prompt else prompt
        pico = (prompt - cached) * self.input + cached * self.cached_input + completion * self.output
        if tokens.written:
            pico += (tokens.written - tokens.written_1h) * (self.cache_write - self.input)
            pico += tokens.written_1h * (self.cache_write_1h - self.input)
        if tokens.audio_input or tokens.audio_output:
            pico += tokens.audio_input * (self.audio_input - self.input)
            pico += tokens.audio_output * (self.audio_output - self.output)
        return (pico + PICO // 2) // PICO

    def cost_of(self, prompt: int, completion: int) -> int:
        """The same for a call that is still to come: plain tokens, nothing of it cached."""
        return (prompt * self.input + completion * self.output + PICO // 2) // PICO


def dearest(prices: Iterable[Price | None]) -> Price:
    """
    A price that no call of plain tokens exceeds, whichever of *prices* it turns out to have; unknown ones are left out.
    """
    known = [price for price in prices if price is not None]
    kinds = (max((getattr(price, kind) for price in known), default=0) for kind in _KINDS)
    return Price(**dict(zip(_KINDS, kinds, strict=True)))


class Prices:
    """The price of each model, by name or glob."""

    def __init__(self, by_pattern: Mapping[str, Price]) -> None:
        """Of the patterns that fit a model the most specific one speaks for it."""
        self._by_pattern = dict(by_pattern)
        self._found: dict[str, Price | None] = {}

    def __len__(self) -> int:
        return len(self._by_pattern)

    def __repr__(self) -> str:
        return f"<Prices of {len(self)} names and globs>"

    @classmethod
    def load(cls, path: str | None) -> "Prices":
        """
        The built-in list with the file at *path* laid over it entry by entry. `ValueError` says what is wrong with that
        file and where.
        """
        prices = dict(_built_in_prices())
        if path:
            try:
                prices.update(_read(Path(path)))
            except ValueError as error:
                raise ValueError(f"{path}: {error}") from None
        return cls(prices)

    def cost(self, model: str, tokens: Tokens) -> int | None:
        """Micro-USD for *tokens* of the upstream model *model*; None when its price is not known."""
        price = self.of(model)
        return None if price is None else price.cost(tokens)

    def of(self, model: str) -> Price | None:
        """The price of *model*, which may be 0; None when it is not known."""
        try:
            return self._found[model]
        except KeyError:
            pattern = most_specific(model, self._by_pattern, either_way)
            price = None if pattern is None else self._by_pattern[pattern]
            if len(self._found) >= REMEMBERED:
                self._found.clear()
            self._found[model] = price
            return price


def built_in() -> Path:
    """The list that came with this gateway."""
    return next(path for path in BUILT_IN if path.is_file())


@cache
def _built_in_prices() -> Mapping[str, Price]:
    return _read(built_in())


def _read(path: Path) -> dict[str, Price]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(error.strerror or "cannot be read") from None
    try:
        parse(content)  # for its strictness about what YAML lets pass, such as the same model twice in a group
    except SettingsError as found:
        raise ValueError(str(found.problems[0])) from None
    # Read again with every number left as text, since a price must not pass through a float.
    prices: dict[str, Price] = {}
    groups: dict[str, str] = {}
    for name, group in _mapping(yaml.load(content, _Loader) or {}, "the file").items():
        known = _mapping(group, name)
        for key, value in known.items():
            if key not in _GROUP:
                raise ValueError(f"{name}.{key} is not known; a group has {', '.join(_GROUP)}")
            if key != "models" and not isinstance(value, str):
                raise ValueError(f"{name}.{key} must be text")
        for model, price in _mapping(known.get("models", {}), f"{name}.models").items():
            where = f"{name}.models.{model}"
            if model in prices:
                raise ValueError(f"{where} is priced in {groups[model]} already; keep one")
            prices[model], groups[model] = _price(price, where), name
    return prices


def _price(written: Any, where: str) -> Price:
    numbers = _mapping(written, where)
    for key in numbers:
        if key not in _KINDS:
            raise ValueError(f"{where}.{key} is not known; a price has {', '.join(_KINDS)}")
    for key in ("input", "output"):
        if key not in numbers:
            raise ValueError(f"{where}.{key} is required")
    amounts = {key: _picodollars(number, f"{where}.{key}") for key, number in numbers.items()}
    for key, instead in _INSTEAD.items():
        amounts.setdefault(key, amounts[instead])
    return Price(**amounts)


def _picodollars(written: Any, where: str) -> int:
    if not isinstance(written, str) or not _NUMBER.fullmatch(written):
        raise ValueError(f"{where} must be US dollars for a million tokens, a number such as 2.50, not below 0")
    number = Decimal(written)
    if number > MOST:
        raise ValueError(f"{where} must be at most {MOST} US dollars for a million tokens")
    pico = number * PICO
    if pico != pico.to_integral_value():
        raise ValueError(f"{where} must have at most 6 decimals")
    return int(pico)


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise ValueError(f"{where} must be a mapping")
    return value
