"""
What a client asks, as far as the relay needs to know, and a body that is passed on while it arrives.

Made in the front from a request; it is never changed on the way.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from proxy.relay.endpoints import Operation
from proxy.upstream.wire import Call


@dataclass(slots=True)
class Upload:
    """A request body that is passed on as it arrives."""

    start: bytes
    """Its first bytes, read to find the model."""
    span: tuple[int, int] | None
    """Where the model's value stands in *start*."""
    length: int | None
    """Bytes in all; None when the client sends chunks without saying how many."""
    read: Callable[[], Awaitable[bytes]]
    """The next bytes; empty at the end."""
    begun: bool = False
    """More than *start* has been read: it cannot be sent again."""

    async def pump(self, start: bytes, chunked: bool, call: Call) -> None:
        """Send *start* and all that follows it over *call*."""
        chunk = start
        while True:
            if chunk:
                await call.write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunked else chunk)
            chunk = await self.read()
            if not chunk:
                break
            self.begun = True
        if chunked:
            await call.write(b"0\r\n\r\n")
        call.finish()


@dataclass(init=False, slots=True)
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
    timeout: float | None
    """Seconds its path allows, a stream until its first content; None: as many as its provider is given."""
    prompt_tokens: int
    """What its prompt is estimated at, for when nobody counts it."""

    def __init__(
        self,
        method: str,
        path: str,
        operation: Operation,
        headers: bytes,
        body: bytes | Upload | None,
        value: dict[str, Any],
        model: str | None,
        stream: bool,
        repeatable: bool,
        patience: float | None,
        may_use: Callable[[str], bool],
        timeout: float | None = None,
        prompt_tokens: int = 0,
    ) -> None:
        self.method = method
        self.path = path
        self.operation = operation
        self.headers = headers
        self.body = body
        self.value = value
        self.model = model
        self.stream = stream
        self.repeatable = repeatable
        self.patience = patience
        self.may_use = may_use
        self.timeout = timeout
        self.prompt_tokens = prompt_tokens

    @property
    def uses_tokens(self) -> bool:
        """An answer to it used tokens, whether or not its provider says how many."""
        return self.operation.uses_tokens and self.method == "POST"
