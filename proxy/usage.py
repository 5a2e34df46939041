"""
How many tokens a call used, read from whatever form its provider reports them in.

The forms are those of chat completions, the Responses API and the Messages API. It counts; it knows no prices.
"""

from dataclasses import dataclass
from typing import Any

BYTES_PER_TOKEN = 4
"""The usual rule of thumb for English text, for when nobody counted (OpenAI's own advice)."""
MOST = 2**40
"""A count above this is nonsense from a provider and taken as this."""


@dataclass(init=False, slots=True)
class Tokens:
    """What one answer used, or several together."""

    prompt: int
    completion: int
    cached: int
    """The part of `prompt` the provider had cached."""
    reasoning: int
    """The part of `completion` that was thought and not said."""
    estimated: bool
    """Somebody here counted, because the provider did not say."""

    def __init__(
        self, prompt: int = 0, completion: int = 0, cached: int = 0, reasoning: int = 0, estimated: bool = False
    ) -> None:
        self.prompt = prompt
        self.completion = completion
        self.cached = cached
        self.reasoning = reasoning
        self.estimated = estimated

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
        )


def read_usage(usage: dict[str, Any]) -> Tokens | None:
    """
    The counts in a provider's usage object; None when it holds none. An explicit 0 stays 0, a negative or absurd number
    is brought into range and marks the whole as estimated (reliability.md F50).
    """
    estimated = False

    def count(value: Any) -> int:
        nonlocal estimated
        if value is None:
            return 0
        if type(value) is not int or not 0 <= value <= MOST:
            estimated = True
            return min(max(value, 0), MOST) if type(value) is int else 0
        return value

    # The total last, since every form but that of the Messages API has one.
    if "prompt_tokens" in usage or "completion_tokens" in usage:
        prompt_details = usage.get("prompt_tokens_details")
        completion_details = usage.get("completion_tokens_details")
        prompt, completion = count(usage.get("prompt_tokens")), count(usage.get("completion_tokens"))
        if not prompt and not completion:
            prompt = count(usage.get("total_tokens"))
        cached = count(prompt_details.get("cached_tokens")) if type(prompt_details) is dict else 0
    elif "input_tokens" in usage or "output_tokens" in usage:
        prompt_details = usage.get("input_tokens_details")
        completion_details = usage.get("output_tokens_details")
        prompt, completion = count(usage.get("input_tokens")), count(usage.get("output_tokens"))
        cached = count(prompt_details.get("cached_tokens")) if type(prompt_details) is dict else 0
        # The Messages API counts what it read from its cache, and what it put there, beside the input.
        from_cache = count(usage.get("cache_read_input_tokens"))
        prompt += from_cache + count(usage.get("cache_creation_input_tokens"))
        cached += from_cache
    elif "total_tokens" in usage:
        return Tokens(count(usage["total_tokens"]), estimated=estimated)
    else:
        return None
    reasoning = count(completion_details.get("reasoning_tokens")) if type(completion_details) is dict else 0
    return Tokens(prompt, completion, min(cached, prompt), min(reasoning, completion), estimated)


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
"""Bytes below which nobody looks for attachments."""
_ATTACHMENTS = (b"base64", b'"data"', b'"file_data"')
TOKENS_PER_ATTACHMENT = 1000
"""About what a picture of a megapixel costs at OpenAI, Anthropic and Google."""
_MAXIMA = ("max_completion_tokens", "max_tokens", "max_output_tokens")
_MOST_CHOICES = 128
"""OpenAI's own bound on `n`."""
