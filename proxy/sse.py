"""
A tap on an event stream: it reads what passes and never alters, delays or withholds a byte.

It tells when the first content has appeared, how much has come, whether the protocol's own terminal marker has been
seen, and what usage or error the provider reported. Parsing follows the WHATWG rules (CR, LF and CRLF, BOM, multi-line
data, comments).
"""

from enum import StrEnum
from typing import Any

import orjson

MAX_EVENT_BYTES = 16 * 1024 * 1024
"""An event longer than this ends the stream: without a cap one provider could fill our memory."""


class Dialect(StrEnum):
    """How a stream says what it means."""

    CHAT = "chat"
    """`chat/completions`: whole when every choice has a `finish_reason`."""
    COMPLETIONS = "completions"
    RESPONSES = "responses"
    """Typed events; whole at `response.completed`, `response.incomplete` or `response.failed`."""
    MESSAGES = "messages"
    """Typed events; whole at `message_stop`."""
    OTHER = "other"
    """Unknown events: the framing alone tells whether it is whole."""


_SAID = ("name", "arguments", "input", "text")
"""What a model writes of a part of its message or of a call."""


class EventTooLarge(Exception):
    """One event exceeded `MAX_EVENT_BYTES`."""


class Scanner:
    """Facts about one stream, updated by `feed`."""

    __slots__ = (
        "_after_cr",
        "_choices",
        "_data",
        "_data_bytes",
        "_event",
        "_first_line",
        "_line",
        "_terminal",
        "content",
        "counted",
        "deltas",
        "dialect",
        "done",
        "error",
        "events",
        "malformed",
        "null_usages",
        "text_bytes",
        "usage",
    )

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.events = 0
        """Events with data that were complete."""
        self.content = False
        """Something a reader would call an answer has appeared: text, a tool call, a refusal, a finish."""
        self.error: dict[str, Any] | None = None
        """The error the provider reported inside the stream."""
        self.usage: dict[str, Any] | None = None
        """The last usage object the provider sent; a message's first and later ones together."""
        self.counted = False
        """`usage` tells what was generated. The first of a message counts no more than its prompt."""
        self.null_usages = 0
        """Chunks that say `usage` is null: it was asked for, and is still to come."""
        self.deltas = 0
        """Pieces of generated content, whichever of a stream's choices they belong to; mostly one token each."""
        self.text_bytes = 0
        """The bytes of text in them."""
        self.malformed = 0
        """Events whose data was not the JSON its dialect speaks. They pass like any other."""
        self.done = False
        """`[DONE]` was seen. It is neither waited for nor added: some providers never send it."""
        self._choices: dict[int, bool] = {}
        self._terminal = False
        self._line = bytearray()
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._event = b""
        self._after_cr = False
        self._first_line = True

    @property
    def whole(self) -> bool:
        """The stream's own terminal marker was seen; what ends after it has ended well."""
        if self.dialect is Dialect.OTHER:
            return True
        return self._terminal or (bool(self._choices) and all(self._choices.values()))

    @property
    def between_events(self) -> bool:
        """No event is half delivered, so another event may be written after what has passed."""
        return not self._line and not self._data and not self._event

    @property
    def within_newline(self) -> bool:
        """The last byte was a CR, which may yet turn out to be the first half of a CRLF."""
        return self._after_cr

    def feed(self, chunk: bytes) -> None:
        """Read the next bytes of the stream; raises `EventTooLarge`."""
        if self._after_cr and chunk:
            self._after_cr = False
            if chunk[0] == 10:
                chunk = chunk[1:]
        if b"\r" in chunk:
            self._after_cr = chunk[-1] == 13
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        lines = chunk.split(b"\n")
        last = lines.pop()
        line = self._line
        for text in lines:
            if line:
                line += text
                text = bytes(line)
                line.clear()
            if text:
                self._take_line(text)
            else:
                self._dispatch()
        if last:
            line += last
            if len(line) + self._data_bytes > MAX_EVENT_BYTES:
                raise EventTooLarge

    def _take_line(self, line: bytes) -> None:
        if self._first_line:
            self._first_line = False
            line = line.removeprefix(b"\xef\xbb\xbf")
        if line.startswith(b"data:"):
            value = line[6:] if line[5:6] == b" " else line[5:]
            self._data.append(value)
            self._data_bytes += len(value)
            if self._data_bytes > MAX_EVENT_BYTES:
                raise EventTooLarge
        elif line.startswith(b"event:"):
            self._event = line[6:].strip()
        elif line == b"data":
            # A field without a colon has the empty value.
            self._data.append(b"")

    def _dispatch(self) -> None:
        self._first_line = False
        data, event = self._data, self._event
        if event:
            self._event = b""
        if not data:
            return
        self._data = []
        self._data_bytes = 0
        self.events += 1
        self._read(event, data[0] if len(data) == 1 else b"\n".join(data))

    def _read(self, event: bytes, data: bytes) -> None:
        if self.dialect is Dialect.OTHER:
            self.content = True
            if b'"usage"' in data:
                self._read_usage(data)
            return
        if data.startswith(b"[DONE]"):
            self.done = True
            return
        try:
            value = orjson.loads(data)
        except orjson.JSONDecodeError:
            self.malformed += 1
            return
        if type(value) is not dict:
            self.malformed += 1
            return
        error = value.get("error")
        if error or event == b"error":
            self.error = error if type(error) is dict else value
            return
        if self.dialect is Dialect.CHAT or self.dialect is Dialect.COMPLETIONS:
            if type(usage := value.get("usage")) is dict:
                self.usage = usage
                self.counted = True
            elif usage is None and "usage" in value:
                self.null_usages += 1
            self._read_choices(value.get("choices"))
        else:
            self._read_typed(value, value.get("type") or event.decode("latin-1"))

    def _read_choices(self, choices: Any) -> None:
        if type(choices) is not list:
            return
        for choice in choices:
            if type(choice) is not dict:
                continue
            index = choice.get("index", 0)
            if type(index) is not int:
                index = 0
            if choice.get("finish_reason"):
                self._choices[index] = True
                self.content = True
            elif index not in self._choices:
                self._choices[index] = False
            delta = choice.get("delta")
            text = delta.get("content") if type(delta) is dict else choice.get("text")
            if type(text) is str and text:
                self.content = True
                self.deltas += 1
                self.text_bytes += len(text) if text.isascii() else len(text.encode())
            elif type(delta) is dict:
                self._read_delta(delta)
            elif text:
                self.content = True

    def _read_delta(self, delta: dict[str, Any]) -> None:
        """One without plain text: a role, a refusal, reasoning, a tool call, or nothing."""
        said = [value for name, value in delta.items() if value and name != "role"]
        if said:
            self.content = True
            self.deltas += 1
            self.text_bytes += sum(map(size_of, said))

    def _read_typed(self, value: dict[str, Any], kind: Any) -> None:
        if type(kind) is not str:
            return
        if self.dialect is Dialect.RESPONSES:
            if kind in ("response.completed", "response.incomplete"):
                self._terminal = self.content = True
                response = value.get("response")
                if type(response) is dict and type(usage := response.get("usage")) is dict:
                    self.usage = usage
                    self.counted = True
            elif kind == "response.failed":
                self._terminal = True
                response = value.get("response")
                error = response.get("error") if type(response) is dict else None
                self.error = error if type(error) is dict else {"code": "server_error"}
            elif kind.endswith(".delta"):
                self.content = True
                # Sound has no text; its transcript is an event of its own.
                if not kind.endswith("audio.delta"):
                    self._count(value.get("delta"))
            elif kind == "response.output_item.done":
                self.content = True
        elif kind == "message_stop":
            self._terminal = self.content = True
        elif kind == "content_block_delta":
            self.content = True
            delta = value.get("delta")
            if type(delta) is dict:
                self._count(delta.get("text") or delta.get("partial_json") or delta.get("thinking"))
        elif kind == "message_start":
            message = value.get("message")
            if type(message) is dict and type(usage := message.get("usage")) is dict:
                self.usage = usage
        elif kind == "message_delta" and type(usage := value.get("usage")) is dict:
            # What was generated so far, and of the prompt only what is known better by now.
            known = {name: count for name, count in usage.items() if count is not None}
            self.usage = {**(self.usage or {}), **known}
            self.counted = True

    def _count(self, text: Any) -> None:
        if type(text) is str and text:
            self.deltas += 1
            self.text_bytes += len(text.encode())

    def _read_usage(self, data: bytes) -> None:
        try:
            value = orjson.loads(data)
        except orjson.JSONDecodeError:
            return
        if type(value) is dict and type(usage := value.get("usage")) is dict:
            self.usage = usage
            self.counted = True


def size_of(said: Any) -> int:
    """Bytes of text in a field of a chat's delta or message: a string, a call's name and arguments, or several."""
    size = 0
    for part in said if type(said) is list else (said,):
        if type(part) is dict:
            called = part.get("function")
            called = called if type(called) is dict else part
            size += sum(len(text.encode()) for name in _SAID if type(text := called.get(name)) is str)
        elif type(part) is str:
            size += len(part.encode())
    return size
