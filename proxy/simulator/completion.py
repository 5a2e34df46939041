"""
A completion: the text or the tool call the simulator answers a conversation with, and its usage.

The same question always gets the same completion. How it is written as JSON or events is in `answers.py`,
`streams.py` and `dialects.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

import orjson

from proxy.simulator.question import Question
from proxy.simulator.schema import sample

TEXT = (
    "The simulator says hello. Every answer of mine reads the same, word for word and byte for byte, "
    "so that whatever you see change on its way was changed by somebody else."
)
CREATED = 1_735_689_600  # 2025-01-01; a fixed date keeps equal questions' answers equal

_TOKEN = re.compile(r"\s*\S+|\s+$")


@dataclass(slots=True)
class Completion:
    """What is answered, before it has a form."""

    tokens: list[str]
    """The text in the pieces a stream sends it in."""
    tool: str | None
    """The tool called instead of a text."""
    arguments: str
    """That call's arguments, as JSON text."""
    finish: str
    """OpenAI's word: `stop`, `length` or `tool_calls`, unless the `finish` directive says otherwise."""
    prompt_tokens: int
    completion_tokens: int
    whole: str
    """The text as an answer that is not streamed gives it. It differs from the tokens only under `bytes=N`."""

    def fragments(self) -> list[str]:
        """The tool's arguments in the pieces a stream sends them in."""
        return [self.arguments[i : i + 8] for i in range(0, len(self.arguments), 8)]


def complete(question: Question) -> Completion:
    """Answer *question*."""
    directives, body = question.directives, question.body
    prompt_tokens = sum(len(text.split()) for text in question.texts())
    messages = question.messages

    tool = _tool(body)
    # After a tool's result the model speaks, or an agent would call the tool for ever.
    if tool is not None and messages and messages[-1].get("role") not in ("tool",) and not _has_result(messages[-1]):
        name, parameters = tool
        arguments = orjson.dumps(sample(parameters) or {}).decode()
        finish = directives.text("finish", "tool_calls")
        return Completion([], name, arguments, finish, prompt_tokens, max(1, len(arguments) // 4), "")

    text = _text(question)
    if not directives.count("restart") and messages and messages[-1].get("role") == "assistant":
        text = _continued(text, question.last("assistant") or "")
    tokens = _TOKEN.findall(text)
    finish = "stop"
    limit = body.get("max_completion_tokens") or body.get("max_tokens") or body.get("max_output_tokens")
    if isinstance(limit, int) and 0 < limit < len(tokens):
        tokens, finish = tokens[:limit], "length"
    whole = "".join(tokens)
    if "bytes" in directives and "tokens" in directives:
        whole = _sized(directives.count("bytes"))
    return Completion(tokens, None, "", directives.text("finish", finish), prompt_tokens, len(tokens), whole)


def _text(question: Question) -> str:
    directives = question.directives
    wanted = _format(question.body)
    if wanted is not None:
        return orjson.dumps(sample(wanted)).decode()
    if "echo" in directives:
        return question.last("user") or ""
    if "tokens" in directives:
        return " ".join(islice(cycle(TEXT.split()), directives.count("tokens")))
    if "bytes" in directives:
        return _sized(directives.count("bytes"))
    return TEXT


def _sized(size: int) -> str:
    return ((TEXT + " ") * (size // len(TEXT) + 1))[:size]


def _continued(text: str, prefill: str) -> str:
    """What is left of *text* for a caller that already has *prefill*."""
    if text.startswith(prefill):
        return text[len(prefill) :]
    words = text.split()[len(prefill.split()) :]
    return "".join(f" {word}" for word in words)


def _format(body: dict[str, Any]) -> Any:
    """The schema the answer must follow, or None where it is free text."""
    wanted = body.get("response_format") or (body.get("text") or {}).get("format")
    if not isinstance(wanted, dict):
        return None
    if wanted.get("type") == "json_object":
        return {"type": "object", "properties": {"answer": {"const": TEXT}}}
    if wanted.get("type") == "json_schema":
        return (wanted.get("json_schema") or wanted).get("schema") or {"type": "object"}
    return None


def _tool(body: dict[str, Any]) -> tuple[str, Any] | None:
    """The tool to call, as (name, schema of its parameters). Reads the three dialects' ways to declare one."""
    tools = body.get("tools")
    choice = body.get("tool_choice")
    if (
        not isinstance(tools, list)
        or not tools
        or choice == "none"
        or (isinstance(choice, dict) and choice.get("type") == "none")
    ):
        return None
    declared = {}
    for tool in tools:
        function = tool.get("function") or tool
        parameters = function.get("parameters") or function.get("input_schema")
        declared[str(function.get("name", "tool"))] = parameters
    name = next(iter(declared))
    if isinstance(choice, dict):
        chosen = (choice.get("function") or choice).get("name")
        name = chosen if chosen in declared else name
    return name, declared[name]


def _has_result(message: dict[str, Any]) -> bool:
    """Whether this message carries a tool's result in the responses or the messages dialect."""
    if message.get("type") == "function_call_output":
        return True
    content = message.get("content")
    return isinstance(content, list) and any(isinstance(p, dict) and p.get("type") == "tool_result" for p in content)
