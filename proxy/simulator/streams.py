"""
Streams of OpenAI's chat and completions dialects, as lists of whole events.

Events are bytes with LF line ends; pacing, framing and every fault come later, in `faults.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson

from proxy.simulator.completion import CREATED, Completion
from proxy.simulator.question import Question
from proxy.simulator.script import NOTHING, Bill

NUMBER = b"@@@number@@@"  # replaced by the request's number, twelve digits, when the answer is written
DONE = b"data: [DONE]\n\n"


@dataclass(slots=True)
class Stream:
    """An answer as events."""

    deltas: list[bytes]
    """The events that come at the set pace."""
    opening: list[bytes] = field(default_factory=list)
    """What comes before the first token, all at once."""
    closing: list[bytes] = field(default_factory=list)
    """What comes after the last token, all at once."""
    extra: bytes = b""
    """The one of them that would not come unasked: the chunk that tells usage."""
    failure: bytes = b""
    """How this dialect says inside a stream that it failed."""
    bill: Bill = NOTHING
    """What the whole of it costs: the prompt with the first delta, the rest as the deltas come."""


def event(payload: dict[str, Any], name: str = "") -> bytes:
    """One event of *payload*, with an `event:` line when *name* is given."""
    line = b"data: " + orjson.dumps(payload) + b"\n\n"
    return f"event: {name}\n".encode() + line if name else line


def failure() -> bytes:
    """OpenAI's error event."""
    error = {"message": "The server had an error while processing your request.", "type": "server_error"}
    return event({"error": {**error, "param": None, "code": "server_error"}})


def choices(question: Question) -> int:
    """How many alternatives were asked for."""
    wanted = question.body.get("n")
    return wanted if isinstance(wanted, int) and 0 < wanted <= 128 else 1


def usage_wanted(question: Question) -> bool:
    """Whether the stream is to end with a usage chunk."""
    options = question.body.get("stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True


def identity(question: Question, prefix: str) -> str:
    """The id of an answer: unique per request, unless the `id` directive fixes it."""
    return prefix + question.directives.text("id", NUMBER.decode())


def counts_usage(question: Question) -> bool:
    """Whether the stream is one of a provider that was asked for usage and knows the option."""
    return usage_wanted(question) and question.directives.text("usage") != "none"


def bill_of(question: Question, completion: Completion) -> Bill:
    """What a provider charges for the answer, whatever it says in its usage block."""
    return Bill(completion.prompt_tokens, completion.completion_tokens * choices(question))


def usage_of(question: Question, completion: Completion) -> Any:
    """The usage block, or what the `usage` directive makes of it."""
    prompt, completed = bill_of(question, completion)
    odd: dict[str, Any] = {
        "zero": (0, 0, 0),
        "negative": (-prompt, -completed, -prompt - completed),
        "huge": (10**18, 10**18, 2 * 10**18),
        "text": (str(prompt), str(completed), str(prompt + completed)),
        "null": None,
    }
    numbers = odd.get(question.directives.text("usage"), (prompt, completed, prompt + completed))
    if numbers is None:
        return None
    return dict(zip(("prompt_tokens", "completion_tokens", "total_tokens"), numbers, strict=True))


def chat(question: Question, completion: Completion) -> Stream:
    """A chat completion as chunks."""
    base = {
        "id": identity(question, "chatcmpl-"),
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": question.model,
        "system_fingerprint": "fp_simulator",
    }

    # OpenAI says in every chunk that usage is still to come.
    more: dict[str, Any] = {"usage": None} if counts_usage(question) else {}

    def chunk(index: int, delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
        return event({**base, "choices": [choice], **more})

    every = range(choices(question))
    first: dict[str, Any] = {"role": "assistant", "content": "" if completion.tool is None else None, "refusal": None}
    if completion.tool is None:
        deltas = [chunk(i, {"content": token}) for token in completion.tokens for i in every]
    else:
        call = {"name": completion.tool, "arguments": ""}
        first["tool_calls"] = [{"index": 0, "id": identity(question, "call_"), "type": "function", "function": call}]
        deltas = [
            chunk(i, {"tool_calls": [{"index": 0, "function": {"arguments": fragment}}]})
            for fragment in completion.fragments()
            for i in every
        ]
    closing = [chunk(i, {}, completion.finish) for i in every]
    return _stream(question, completion, base, [chunk(i, first) for i in every], deltas, closing)


def text(question: Question, completion: Completion) -> Stream:
    """A legacy completion as chunks."""
    base = {"id": identity(question, "cmpl-"), "object": "text_completion", "created": CREATED, "model": question.model}

    more: dict[str, Any] = {"usage": None} if counts_usage(question) else {}

    def chunk(index: int, text: str, finish: str | None = None) -> bytes:
        choice = {"index": index, "text": text, "logprobs": None, "finish_reason": finish}
        return event({**base, "choices": [choice], **more})

    every = range(choices(question))
    deltas = [chunk(i, token) for token in completion.tokens for i in every]
    return _stream(question, completion, base, [], deltas, [chunk(i, "", completion.finish) for i in every])


def _stream(
    question: Question,
    completion: Completion,
    base: dict[str, Any],
    opening: list[bytes],
    deltas: list[bytes],
    closing: list[bytes],
) -> Stream:
    usage = usage_of(question, completion) if counts_usage(question) else None
    extra = b"" if usage is None else event({**base, "choices": [], "usage": usage})
    closing += [extra, DONE] if extra else [DONE]
    return Stream(deltas, opening, closing, extra, failure(), bill_of(question, completion))
