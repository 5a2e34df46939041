"""
The client of an exchange as the relay sees it: where an answer goes, and how fast it can take it.

The front implements it over its server's connection.
"""

from collections.abc import Callable
from typing import Protocol

from proxy.core.headers import Header


class Client(Protocol):
    """Takes one answer. Every method is a plain call; bytes are handed to the transport at once."""

    on_pause: Callable[[], object] | None
    """Called when the client's buffer is full."""
    on_resume: Callable[[], object] | None
    """Called when it has room again."""

    @property
    def paused(self) -> bool:
        """The client's buffer is full now."""

    def send(self, status: int, headers: list[Header], body: bytes) -> None:
        """A whole answer in one piece."""

    def start(self, status: int, headers: list[Header], length: int | None, streamed: bool) -> None:
        """Begin an answer of *length* bytes, or of unknown length when None; *streamed* marks an event stream."""

    def push(self, chunk: bytes) -> None:
        """More of the answer."""

    def finish(self) -> None:
        """The answer is whole."""

    def cut(self) -> None:
        """The answer is not whole: end it so that no client takes it for a whole one."""


class Intermediary:
    """Stands between an exchange and its client: pauses and resumes as the client does; its heirs say the rest."""

    def __init__(self, client: Client) -> None:
        self._client = client

    @property
    def paused(self) -> bool:
        return self._client.paused

    @property
    def on_pause(self) -> Callable[[], object] | None:
        return self._client.on_pause

    @on_pause.setter
    def on_pause(self, call: Callable[[], object] | None) -> None:
        self._client.on_pause = call

    @property
    def on_resume(self) -> Callable[[], object] | None:
        return self._client.on_resume

    @on_resume.setter
    def on_resume(self, call: Callable[[], object] | None) -> None:
        self._client.on_resume = call
