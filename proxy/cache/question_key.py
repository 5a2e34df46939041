"""
Which calls may share an answer, and the key under which two of them are the same call.

Functions of what a call says. Who shares with whom, and what is kept, is decided in `single_flight` and
`answer_cache`.
"""

import re
from hashlib import blake2b
from typing import Any

import orjson

from proxy.core import peek
from proxy.core.sse import Dialect
from proxy.relay.endpoints import Operation

_SEEDED = frozenset((Dialect.CHAT, Dialect.COMPLETIONS, Dialect.RESPONSES))
_ALWAYS = frozenset(("/v1/embeddings", "/v1/moderations"))
_TOOLS = ("tools", "functions", "web_search_options", "mcp_servers", "search_parameters", "plugins")
"""
Members by which a provider is asked to do more than to write: OpenAI's API reference; Anthropic's MCP connector; xAI's
live search; OpenRouter's plugins.
"""
_LONG_NUMBER = re.compile(rb"[0-9.]{16}")
"""One that a double may not hold: two of them would be read as one."""
_PASSED_ON = (b"traceparent:", b"tracestate:")
"""Headers that say where a call stands in a trace, and nothing of what it asks."""


def is_deterministic(asked: Operation, value: dict[str, Any]) -> bool:
    """
    Whether the same question gets the same answer, as far as providers promise it: embeddings, moderations, and chat,
    completions and responses with a temperature of 0 or a seed (OpenAI's API reference, `seed`).
    """
    if asked.route in _ALWAYS:
        return True
    if asked.dialect not in _SEEDED:
        return False
    temperature = value.get("temperature")
    return (type(temperature) in (int, float) and temperature == 0) or value.get("seed") is not None


def uses_tools(value: dict[str, Any]) -> bool:
    """Whether more may be done for the answer, or because of it, than to write it."""
    return any(value.get(name) for name in _TOOLS)


def keeps_something(value: dict[str, Any]) -> bool:
    """Whether the provider is asked to keep the answer, which then belongs to one call."""
    return value.get("store") is True or value.get("background") is True


def has_effects(value: dict[str, Any]) -> bool:
    """Whether an answer is more than its words: a tool may be called because of it, or the provider keeps it."""
    return uses_tools(value) or keeps_something(value)


def key_of(
    holder: str, path: str, headers: bytes, waits: tuple[float | None, ...], body: bytes, value: dict[str, Any]
) -> bytes:
    """
    16 bytes that stand for one POST of *holder* (who may share it) to *path*, its query included: equal for bodies that
    say the same whatever the order of their members and the space between them, as far as they are shorter than
    `peek.LONG`. *headers*: the lines a provider would see. *waits*: seconds after which the call is over.
    """
    said = body
    if len(body) < peek.LONG and _LONG_NUMBER.search(body) is None:
        said = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    lines = headers
    if b"trace" in headers:
        lines = b"".join([line for line in headers.splitlines(True) if not line.startswith(_PASSED_ON)])
    parts = (holder.encode(), path.encode(), lines, repr(waits).encode())
    digest = blake2b(said, digest_size=16)
    # Each with its length: no two calls are told apart by where one part ends.
    digest.update(b"".join([b"%d:%b" % (len(part), part) for part in parts]))
    return digest.digest()
