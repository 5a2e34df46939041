"""
Durations written without a unit whose size says that another unit was meant.

A bare number is seconds; milliseconds and days are what it is taken for. It warns and changes nothing.
"""

import re
from collections.abc import Iterator
from typing import Any

from proxy.settings.problems import path_text
from proxy.settings.shape import Nested, Place, nested
from proxy.settings.values import Section

LONG = 1000
"""Seconds above which a clock is more likely meant in milliseconds."""
SHORT = 3600
"""Seconds below which a time to keep something is more likely meant in days or hours."""
KEPT = frozenset(("retention", "objects", "ttl"))
"""Settings that say how long something is kept, which is hours and more."""
FREE = frozenset(("max_age",))
"""Settings for which any number of seconds is usual: Access-Control-Max-Age is one (Fetch standard, section 3.2.3)."""


def warnings(raw: Any, section: type[Section], place: Place = ()) -> Iterator[str]:
    """Of every duration below *raw*, a mapping as it was written."""
    if not isinstance(raw, dict):
        return
    for name, value in raw.items():
        info = section.model_fields.get(str(name))
        if info is None:
            continue
        here = (*place, str(name))
        below = nested(info)
        if below is not None:
            yield from _inside(value, below, here)
        elif isinstance(info.json_schema_extra, dict) and info.json_schema_extra.get("unit") == "seconds":
            yield from _of(value, str(name), path_text(here))


def _inside(value: Any, below: Nested, place: Place) -> Iterator[str]:
    if below.kind == "one":
        yield from warnings(value, below.section, place)
    elif below.kind == "named" and isinstance(value, dict):
        for name, entry in value.items():
            yield from warnings(entry, below.section, (*place, str(name)))
    elif below.kind == "listed" and isinstance(value, list):
        for i, entry in enumerate(value):
            yield from warnings(entry, below.section, (*place, i))


def _of(value: Any, name: str, path: str) -> Iterator[str]:
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,12}", value.strip(), re.ASCII):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    if name in KEPT and 0 < value < SHORT:
        yield f"{path}: has no unit and is read as {value:g} seconds; write a unit, such as {value:g}d or {value:g}h"
    elif name not in KEPT | FREE and value >= LONG:
        yield f"{path}: has no unit and is read as {value:g} seconds; write a unit, such as {value:g}ms or 30s"
