"""
What typed events of a stream say of its progress: which are preamble, which are work, and which are the last.

A table and pure functions over one event. Whether work has reached a client is decided elsewhere.
"""

from typing import Any

import orjson

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


_LAST = frozenset(
    (
        # OpenAI's API reference (audio/speech) and openai-python's types (audio, images, responses): GET streams a
        # stored response again.
        "speech.audio.done",
        "transcript.text.done",
        "image_generation.completed",
        "image_edit.completed",
        "response.completed",
        "response.incomplete",
        "response.failed",
        "response.done",
    )
)
"""Types of events after which streams that are no chat end."""
_MAX_LAST = 1024 * 1024
"""Bytes of data that are read for the type of an event without a name; pictures, which are longer, have one."""


def is_last(event: bytes, data: bytes) -> bool:
    """Whether an event called *event*, with *data*, is one after which streams of an unknown kind end."""
    if data.startswith(b"[DONE]"):
        return True
    if event:
        return event.decode("latin-1") in _LAST
    if len(data) > _MAX_LAST or (b'.done"' not in data and b'.completed"' not in data):
        return False
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        return False
    return type(value) is dict and type(kind := value.get("type")) is str and kind in _LAST
