"""
What an attempt lets its answer say, whatever kind of answer it is.

An interface only; `attempt` implements it.
"""

from typing import Any, Protocol

from proxy.relay.verdict import Failed, Refused


class Progress(Protocol):
    """What an attempt lets its answer say."""

    def commit(self) -> bool:
        """The first content is here: begin the client's answer. False when another attempt was faster."""

    def named(self, name: str) -> None:
        """The provider calls its answer so; empty where it gave it no name."""

    def pass_on(self, chunk: bytes) -> None:
        """These bytes go to the client."""

    def whole(self) -> None:
        """The answer is whole."""

    def finished_early(self) -> None:
        """The answer is whole for the client, while the provider has not ended it yet."""

    def send(self, body: bytes, value: dict[str, Any] | None) -> None:
        """The answer is whole and *body* is all of it; *value* is the JSON object in it."""

    def refuse_or_fail(self, verdict: Failed | Refused, words: bytes = b"") -> None:
        """There is no answer; *words* are the provider's own, where the verdict has others."""

    def broke(self, code: str, reason: str) -> None:
        """The answer broke off."""
