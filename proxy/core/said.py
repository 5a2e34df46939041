"""
Whether a part of a chat says anything: which fields of a delta are the answer, and which only come along.

Pure functions over one delta or message, with the table of names. They count and judge; they keep nothing.
"""

from typing import Any

SAYING = frozenset(
    (
        # OpenAI: developers.openai.com/api/reference/resources/chat, the chunk's `delta`.
        "content",
        "refusal",
        "tool_calls",
        "function_call",
        "audio",
        "annotations",
        # DeepSeek, Moonshot, Qwen, z.ai, xAI: the reasoning (api-docs.deepseek.com/guides/reasoning_model).
        "reasoning_content",
        # OpenRouter, Groq, Cerebras, vLLM, Ollama (openrouter.ai/docs/use-cases/reasoning-tokens).
        "reasoning",
        "reasoning_details",
        # The same by other names; LiteLLM's blocks of Anthropic's thinking (docs.litellm.ai/docs/reasoning_content).
        "reasoning_text",
        "thinking",
        "thinking_blocks",
        "thought",
        "thoughts",
        # OpenRouter's pictures (openrouter.ai/docs/features/multimodal/image-generation), and one alone.
        "images",
        "image",
        # Groq's compound systems: what they have looked up and run (console.groq.com/docs/compound).
        "executed_tools",
        # Relays that write a completion's field, or parts, into a delta.
        "text",
        "parts",
        "content_blocks",
    )
)
"""Fields of a delta that hold what a model said. Any other (`name`, `provider_specific_fields`) says nothing alone."""

LABELS = frozenset(("type", "id", "index", "format", "role", "object", "status", "call_id", "expires_at", "created_at"))
"""Fields within those that tell what kind of thing it is: they are there before anything is said."""

_WRITTEN = ("name", "arguments", "input", "text")
"""What a model writes of a part of its message or of a call."""


def says(value: Any) -> bool:
    """Whether *value*, which stands under one of `SAYING`, holds any text."""
    if type(value) is str:
        return bool(value)
    if type(value) is list:
        return any(map(says, value))
    if type(value) is dict:
        return any(says(held) for name, held in value.items() if name not in LABELS)
    return False


def said_in(delta: dict[str, Any]) -> list[Any]:
    """What *delta* says: the values that hold text."""
    return [value for name, value in delta.items() if value and name in SAYING and says(value)]


def size_of(said: Any) -> int:
    """Bytes of text in a field of a chat's delta or message: a string, a call's name and arguments, or several."""
    total = 0
    for part in said if type(said) is list else (said,):
        if type(part) is dict:
            called = part.get("function")
            called = called if type(called) is dict else part
            total += sum(len(text.encode()) for name in _WRITTEN if type(text := called.get(name)) is str)
        elif type(part) is str:
            total += len(part.encode())
    return total
