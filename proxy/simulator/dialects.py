"""
The responses dialect and the messages dialect: whole answers and streams of named events.

OpenAI's chat dialect is in `answers.py` and `streams.py`; what is said is in `completion.py` for all of them.
"""

from __future__ import annotations

from typing import Any

import orjson

from proxy.simulator.completion import CREATED, Completion
from proxy.simulator.question import Question
from proxy.simulator.script import Bill
from proxy.simulator.streams import Stream, event, identity

_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}


def response(question: Question, completion: Completion) -> dict[str, Any]:
    """A finished response of the responses API."""
    return _response(question, completion, "incomplete" if completion.finish == "length" else "completed")


def _response(question: Question, completion: Completion, status: str) -> dict[str, Any]:
    done = status != "in_progress"
    usage = {
        "input_tokens": completion.prompt_tokens,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": completion.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": completion.prompt_tokens + completion.completion_tokens,
    }
    return {
        "id": identity(question, "resp_"),
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
        "instructions": question.body.get("instructions"),
        "model": question.model,
        "output": [_item(question, completion, "completed", completion.whole)] if done else [],
        "parallel_tool_calls": True,
        "tool_choice": question.body.get("tool_choice", "auto"),
        "tools": question.body.get("tools", []),
        "usage": usage if done else None,
        "metadata": question.body.get("metadata", {}),
    }


def _item(question: Question, completion: Completion, status: str, said: str | None) -> dict[str, Any]:
    """The one output item; *said* None is an item just begun."""
    if completion.tool is not None:
        return {
            "type": "function_call",
            "id": identity(question, "fc_"),
            "call_id": identity(question, "call_"),
            "name": completion.tool,
            "arguments": "" if said is None else completion.arguments,
            "status": status,
        }
    content = [] if said is None else [{"type": "output_text", "text": said, "annotations": []}]
    return {
        "type": "message",
        "id": identity(question, "msg_"),
        "role": "assistant",
        "status": status,
        "content": content,
    }


def response_stream(question: Question, completion: Completion) -> Stream:
    """A response of the responses API as events."""
    numbered = 0

    def say(kind: str, **fields: Any) -> bytes:
        nonlocal numbered
        payload = {"type": kind, "sequence_number": numbered, **fields}
        numbered += 1
        return event(payload, kind)

    said = "".join(completion.tokens)
    begun = _response(question, completion, "in_progress")
    place = {"item_id": _item(question, completion, "in_progress", None)["id"], "output_index": 0}
    opening = [
        say("response.created", response=begun),
        say("response.in_progress", response=begun),
        say("response.output_item.added", output_index=0, item=_item(question, completion, "in_progress", None)),
    ]
    if completion.tool is None:
        within = {**place, "content_index": 0}
        empty, full = ({"type": "output_text", "text": t, "annotations": []} for t in ("", said))
        opening.append(say("response.content_part.added", **within, part=empty))
        deltas = [say("response.output_text.delta", **within, delta=token) for token in completion.tokens]
        closing = [
            say("response.output_text.done", **within, text=said),
            say("response.content_part.done", **within, part=full),
        ]
    else:
        kind = "response.function_call_arguments"
        deltas = [say(f"{kind}.delta", **place, delta=fragment) for fragment in completion.fragments()]
        closing = [say(f"{kind}.done", **place, arguments=completion.arguments, name=completion.tool)]
    status = "incomplete" if completion.finish == "length" else "completed"
    ended = _response(question, completion, status)
    item = _item(question, completion, "completed", said)
    closing.append(say("response.output_item.done", output_index=0, item=item))
    closing.append(say(f"response.{status}", response={**ended, "output": [item]}))
    error = {"code": "server_error", "message": "The server had an error while processing your request.", "param": None}
    bill = Bill(completion.prompt_tokens, completion.completion_tokens)
    return Stream(deltas, opening, closing, failure=say("error", **error), bill=bill)


def message(question: Question, completion: Completion) -> dict[str, Any]:
    """A finished message of the messages API."""
    content: dict[str, Any] = {"type": "text", "text": completion.whole}
    if completion.tool is not None:
        content = {**_tool_use(question, completion), "input": _arguments(completion)}
    return {
        **_message(question),
        "content": [content],
        "stop_reason": _STOP_REASONS.get(completion.finish, completion.finish),
        "usage": {"input_tokens": completion.prompt_tokens, "output_tokens": completion.completion_tokens},
    }


def _message(question: Question) -> dict[str, Any]:
    return {
        "id": identity(question, "msg_"),
        "type": "message",
        "role": "assistant",
        "model": question.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def _tool_use(question: Question, completion: Completion) -> dict[str, Any]:
    return {"type": "tool_use", "id": identity(question, "toolu_"), "name": completion.tool, "input": {}}


def _arguments(completion: Completion) -> Any:
    return orjson.loads(completion.arguments)


def message_stream(question: Question, completion: Completion) -> Stream:
    """A message of the messages API as events."""

    def say(kind: str, **fields: Any) -> bytes:
        return event({"type": kind, **fields}, kind)

    usage = {"input_tokens": completion.prompt_tokens, "output_tokens": 1}
    if completion.tool is None:
        block: dict[str, Any] = {"type": "text", "text": ""}
        pieces = [{"type": "text_delta", "text": token} for token in completion.tokens]
    else:
        block = _tool_use(question, completion)
        pieces = [{"type": "input_json_delta", "partial_json": fragment} for fragment in completion.fragments()]
    stop = {"stop_reason": _STOP_REASONS.get(completion.finish, completion.finish), "stop_sequence": None}
    return Stream(
        [say("content_block_delta", index=0, delta=piece) for piece in pieces],
        [
            say("message_start", message={**_message(question), "usage": usage}),
            say("content_block_start", index=0, content_block=block),
            say("ping"),
        ],
        [
            say("content_block_stop", index=0),
            say("message_delta", delta=stop, usage={"output_tokens": completion.completion_tokens}),
            say("message_stop"),
        ],
        failure=say("error", error={"type": "overloaded_error", "message": "Overloaded"}),
        bill=Bill(completion.prompt_tokens, completion.completion_tokens),
    )
