"""
A relay's `Client` that passes an answer on and keeps a copy, so that it can be stored once it is known to be whole.

What may be stored is decided in `answer_cache`; here is only seen whether the answer itself is fit for it.
"""

import re

from proxy.cache.stored_answer import Steps, lasting
from proxy.core import clock
from proxy.core.headers import Header
from proxy.relay.client import Client, Intermediary

_SHORT = (
    # OpenAI's API reference: `finish_reason` of chat and completions, `incomplete_details` of responses; Mistral's
    # `model_length`; docs.claude.com, "Handling stop reasons".
    re.compile(rb'"finish_reason"\s*:\s*"(?:length|max_tokens|model_length|content_filter)"', re.IGNORECASE),
    re.compile(rb'"stop_reason"\s*:\s*"(?:max_tokens|model_context_window_exceeded|pause_turn)"'),
    re.compile(rb'"incomplete_details"\s*:\s*\{'),
)
"""How an answer says that it ended before it was finished. Within a text the quotes would be escaped."""


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
    return any(pattern.search(body) is not None for pattern in _SHORT)
