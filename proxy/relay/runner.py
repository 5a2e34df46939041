"""
What an attempt asks of what runs it, and tells it.

An interface only; `attempts` and `kept` have it.
"""

from typing import Protocol, TypeVar

from proxy.relay.verdict import Verdict

A = TypeVar("A", contravariant=True)
"""The attempt."""


class Runner(Protocol[A]):
    """What runs the attempt, perhaps beside another."""

    def claim(self, attempt: A) -> bool:
        """Whether this attempt's answer may go to the client; the first to ask wins."""

    def ended(self, attempt: A, verdict: Verdict) -> None:
        """It is over."""

    def impatient(self, attempt: A) -> None:
        """It has produced nothing for as long as patience goes."""

    def has_alternative(self) -> bool:
        """Whether the call would not be lost with this attempt."""
