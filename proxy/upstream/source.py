"""
Who sent an answer, as far as its meaning depends on it.

Facts only; what follows from them is judged in the relay.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, repr=False)
class Source:
    """A provider as the author of words."""

    type: str = ""
    """Its type in the settings, such as `openai` or `compatible`; empty where it is not known."""
    keys: tuple[str, ...] = ()
    """Its credentials: no part of them may reach a client."""


UNKNOWN = Source()
"""An author of whom nothing is known."""
