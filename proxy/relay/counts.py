"""
How many tokens an answer used: what its provider says, or else what was counted of it on its way.

It reads answers and knows no limits and no prices; what a usage object says is read in `usage`.
"""

import re
from typing import Any

import orjson

from proxy.core.said import size_of
from proxy.core.sse import Dialect, Scanner
from proxy.core.usage import Tokens, estimate, read_usage

TAIL = 4 * 1024
"""Bytes kept of the end of an answer that passes as it comes: usage is the last thing most answers say."""
LONG_DELTA = 16
"""Bytes of text per delta, on average, above which a delta is taken for more than one token."""

_USAGE = re.compile(rb'"usage"\s*:\s*\{')


def of_stream(scanner: Scanner, prompt: int, uses_tokens: bool) -> Tokens | None:
    """
    What a stream used as far as it came. *prompt* is what the question is estimated at; None where a call of this kind
    uses none, as far as its provider says (*uses_tokens*).
    """
    told = read_usage(scanner.usage) if scanner.usage is not None else None
    # Nonsense is no better than nothing: a provider that says -1 or 10^30 has not counted.
    if told is not None and (told.estimated or not scanner.counted):
        if told.estimated:
            return Tokens(prompt, _generated(scanner), estimated=True)
        told.completion, told.reasoning, told.audio_output, told.estimated = _generated(scanner), 0, 0, True
        return told
    if told is not None or not uses_tokens:
        return told
    return Tokens(prompt, _generated(scanner), estimated=True)


def of_answer(
    value: dict[str, Any] | None, size: int, prompt: int, dialect: Dialect, uses_tokens: bool
) -> Tokens | None:
    """What a whole answer of *size* bytes used, whose JSON object is *value*; the rest as for `of_stream`."""
    told = _told(value) if value is not None else None
    if told is not None and not told.estimated:
        return told
    if told is None and not uses_tokens:
        return None
    written = _text_of(value) if value is not None else 0
    if not written and dialect is not Dialect.OTHER:
        written = size
    return Tokens(prompt, estimate(written), estimated=True)


def _told(value: dict[str, Any]) -> Tokens | None:
    """What an answer says it used. Cohere tells it in `meta`, and bills what stands there (its API, `/v2/rerank`)."""
    usage = value.get("usage")
    if type(usage) is dict:
        return read_usage(usage)
    meta = value.get("meta")
    if type(meta) is not dict:
        return None
    for name in ("billed_units", "tokens"):
        usage = meta.get(name)
        told = read_usage(usage) if type(usage) is dict else None
        if told is not None:
            return told
    return None


def usage_in(tail: bytes) -> dict[str, Any] | None:
    """The last usage object in *tail*, the end of a JSON answer; None when it holds none."""
    # A quote in a text is escaped, so this is a key wherever it stands.
    found = list(_USAGE.finditer(tail))
    start = end = found[-1].end() - 1 if found else -1
    # Few objects end within one: no provider may make us look long.
    for _ in range(8 if found else 0):
        end = tail.find(b"}", end + 1)
        if end < 0:
            break
        try:
            usage = orjson.loads(tail[start : end + 1])
        except orjson.JSONDecodeError:
            continue
        return usage if type(usage) is dict else None
    return None


def _generated(scanner: Scanner) -> int:
    if scanner.text_bytes > LONG_DELTA * scanner.deltas:
        return estimate(scanner.text_bytes)
    return scanner.deltas


def _text_of(value: dict[str, Any]) -> int:
    """Bytes of text in an answer of any dialect."""
    size = 0
    for choice in _objects(value.get("choices")):
        message = choice.get("message")
        if type(message) is dict:
            size += sum(size_of(said) for name, said in message.items() if name != "role")
        else:
            size += size_of(choice.get("text"))
    for item in _objects(value.get("output")):
        size += size_of(item.get("content")) + size_of({"arguments": item.get("arguments")})
    for part in _objects(value.get("content")):
        called = part.get("input")
        size += size_of(part.get("text")) or size_of(part.get("thinking"))
        size += len(orjson.dumps(called)) if type(called) is dict else 0
    # A transcription is nothing but its text.
    return size + size_of(value.get("text"))


def _objects(several: Any) -> list[dict[str, Any]]:
    return [each for each in several if type(each) is dict] if type(several) is list else []
