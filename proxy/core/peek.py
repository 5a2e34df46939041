"""
What the gateway reads of a JSON body: `model` and `stream`, and where `model` stands.

It refuses JSON that two parsers could read differently (duplicate keys, NaN, lone surrogates, absurd depth), because a
body is checked here and obeyed elsewhere. It never rebuilds a body: a change replaces only the model's own bytes.
"""

import json
from dataclasses import dataclass
from typing import Any

import orjson

from proxy.core import json_faults
from proxy.core.errors import ProxyError
from proxy.core.places import SPACE, Edit, Place, Places, edited, find, place

MAX_DEPTH = 128
"""Nesting above this is refused: recursive parsers behind us may fall over."""

MAX_MODEL = 256
"""Characters of a model's name; it is remembered here and there, and no provider has a longer one."""

LONG = 16 * 1024
"""Bytes of a body from which on `outline` is worth its while."""

LIGHT = 256 * 1024
"""Bytes up to which a body is read on the loop whatever is in it: 20 ms at worst."""

HEAVY = 2 * 1024 * 1024
"""Bytes above which it is not, whatever is in it: 10 ms, if all of it is one string."""

MANY = 64 * 1024
"""Of the signs that JSON is made of between the two: 10 ms, if they stand for that many values."""

DESTINATIONS = frozenset(("api_base", "base_url", "api_key", "user_config", "extra_headers"))
"""Fields by which other gateways let a body choose where it goes or with whose key (CVE-2024-6587)."""

ASKED = (
    *sorted(DESTINATIONS),
    *("model", "stream", "stream_options", "store", "background", "deferred", "prompt", "messages", "input", "n"),
    *("tools", "functions", "logprobs", "top_logprobs", "audio", "modalities", "response_format"),
)
"""The members of a body that anything here is ever decided by, once it has been read."""
ASKED_WITHIN = ("include_usage", "type")
"""Those of the objects among them."""


@dataclass(slots=True)
class Peek:
    """What routing needs to know of a body."""

    model: str | None
    stream: bool


def read_json(body: bytes) -> dict[str, Any]:
    """The top-level object of *body*; `ProxyError` 400 `invalid_json` for anything a strict reader would refuse."""
    try:
        # NaN, Infinity, integers beyond a double, lone surrogates, invalid UTF-8, a BOM: all refused by orjson itself.
        value = orjson.loads(body)
    except orjson.JSONDecodeError as fault:
        raise json_faults.unreadable(body, fault, MAX_DEPTH) from None
    if type(value) is not dict:
        raise json_faults.no_object(body)
    try:
        again = orjson.dumps(value)
    except orjson.JSONEncodeError:
        raise json_faults.too_deep(body, MAX_DEPTH) from None
    # A dropped duplicate key takes its quotes with it. Only an escaped quote could hide that.
    if body.count(b'"') != again.count(b'"') or b"\\u0022" in body:
        _refuse_duplicate_keys(body)
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH and _depth_exceeds(value, MAX_DEPTH):
        raise json_faults.too_deep(body, MAX_DEPTH)
    return value


def peek_json(value: dict[str, Any], chooses: bool = True) -> Peek:
    """
    `model` and `stream` of a parsed body; `ProxyError` 400 when either has the wrong type. Where the call does not
    *choose* a model by them, those of another type say something else there, and are not read.
    """
    if not DESTINATIONS.isdisjoint(value):
        raise ProxyError("unsupported_parameter", param=next(iter(DESTINATIONS.intersection(value))))
    model = value.get("model")
    if not chooses and type(model) is not str:
        model = None
    if model is not None and (type(model) is not str or not 0 < len(model) <= MAX_MODEL):
        raise ProxyError("invalid_type", f"'model' must be a string of 1 to {MAX_MODEL} characters.", param="model")
    stream = value.get("stream")
    if not chooses and type(stream) is not bool:
        stream = None
    if stream is not None and type(stream) is not bool:
        raise ProxyError("invalid_type", "'stream' must be true or false.", param="stream")
    return Peek(model, bool(stream))


def outline(value: dict[str, Any]) -> dict[str, Any]:
    """
    What a call's further way may ask of *value*, without what makes it large: the members in `ASKED`, lists cut to one
    None, long strings to their beginning, objects to what of them is asked. The body says the rest, and to keep both
    for as long as an answer takes doubles its memory.
    """
    return _of_these(value, ASKED)


def _cut(part: Any) -> Any:
    if type(part) is dict:
        return _of_these(part, ASKED_WITHIN)
    if type(part) is list:
        return [None] if part else []
    # One more than a name may have, so that it is still too long.
    return part[: MAX_MODEL + 1] if type(part) is str else part


