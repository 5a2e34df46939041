"""
A relay's `Client` that passes an answer on and keeps a copy, so that it can be stored once it is known to be whole.

What may be stored is decided in `answer_cache`; here is only seen whether the answer itself is fit for it.
"""

import re

from proxy.cache.stored_answer import Steps, lasting
from proxy.core import clock
from proxy.core.headers import Header
from proxy.relay.client import Client, Intermediary

_ENDED = re.compile(rb'"(?:finish_reason|stop_reason|finishReason)"\s*:\s*"([^"]*)"')
_WHOLE = frozenset(
    (
        *(b"stop", b"eos", b"eos_token", b"end_turn", b"stop_sequence", b"complete", b"completed"),
        *(b"tool_calls", b"tool_call", b"function_call", b"tool_use"),
    )
)
"""The reasons, in small letters, by which providers say that an answer came to its end; others may be of a stump."""
_INCOMPLETE = re.compile(rb'"incomplete_details"\s*:\s*\{|"status"\s*:\s*"incomplete"')
"""OpenAI's API reference, responses. Within a text the quotes would be escaped."""


class Room:
    """The memory that copies of answers under way may take together."""

    def __init__(self, size: int) -> None:
        self._left = size

    def take(self, size: int) -> bool:
        """Take *size* bytes; False where there are not so many left."""
        if size > self._left:
            return False
        self._left -= size
        return True

    def give(self, size: int) -> None:
        """Give them back."""
        self._left += size


class Recording(Intermediary):
    """Stands before a client; the copy is dropped as soon as the answer is none that can be stored."""

    def __init__(self, client: Client, room: Room, most: int) -> None:
        """*room*: for this copy and others. *most*: bytes of an answer that are kept at most."""
        super().__init__(client)
        self._room = room
        self._most = most
        self._parts: list[bytes] = []
        self._began = 0.0
        self._fit = True
        self.size = 0
        """Bytes kept."""
        self.headers: tuple[Header, ...] = ()
        self.streamed = False
        """It is an event stream."""
        self.steps = Steps()
        self.whole = False
        """The client has all of it, and so has the copy."""

    @property
    def body(self) -> bytes:
        """The copy."""
        return b"".join(self._parts)

    def send(self, status: int, headers: list[Header], body: bytes) -> None:
        self._client.send(status, headers, body)
        self._begin(status, headers, False)
        self._keep(body)
        self.whole = self._fit

    def start(self, status: int, headers: list[Header], length: int | None, streamed: bool) -> None:
        self._client.start(status, headers, length, streamed)
        self._begin(status, headers, streamed)

    def push(self, chunk: bytes) -> None:
        self._client.push(chunk)
        self._keep(chunk)

    def finish(self) -> None:
        self._client.finish()
        self.whole = self._fit

    def cut(self) -> None:
        self._client.cut()
        self.close()

    def close(self) -> None:
        """The copy is not needed any more."""
        self._fit = self.whole = False
        self._parts = []
        self._room.give(self.size)
        self.size = 0

    def _begin(self, status: int, headers: list[Header], streamed: bool) -> None:
        self._fit = status == 200
        self.headers, self.streamed = lasting(headers), streamed
        self._began = clock.now()

    def _keep(self, chunk: bytes) -> None:
        if not self._fit or not chunk:
            return
        if self.size + len(chunk) > self._most or not self._room.take(len(chunk)):
            self.close()
            return
        self._parts.append(chunk)
        self.size += len(chunk)
        self.steps.note(clock.now() - self._began, self.size)


def stopped_short(body: bytes) -> bool:
    """Whether the answer *body* says that it ended at a limit of tokens, at a filter or in the middle of its work."""
    if any(reason.lower() not in _WHOLE for reason in _ENDED.findall(body)):
        return True
    return _INCOMPLETE.search(body) is not None
