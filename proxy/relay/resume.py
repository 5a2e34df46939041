"""
Continuing a stream that died after its first content, on another target, so that the client sees one answer.

Where the target can continue a trailing assistant message, it is given what was delivered; otherwise it starts anew and
its text is let through only behind an exact repetition of what was delivered. Anything else is an error event. Never
for tools, several choices, log probabilities or structured output: what cannot be checked is not spliced.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import orjson

from proxy.core.headers import Header
from proxy.core.peek import message_edit
from proxy.core.places import edited, moved
from proxy.core.sse import Dialect
from proxy.core.usage import Tokens, estimate
from proxy.relay.client import Client, Intermediary
from proxy.relay.commit import last_boundary
from proxy.relay.question import Question

MAX_RECORDED = 1024 * 1024
"""Bytes of an answer that are remembered; a longer one is not continued."""
MISMATCH = "the new answer went another way"
"""Why an attempt to continue is given up that is no target's fault."""
MAX_RESUMES = 3
"""Times one answer may be continued."""

_PLAIN = frozenset(("role", "content"))


def recorder_for(question: Question) -> "Recorder | None":
    """What remembers the answer to *question*; None unless that is plain text another target could continue."""
    value, body = question.value, question.body
    if question.operation.dialect is not Dialect.CHAT or not question.stream or type(body) is not bytes:
        return None
    if any(value.get(name) for name in ("tools", "functions", "logprobs", "top_logprobs", "audio", "modalities")):
        return None
    form = value.get("response_format")
    if form is not None and not (type(form) is dict and form.get("type") == "text"):
        return None
    messages = value.get("messages")
    if value.get("n") not in (None, 1) or type(messages) is not list or not messages:
        return None
    return Recorder(body)


def continuing(question: Question, asked: bytes, told: "Transcript") -> Question:
    """*question*, whose body is *asked*, with what was delivered as the beginning of the answer."""
    edit = message_edit(asked, {"role": "assistant", "content": told.text}, question.places)
    return replace(
        question,
        body=edited(asked, [edit]),
        places=None if question.places is None else moved(question.places, edit),
        prompt_tokens=question.prompt_tokens + estimate(len(told.text.encode())),
    )


class Recorder:
    """Remembers what has passed to the client, up to a bound."""

    def __init__(self, asked: bytes) -> None:
        self.asked = asked
        """The body of the question that it remembers the answer to."""
        self._chunks: list[bytes] = []
        self._size = 0

    def note(self, chunk: bytes) -> None:
        """These bytes have gone to the client."""
        self._size += len(chunk)
        if self._size <= MAX_RECORDED:
            self._chunks.append(chunk)
        else:
            self._chunks.clear()

    def transcript(self) -> "Transcript | None":
        """What the client has been told; None when that is more than plain text, or more than can be remembered."""
        if self._size > MAX_RECORDED:
            return None
        told = Transcript()
        for data in events_of(b"".join(self._chunks)):
            if data is None or data.startswith(b"[DONE]"):
                continue
            try:
                value = orjson.loads(data)
            except orjson.JSONDecodeError:
                return None
            if not told.take(value):
                return None
        return told if told.text else None


@dataclass(slots=True)
class Transcript:
    """What a client has been told of one answer."""

    id: str = ""
    created: Any = None
    text: str = ""

    def take(self, value: Any) -> bool:
        """Add one event's object; False when it is something other than plain text of one choice."""
        if type(value) is not dict:
            return False
        self.id = self.id or str(value.get("id") or "")
        self.created = self.created or value.get("created")
        choices = _plain_choices(value)
        if choices is None:
            return False
        for choice in choices:
            self.text += (choice.get("delta") or {}).get("content") or ""
        return True


def _plain_choices(value: dict[str, Any]) -> list[dict[str, Any]] | None:
    """The choices of a chunk, or None when they hold anything but plain text of the first choice."""
    choices = value.get("choices") or []
    if type(choices) is not list:
        return None
    for choice in choices:
        if type(choice) is not dict or choice.get("index", 0) != 0:
            return None
        delta = choice.get("delta") or {}
        if type(delta) is not dict or any(delta[name] for name in delta.keys() - _PLAIN):
            return None
        if type(delta.get("content") or "") is not str:
            return None
    return choices


