"""
What is wrong with a body that is no acceptable JSON, and at which byte: for the client that has to mend it.

Called once a body has been refused, so it may take its time, within bounds. It never says what the body holds: reasons
are words of a table.
"""

import re

import orjson

from proxy.core.errors import ProxyError

_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_TOKEN = re.compile(_STRING + rb"|[\[\]{}:,]", re.DOTALL)
_MOST_TOKENS = 50_000
"""Strings, brackets, colons and commas that are looked at to find a place: 20 ms."""
_NO_PLACE = -1
_LONE = "a lone surrogate, half of a pair"
_TWICE = "a duplicate key, of which readers take one or the other"

_REASONS = {
    # Messages of orjson, which are fixed texts; any other is not passed on.
    "UTF-8 byte order mark (BOM) is not supported": "a byte order mark (BOM)",
    "invalid escaped sequence in string": "an escape that JSON does not know",
    "invalid high surrogate in string": _LONE,
    "invalid low surrogate in string": _LONE,
    "no low surrogate in string": _LONE,
    "no digit after sign": "a number that is none in JSON",
    "no digit after decimal point": "a number that is none in JSON",
    "no digit after exponent": "a number that is none in JSON",
    "number is infinity when parsed as double": "a number too large",
    "number with leading zero is not allowed": "a number with a leading zero",
    "trailing comma is not allowed": "a trailing comma",
    "unexpected character, expected ',' or '}'": "a comma or } is missing",
    "unexpected character, expected ',' or ']'": "a comma or ] is missing",
    "unexpected character, expected ':' after key": "a colon is missing behind a key",
    "unexpected character, expected a string key": "a key that is no string in double quotes",
    "unexpected content after document": "something behind the end of the object",
    "unexpected control character in string": "a control character in a string, which must be escaped",
    "unexpected end of data": "it ends too early",
}
_NUMBERS = (b"NaN", b"Infinity", b"-Infinity")
_WORDS = (b"True", b"False", b"None", b"undefined")
_HALF = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")


def unreadable(body: bytes, fault: orjson.JSONDecodeError, most_levels: int) -> ProxyError:
    """The error for a *body* that orjson did not read, as it said in *fault*; *most_levels*: how deep it may be."""
    if not body.strip():
        return _error("it is empty", 0)
    if fault.msg == "depth limit exceeded":
        return too_deep(body, most_levels)
    try:
        text = body.decode()
    except UnicodeDecodeError as broken:
        if body.startswith((b"\xff\xfe", b"\xfe\xff")):
            return _error("it is UTF-16, not UTF-8", 0)
        return _error("a byte that is no UTF-8", broken.start)
    # orjson counts characters.
    offset = len(text[: fault.pos].encode())
    reason = _REASONS.get(fault.msg, "a character that cannot stand there")
    if body[max(0, offset - 1) : offset + 8] == b"-Infinity":
        offset -= 1
    if body.startswith(_NUMBERS, offset):
        reason = "NaN or Infinity, which JSON does not have"
    elif body.startswith(_WORDS, offset) or fault.msg.startswith("invalid literal"):
        reason = "a word that JSON does not have; it has true, false and null"
    elif body.startswith(b"'", offset):
        reason = "a single quote; JSON has double ones"
    if reason == _LONE:
        half = _lone_half(body, offset)
        offset = offset if half is None else half
    return _error(reason, offset)


def no_object(body: bytes) -> ProxyError:
    """The error for a *body* that is JSON and no object."""
    offset = len(body) - len(body.lstrip())
    return _error("it must be an object, in braces", offset)


def repeated(body: bytes) -> ProxyError:
    """The error for a *body* of which an object has a key twice; the offset is that of the second."""
    # The keys of each object that is open; of an array there are none.
    keys: list[set[str]] = []
    string = b""
    start = 0
    for count, token in enumerate(_TOKEN.finditer(body)):
        text = token.group()
        if text == b"{" or text == b"[":
            keys.append(set())
        elif text == b"}" or text == b"]":
            keys.pop()
        elif text == b":":
            # Only a string that a colon follows is a key; the others need not be read.
            seen = keys[-1]
            name = orjson.loads(string)
            if name in seen:
                return _error(_TWICE, start)
            seen.add(name)
        elif text != b",":
            string, start = text, token.start()
        if count > _MOST_TOKENS:
            break
    return _error(_TWICE, _NO_PLACE)


def too_deep(body: bytes, limit: int) -> ProxyError:
    """The error for a *body* nested deeper than *limit*; the offset is that of the first bracket too many."""
    depth = 0
    for count, token in enumerate(_TOKEN.finditer(body)):
        text = token.group()
        if text in (b"{", b"["):
            depth += 1
            if depth > limit:
                return _error(f"it is nested more than {limit} levels deep", token.start())
        elif text in (b"}", b"]"):
            depth -= 1
        if count > _MOST_TOKENS:
            break
    return _error(f"it is nested more than {limit} levels deep", _NO_PLACE)


def _lone_half(body: bytes, offset: int) -> int | None:
    """Where in the string that begins at *offset* half a pair stands alone; None where it is not found."""
    halves = _HALF.finditer(body, offset)
    for half in halves:
        first = half.start()
        while body[first - 1] == 0x5C:
            first -= 1
        if (half.start() - first) % 2:
            # A backslash that is itself escaped begins no escape.
            continue
        following = _HALF.match(body, half.end())
        if not _is_high(half) or following is None or _is_high(following):
            return half.start()
        next(halves)
    return None


def _is_high(half: re.Match[bytes]) -> bool:
    """It is the first of a pair."""
    return half.group()[3:4] in b"89abAB"


def _error(reason: str, offset: int) -> ProxyError:
    if offset == _NO_PLACE:
        return ProxyError("invalid_json", f"The body is not acceptable JSON: {reason}.", details={"reason": reason})
    return ProxyError(
        "invalid_json",
        f"The body is not acceptable JSON: {reason}, at byte {offset}.",
        details={"offset": offset, "reason": reason},
    )
