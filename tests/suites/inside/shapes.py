"""
The smallest answer of a type: what an SDK's method says it returns, as JSON that its own tests accept.

Runs in the SDK's environment and reads its pydantic models; it knows no endpoint but those whose streams have a form.
"""

import inspect
import json
from datetime import date, datetime
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

DEEPEST = 7
"""Levels below which lists stay empty: types refer to themselves."""

_CHUNK = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
_RESPONSE = {"id": "r", "object": "response", "created_at": 1, "model": "m", "output": [], "status": "completed"}
_MESSAGE = {"id": "m", "type": "message", "role": "assistant", "model": "m", "content": [], "stop_reason": None}
STREAMS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    # (end of the path: events as the vendors document them)
    # https://platform.openai.com/docs/api-reference/chat-streaming
    "/chat/completions": [
        ("", {**_CHUNK, "choices": [{"index": 0, "delta": {"role": "assistant", "content": "Hi"}}]}),
        ("", {**_CHUNK, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}),
    ],
    "/completions": [
        (
            "",
            {
                "id": "c",
                "object": "text_completion",
                "created": 1,
                "model": "m",
                "choices": [{"index": 0, "text": "Hi", "finish_reason": "stop", "logprobs": None}],
            },
        )
    ],
    # https://platform.openai.com/docs/api-reference/responses-streaming
    "/responses": [
        ("response.created", {"type": "response.created", "sequence_number": 0, "response": _RESPONSE}),
        ("response.completed", {"type": "response.completed", "sequence_number": 1, "response": _RESPONSE}),
    ],
    # https://docs.anthropic.com/en/docs/build-with-claude/streaming
    "/messages": [
        ("message_start", {"type": "message_start", "message": {**_MESSAGE, "usage": {"input_tokens": 1}}}),
        (
            "content_block_start",
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        ),
        (
            "content_block_delta",
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}},
        ),
        ("content_block_stop", {"type": "content_block_stop", "index": 0}),
        (
            "message_delta",
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}},
        ),
        ("message_stop", {"type": "message_stop"}),
    ],
}


def answer(cast_to: Any, path: str, stream: bool, stream_of: Any, first_page: bool) -> tuple[int, str, str]:
    """Status, content type and body for a method that returns *cast_to*, or events of *stream_of*."""
    if stream:
        return 200, "text/event-stream", _events(path.partition("?")[0], stream_of)
    if cast_to is type(None):
        return 204, "application/json", ""
    if cast_to is str:
        return 200, "text/plain", "string"
    if inspect.isclass(cast_to) and (
        "Binary" in cast_to.__name__ or (cast_to.__name__.endswith("Response") and "http" in cast_to.__module__)
    ):
        return 200, "application/octet-stream", '{"foo": "bar"}'
    value = smallest(cast_to)
    if isinstance(value, dict) and _is_page(cast_to):
        _turn(cast_to, value, first_page)
    return 200, "application/json", json.dumps(value)


def smallest(of: Any, depth: int = 0) -> Any:
    """JSON of the type *of* with nothing in it that may be left out."""
    if hasattr(of, "__value__"):
        of = of.__value__
    origin, inner = get_origin(of), get_args(of)
    if origin is Annotated:
        return smallest(inner[0], depth)
    if origin is Literal:
        return inner[0]
    if origin is Union or str(type(of)) == "<class 'types.UnionType'>":
        return None if type(None) in inner else smallest(inner[0], depth)
    if origin in (list, tuple, set) or (origin is not None and "Sequence" in str(origin)):
        return [] if depth > DEEPEST else [smallest(inner[0], depth + 1)]
    if origin is dict:
        return {}
    if isinstance(of, TypeVar) or not inspect.isclass(of):
        return {}
    if hasattr(of, "model_fields"):
        fields = of.model_fields.items()
        return {each.alias or name: smallest(each.annotation, depth + 1) for name, each in fields if each.is_required()}
    for kind, value in (
        (bool, False),
        (int, 1),
        (float, 1.0),
        (datetime, "2026-01-01T00:00:00Z"),
        (date, "2026-01-01"),
    ):
        if issubclass(of, kind):
            return value
    return "string" if issubclass(of, str | bytes) or of.__name__ == "StrictStr" else {}


def _is_page(of: Any) -> bool:
    return any("Page" in each.__name__ for each in getattr(of, "__mro__", ()))


def _turn(of: Any, value: dict[str, Any], first: bool) -> None:
    """Let a list go on after its first page, and end with an empty second one."""
    fields = of.model_fields
    item = {}
    for name in ("data", "items"):
        if name in fields:
            inner = next((each for each in get_args(fields[name].annotation) if each is not type(None)), None)
            item = smallest(inner) if inner is not None else {}
            if isinstance(item, dict) and "id" not in item and "id" in getattr(inner, "model_fields", {}):
                item["id"] = "item_1"
            value[name] = [item] if first else []
    value["has_more"] = first
    for name in ("last_id", "first_id"):
        if name in fields:
            value[name] = (item.get("id") if isinstance(item, dict) else None) or "item_1"
    for name in ("next", "next_page", "page_token", "next_token", "next_cursor"):
        if name in fields:
            value[name] = "page_2" if first else None


def _events(path: str, of: Any) -> str:
    known = next((events for end, events in STREAMS.items() if path.endswith(end)), None)
    if known is None:
        known = [("", smallest(of)), ("", smallest(of))]
    text = "".join(f"event: {name}\n" * bool(name) + f"data: {json.dumps(value)}\n\n" for name, value in known)
    return text if path.endswith("/messages") else f"{text}data: [DONE]\n\n"
