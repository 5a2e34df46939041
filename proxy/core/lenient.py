"""
JSON as lenient as the SDKs that read it: NaN and infinities, half a surrogate pair, a byte order mark, bad UTF-8.

Strict JSON is read much faster, and first. Nothing here writes any.
"""

import json
from typing import Any

import orjson


def loads(data: bytes) -> Any:
    """The JSON value in *data*, strictly where that goes, else leniently; raises `ValueError` for what is no JSON."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return lenient(data)


def value_in(data: bytes) -> Any:
    """The same value; None when there is none, or null."""
    try:
        return loads(data)
    except ValueError:
        return None


def object_in(data: bytes) -> dict[str, Any] | None:
    """The JSON object *data* is, read strictly; None when it is none."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    return value if type(value) is dict else None


def lenient(data: bytes) -> Any:
    """
    The JSON value in *data* as Python's `json` reads it, which is what `response.json()` of both Python SDKs does.
    What no UTF-8 can hold is replaced, so that every text in it can be encoded. Raises `ValueError` for what is no
    JSON.
    """
    try:
        value = json.loads(data.decode("utf-8-sig", "replace"), parse_int=_number)
        text = json.dumps(value, ensure_ascii=False)
        return value if text.isascii() else json.loads(text.encode("utf-8", "replace"), parse_int=_number)
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def _number(digits: str) -> int | float:
    # As orjson reads it: what does not fit into 64 bits is a float.
    return int(digits) if len(digits) < 19 else float(digits)
