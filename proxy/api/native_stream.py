"""
The native endpoint's stream: a chat's events become events of its own, each with a piece of the text.

It is the relay's client in front of the real one. Whether an answer is whole or cut is decided in the relay; what it
writes after the last piece is in `finish` and in the error event.
"""

import json
from collections.abc import Callable
from typing import Any

import orjson

from proxy.api.captured import first_choice, loads
from proxy.api.tidying import Pieces
from proxy.core.errors import KINDS, ProxyError
from proxy.core.headers import Header
from proxy.core.usage import Tokens
from proxy.http.answer import Answer

BESIDE_TEXT = ("tool_calls", "refusal")
"""What a model may say instead of a text; it passes by the name it has."""
ErrorBody = Callable[[ProxyError, str], bytes]
EVENT_STREAM: Header = (b"Content-Type", b"text/event-stream; charset=utf-8")


class NativeStream:
    """
    A relay's client that reads a chat's stream and writes the native one. It is no heir of `Intermediary`, which is
    compiled: a class that is not cannot be one.
    """

    def __init__(self, answer: Answer, request_id: str, pieces: Pieces, error_body: ErrorBody) -> None:
        """*error_body*: the shape of an error at the path that was asked."""
        self.status = 0
        self.headers: list[Header] = []
        self.body = b""
        """A refusal that came in the place of a stream; nothing has been written then."""
        self.whole = False
        self._answer = answer
        self._request_id = request_id
        self._pieces = pieces
        self._error_body = error_body
        self._after_cr = False
        self._line = b""
        self._data: list[bytes] = []
        self._reason: str | None = None
        self._usage: dict[str, Any] | None = None
        self._failed = False

    @property
    def paused(self) -> bool:
        return self._answer.paused

    @property
    def on_pause(self) -> Callable[[], object] | None:
        return self._answer.on_pause

    @on_pause.setter
    def on_pause(self, call: Callable[[], object] | None) -> None:
        self._answer.on_pause = call

    @property
    def on_resume(self) -> Callable[[], object] | None:
        return self._answer.on_resume

    @on_resume.setter
    def on_resume(self, call: Callable[[], object] | None) -> None:
        self._answer.on_resume = call

    def send(self, status: int, headers: list[Header], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    def start(self, status: int, headers: list[Header], length: int | None, streamed: bool) -> None:
        self.status = status
        ours = [pair for pair in headers if pair[0].startswith(b"X-Hapax-")]
        self._answer.start(200, [*ours, EVENT_STREAM], None, streamed=True)

    def push(self, chunk: bytes) -> None:
        if self._after_cr and chunk[:1] == b"\n":
            chunk = chunk[1:]
        self._after_cr = chunk[-1:] == b"\r"
        *lines, self._line = (self._line + chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")).split(b"\n")
        for line in lines:
            line = line.removeprefix(b"\xef\xbb\xbf")
            if line.startswith(b"data:"):
                self._data.append(line[5:].removeprefix(b" "))
            elif not line and self._data:
                data, self._data = b"\n".join(self._data), []
                self._event(data)

    def finish(self) -> None:
        # What follows the last piece tells what was used, which is known when the relay has come to its end.
        self.whole = True

    def cut(self) -> None:
        if not self._failed:
            self._fail("upstream_truncated")
        self._answer.cut()

    def end(self, tokens: Tokens | None) -> None:
        """The last piece, how it ended, what it used, and the mark of a good end."""
        self._say({}, self._pieces.end())
        last: dict[str, Any] = {"finish_reason": self._reason or "stop"}
        if self._pieces.truncated:
            last = {"finish_reason": "length", "truncated": True}
        if self._usage is not None:
            last["usage"] = self._usage
        elif tokens is not None:
            last["usage"] = {
                "prompt_tokens": tokens.prompt,
                "completion_tokens": tokens.completion,
                "total_tokens": tokens.total,
            }
        self._say(last)
        self._answer.push(b"data: [DONE]\n\n")
        self._answer.finish()

    def _event(self, data: bytes) -> None:
        value = loads(data)
        if type(value) is not dict:
            # The end is told by the relay; no client can read anything else.
            return
        error = value.get("error")
        if error is not None:
            code = error.get("code") if type(error) is dict else None
            self._fail(code if type(code) is str and code in KINDS else "upstream_error")
            return
        usage = value.get("usage")
        if type(usage) is dict:
            self._usage = usage
        choice = first_choice(value)
        delta = choice.get("delta")
        if type(delta) is dict:
            more = {name: delta[name] for name in BESIDE_TEXT if delta.get(name)}
            content = delta.get("content")
            self._say(more, self._pieces.feed(content) if type(content) is str else "")
        reason = choice.get("finish_reason")
        if type(reason) is str:
            self._reason = reason

    def _say(self, more: dict[str, Any], text: str = "") -> None:
        if text or more:
            event = {"completion": text, "content": text, "request_id": self._request_id, **more}
            self._answer.push(b"data: " + dumps(event) + b"\n\n")

    def _fail(self, code: str) -> None:
        # In our own words: those of a provider may hold what no client is to learn.
        self._failed = True
        self._answer.push(b"data: " + self._error_body(ProxyError(code), self._request_id) + b"\n\n")


def dumps(value: Any) -> bytes:
    """*value* as JSON, with half a character that came from a provider as an escape."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return json.dumps(value).encode()
