"""
What a provider calls its answer: `chatcmpl-...`, `msg_...`, `resp_...`.

It is read for logs alone, once an answer, and changes nothing of it.
"""

import re
from typing import Any

WITHIN = 1024
"""Bytes at the beginning of a stream in which its id is looked for."""
LONGEST = 128
"""Characters of an id that is put down."""

_ID = re.compile(rb'"id"\s{0,8}:\s{0,8}"([\x21\x23-\x5b\x5d-\x7e]{1,128})"')


def in_events(begin: bytes) -> str:
    """
    The first `id` in the events a stream begins with: of a chunk, a message or a response it is the answer's. What a
    model says stands in quotes that are escaped there, and is never taken for one. Empty where there is none.
    """
    found = _ID.search(begin, 0, WITHIN)
    return found[1].decode("ascii") if found is not None else ""


def in_object(value: dict[str, Any] | None) -> str:
    """The `id` of an answer that is whole; empty where it has none."""
    name = value.get("id") if value is not None else None
    return name if type(name) is str and len(name) <= LONGEST and name.isascii() and name.isprintable() else ""
