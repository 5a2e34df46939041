"""
What a client asks, as far as the relay needs to know, and a body that is passed on while it arrives.

Made in the front from a request; it is never changed on the way.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from proxy.core.places import Places
from proxy.relay.endpoints import Operation
from proxy.relay.owners import Pin
from proxy.upstream.wire import Call

MARGIN = 0.05
"""Part of the time a client says it will wait that is kept to tell it the outcome; at most a second."""

AT_ONCE = 256 * 1024
"""Bytes that are read together of what was kept."""


class Kept(Protocol):
    """What came of a body before it was known where it goes, where that is too much to be held in memory."""

    @property
    def size(self) -> int:
        """Bytes of it."""

    async def read(self, at: int, size: int) -> bytes:
        """At most *size* bytes from *at* on."""

    def close(self) -> None:
        """It is not needed any more."""


@dataclass(slots=True)
class Upload:
    """A request body that is passed on as it arrives."""

    start: bytes
    """Its first bytes, read to find the model; empty where they are *kept*."""
    kept: Kept | None
    span: tuple[int, int] | None
    """Where the model's value stands in what was read."""
    length: int | None
    """Bytes in all; None when the client sends chunks without saying how many."""
    read: Callable[[], Awaitable[bytes]]
    """The next bytes; empty at the end."""
    around: tuple[bytes, bytes] | None = None
    """What stands around its model where that is written whatever the body says of it; None: where it changes only."""
    begun: bool = False
    """More than what was read to find the model is gone: it cannot be sent again."""

    def close(self) -> None:
        """It is not sent any more."""
        if self.kept is not None:
            self.kept.close()

    def model_for(self, target: str | None, asked: str | None) -> bytes | None:
        """What to write at *span* for a target that calls *asked* as it does; None where nothing changes."""
        if self.around is not None:
            return self.around[0] + (target or asked or "").encode() + self.around[1]
        return None if self.span is None or target is None or target == asked else target.encode()

    def length_with(self, model: bytes | None) -> int | None:
        """Bytes in all with *model* for its model, None: with its own."""
        if model is None or self.span is None or self.length is None:
            return self.length
        return self.length - (self.span[1] - self.span[0]) + len(model)

    async def pump(self, model: bytes | None, call: Call) -> None:
        """Send all of it over *call*, with *model* for its model, None: with its own."""
        span = self.span if model is not None else None
        if self.kept is not None:
            if span is not None and model is not None:
                await self._send_kept(self.kept, 0, span[0], call)
                await self._send(model, call)
                await self._send_kept(self.kept, span[1], self.kept.size, call)
            else:
                await self._send_kept(self.kept, 0, self.kept.size, call)
        elif span is not None and model is not None:
            await self._send(self.start[: span[0]] + model + self.start[span[1] :], call)
        else:
            await self._send(self.start, call)
        while chunk := await self.read():
            self.begun = True
            await self._send(chunk, call)
        if self.length is None:
            await call.write(b"0\r\n\r\n")
        call.finish()

    async def _send_kept(self, kept: Kept, at: int, end: int, call: Call) -> None:
        while at < end:
            chunk = await kept.read(at, min(AT_ONCE, end - at))
            if not chunk:
                raise OSError("a file of ours lacks what was written to it")
            await self._send(chunk, call)
            at += len(chunk)

    async def _send(self, chunk: bytes, call: Call) -> None:
        if chunk:
            await call.write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if self.length is None else chunk)


@dataclass(slots=True)
class Question:
    """One call."""

    method: str
    path: str
    """Below `/v1`, with the query that may pass."""
    operation: Operation
    headers: bytes
    """The client's headers a provider may see, as header lines."""
    body: bytes | Upload | None
    value: dict[str, Any]
    """The JSON object in *body*, of a long one its outline, see `peek`; empty when there is none."""
    model: str | None
    stream: bool
    repeatable: bool
    """Its only effect is the answer, so that a call that died unanswered may go to another target."""
    patience: float | None
    """Seconds the client says it will wait; None when it did not say."""
    may_use: Callable[[str], bool]
    """Whether the caller may be answered by that model: fallbacks do not widen what a key allows."""
    timeout: float | None = None
    """Seconds its path allows, a stream until its first content; None: as many as its provider is given."""
    prompt_tokens: int = 0
    """What its prompt is estimated at, for when its provider does not count it."""
    pin: Pin | None = None
    """What it is kept to, because it names what an account keeps; None for a call any target can take."""
    lists: bool = False
    """It lists what an account keeps: every page has to come from the same one."""
    places: Places | None = None
    """Where what may be changed stands in a body that is too large to be looked through here; None for any other."""
    counted: bool = True
    """What its answer says was used, it has used. To read or change what is kept tells what that once used."""

    def __post_init__(self) -> None:
        self.counted = self.counted and self.method == "POST"

    @property
    def uses_tokens(self) -> bool:
        """An answer to it used tokens, whether or not its provider says how many."""
        return self.operation.uses_tokens and self.method == "POST"

    def allowed(self, total: float, queued: float) -> float:
        """Seconds it may take after *queued* seconds of waiting for a place; *total*: what its provider is given."""
        if self.patience is not None:
            # The client's clock runs while its call waits for a place; the provider's does not.
            total = min(total, self.patience - min(1.0, self.patience * MARGIN) - queued)
        if self.timeout is not None:
            total = min(total, self.timeout - queued)
        return total
