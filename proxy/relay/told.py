"""
What an error says, whatever shape it has: a reader from any JSON value, or text, to one record.

It reads and judges nothing: what an error means stands in `faults`.
"""

import re
from dataclasses import dataclass, replace
from typing import Any

from proxy.core.error_events import is_blank
from proxy.core.lenient import lenient

LONGEST_TEXT = 2000
"""Bytes of a plain text that may be a message; a longer one is a page or a log."""
DEEPEST = 5
"""How deep errors are nested in errors at most."""

STATUSES: dict[str, int] = {
    # Anthropic, https://docs.anthropic.com/en/api/errors ; OpenAI, https://platform.openai.com/docs/guides/error-codes
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "server_error": 500,
    "internal_error": 500,
    "internal_server_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
    # vLLM and SGLang name Python's exceptions, vllm/entrypoints/openai/serving_engine.py
    "BadRequestError": 400,
    "AuthenticationError": 401,
    "PermissionDeniedError": 403,
    "NotFoundError": 404,
    "RateLimitError": 429,
    "InternalServerError": 500,
    # Google, https://cloud.google.com/apis/design/errors#handling_errors
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
    # Amazon, https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html#API_runtime_Converse_Errors
    "ValidationException": 400,
    "AccessDeniedException": 403,
    "ResourceNotFoundException": 404,
    "ModelTimeoutException": 504,
    "ModelErrorException": 424,
    "ThrottlingException": 429,
    "InternalServerException": 500,
    "ServiceUnavailableException": 503,
}
"""The HTTP status that belongs to a type, a code or a status in words: for errors that came with a 200."""

_MESSAGES = ("message", "msg", "error_message", "error_msg", "errorMessage", "status_msg", "Message", "description")
_CODES = ("code", "error_code", "errorCode", "err_code", "status_code", "statusCode", "status", "http_status")
_TYPES = ("type", "error_type", "__type")
_INNER = ("error", "errors", "base_resp", "detail", "err", "Error")
_ENVELOPES = frozenset(("error", "message", "response", "about:blank", "object", "failed"))
"""Values of `type` and `status` that say no more than that it is an error."""
_SPACES = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Told:
    """An error, read."""

    message: str = ""
    type: str = ""
    code: str = ""
    """A number is the same code as its digits."""
    param: str = ""
    status: int = 0
    """The HTTP status it says it has, or that its type has; 0 where it says none."""
    more: tuple[str, ...] = ()
    """Further codes: Google's reasons, `base_resp` before a number, the codes of an error within the message."""
    behind: str = ""
    """What a provider behind this one said, where this one passes its words on beside its own."""

    @property
    def says(self) -> bool:
        """It tells anything at all."""
        return bool(self.message or self.type or self.code)


def read(value: Any) -> Told:
    """The error in any JSON value."""
    found = _read(value, 0)
    return found if found.status else replace(found, status=_status_of(found))


def read_text(body: bytes) -> Told:
    """The error in a body that is no JSON: its words, unless they are a page."""
    text = body[: LONGEST_TEXT + 1].decode("utf-8", "replace").strip()
    if not text or text.startswith(("<", "{", "[")) or len(text) > LONGEST_TEXT:
        return Told()
    return Told(message=text)


def _read(value: Any, depth: int) -> Told:
    if depth > DEEPEST:
        return Told()
    if type(value) is str:
        return Told(message=value.strip())
    if type(value) is list:
        parts = [part for part in (_read(each, depth + 1) for each in value[:8]) if part.says]
        return replace(parts[0], message="; ".join(part.message for part in parts if part.message)) if parts else Told()
    if type(value) is not dict:
        return Told()
    own = _own(value, depth)
    for name in _INNER:
        inner = value.get(name)
        if is_blank(inner):
            continue
        found = _read(inner, depth + 1)
        if name == "base_resp":
            if found.code in ("", "0"):
                continue
            found = replace(found, more=(*found.more, f"base_resp.{found.code}"))
        elif name == "error" and type(inner) is str and own.message:
            # Spring, Restify: a name beside the sentence.
            found = Told(type=inner.strip())
        if found.says:
            return _joined(found, own)
    return own


def _own(value: dict[str, Any], depth: int) -> Told:
    """What stands in the fields of *value* itself."""
    message, behind = "", ""
    more: tuple[str, ...] = ()
    inner = Told()
    for name in _MESSAGES:
        text = value.get(name)
        if type(text) is str and text.strip():
            message = text.strip()
            if message.startswith("{"):
                inner = _packed(message, depth)
            break
        if type(text) in (dict, list) and text:
            inner = _read(text, depth + 1)
            message = inner.message
            break
    if "loc" in value and message:
        # FastAPI: where, and what is wrong there.
        places = value["loc"] if type(value["loc"]) is list else [value["loc"]]
        message = f"{'.'.join(str(place) for place in places)}: {message}"
    code, status = "", 0
    for name in _CODES:
        said = value.get(name)
        if type(said) is dict:
            nested = _read(said, depth + 1)
            inner = inner if inner.says else nested
            message = message or nested.message
            continue
        text = _code(said)
        if text.lower() in _ENVELOPES:
            continue
        if text and not status and len(text) == 3 and text.isdigit() and 400 <= int(text) <= 599:
            status = int(text)
        if text and not status:
            status = STATUSES.get(text, 0)
        if text and not code and (name not in ("status", "http_status") or message):
            code = text
        elif text and not text.isdigit():
            more += (text,)
    kind = ""
    for name in _TYPES:
        said = value.get(name)
        if type(said) is str and said.strip() and said.strip() not in _ENVELOPES:
            kind = said.strip().rpartition("#")[2]
            break
    for detail in value["details"] if type(value.get("details")) is list else ():
        if type(detail) is dict and type(reason := detail.get("reason")) is str:
            more += (reason,)
    if value.get("cloudflare_error") is True:
        # https://blog.cloudflare.com/rfc-9457-agent-error-pages/
        more += ("cloudflare_error",)
    metadata = value.get("metadata")
    if type(metadata) is dict and "provider_name" in metadata and type(raw := metadata.get("raw")) is str:
        # https://openrouter.ai/docs/api-reference/errors
        behind = raw
    title = value.get("title")
    if not message and type(title) is str and ("status" in value or "detail" in value):
        # RFC 9457 section 3.1.4
        message = title.strip()
    param = value.get("param")
    own = Told(message, kind, code, param if type(param) is str else "", status, more, behind)
    return own if not inner.says else replace(_joined(own, inner), message=message)


def _joined(inner: Told, outer: Told) -> Told:
    """*inner*, and of *outer* what it does not say itself."""
    more = inner.more + outer.more + ((outer.code,) if outer.code and inner.code else ())
    return Told(
        inner.message or outer.message,
        inner.type or outer.type,
        inner.code or outer.code,
        inner.param or outer.param,
        inner.status or outer.status,
        more,
        inner.behind or outer.behind,
    )


def _packed(message: str, depth: int) -> Told:
    """The error in a message that is JSON itself, as relays write it that pass on what they got."""
    try:
        return _read(lenient(message.encode("utf-8", "replace")), depth + 1)
    except ValueError:
        return Told()


def _code(said: Any) -> str:
    if type(said) is str:
        return _SPACES.sub(" ", said.strip())
    if type(said) is int or (type(said) is float and said.is_integer()):
        return str(int(said))
    return ""


def _status_of(told: Told) -> int:
    return next((STATUSES[name] for name in (told.code, told.type, *told.more) if name in STATUSES), 0)
