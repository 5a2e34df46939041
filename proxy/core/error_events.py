"""
Errors as providers tell them inside a 200: in an event of a stream, or in a body that stands where an answer was due.

It finds the error and says who notices it as it stands. What the error means is judged elsewhere.
"""

from typing import Any

from proxy.core import finishes

_WELL = (None, 0, 200, "0", "200", "", "ok", "OK", "success", "Success")
"""Codes and statuses that say all is well."""


class ErrorEvent:
    """An error that was told by an event."""

    def __init__(self, error: dict[str, Any], raises: bool, passes: bool = True) -> None:
        self.error = error
        """In OpenAI's shape as far as the provider had it: `message`, `type`, `code`."""
        self.raises = raises
        """
        The SDKs of its dialect end in an exception at this event: OpenAI's where the object has a true `error`
        (`_streaming.py`, `core/streaming.ts`), Anthropic's where the event is called `error`.
        """
        self.passes = passes
        """The event is one its dialect knows, so that it may be shown before another that raises."""


def error_in(value: dict[str, Any]) -> dict[str, Any] | None:
    """
    The error that *value* is or holds; None where it holds none. Shapes, beside OpenAI's own `{"error": {...}}`:

    - `{"error": "text"}`: Ollama, TGI (`error_type` beside it), Spring (`status` beside it);
    - `{"object": "error", ...}`: vLLM before 0.10, Mistral; `{"type": "error", ...}`: Anthropic, the Responses API;
    - `{"detail": ...}`: FastAPI; `{"errors": [...]}`: Cloudflare, Cohere;
    - `{"base_resp": {"status_code": 1004, "status_msg": ...}}`: MiniMax (platform.minimaxi.com/document/error_code);
    - `{"error_code": 17, "error_msg": ...}`: Baidu (cloud.baidu.com/doc/WENXINWORKSHOP/s/tlmyncueh);
    - `{"code": ..., "message": ...}`: DashScope (alibabacloud.com/help/en/model-studio/error-code), SiliconFlow;
    - `{"success": false, ...}`, `{"status": "error", ...}`: relays.
    """
    error = value.get("error")
    if error:
        return _spelled(error, value)
    if value.get("object") == "error" or value.get("type") in ("error", "response.error"):
        return {name: held for name, held in value.items() if (name, held) not in _MARKS}
    if value.get("choices") or value.get("usage"):
        return None
    base = value.get("base_resp")
    if type(base) is dict and not _is_well(base.get("status_code")):
        return {"message": _words(base.get("status_msg")), "code": base.get("status_code")}
    for name in ("errors", "detail", "error_msg"):
        if value.get(name):
            return _spelled(value[name], value)
    message = value.get("message") or value.get("msg")
    failed = value.get("success") is False or value.get("status") in ("error", "failed", "fail")
    if failed or (type(message) is str and not _is_well(value.get("code"))):
        return _spelled(message or "The provider told of an error.", value)
    return None


def failure_in(choice: dict[str, Any]) -> dict[str, Any] | None:
    """The error by which *choice*, of a stream or a whole answer, failed; None where it goes on or finished well."""
    finish = choice.get("finish_reason")
    status = finishes.failure(finish)
    error = choice.get("error")
    if is_blank(error):
        return finishes.as_error(finish, status) if status else None
    told = _spelled(error, choice)
    return told if told.get("code") or told.get("type") else {**told, "code": status or 502}


def is_blank(error: Any) -> bool:
    """Whether a field called `error` says that there is none: null, empty, or an object of nothing but such."""
    if type(error) is dict:
        return all(is_blank(value) for value in error.values())
    return not error or error == "null"


_MARKS = (("object", "error"), ("type", "error"), ("type", "response.error"))


def _spelled(error: Any, beside: dict[str, Any]) -> dict[str, Any]:
    """*error*, which may be a text, a list or an object, as an object; *beside* is what it stands in."""
    if type(error) is list:
        error = error[0] if error else ""
    if type(error) is dict:
        code = beside.get("code") or beside.get("status")
        return {**error, "code": code} if type(code) is int and "code" not in error and not _is_well(code) else error
    told: dict[str, Any] = {"message": _words(error)}
    for name in ("code", "error_code", "status", "status_code"):
        if type(beside.get(name)) in (int, str) and not _is_well(beside[name]) and "code" not in told:
            told["code"] = beside[name]
    for name in ("type", "error_type"):
        if type(beside.get(name)) is str and "type" not in told:
            told["type"] = beside[name]
    return told


def _words(told: Any) -> str:
    return told if type(told) is str else str(told)


def _is_well(code: Any) -> bool:
    return type(code) in (dict, list, bool) or code in _WELL
