"""
The client of a call whose answer may tell of a new object: everything passes, and the ids are noticed on the way.

A whole answer can be held back until what it told is remembered. It remembers nothing itself.
"""

import re
from collections.abc import Callable

from proxy.core.headers import Header
from proxy.core.lenient import object_in
from proxy.relay.client import Client, Intermediary
from proxy.relay.ids import short
from proxy.relay.made import Tells, told_by

MOST_READ = 1024 * 1024
"""Bytes of an event that is looked at."""
FIRST_EVENTS = 16
"""Events of a stream in which objects are looked for: a thread, its run, the run's first step."""
_HEAD = 4096
"""Bytes at the beginning of an object, or of the event that holds it, in which its id stands, mostly first of all."""
_RESPONSE = re.compile(rb'"response"\s*:\s*\{\s*"id"\s*:\s*"([^"\\]{1,256})"')
"""The beginning of a response within an event, as OpenAI and vLLM write it."""
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}:,]', re.DOTALL)
"""What a JSON object is made of, numbers and words aside."""


class Learner(Intermediary):
    """Stands before a client."""

    def __init__(self, client: Client, tells: Tells, learn: Callable[[list[str]], object], holds: bool) -> None:
        """*tells*: what of the answer is to be noticed, for *learn*. *holds*: a whole answer waits for `hand_over`."""
        super().__init__(client)
        self._tells = tells
        self._learn = learn
        self._holds = holds
        self._made: list[str] = []
        self._held: tuple[int, list[Header], bytes] | None = None
        self._streamed = False
        self._rest = b""
        self._events = 0

    def send(self, status: int, headers: list[Header], body: bytes) -> None:
        if status < 300:
            self._notice(body)
            if self._holds and self._made:
                self._held = status, headers, body
                return
        self._client.send(status, headers, body)

    @property
    def holds(self) -> bool:
        """An answer is held back."""
        return self._held is not None

    def hand_over(self) -> None:
        """Send it."""
        held, self._held = self._held, None
        if held is not None:
            self._client.send(held[0], held[1], held[2])

    def start(self, status: int, headers: list[Header], length: int | None, streamed: bool) -> None:
        if status >= 300:
            self._tells = Tells.NOTHING
        self._streamed = streamed
        self._client.start(status, headers, length, streamed)

    def push(self, chunk: bytes) -> None:
        if self._tells is not Tells.NOTHING:
            self._look(chunk)
        self._client.push(chunk)

    def finish(self) -> None:
        self._client.finish()

    def cut(self) -> None:
        self._client.cut()

    def _look(self, chunk: bytes) -> None:
        """Search an answer that passes in pieces: its beginning, or all of it where the last event may tell."""
        tells = self._tells
        self._rest += chunk
        if not self._streamed:
            first = _first_id(self._rest) if tells is Tells.MADE else ""
            self._tell([first] if first else [])
            over = bool(first) or len(self._rest) >= _HEAD
        else:
            text = self._rest
            end = max(text.rfind(b"\n"), text.rfind(b"\r")) + 1
            self._rest = text[end:]
            over = len(self._rest) > MOST_READ
            if over and tells is Tells.MADE:
                self._notice_begun(self._rest)
            if tells is Tells.MADE or b'"container"' in text:
                for line in text[:end].splitlines():
                    if line.startswith(b"data:"):
                        over = self._notice_event(line[5:].strip()) or over
        if over:
            self._tells = Tells.NOTHING
            self._rest = b""

    def _notice_event(self, data: bytes) -> bool:
        """One event of a stream: an object, a response that is begun, or how a message ends. Whether that was all."""
        self._events += 1
        if self._tells is Tells.MADE and self._notice_begun(data):
            # What follows repeats the whole question.
            return True
        value = object_in(data)
        if value is not None:
            for name in ("response", "message", "delta", "data"):
                inner = value.get(name)
                if type(inner) is dict and ("id" in inner or "container" in inner):
                    value = inner
                    break
            self._tell(told_by(self._tells, value))
        return self._tells is Tells.MADE and self._events >= FIRST_EVENTS

    def _notice_begun(self, data: bytes) -> bool:
        """The beginning of an event: whether it is that of a response."""
        begun = _RESPONSE.search(data, 0, _HEAD)
        if begun is not None:
            self._tell([begun.group(1).decode("utf-8", "replace")])
        return begun is not None

    def _notice(self, body: bytes) -> None:
        if self._tells is not Tells.NOTHING:
            value = object_in(body)
            if value is not None:
                self._tell(told_by(self._tells, value))

    def _tell(self, ids: list[str]) -> None:
        new = [each for each in ids if each not in self._made]
        if new:
            self._made += new
            self._learn(new)


def _first_id(text: bytes) -> str:
    """The id of the JSON object that *text* is the beginning of; empty where it does not stand in that."""
    depth, name, value = 0, b"", False
    for match in _TOKEN.finditer(text, 0, _HEAD):
        token = match.group()
        if token in (b"{", b"["):
            depth += 1
        elif token in (b"}", b"]"):
            depth -= 1
        elif depth == 1 and token == b":":
            value = True
            continue
        elif depth == 1 and token.startswith(b'"'):
            if value and name == b'"id"':
                return short(token[1:-1].decode("utf-8", "replace")) if len(token) > 2 and b"\\" not in token else ""
            name = token
        value = False
    return ""
