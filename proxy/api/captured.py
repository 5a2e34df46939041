"""
An answer kept instead of sent, for endpoints that make another of it.

What was asked, and how, is in `chat`. What is made of the answer is theirs.
"""

import json
from collections.abc import Callable
from typing import Any

import orjson

from proxy.core.errors import ProxyError
from proxy.core.headers import Header


class Captured:
    """A relay's client that keeps the answer instead of sending it."""

    paused = False

    def __init__(self) -> None:
        self.on_pause: Callable[[], object] | None = None
        self.on_resume: Callable[[], object] | None = None
        self.status = 0
        self.headers: list[Header] = []
        self.body = b""
        self.whole = False

    def send(self, status: int, headers: list[Header], body: bytes) -> None:
        self.status, self.headers, self.body, self.whole = status, headers, body, True

    def start(self, status: int, headers: list[Header], length: int | None, streamed: bool) -> None:
        self.status, self.headers = status, headers

    def push(self, chunk: bytes) -> None:
        self.body += chunk

    def finish(self) -> None:
        self.whole = True

    def cut(self) -> None:
        self.whole = False

    @property
    def ours(self) -> list[Header]:
        """The header lines that say who answered."""
        return [pair for pair in self.headers if pair[0].startswith(b"X-Hapax-")]

    @property
    def value(self) -> dict[str, Any]:
        """The JSON object that came; empty when none did."""
        value = loads(self.body)
        return value if type(value) is dict else {}

    def text(self) -> str | None:
        """The first choice's text of a chat answer, or None when it is not one."""
        message = first_choice(self.value).get("message")
        content = message.get("content") if type(message) is dict else None
        return content if type(content) is str else None


def loads(body: bytes) -> Any:
    """The JSON in *body*, with half a character or a number that is none in it as well; None where there is none."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            return None


def first_choice(value: dict[str, Any]) -> dict[str, Any]:
    """The first choice of a chat answer or of one of its events; empty when there is none."""
    choices = value.get("choices")
    choice = choices[0] if type(choices) is list and choices else None
    return choice if type(choice) is dict else {}


def refused(status: int, body: bytes, asked: dict[str, Any], code: str) -> ProxyError:
    """
    What a refusal by the provider becomes; *code* is what the relay has read in it. The relay hands on only what the
    request itself is to blame for; the words may quote the prompt, so of these no more is told than which of the
    options in *asked* they are about.
    """
    if status == 404:
        return ProxyError("model_not_found", param="model")
    if code == "context_length_exceeded":
        return ProxyError(code, param="messages")
    error = (loads(body) or {}).get("error") if body[:1] == b"{" else None
    param = error.get("param") if type(error) is dict else None
    known = type(param) is str and param in asked
    return ProxyError(
        "bad_request",
        "The provider refused the request.",
        param=param if known else None,
        details={"param": param} if known else None,
    )
