"""
What one setting's value may look like: durations, sizes, URLs with passwords, and the small rules shared by sections.

Parsing and printing only; which section has which value is said in the sections. No message made here repeats the
value it refuses, since a key may have been written in the wrong place.
"""

import math
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, WithJsonSchema

SECONDS = {"ms": Decimal("0.001"), "s": Decimal(1), "m": Decimal(60), "h": Decimal(3600), "d": Decimal(86400)}
BYTES = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
}

DURATION_PATTERN = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+$|^[0-9]+(\.[0-9]+)?$"
SIZE_PATTERN = r"^[0-9]+(\.[0-9]+)? ?([kKmMgG][iI]?)?[bB]?$"

_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
_LONGEST = 10 * 366 * 86400.0  # a duration beyond ten years is a slip of the unit
_DURATION_WORDS = "must be a duration such as 250ms, 15s, 1m or 24h"
_SIZE_WORDS = "must be a size such as 65536, 64KiB or 10MiB"


class Section(BaseModel):
    """A part of the settings: frozen, strict about names, and silent about values in its errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=True)


def leaves(value: Any, place: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """
    Every value below *value* that is no section, with its place. A mapping, and a list of sections or secrets, is told
    entry by entry; one that is empty is a value, and so is any other list.
    """
    if isinstance(value, Section):
        for name in type(value).model_fields:
            yield from leaves(getattr(value, name), (*place, name))
    elif isinstance(value, dict) and value:
        for key, entry in value.items():
            yield from leaves(entry, (*place, key))
    elif isinstance(value, tuple) and any(isinstance(entry, Section | SecretStr) for entry in value):
        for i, entry in enumerate(value):
            yield from leaves(entry, (*place, i))
    else:
        yield place, value


def parse_duration(value: object) -> float:
    """Seconds from `250ms`, `15s`, `1m30s`, `24h`, or a number of seconds."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(_DURATION_WORDS)
    if isinstance(value, str):
        text = value.strip()
        if not re.fullmatch(DURATION_PATTERN, text, re.ASCII):
            raise ValueError(_DURATION_WORDS)
        parts = _DURATION_PART.findall(text)
        seconds = float(sum((Decimal(n) * SECONDS[unit] for n, unit in parts), Decimal(0)) if parts else Decimal(text))
    else:
        # An integer too large for a float is as wrong as infinity.
        seconds = float(value) if abs(value) < 1e300 else math.inf
    if not math.isfinite(seconds) or seconds > _LONGEST:
        raise ValueError("must be a duration of at most ten years")
    if seconds < 0:
        raise ValueError("must not be negative")
    return seconds


def parse_size(value: object) -> int:
    """Bytes from `65536`, `64KiB`, `10MiB` (1024s) or `10MB` (1000s)."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(_SIZE_WORDS)
    if isinstance(value, int):
        size = value
    else:
        text = value.strip()
        match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?([a-z]*)", text.lower(), re.ASCII)
        if match is None or len(text) > 40 or match[2] not in BYTES:
            raise ValueError(_SIZE_WORDS)
        exact = Decimal(match[1]) * BYTES[match[2]]
        if exact != exact.to_integral_value():
            raise ValueError("must be a whole number of bytes")
        size = int(exact)
    if size < 0:
        raise ValueError("must not be negative")
    if size > 2**53:
        raise ValueError("must be a size of at most 8 PiB")
    return size


def _positive(number: float) -> float:
    if number <= 0:
        raise ValueError("must be more than 0")
    return number


def _one_line(text: str) -> str:
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in text):
        raise ValueError("must not contain a line break or another control character")
    return text


def _credential(secret: SecretStr) -> SecretStr:
    value = secret.get_secret_value()
    if not value:
        raise ValueError("must not be empty")
    if value.lower().startswith(("bearer ", "basic ", "token ")):
        raise ValueError("must be the key alone; the word in front of it is added when it is sent")
    if not all(33 <= ord(letter) <= 126 for letter in value):
        raise ValueError("must be printable ASCII without spaces; look for a line break or quotes copied along")
    return secret


def _header_name(name: str) -> str:
    if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
        raise ValueError("is not a valid header name")
    if name.lower() in {"connection", "content-length", "host", "transfer-encoding"}:
        raise ValueError("is set by the gateway itself and cannot be configured")
    return name


def _header_value(secret: SecretStr) -> SecretStr:
    _one_line(secret.get_secret_value())
    return secret


_WRITTEN_DURATION = {"anyOf": [{"type": "string", "pattern": DURATION_PATTERN}, {"type": "number", "minimum": 0}]}
_WRITTEN_SIZE = {"anyOf": [{"type": "string", "pattern": SIZE_PATTERN}, {"type": "integer", "minimum": 0}]}

Duration = Annotated[
    float, BeforeValidator(parse_duration), AfterValidator(_positive), WithJsonSchema(_WRITTEN_DURATION)
]
DurationOrZero = Annotated[float, BeforeValidator(parse_duration), WithJsonSchema(_WRITTEN_DURATION)]
Size = Annotated[int, BeforeValidator(parse_size), AfterValidator(_positive), WithJsonSchema(_WRITTEN_SIZE)]
Credential = Annotated[SecretStr, AfterValidator(_credential)]
Text = Annotated[str, Field(min_length=1), AfterValidator(_one_line)]
"""A name of something: never empty, one line."""
HeaderName = Annotated[str, AfterValidator(_header_name)]
HeaderValue = Annotated[SecretStr, AfterValidator(_header_value)]
"""Extra headers often carry a token, so their values are secrets as well."""


class SecretUrl(SecretStr):
    """A URL that prints without its password."""

    def _display(self) -> str:
        return masked_url(self.get_secret_value())


WrittenUrl = WithJsonSchema({"type": "string"})
"""How the schema tells of one."""


def masked_url(url: str) -> str:
    """The URL with its password and its query as stars; all of it when it cannot be understood."""
    try:
        parts = urlsplit(url)
        userinfo, at, host = parts.netloc.rpartition("@")
    except ValueError:
        return "**********"
    if "@" in parts.path or "@" in parts.query or "@" in parts.fragment:
        # An unescaped / ? or # inside a password cuts the URL in the wrong place.
        return "**********"
    user, colon, _ = userinfo.partition(":")
    netloc = f"{user}:**********@{host}" if colon else f"**********@{host}" if at else host
    # urlunsplit drops an empty authority, and sqlite:///x lives by it.
    return f"{parts.scheme}://{netloc}{parts.path}" + ("?**********" if parts.query else "")


def duration(default: str, description: str) -> Any:
    """A field in seconds; its default is given as it is written in the file."""
    return Field(default, description=description, json_schema_extra={"unit": "seconds"}, validate_default=True)


def size(default: str, description: str) -> Any:
    """A field in bytes; its default is given as it is written in the file."""
    return Field(default, description=description, json_schema_extra={"unit": "bytes"}, validate_default=True)


def section(of: type[Section], description: str) -> Any:
    """A field that is a section of its own, present with its defaults when the file does not mention it."""
    return Field(default_factory=of, description=description)