def _of_these(value: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    # An empty object means another thing, so what is not empty must not become so.
    return {name: _cut(value[name]) for name in names if name in value} or ({"": None} if value else {})


def is_heavy(body: bytes) -> bool:
    """
    Whether reading *body*, of more than `LIGHT` bytes, could take the loop longer than some ten milliseconds. A picture
    is one string and read fast; what takes its time are many small values.
    """
    if len(body) > HEAVY:
        return True
    # What stands in strings counts as well: to tell it apart takes as long as reading.
    return sum(map(body.count, (b",", b":", b"{", b"["))) > MANY


def places_of(body: bytes, value: dict[str, Any]) -> Places:
    """The places in *body*, read as *value*, that the changes below need; those of `include_usage` are the body's."""
    names = [name for name in ("model", "messages", "stream_options") if name in value]
    found = find(body, names)
    options = value.get("stream_options")
    if type(options) is dict and "include_usage" in options:
        found |= find(body, ("include_usage",), found["stream_options"][1])
    return found


def model_edit(body: bytes, model: str, places: Places | None = None) -> Edit:
    """What replaces the top-level `model` value of *body*, a JSON object already read; *places*: where known."""
    _, start, end = places["model"] if places is not None else place(body, "model")
    return start, end, orjson.dumps(model)


def model_added(body: bytes, value: dict[str, Any], model: str) -> tuple[Edit, Place]:
    """What gives *body*, read as *value*, the `model` that it has not, and the place of that once it is made."""
    start = body.index(b"{") + 1
    name, written = b'"model":', orjson.dumps(model)
    place = (start, start + len(name), start + len(name) + len(written))
    return (start, start, name + written + (b"," if value else b"")), place


def message_edit(body: bytes, message: dict[str, Any], places: Places | None = None) -> Edit:
    """What adds *message* to the `messages` of *body*, of which there are some. Arguments as for `model_edit`."""
    _, _, end = places["messages"] if places is not None else place(body, "messages")
    return end - 1, end - 1, b"," + orjson.dumps(message)


def usage_edit(body: bytes, value: dict[str, Any], places: Places | None = None) -> Edit:
    """
    What makes `stream_options.include_usage` true in *body*, which was read as *value*. Its `stream_options` must be an
    object or null, if there is any. Other arguments as for `model_edit`.
    """
    if "stream_options" not in value:
        return _at_end(body, len(body), value, b'"stream_options":{"include_usage":true}')
    options = value["stream_options"]
    _, start, end = places["stream_options"] if places is not None else place(body, "stream_options")
    if options is None:
        return start, end, b'{"include_usage":true}'
    if "include_usage" not in options:
        return _at_end(body, end, options, b'"include_usage":true')
    _, start, end = (
        places["include_usage"] if places is not None else find(body, ("include_usage",), start)["include_usage"]
    )
    return start, end, b"true"


def with_model(body: bytes, model: str) -> bytes:
    """*body*, a JSON object already read, with the top-level `model` value replaced and every other byte as it was."""
    return edited(body, [model_edit(body, model)])


def span_with_comma(value: bytes, name: str) -> tuple[int, int]:
    """
    What to take out of the JSON object *value* so that its member *name* is gone and nothing else: the member, and
    the comma that joined it to the others. `ValueError` when there is none.
    """
    start, _, end = place(value, name)
    before = len(value[:start].rstrip(SPACE))
    if value[before - 1 : before] == b",":
        return before - 1, end
    after = len(value) - len(value[end:].lstrip(SPACE))
    if value[after : after + 1] == b",":
        end = len(value) - len(value[after + 1 :].lstrip(SPACE))
    return start, end


def _at_end(body: bytes, end: int, value: dict[str, Any], member: bytes) -> Edit:
    """What adds *member* to the object that ends before *end*, but for spaces, and was read as *value*."""
    brace = body.rindex(b"}", 0, end)
    return brace, brace, b"," + member if value else member


def _refuse_duplicate_keys(body: bytes) -> None:
    # Nothing is made of the objects: only whether their keys are told apart is asked.
    def unique(pairs: list[tuple[str, Any]]) -> None:
        if len({name for name, _ in pairs}) != len(pairs):
            raise json_faults.repeated(body)

    json.loads(body, object_pairs_hook=unique)


def _depth_exceeds(value: dict[str, Any], limit: int) -> bool:
    level: list[Any] = [value]
    for _ in range(limit):
        level = [
            child
            for parent in level
            for child in (parent.values() if type(parent) is dict else parent)
            if type(child) is dict or type(child) is list
        ]
        if not level:
            return False
    return True
