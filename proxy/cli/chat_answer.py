"""
One answer of `hapax chat`: what its events say, whether it is whole, and what it took.

It reads bytes that it is given at moments that it is told; it asks and prints nothing.
"""

import re
from typing import Any

from proxy.core import clock
from proxy.core.error_events import error_in
from proxy.core.lenient import value_in
from proxy.core.usage import Tokens, read_usage

_LINE_END = re.compile(rb"\r\n|\n|\r(?!\Z)")
SHORTEST = 0.05
"""Seconds between the first and the last piece below which there is no saying how fast they came."""


class EventReader:
    """The data of each event of a stream, however its bytes come (WHATWG HTML, section 9.2.6)."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self._begins = True

    def feed(self, more: bytes) -> list[bytes]:
        """The data of the events that *more* has ended."""
        found: list[bytes] = []
        *lines, self._rest = _LINE_END.split(self._rest + more)
        for line in lines:
            if self._begins:
                self._begins = False
                line = line.removeprefix(b"\xef\xbb\xbf")
            name, _, value = line.partition(b":")
            if name == b"data":
                self._data.append(value.removeprefix(b" "))
            elif not line and self._data:
                found.append(b"\n".join(self._data))
                self._data = []
        return found

    def end(self) -> list[bytes]:
        """The same of a CR that was held back, since an LF might have followed; nothing else comes."""
        return self.feed(b"\n") if self._rest.endswith(b"\r") else []


class Answer:
    """What one question came to."""

    def __init__(self, began: float) -> None:
        """*began*: when the question was sent, in monotonic seconds, like every moment here."""
        self.text = ""
        """What was said so far."""
        self.provider = ""
        self.attempts = ""
        """As the gateway counts them."""
        self.stored = False
        """It was given before, and no provider was asked."""
        self.shared = False
        """Another call under way asked the same and got it, too."""
        self.request_id = ""
        self.cost: int | None = None
        """Micro-USD; None where it is not known."""
        self.finish = ""
        """Why it ended, as the provider says; empty while it has not."""
        self.fault = ""
        """Why it is not whole, as a sentence; empty where nothing says so."""
        self.tokens: Tokens | None = None
        self._began = began
        self._first: float | None = None
        self._last = began
        self._pieces = 0
        self._done = False

    @property
    def trouble(self) -> str:
        """Why it is no whole answer, once no more of it comes; empty where it is one."""
        if self.fault or self._done or self.finish:
            return self.fault
        return "it ended before it was finished"

    def take(self, data: bytes, now: float) -> tuple[str, str]:
        """
        Read *data*, an event that has come *now*, or the body of an answer that is no stream; what was thought in it,
        and what was said.
        """
        if data.strip() == b"[DONE]":
            self._done = True
            return "", ""
        value = value_in(data)
        if not isinstance(value, dict):
            return "", ""
        error = error_in(value)
        if error is not None:
            self.fault = _words(error)
            return "", ""
        if isinstance(usage := value.get("usage"), dict):
            self.tokens = read_usage(usage) or self.tokens
        choices = value.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
        self.finish = _text(choice.get("finish_reason")) or self.finish
        more = choice.get("delta") or choice.get("message")
        if not isinstance(more, dict):
            return "", ""
        thought = _text(more.get("reasoning_content")) or _text(more.get("reasoning"))
        said = _text(more.get("content")) or _text(more.get("refusal"))
        if thought or said:
            self._first = now if self._first is None else self._first
            self._last = now
            self._pieces += 1
            self.text += said
        return thought, said

    @property
    def figures(self) -> str:
        """What it took, on one line; only what is known."""
        told = []
        if self._first is not None:
            told.append(f"first token {clock.span(self._first - self._began)}")
            pieces = self.tokens.completion if self.tokens is not None else self._pieces
            if self._last - self._first >= SHORTEST:
                told.append(f"{pieces / (self._last - self._first):.1f} tokens/s")
        if self.tokens is not None:
            told.append(f"{self.tokens.prompt:,} tokens in, {self.tokens.completion:,} out")
        elif self._pieces:
            told.append(f"about {self._pieces:,} tokens out")
        if self.cost is not None:
            told.append(f"${self.cost / 1e6:.6f}")
        if self.provider:
            attempts = f", {self.attempts} attempt{'s' * (self.attempts != '1')}" if self.attempts else ""
            told.append(self.provider + attempts)
        if self.stored:
            told.append("a stored answer")
        if self.shared:
            told.append("shared with another call")
        if self.finish not in ("", "stop"):
            told.append(f"ended by {self.finish}")
        return " · ".join(told)


def _words(error: dict[str, Any]) -> str:
    message, code = error.get("message"), error.get("code")
    words = message if isinstance(message, str) and message else "the provider failed"
    return f"{words} ({code})" if code else words


def _text(value: Any) -> str:
    """A text, or those of its parts, which is how Mistral writes an answer that was thought about."""
    if isinstance(value, list):
        return "".join(_text(part.get("text")) for part in value if isinstance(part, dict))
    return value if isinstance(value, str) else ""
