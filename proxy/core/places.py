"""
Where the members of a JSON object stand in its bytes, and how bytes are changed there and nowhere else.

It reads JSON that has been read before, and judges none.
"""

import re
from collections.abc import Collection, Sequence
from functools import cache

import orjson

Place = tuple[int, int, int]
"""Where a member starts, where its value starts, and where that ends."""
Places = dict[str, Place]
"""Of members at the top of an object, by name."""
Edit = tuple[int, int, bytes]
"""From where to where bytes are replaced, and by what."""

SPACE = b" \t\r\n"

_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_KEY = re.compile(rb"[ \t\r\n,]*+(" + _STRING + rb")[ \t\r\n]*+:[ \t\r\n]*+", re.DOTALL)
_PLAIN = re.compile(_STRING + rb"|[^\"\[\]{},: \t\r\n]++", re.DOTALL)
_LEVELS = 128
"""Of nesting that one match takes in its stride; what is deeper is walked bracket by bracket."""


@cache
def _inside() -> re.Pattern[bytes]:
    """
    What may stand within brackets, up to the bracket that closes them or to one that opens too deep a nest. No step of
    it is ever taken back, so it takes a time in proportion to what it reads. It is compiled (10 ms) when first needed.
    """
    parts = rb'[^"\[\]{}]++|' + _STRING
    inside = b"(?:" + parts + b")*+"
    for _ in range(_LEVELS):
        inside = b"(?:" + parts + rb"|[\[{]" + inside + rb"[\]}])*+"
    return re.compile(inside, re.DOTALL)


def find(body: bytes, names: Collection[str], at: int = 0) -> Places:
    """The places of those of *names* that are members of the object that begins in *body* at *at* or behind spaces."""
    found: Places = {}
    at = body.index(b"{", at) + 1
    while len(found) < len(names):
        key = _KEY.match(body, at)
        if key is None:
            break
        start = key.end()
        at = _end_of(body, start)
        written = key.group(1)
        name = orjson.loads(written) if b"\\" in written else written[1:-1].decode("utf-8", "replace")
        if name in names and name not in found:
            found[name] = (key.start(1), start, at)
    return found


def place(body: bytes, name: str) -> Place:
    """Where the member *name* stands in the object *body*; `ValueError` when there is none."""
    found = find(body, (name,)).get(name)
    if found is None:
        raise ValueError(f"the body has no top-level {name}")
    return found


def edited(body: bytes, edits: Sequence[Edit]) -> bytes:
    """*body* with *edits*, none of which overlap, and every other byte as it was."""
    whole = memoryview(body)
    parts: list[bytes | memoryview] = []
    at = 0
    for start, end, new in sorted(edits):
        parts += [whole[at:start], new]
        at = end
    return b"".join([*parts, whole[at:]])


def moved(places: Places, edit: Edit) -> Places:
    """*places* as they are once *edit* is made."""
    first, last, new = edit
    by = len(new) - (last - first)

    def after(at: int) -> int:
        return at + by if at >= last else at

    return {name: (after(key), after(start), after(end)) for name, (key, start, end) in places.items()}


def _end_of(body: bytes, start: int) -> int:
    """Where the value ends that begins at *start*."""
    if body[start] not in b"[{":
        plain = _PLAIN.match(body, start)
        return start if plain is None else plain.end()
    inside = _inside()
    depth, at = 1, start + 1
    while depth:
        within = inside.match(body, at)
        if within is not None:
            at = within.end()
        if at >= len(body):
            break
        depth += 1 if body[at] in b"[{" else -1
        at += 1
    return at
