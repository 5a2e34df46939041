"""
A provider's refusal in the shape every SDK reads: OpenAI's error object, with the provider's own words.

What has that shape already passes byte for byte, unless it shows a part of a key. It decides nothing.
"""

import json
from collections.abc import Sequence
from typing import Any

import orjson

from proxy.core.headers import Header, for_client
from proxy.core.masking import mask, mask_bytes
from proxy.relay.told import Told

JSON: Header = (b"Content-Type", b"application/json")
TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
"""`type` where the provider named none; OpenAI's for any other 4xx is `invalid_request_error`."""
UNTOLD = "The provider refused the request."
"""In the place of a page or of nothing: the status is all that is of use to an SDK."""

_FIELDS = ("type", "code")
"""What SDKs read of an error beside its message and need not find elsewhere: some servers leave out `param`."""


def render(
    status: int,
    headers: Sequence[Header],
    body: bytes,
    value: Any,
    told: Told,
    keys: Sequence[str],
    known: str = "",
) -> tuple[Sequence[Header], bytes]:
    """
    The headers and the body a client gets for a refusal with *status*. *value* is the JSON in *body*, or an error that
    came without a body of its own; None where it was no JSON. *known* is OpenAI's code for it, for those who gave none.
    """
    if body and _is_complete(value):
        return for_client(headers), mask_bytes(body, keys)
    kept = [header for header in for_client(headers) if header[0] not in (b"Content-Type", b"ETag")]
    return [JSON, *kept], mask_bytes(_written(_shaped(status, value, told, keys, known)), keys)


def _written(value: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:
        # What no UTF-8 and no 64 bits can hold.
        return json.dumps(value).encode()


def _is_complete(value: Any) -> bool:
    """Whether it has the shape: a message in words, and beside it what SDKs make an exception of."""
    error = value.get("error") if type(value) is dict else None
    if type(error) is not dict or type(error.get("message")) is not str or not error["message"].strip():
        return False
    # Anthropic's own errors have a type and no code; its SDK reads them as they are.
    return value.get("type") == "error" or all(name in error for name in _FIELDS)


def _shaped(status: int, value: Any, told: Told, keys: Sequence[str], known: str) -> dict[str, Any]:
    message = mask(told.message, keys) or UNTOLD
    kind = told.type or TYPES.get(status, "invalid_request_error")
    plain: dict[str, Any] = {
        "message": message,
        "type": kind,
        "param": told.param or None,
        "code": known if known and (not told.code or told.code.isdigit()) else told.code or None,
    }
    whole = value if type(value) is dict else {}
    error = whole.get("error")
    if error is None and "object" not in whole and whole.get("type") != "error" and "message" in whole:
        # The object itself, without the envelope.
        whole, error = {}, whole
    if type(error) is not dict or type(error.get("message")) is not str or not error["message"].strip():
        return {"error": plain}
    # Only what is missing is added.
    return {**whole, "error": {**plain, **{name: said for name, said in error.items() if said is not None}}}
