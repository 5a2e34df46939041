"""
What the gateway reads of a JSON body: `model` and `stream`, and where `model` stands.

It refuses JSON that two parsers could read differently (duplicate keys, NaN, lone surrogates, absurd depth), because a
body is checked here and obeyed elsewhere. It never rebuilds a body: a change replaces only the model's own bytes.
"""

import json
import re
from dataclasses import dataclass
from typing import Any

import orjson

from proxy import json_faults
from proxy.errors import ProxyError

MAX_DEPTH = 128
"""Nesting above this is refused: recursive parsers behind us may fall over."""

MAX_MODEL = 256
"""Characters of a model's name; it is remembered here and there, and no provider has a longer one."""

LONG = 16 * 1024
"""Bytes of a body from which on `outline` is worth its while."""

DESTINATIONS = frozenset(("api_base", "base_url", "api_key", "user_config", "extra_headers"))
"""Fields by which other gateways let a body choose where it goes or with whose key (CVE-2024-6587)."""

_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_TOKEN = re.compile(_STRING + rb"|[\[\]{}:,]")
_SPACE = b" \t\r\n"


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
    What a call's further way may ask of *value*, without what makes it large: lists are cut to one None, long strings
    to their beginning. The body says the rest, and to keep both for as long as an answer takes doubles its memory.
    """
    return {name: _cut(part) for name, part in value.items()}


def _cut(part: Any) -> Any:
    if type(part) is list:
        return [None] if part else []
    return part[:MAX_MODEL] if type(part) is str else part


def with_model(body: bytes, model: str) -> bytes:
    """*body*, a JSON object already read, with the top-level `model` value replaced and every other byte as it was."""
    _, start, end = _member(body, "model")
    return body[:start] + orjson.dumps(model) + body[end:]


def with_message(body: bytes, message: dict[str, Any]) -> bytes:
    """*body*, a JSON object already read, with *message* added to its `messages` and every other byte as it was."""
    _, _, end = _member(body, "messages")
    return body[: end - 1] + b"," + orjson.dumps(message) + body[end - 1 :]


def with_usage_asked(body: bytes, value: dict[str, Any]) -> bytes:
    """
    *body*, which was read as *value*, with `stream_options.include_usage` true and every other byte as it was. Its
    `stream_options` must be an object or null, if there is any.
    """
    if "stream_options" not in value:
        return _with_member(body, b'"stream_options":{"include_usage":true}')
    _, start, end = _member(body, "stream_options")
    options = body[start:end]
    if value["stream_options"] is None:
        options = b'{"include_usage":true}'
    elif "include_usage" in value["stream_options"]:
        _, first, last = _member(options, "include_usage")
        options = options[:first] + b"true" + options[last:]
    else:
        options = _with_member(options, b'"include_usage":true')
    return body[:start] + options + body[end:]


def span_with_comma(value: bytes, name: str) -> tuple[int, int]:
    """
    What to take out of the JSON object *value* so that its member *name* is gone and nothing else: the member, and
    the comma that joined it to the others. `ValueError` when there is none.
    """
    start, _, end = _member(value, name)
    before = len(value[:start].rstrip(_SPACE))
    if value[before - 1 : before] == b",":
        return before - 1, end
    after = len(value) - len(value[end:].lstrip(_SPACE))
    if value[after : after + 1] == b",":
        end = len(value) - len(value[after + 1 :].lstrip(_SPACE))
    return start, end


def _with_member(value: bytes, member: bytes) -> bytes:
    """The JSON object *value* with one more member at its end."""
    end = value.rindex(b"}")
    comma = b"" if value[:end].rstrip(_SPACE).endswith(b"{") else b","
    return value[:end] + comma + member + value[end:]


def _member(body: bytes, name: str) -> tuple[int, int, int]:
    """Where the top-level *name* starts, its value starts and its value ends; `ValueError` when there is none."""
    depth = 0
    key: re.Match[bytes] | None = None
    start = -1
    for token in _TOKEN.finditer(body):
        text = token.group()
        if depth == 1 and start >= 0 and text in b",}":
            assert key is not None
            return key.start(), start, start + len(body[start : token.start()].rstrip())
        if text in b"{[":
            depth += 1
        elif text in b"}]":
            depth -= 1
        elif depth != 1 or start >= 0:
            continue
        elif text == b":":
            if key is not None and orjson.loads(key.group()) == name:
                start = token.end() + len(body[token.end() :]) - len(body[token.end() :].lstrip())
            else:
                key = None
        elif text != b",":
            key = token
    raise ValueError(f"the body has no top-level {name}")


def _refuse_duplicate_keys(body: bytes) -> None:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) != len(pairs):
            raise json_faults.repeated(body)
        return made

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
