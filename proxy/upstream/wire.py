"""
The narrow interface to one provider: a request goes in, status, headers and body bytes are pushed to a sink.

Everything is a plain call made from the event loop, so no chunk costs a coroutine. It knows nothing of models, retries
or clients; `connections` implements it over HTTP/1.1.
"""

from dataclasses import dataclass
from typing import Protocol

from proxy.core.headers import Header


@dataclass(frozen=True, slots=True)
class Loss:
    """Why no whole answer came, and how far the request had got: what decides whether it may be tried again."""

    code: str
    """The error code it becomes if no other target can answer instead."""
    reason: str
    """For the log: which fault, without a byte of content."""
    sent: bool
    """The provider may have seen (part of) the request."""
    received: bool
    """The provider had begun to answer."""


class Sink(Protocol):
    """Takes what the provider answers. After `ended` or `lost` nothing more comes."""

    def connected(self) -> None:
        """The request has been handed to a connection."""

    def head(self, status: int, headers: list[Header]) -> None:
        """The final status and its headers, names in lower case; interim ones (1xx) are swallowed."""

    def data(self, chunk: bytes) -> None:
        """Body bytes, without their transfer coding."""

    def ended(self, delimited: bool) -> None:
        """
        The body is over. *delimited* says the provider marked its end; without that, only the connection closed, and
        the content itself must tell whether it is whole.
        """

    def lost(self, loss: Loss) -> None:
        """The answer will not come, or not wholly."""


class Call(Protocol):
    """One request under way."""

    def pause(self) -> None:
        """Stop reading from the provider: the client cannot keep up."""

    def resume(self) -> None:
        """Read on."""

    def cancel(self) -> object:
        """Give up: the connection is closed at once and the sink hears nothing more."""

    async def write(self, chunk: bytes) -> None:
        """Send more of a streamed request body, waiting while the provider is slow to take it."""

    def finish(self) -> None:
        """The streamed request body is complete."""
