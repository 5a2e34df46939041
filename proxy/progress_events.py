"""
Events by which a model says nothing yet: which typed events of a stream are preamble, and which are work.

A table and pure functions over one event. Whether work has reached a client is decided elsewhere.
"""

from typing import Any

PREAMBLE = frozenset(
    (
        # The Responses API before any work (developers.openai.com/api/reference/resources/responses/streaming-events):
        # every later `response.*` event is a step of it.
        "response.created",
        "response.in_progress",
        "response.queued",
    )
)
"""Types of events that the Responses API sends as soon as it has read the question."""

_EMPTY_BLOCKS = ("text", "thinking")
"""Blocks of a message that begin empty; those of tools, and what is hidden, say something by being there."""


def begins_work(block: Any) -> bool:
    """Whether *block*, with which a `content_block_start` of the Messages API begins, says something by being there."""
    if type(block) is not dict:
        return False
    return block.get("type") not in _EMPTY_BLOCKS or bool(block.get("text") or block.get("thinking"))
