"""
Directives: the words by which a model name or the `x-simulator` header asks for a shape or a fault.

    directives = directive *( ("," / ";") directive )
    directive  = name [ "@" position ] [ "=" value ]

This file knows the words and their kinds of value. What they do to an answer is in `faults.py` and `completion.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

Value = int | float | str


class DirectiveError(ValueError):
    """A directive the grammar does not have, or a value it cannot have; the text says which."""


@dataclass(frozen=True, slots=True)
class Word:
    """One directive as the grammar knows it."""

    kind: str
    """`flag`, `count`, `signed`, `duration`, `share` or `text`: what may follow the `=`."""
    default: Value | None = None
    """The value when none is written; None where a value must be written."""
    position: bool = False
    """Whether `@K` may follow the name."""
    fault: bool = True
    """False for what an honest provider does as well; only faults are switched by `times` and `share`."""


def _shape(kind: str, default: Value | None = None) -> Word:
    return Word(kind, default, fault=False)


def _flag() -> Word:
    return Word("flag", 1)


def _at(kind: str = "flag", default: Value = 1) -> Word:
    return Word(kind, default, position=True)


WORDS: Final[dict[str, Word]] = {
    # What an honest provider does too.
    "tokens": _shape("count"),
    "bytes": _shape("count"),
    "pace": _shape("duration"),
    "ttft": _shape("duration"),
    "headers": _shape("duration"),
    "rate": _shape("count"),
    "echo": _shape("flag", 1),
    "restart": _shape("flag", 1),
    "finish": _shape("text"),
    "id": _shape("text"),
    "chunked": _shape("flag", 1),
    "comments": _shape("flag", 1),
    "header": _shape("text"),
    "forever": _shape("flag", 1),
    # When the faults of the same list happen at all.
    "times": _shape("count"),
    "share": _shape("share"),
    # Refusals and heads.
    "status": Word("text"),
    "code": Word("text"),
    "type": Word("text"),
    "retry_after": Word("text"),
    "retry_after_ms": Word("text"),
    "redirect": Word("text", "/v1/redirected"),
    "interim": Word("count", 103),
    "interims": Word("count"),
    "setcookie": _flag(),
    "headers_p20": _flag(),
    "bighead": Word("count", 9000),
    "manyheads": Word("count", 200),
    "cl_te": _flag(),
    "two_cl": _flag(),
    "bad_te": _flag(),
    "bare_lf": _flag(),
    "head_cut": _flag(),
    "http09": _flag(),
    "junk": _flag(),
    # Connections.
    "silence": _flag(),
    "rst": _at(),
    "fin": _at(),
    "end": _at(),
    "stall": _at("duration", -1.0),
    "trickle": Word("duration", 0.01),
    "trickle_head": Word("duration", 0.01),
    "segment": Word("count", 1),
    "keepalive_drop": Word("text", "fin"),
    "close_after": Word("duration", 0.0),
    "reset_after": Word("duration", 0.0),
    "connection_close": _flag(),
    # Framing and coding of the body.
    "badchunk": _at(),
    "badlength": Word("signed"),
    "close_delimited": _flag(),
    "close_delimited_cut": _at(),
    "gzip": _flag(),
    "gzip_cut": _flag(),
    "gzip_corrupt": _flag(),
    "coding": Word("text", "foo"),
    # Bodies.
    "html": _flag(),
    "empty": _flag(),
    "json_for_stream": _flag(),
    "error_for_stream": _flag(),
    "badjson": _flag(),
    "list": _flag(),
    "usage": Word("text"),
    # Events of a stream.
    "malformed": _at(),
    "error": _at(),
    "badutf8": _at(),
    "surrogate": _at(),
    "nul": _at(),
    "duplicate": _at(),
    "bigevent": Word("count", 15 * 1024 * 1024),
    "comments_forever": _at(),
    "nodone": _flag(),
    "done_twice": _flag(),
    "after_done": _flag(),
    "hang_after_done": _flag(),
    "crlf": _flag(),
    "cr": _flag(),
    "bom": _flag(),
    "nospace": _flag(),
    "noblank": _flag(),
}

_DIRECTIVE = re.compile(r"([a-z0-9_]+)(?:@(\d+))?(?:=(.*))?", re.DOTALL)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s|m|h)?")
_SECONDS: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, None: 1.0}


@dataclass(frozen=True, slots=True)
class Directives:
    """A parsed list of directives. Later ones win over earlier ones of the same name."""

    values: dict[str, Value] = field(default_factory=dict)
    """What was written after `=`, in base units: seconds, bytes, counts."""
    positions: dict[str, int] = field(default_factory=dict)
    """What was written after `@`."""

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def count(self, name: str, default: int = 0) -> int:
        """The whole number given with *name*."""
        return int(self.values.get(name, default))

    def seconds(self, name: str, default: float = 0.0) -> float:
        """The duration given with *name*."""
        return float(self.values.get(name, default))

    def text(self, name: str, default: str = "") -> str:
        """The words given with *name*."""
        return str(self.values.get(name, default))

    def position(self, name: str) -> int | None:
        """Where *name* is to happen; None when it was given without `@K`."""
        return self.positions.get(name)

    def over(self, below: Directives) -> Directives:
        """These directives laid over those of *below*."""
        if not self.values:
            return below
        if not below.values:
            return self
        kept = {name: at for name, at in below.positions.items() if name not in self.values}
        return Directives(below.values | self.values, kept | self.positions)

    def shapes(self) -> Directives:
        """Without the faults: what is left when `times` or `share` say that this request is served well."""
        return Directives({name: value for name, value in self.values.items() if not WORDS[name].fault})


def parse(text: str) -> Directives:
    """Read *text*; raises DirectiveError with a sentence for its author."""
    values: dict[str, Value] = {}
    positions: dict[str, int] = {}
    for part in re.split(r"[,;]", text):
        written = part.strip()
        if not written:
            continue
        matched = _DIRECTIVE.fullmatch(written)
        if matched is None or matched[1] not in WORDS:
            raise DirectiveError(f"unknown directive {written!r}; docs/simulator.md lists them")
        name, position, value = matched.groups()
        word = WORDS[name]
        if position is not None and not word.position:
            raise DirectiveError(f"{name} takes no @position")
        positions.pop(name, None)
        if position is not None:
            positions[name] = int(position)
        values[name] = _value(name, word, value)
    return Directives(values, positions)


def _value(name: str, word: Word, written: str | None) -> Value:
    if written is None:
        if word.default is None:
            raise DirectiveError(f"{name} needs a value, as in {name}=...")
        return word.default
    if word.kind == "text":
        return written
    if word.kind == "duration" and (matched := _DURATION.fullmatch(written)):
        return float(matched[1]) * _SECONDS[matched[2]]
    if word.kind == "count" and written.isascii() and written.isdigit():
        return int(written)
    if word.kind == "signed" and re.fullmatch(r"[+-][0-9]+", written):
        return int(written)
    if word.kind == "share" and re.fullmatch(r"0?\.[0-9]+|0|1", written):
        return float(written)
    raise DirectiveError(f"{name}={written} is not a {word.kind}")
