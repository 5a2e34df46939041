"""
Whether a whole answer is an answer: what each endpoint's JSON must hold, and the errors that look like one.

A look at a parsed object, on every answer's way; it judges no error and knows no bytes.
"""

from typing import Any

from proxy.core.error_events import error_in as told_in
from proxy.core.error_events import failure_in, is_blank
from proxy.relay.told import read

_LISTS = ("data", "results", "embeddings", "output", "segments", "words")
"""What answers of the endpoints hold whose shape differs from vendor to vendor: pictures, ranks, transcripts."""


def error_in(value: dict[str, Any], holds: str) -> Any:
    """
    What is wrong with *value*, a 2xx answer whose top level has to hold the list *holds* (empty or `json`: unknown):
    None when nothing is, the error it tells, or a text in our words when it tells none.
    """
    error = value.get("error")
    if error is not None and not is_blank(error):
        return value
    if holds == "choices":
        choices = value.get("choices")
        return _in_choices(choices) if type(choices) is list and choices else _instead(value, "no choices")
    if holds == "output":
        if value.get("status") == "failed":
            return {"code": "server_error"}
        good = type(value.get("output")) is list or value.get("object") == "response"
        return None if good else _instead(value, "no response")
    if holds and holds != "json":
        return None if type(value.get(holds)) is list else _instead(value, f"no {holds}")
    # Of any shape: it is an error where it tells one and holds nothing that an answer would.
    return None if _holds_something(value) or told_in(value) is None else value


def _holds_something(value: dict[str, Any]) -> bool:
    return any(type(value.get(name)) is list for name in _LISTS) or type(value.get("text")) is str


def is_errors(values: list[Any]) -> bool:
    """Whether a list is one of errors, as Gemini sends them: `[{"error": ...}]`."""
    return bool(values) and type(values[0]) is dict and not is_blank(values[0].get("error"))


def _in_choices(choices: list[Any]) -> Any:
    for choice in choices:
        if type(choice) is not dict:
            return "a choice that is none"
        failed = failure_in(choice)
        if failed is not None:
            return failed
    return None


def _instead(value: dict[str, Any], reason: str) -> Any:
    told = read(value)
    return value if told.message or told.code else reason
