"""
How many tokens a call used, read from whatever form its provider reports them in.

The forms are those of chat completions, the Responses API and the Messages API, each with what vendors add to it. It
counts; it knows no prices.
"""

from dataclasses import dataclass
from typing import Any

BYTES_PER_TOKEN = 4
"""The usual rule of thumb for English text, for when the provider sent no count (OpenAI's own advice)."""
MOST = 2**40
"""A count above this is nonsense from a provider and taken as this."""


@dataclass(slots=True)
class Tokens:
    """What one answer used, or several together."""

    prompt: int = 0
    completion: int = 0
    """All that was generated and is billed as such."""
    cached: int = 0
    """The part of `prompt` the provider had cached."""
    reasoning: int = 0
    """The part of `completion` that was thought and not said, as the provider tells it."""
    estimated: bool = False
    """The gateway counted, because the provider did not say."""
    written: int = 0
    """The part of `prompt` that was put into the provider's cache."""
    written_1h: int = 0
    """The part of `written` that is kept there for an hour."""
    audio_input: int = 0
    """The part of `prompt` that was sound and had not been cached."""
    audio_output: int = 0
    """The part of `completion` that is sound."""

    @property
    def total(self) -> int:
        """Prompt and completion."""
        return self.prompt + self.completion

    def __add__(self, other: "Tokens") -> "Tokens":
        return Tokens(
            self.prompt + other.prompt,
            self.completion + other.completion,
            self.cached + other.cached,
            self.reasoning + other.reasoning,
            self.estimated or other.estimated,
            self.written + other.written,
            self.written_1h + other.written_1h,
            self.audio_input + other.audio_input,
            self.audio_output + other.audio_output,
        )


_CACHED = ("cached_tokens", "prompt_cache_hit_tokens")
"""Prompt tokens read from a cache, told beside the prompt: Moonshot, DeepSeek (their pages of the chat API)."""
_WRITTEN = ("cache_write_tokens", "cache_creation_tokens")
"""Prompt tokens put into a cache, among the prompt's details: OpenRouter (usage accounting), LiteLLM (`Usage`)."""


def read_usage(usage: dict[str, Any]) -> Tokens | None:
    """
    The counts in a provider's usage object; None when it holds none. An explicit 0 stays 0; a negative or absurd number
    is brought into range and marks the whole as estimated.

    `completion` is what is billed as generated: where the total exceeds prompt and completion together, the difference
    was generated too. xAI counts reasoning in the total alone (docs.x.ai, "Consumption and rate limits"), Gemini's
    compatible API its thinking. A total that is less, or none, changes nothing.
    """
    if len(usage) == 3:
        # Nothing but three counts that agree, which is what most providers tell.
        prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
        if (
            type(prompt) is int
            and type(completion) is int
            and 0 <= prompt <= MOST
            and 0 <= completion <= MOST
            and usage.get("total_tokens") == prompt + completion
        ):
            return Tokens(prompt, completion)
    return _read_in_full(usage)


