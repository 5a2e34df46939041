"""
What is particular about each provider type on the wire: how it wants its key, and its known quirks.

All of them speak OpenAI's HTTP API; a preset holds only the differences. Where they are stands in the settings.
"""

from collections.abc import Callable
from dataclasses import dataclass

OPENAI_PATHS = ("/chat/", "/completions", "/embeddings")
"""What a provider with an API of its own offers in OpenAI's form beside it."""


def bearer(path: str, key: str) -> tuple[tuple[str, str], ...]:
    """OpenAI's own form."""
    return (("Authorization", f"Bearer {key}"),)


def azure_key(path: str, key: str) -> tuple[tuple[str, str], ...]:
    """Azure OpenAI: the key of the resource in a header of its own."""
    return (("api-key", key),)


def anthropic_key(path: str, key: str) -> tuple[tuple[str, str], ...]:
    """
    Anthropic's OpenAI-compatible endpoints take a bearer token, as the OpenAI SDK sends it; its native ones want
    `x-api-key` and a version.
    """
    if path.startswith(OPENAI_PATHS):
        return bearer(path, key)
    return (("x-api-key", key), ("anthropic-version", "2023-06-01"))


@dataclass(frozen=True, slots=True)
class Preset:
    """The differences of one provider type."""

    auth: Callable[[str, str], tuple[tuple[str, str], ...]] = bearer
    """Headers that carry *key* on *path* (the path below the base URL)."""
    models_query: str = ""
    """Added to `GET /models`, where the provider pages its list."""
    model_prefix: str = ""
    """Stands before every id in its model list, but not in requests."""
    path_suffix: str = ""
    """Must end the base URL; added when the operator left it out."""


PRESETS: dict[str, Preset] = {
    "openai": Preset(),
    "anthropic": Preset(auth=anthropic_key, models_query="?limit=1000"),
    "gemini": Preset(model_prefix="models/"),
    "openrouter": Preset(),
    "deepseek": Preset(),
    "xai": Preset(),
    "ollama": Preset(),
    "azure": Preset(auth=azure_key, path_suffix="/openai/v1"),
    "compatible": Preset(),
    "simulator": Preset(),
}
