"""
How a stream says what it means: one word for each of the APIs' ways.

Names alone; what an event means in each is read in `stream_facts`.
"""

from enum import StrEnum


class Dialect(StrEnum):
    """How a stream says what it means."""

    CHAT = "chat"
    """`chat/completions`: whole when every choice has a `finish_reason`."""
    COMPLETIONS = "completions"
    RESPONSES = "responses"
    """Typed events; whole at `response.completed`, `response.incomplete` or `response.failed`."""
    MESSAGES = "messages"
    """Typed events; whole at `message_stop`."""
    OTHER = "other"
    """Unknown events: the framing alone tells whether it is whole."""