def _read_in_full(usage: dict[str, Any]) -> Tokens | None:
    estimated = False

    def count(value: Any) -> int:
        nonlocal estimated
        if value is None:
            return 0
        if type(value) is float and value.is_integer() and 0 <= value <= MOST:
            # Written by a language that knows one kind of number.
            return int(value)
        if type(value) is not int or not 0 <= value <= MOST:
            estimated = True
            return min(max(value, 0), MOST) if type(value) is int else 0
        return value

    chat = "prompt_tokens" in usage or "completion_tokens" in usage
    if chat and not usage.get("prompt_tokens") and not usage.get("completion_tokens"):
        # Some relays have the members of both forms in each of their answers, and fill those of one.
        chat = not usage.get("input_tokens") and not usage.get("output_tokens")
    if chat:
        told, made = _details(usage, "prompt_tokens_details"), _details(usage, "completion_tokens_details")
        prompt, completion = count(usage.get("prompt_tokens")), count(usage.get("completion_tokens"))
        if not prompt and not completion:
            prompt = count(usage.get("total_tokens"))
    elif "input_tokens" in usage or "output_tokens" in usage:
        # Transcriptions and realtime sessions call them details of the token.
        told = _details(usage, "input_tokens_details") or _details(usage, "input_token_details")
        made = _details(usage, "output_tokens_details") or _details(usage, "output_token_details")
        prompt, completion = count(usage.get("input_tokens")), count(usage.get("output_tokens"))
    elif "total_tokens" in usage:
        return Tokens(count(usage["total_tokens"]), estimated=estimated)
    else:
        return None
    total = _part(usage.get("total_tokens"))
    cached = count(told["cached_tokens"]) if "cached_tokens" in told else _first(usage, _CACHED)
    written = _first(told, _WRITTEN)
    written_1h = _part(_details(told, "cache_creation_token_details").get("ephemeral_1h_input_tokens"))
    if "cache_read_input_tokens" in usage or "cache_creation_input_tokens" in usage:
        # The Messages API counts what it read from its cache, and what it put there, beside the input; what translates
        # it into a chat's form mostly counts them in. The total tells, where there is one.
        read, put = count(usage.get("cache_read_input_tokens")), count(usage.get("cache_creation_input_tokens"))
        whole = prompt + completion + read + put
        if (total == whole or read + put > prompt) if chat else (not total or total >= whole):
            prompt += read + put
            cached = cached + read if not chat else read
        else:
            cached = cached or read
        written = put or written
        written_1h = _part(_details(usage, "cache_creation").get("ephemeral_1h_input_tokens")) or written_1h
    reasoning = count(made["reasoning_tokens"]) if "reasoning_tokens" in made else _part(usage.get("reasoning_tokens"))
    if total > prompt + completion:
        completion = total - prompt
    elif not total and reasoning > completion:
        # A part is never more than the whole: this one stands beside it.
        completion += reasoning
    cached = min(cached, prompt)
    written = min(written, prompt - cached)
    return Tokens(
        prompt,
        completion,
        cached,
        reasoning,
        estimated,
        written,
        min(written_1h, written),
        min(_part(told.get("audio_tokens")), prompt - cached - written),
        min(_part(made.get("audio_tokens")), completion),
    )


_NOTHING: dict[str, Any] = {}


def _details(usage: dict[str, Any], name: str) -> dict[str, Any]:
    details = usage.get(name)
    return details if type(details) is dict else _NOTHING


def _part(value: Any) -> int:
    """A count that only tells more of another one: where it is nonsense, it tells nothing."""
    if type(value) is float and value.is_integer() and value <= MOST:
        value = int(value)
    return value if type(value) is int and 0 < value <= MOST else 0


def _first(usage: dict[str, Any], names: tuple[str, ...]) -> int:
    for name in names:
        if name in usage:
            return _part(usage[name])
    return 0


def estimate(size: int) -> int:
    """Tokens in *size* bytes of text, roughly, and never too few for English."""
    return -(-size // BYTES_PER_TOKEN)


def expected_prompt(body: bytes, value: dict[str, Any]) -> int:
    """Tokens of the prompt in *body*, roughly: its bytes by the rule of thumb, attachments counted by the piece."""
    size = len(body)
    if size <= _SHORT or not any(mark in body for mark in _ATTACHMENTS):
        return estimate(size)
    pieces, attached = 0, 0
    waiting: list[Any] = [value]
    while waiting:
        part = waiting.pop()
        if type(part) is dict:
            waiting.extend(part.values())
        elif type(part) is list:
            waiting.extend(part)
        elif type(part) is str and len(part) > _SHORT and part.isascii() and " " not in part:
            # Prose has spaces, or letters base64 has not.
            pieces += 1
            attached += len(part)
    return estimate(size - attached) + pieces * TOKENS_PER_ATTACHMENT


def most_completion(value: dict[str, Any]) -> int | None:
    """Tokens the answer to the question *value* may have at most, all choices together; None when it does not say."""
    for name in _MAXIMA:
        most = value.get(name)
        if type(most) is int and most > 0:
            choices = value.get("n")
            return min(most, MOST) * (choices if type(choices) is int and 0 < choices <= _MOST_CHOICES else 1)
    return None


_SHORT = 4096
"""Bytes of a body below which no attachments are looked for."""
_ATTACHMENTS = (b"base64", b'"data"', b'"file_data"')
TOKENS_PER_ATTACHMENT = 1000
"""About what a picture of a megapixel costs at OpenAI, Anthropic and Google."""
_MAXIMA = ("max_completion_tokens", "max_tokens", "max_output_tokens")
_MOST_CHOICES = 128
"""OpenAI's own bound on `n`."""
