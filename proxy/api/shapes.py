"""
What paths of the gateway's own take from callers and answer them, as the document of the API tells it.

They are read and made by their handlers; a test holds what comes against what is told here.
"""

from typing import Any, Literal, NotRequired

from proxy.middleware.described import Media, Open, Shape

EVENTS = Media("text/event-stream")


class WelcomeTold(Shape):
    """What this is, and where the rest lies."""

    name: str
    version: str
    description: str
    api: str
    models: str
    page: NotRequired[str]
    """For people, unless it is switched off."""
    health: str
    live: str
    ready: str


class ModelTold(Open):
    """A model, with whatever else its provider's list says of it."""

    id: str
    object: str
    created: int
    owned_by: str


class ModelsTold(Shape):
    """The models this key may use."""

    object: Literal["list"]
    data: list[ModelTold]


class NativeMessage(Shape):
    """One of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


class NativeAsked(Open):
    """A question: `messages` or `input`. Every other field is an option of the chat and passed on by its name."""

    model: NotRequired[str]
    messages: NotRequired[list[NativeMessage]]
    input: NotRequired[str]
    function_description: NotRequired[str]
    stream: NotRequired[bool]


class NativeTold(Open):
    """An answer."""

    completion: str
    content: str
    request_id: str
    truncated: NotRequired[bool]
    finish_reason: NotRequired[str]


class GenerateAsked(Open):
    """A prompt."""

    prompt: str
    model: NotRequired[str]
    options: NotRequired[dict[str, Any]]


class GenerateData(Shape):
    """A text."""

    text: str
    model: str
    tokens: dict[str, Any] | None
    latency: float
    """Milliseconds."""
    cached: bool


class GenerateMetadata(Shape):
    """Of the call."""

    request_id: str
    duration: float
    """Milliseconds."""


class GenerateTold(Shape):
    """An answer."""

    success: Literal[True]
    data: GenerateData
    metadata: GenerateMetadata
