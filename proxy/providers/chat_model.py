"""
Which of a provider's models a completion probe asks: one that answers chats, as far as its name tells.

Names only; what asks, and what its answer means, is decided elsewhere.
"""

from collections.abc import Iterable

OTHER_WORK = (
    # Embeddings: platform.openai.com/docs/models, docs.mistral.ai, docs.voyageai.com, ollama.com/search?c=embedding
    "embed",
    "bge-",
    "minilm",
    "e5-",
    "gte-",
    # Ranking: docs.cohere.com/docs/rerank
    "rerank",
    # Speech and sound: platform.openai.com/docs/guides/audio
    "whisper",
    "tts",
    "transcribe",
    "audio",
    "realtime",
    # Pictures and films: platform.openai.com/docs/guides/images, ai.google.dev/gemini-api/docs/models
    "dall-e",
    "image",
    "imagen",
    "sora",
    "veo",
    # Judging and old completions: platform.openai.com/docs/models
    "moderation",
    "davinci",
    "babbage",
)
"""Parts of the names of models that answer no chat."""


def chat_model(names: Iterable[str]) -> str | None:
    """The first of *names* that answers chats; None when none does."""
    for name in names:
        lower = name.lower()
        if not any(part in lower for part in OTHER_WORK):
            return name
    return None