class Splice(Intermediary):
    """The client of a continuation: lets through only what follows on the delivered text, as the same answer."""

    def __init__(self, client: Client, told: Transcript, provider: str, restarted: bool) -> None:
        """*restarted*: the target does not continue but begins anew, so it must first repeat what was delivered."""
        super().__init__(client)
        self._told = told
        self._provider = provider
        self._awaited = told.text if restarted else ""
        self._rest = b""
        self.begun = False
        """Something of the new answer has reached the client."""
        self.spent: Tokens | None = None
        """What the attempts before this one used; told together with what this one used."""
        self.mismatched = False
        """The new answer went another way; nothing of it has reached the client."""
        self.on_mismatch: Callable[[], object] = lambda: None

    def send(self, status: int, headers: list[Header], body: bytes) -> None:
        """Never called: a continuation is a stream."""
        raise NotImplementedError("a continuation is a stream")

    def start(self, status: int, headers: list[Header], length: int | None, streamed: bool) -> None:
        """The client's answer has begun long ago."""

    def push(self, chunk: bytes) -> None:
        """Events of the continuation."""
        # A long event may come in pieces.
        stream = self._rest + chunk
        end = last_boundary(stream)
        self._rest = stream[end:]
        self._take(stream[:end])

    def _take(self, events: bytes) -> None:
        for data in events_of(events):
            if self.mismatched:
                return
            if data is None:
                continue
            if data.startswith(b"[DONE]"):
                self._pass(b"[DONE]")
                continue
            try:
                value = orjson.loads(data)
            except orjson.JSONDecodeError:
                self._give_up()
                return
            self._splice(value)

    def finish(self) -> None:
        """The continuation is whole, and so is the answer."""
        rest, self._rest = self._rest, b""
        self._take(rest + b"\n\n")
        if self._awaited:
            self._give_up()
        elif not self.mismatched:
            self._client.finish()

    def cut(self) -> None:
        """Its owner ends the client's answer."""

    def _splice(self, value: dict[str, Any]) -> None:
        choices = _plain_choices(value) if type(value) is dict else None
        if choices is None:
            self._give_up()
            return
        for choice in choices:
            delta = choice.get("delta") or {}
            delta.pop("role", None)
            text = delta.get("content") or ""
            if self._awaited and text:
                common = min(len(text), len(self._awaited))
                if text[:common] != self._awaited[:common]:
                    self._give_up()
                    return
                self._awaited = self._awaited[common:]
                text = text[common:]
                delta["content"] = text
            if self._awaited and choice.get("finish_reason"):
                self._give_up()
                return
            self._told.text += text
            if not text and not choice.get("finish_reason") and not any(delta.values()):
                return
        if self._awaited:
            return
        # One id and one date: to the client this is the answer it has been reading all along.
        value["id"] = self._told.id
        if self._told.created is not None:
            value["created"] = self._told.created
        if self.spent is not None and type(usage := value.get("usage")) is dict:
            value["usage"] = _together(usage, self.spent)
        self._pass(orjson.dumps(value))

    def _pass(self, data: bytes) -> None:
        if not self.begun:
            self.begun = True
            self._client.push(b": resumed by %b\n\n" % self._provider.encode())
        self._client.push(b"data: %b\n\n" % data)

    def _give_up(self) -> None:
        self.mismatched = True
        self.on_mismatch()


def _together(usage: dict[str, Any], spent: Tokens) -> dict[str, Any]:
    """A chat's usage object with what was *spent* before added to its counts."""
    more = {"prompt_tokens": spent.prompt, "completion_tokens": spent.completion, "total_tokens": spent.total}
    return {name: count + more[name] if name in more and type(count) is int else count for name, count in usage.items()}


def events_of(stream: bytes) -> list[bytes | None]:
    """The data of each event in whole events; None for one without data, such as a comment."""
    lines = stream.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    events: list[bytes | None] = []
    data: list[bytes] = []
    for line in lines:
        if line.startswith(b"data:"):
            data.append(line[6:] if line[5:6] == b" " else line[5:])
        elif not line and data:
            events.append(b"\n".join(data))
            data = []
    return events
