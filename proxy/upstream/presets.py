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
    takes: tuple[str, ...] = ()
    """Globs of the names it takes although its model list does not tell them."""
    implied: str = ""
    """The end of a name that may be left out, and means the same there."""


ANYTHING = ("*",)

PRESETS: dict[str, Preset] = {
    # The list holds the models a key may see, tuned ones included (platform.openai.com/docs/api-reference/models), but
    # no checkpoints of tuning, which are called by name as well (.../fine-tuning/checkpoint-object), and nothing that
    # came after it was asked for. So names of its families are its to judge.
    "openai": Preset(
        takes=(
            *("gpt-*", "chatgpt-*", "ft:*", "o1*", "o3*", "o4*", "codex-*", "computer-use-*", "davinci-*", "babbage-*"),
            *("text-embedding-*", "text-moderation-*", "omni-moderation-*", "whisper-*", "tts-*", "dall-e-*", "sora-*"),
        )
    ),
    # Dated ids are listed; their shorter aliases are not (platform.claude.com/docs/en/about-claude/models/
    # model-ids-and-versions).
    "anthropic": Preset(auth=anthropic_key, models_query="?limit=1000", takes=("claude-*",)),
    # Aliases such as gemini-flash-latest come and go (ai.google.dev/gemini-api/docs/models, "Model version name
    # patterns"); a name may be written as models/... or tunedModels/... (ai.google.dev/api/models).
    "gemini": Preset(
        model_prefix="models/",
        takes=(
            *("gemini-*", "gemma-*", "models/*", "tunedModels/*", "learnlm-*", "imagen-*", "veo-*", "lyria-*"),
            *("text-embedding-*", "embedding-*", "aqa"),
        ),
    ),
    # "It is not an exhaustive list of every model string a request can use": suffixes such as :nitro go behind any
    # name (openrouter.ai/docs/guides/routing/model-variants/overview), presets are called @preset/...
    # (openrouter.ai/docs/features/presets), and models that embed have a list of their own.
    "openrouter": Preset(takes=("*/*", "@preset/*", "*:*", "*@preset/*")),
    # Older names are taken and stand in no list (api-docs.deepseek.com, "Your First API Call").
    "deepseek": Preset(takes=("deepseek-*",)),
    # <name>, <name>-latest and <name>-<date> (docs.x.ai/docs/models, "Model aliases").
    "xai": Preset(takes=("grok-*",)),
    # [host/][namespace/]model[:tag], where the tag is `latest` by default (docs.ollama.com/api, "Model names"); names
    # are compared without case, and models of its cloud are not listed until they are pulled.
    "ollama": Preset(takes=ANYTHING, implied=":latest"),
    # The list holds base models; a call names a deployment, which is called as its maker likes
    # (learn.microsoft.com/azure/ai-foundry/openai/how-to/working-with-models; .../rest/api/azureopenai/models/list).
    "azure": Preset(auth=azure_key, path_suffix="/openai/v1", takes=ANYTHING),
    # Nothing is known of it: relays with wildcards, servers that take any name, lists that are a sample.
    "compatible": Preset(takes=ANYTHING),
    "simulator": Preset(),
}
