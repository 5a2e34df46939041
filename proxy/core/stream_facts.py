"""
What the events of a stream tell: content, its size, usage, errors, and whether its last word was said.

It reads one event after another and knows no bytes between them. An event that cannot be read is opaque: it tells
nothing, and is no fault. Clients read no further than an error or `[DONE]`, and neither does this.
"""

from typing import Any

import orjson

from proxy.core.dialect import Dialect
from proxy.core.error_events import ErrorEvent, error_in, failure_in
from proxy.core.lenient import lenient, loads
from proxy.core.progress_events import PREAMBLE, begins_work, is_last
from proxy.core.said import said_in, size_of

ERROR_LINE = b"error:"
"""The name of an event that is a line which begins with `error:`."""
_ERROR_NAMES = (b"error", ERROR_LINE)
_ERROR_KINDS = ("error", "response.error")
_LAST_OF_A_RESPONSE = ("response.completed", "response.incomplete", "response.done", "response.failed")
# `response.done`: clients of xAI's Responses API take it for `response.completed` (github.com/digitallysavvy/go-ai).


class StreamFacts:
    """Facts about one stream, updated by each of its events."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.events = 0
        """Events with data that were complete."""
        self.beats = 0
        """Those that only say that the provider is alive: without data, pings, chunks without choices or usage."""
        self.signs = 0
        """Comments and events without data: all they say is that the provider is alive."""
        self.content = False
        """Something a reader would call an answer has appeared: text, a tool call, a refusal, a step, a finish."""
        self.error_event: ErrorEvent | None = None
        """The event by which the provider told an error."""
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
        self.opaque = 0
        """Events whose data was not the JSON its dialect speaks. They pass like any other."""
        self.done = False
        """`[DONE]` was seen. It is neither waited for nor added: some providers never send it."""
        self.stopped = False
        """An error or `[DONE]` was seen, behind which nothing is read."""
        self._choices: dict[int, bool] = {}
        self._terminal = False
        self._begun = False
        """The message of the Messages API has begun."""

    @property
    def whole(self) -> bool:
        """The stream's own terminal marker was seen; what ends after it has ended well."""
        if self.error_event is not None:
            return False
        if self.dialect is Dialect.OTHER:
            return True
        return self._terminal or (bool(self._choices) and all(self._choices.values()))

    @property
    def said_last(self) -> bool:
        """The last event is one by which such streams end; without it, an end that no framing marks is a cut."""
        return self._terminal or self.dialect is not Dialect.OTHER

    def _read(self, event: bytes, data: bytes) -> None:
        dialect = self.dialect
        if dialect is Dialect.OTHER:
            self._read_unknown(event, data)
            return
        if data.startswith(b"[DONE]"):
            self.done = self.stopped = True
            return
        try:
            value = orjson.loads(data)
        except orjson.JSONDecodeError:
            value = self._read_hard(event, data)
            if value is None:
                return
        if type(value) is list and value and type(value[0]) is dict and value[0].get("error"):
            # Gemini's form of an error, which the SDKs take for a chunk.
            self._stop_at(ErrorEvent(error_in(value[0]) or value[0], raises=False, passes=False))
            return
        if type(value) is not dict:
            if event not in _ERROR_NAMES:
                self.opaque += 1
                return
            value = {"message": value if type(value) is str else "The provider told of an error."}
        if value.get("error") or (event and event in _ERROR_NAMES):
            self._tell(value, event)
        elif dialect is Dialect.CHAT or dialect is Dialect.COMPLETIONS:
            if type(usage := value.get("usage")) is dict:
                self.usage = usage
                self.counted = True
            elif usage is None and "usage" in value:
                self.null_usages += 1
            choices = value.get("choices")
            if type(choices) is list and choices:
                self._read_choices(value, choices)
            elif (error := error_in(value)) is not None:
                self._stop_at(ErrorEvent(error, raises=False, passes=False))
            elif type(usage) is not dict:
                self.beats += 1
        else:
            self._read_typed(value, value.get("type") or event.decode("latin-1"))

    def _read_hard(self, event: bytes, data: bytes) -> Any:
        """What the strict reader refused; None where it says nothing, or nothing that can be read."""
        if not data.strip():
            self.beats += 1
            self.signs += 1
            return None
        try:
            return lenient(data)
        except ValueError:
            if event in _ERROR_NAMES:
                return {"message": data.decode("utf-8", "replace")}
            self.opaque += 1
            return None

    def _tell(self, value: dict[str, Any], event: bytes) -> None:
        """*value* is an error, or stands in an event that calls itself one."""
        if self.dialect is Dialect.MESSAGES:
            raises = event == b"error"
        else:
            raises = bool(value.get("error")) and event != ERROR_LINE
        passes = raises or self.dialect is Dialect.RESPONSES or self.dialect is Dialect.OTHER
        self._stop_at(ErrorEvent(error_in(value) or value, raises, passes))

    def _stop_at(self, error: ErrorEvent) -> None:
        self.error_event = error
        self.stopped = True

    def _read_choices(self, value: dict[str, Any], choices: list[Any]) -> None:
        before = self.content
        for choice in choices:
            if type(choice) is not dict:
                continue
            index = choice.get("index", 0)
            if type(index) is not int:
                index = int(index) if type(index) is str and index.isdecimal() and len(index) < 9 else 0
            finish = choice.get("finish_reason")
            if finish or "error" in choice:
                error = failure_in(choice)
                if error is not None:
                    # What the event says beside it is no content, whichever choice says it.
                    self.content = before
                    self._stop_at(ErrorEvent(error, raises=False))
                    return
                if finish:
                    self._choices[index] = self.content = True
                    self._read_vendor(value, choice)
            if index not in self._choices:
                self._choices[index] = False
            delta = choice.get("delta")
            text = delta.get("content") if type(delta) is dict else choice.get("text")
            if type(text) is str and text:
                self.content = True
                self.deltas += 1
                self.text_bytes += len(text) if text.isascii() else len(text.encode())
            elif type(delta) is dict:
                said = said_in(delta)
                if said:
                    self.content = True
                    self.deltas += 1
                    self.text_bytes += sum(map(size_of, said))
            elif text:
                self.content = True

    def _read_vendor(self, value: dict[str, Any], choice: dict[str, Any]) -> None:
        """Usage that stands elsewhere: in the last choice (Moonshot), or in a vendor's own member (Groq's `x_groq`)."""
        own = value.get("x_groq")
        for holder in (choice, own):
            if self.usage is None and type(holder) is dict and type(usage := holder.get("usage")) is dict:
                self.usage = usage
                self.counted = True

    def _read_typed(self, value: dict[str, Any], kind: Any) -> None:
        if type(kind) is not str:
            return
        if kind in _ERROR_KINDS:
            self._tell(value, kind.encode("utf-8", "replace") if self.dialect is Dialect.RESPONSES else b"")
        elif self.dialect is Dialect.RESPONSES:
            self._read_response(value, kind)
        elif kind == "message_stop":
            self._terminal = self.content = True
        elif kind == "content_block_delta":
            self.content = True
            delta = value.get("delta")
            if type(delta) is dict:
                self._count(delta.get("text") or delta.get("partial_json") or delta.get("thinking"))
        elif kind == "message_start":
            self._begun = True
            message = value.get("message")
            if type(message) is dict and type(usage := message.get("usage")) is dict:
                self.usage = usage
        elif kind == "message_delta":
            self.content = True
            if type(usage := value.get("usage")) is dict:
                # What was generated so far, and of the prompt only what is known better by now.
                known = {name: count for name, count in usage.items() if count is not None}
                self.usage = {**(self.usage or {}), **known}
                self.counted = True
        elif kind == "content_block_start":
            self.content = self.content or begins_work(value.get("content_block"))
        elif kind == "content_block_stop":
            self.content = True
        else:
            self._read_unnamed(value, kind)

    def _read_response(self, value: dict[str, Any], kind: str) -> None:
        """An event of the Responses API: whatever follows its preamble is a step of the work."""
        if kind in _LAST_OF_A_RESPONSE:
            response = value.get("response")
            told: dict[str, Any] = response if type(response) is dict else {}
            if type(usage := told.get("usage")) is dict:
                self.usage = usage
                self.counted = True
            failed = kind == "response.failed"
            if failed or told.get("status") == "failed":
                error = told.get("error")
                # `response.failed` is the last word of its dialect, for which clients look; by the other names SDKs
                # end in peace.
                known = error if type(error) is dict else {"code": "server_error"}
                self._stop_at(ErrorEvent(known, raises=failed, passes=failed))
            else:
                self._terminal = self.content = True
        elif kind.startswith("response."):
            self.content = self.content or kind not in PREAMBLE
            # Sound has no text; its transcript is an event of its own.
            if kind.endswith(".delta") and not kind.endswith("audio.delta"):
                self._count(value.get("delta"))
        else:
            self._read_unnamed(value, kind)

    def _read_unnamed(self, value: dict[str, Any], kind: str) -> None:
        """An event that its dialect does not define: a heartbeat, or an error in a shape of its own."""
        error = error_in(value) if not kind else None
        if error is not None:
            self._stop_at(ErrorEvent(error, raises=False, passes=False))
        else:
            self.beats += 1
            self.signs += 1
            if self._begun and kind == "ping":
                # Behind the start of its message Anthropic's ping is a sign of work.
                self.content = True

    def _count(self, text: Any) -> None:
        if type(text) is str and text:
            self.deltas += 1
            self.text_bytes += len(text.encode())

    def _read_unknown(self, event: bytes, data: bytes) -> None:
        """An event of a stream whose dialect is not known: any is content, unless it tells an error."""
        named = event in _ERROR_NAMES
        if named or b'"error"' in data or b'"usage"' in data:
            try:
                value = loads(data)
            except ValueError:
                value = {"message": data.decode("utf-8", "replace")} if named else None
            if type(value) is dict:
                if named or value.get("error") or value.get("type") == "error" or value.get("object") == "error":
                    self._tell(value, event)
                    return
                if type(usage := value.get("usage")) is dict:
                    self.usage = usage
                    self.counted = True
        self.content = True
        self._terminal = is_last(event, data)
