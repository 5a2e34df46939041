"""
A question: what one request asks the simulator for, parsed once.

It holds the parsed body and the directives in force; it knows neither endpoints nor answers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from proxy.simulator.directives import Directives
from proxy.simulator.multipart import Form


@dataclass(slots=True)
class Question:
    """One request, read."""

    method: str
    path: str
    """Without query and without the `/v1` prefix, as `/chat/completions`."""
    model: str = ""
    """The public name, directives cut off."""
    directives: Directives = field(default_factory=Directives)
    body: dict[str, Any] = field(default_factory=dict)
    """The JSON object sent; empty for other bodies."""
    form: Form | None = None
    """The multipart form sent, if it was one."""

    @property
    def stream(self) -> bool:
        """Whether a stream of events is asked for."""
        return self.body.get("stream") is True

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The conversation; `input` of the responses API and `prompt` count as messages of the user."""
        for name in ("messages", "input", "prompt"):
            given = self.body.get(name)
            if isinstance(given, str):
                return [{"role": "user", "content": given}]
            if isinstance(given, list):
                return [m if isinstance(m, dict) else {"role": "user", "content": m} for m in given]
        return []

    def texts(self) -> Iterator[str]:
        """The text of every message, oldest first."""
        return (text_of(message.get("content")) for message in self.messages)

    def last(self, role: str) -> str | None:
        """The text of the last message of *role*, or None."""
        for message in reversed(self.messages):
            if message.get("role", "user") == role:
                return text_of(message.get("content"))
        return None


def text_of(content: Any) -> str:
    """The text in a message's content: a string, or the text parts of a list."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return ""
