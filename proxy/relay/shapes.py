"""
Whether a whole answer is an answer: what each endpoint's JSON must hold, and the errors that look like one.

A look at a parsed object, on every answer's way; it judges no error and knows no bytes.
"""

from typing import Any

from proxy.relay.told import is_blank, read

FAILED_FINISHES = frozenset(
    (
        # OpenRouter, https://openrouter.ai/docs/api-reference/errors ; watsonx.ai and Mistral have it too.
        "error",
        # z.ai, https://docs.z.ai/api-reference/llm/chat-completion
        "network_error",
        # DeepSeek, https://api-docs.deepseek.com/api/create-chat-completion
        "insufficient_system_resource",
        # one-api and new-api relays, https://github.com/songquanpeng/one-api/issues
        "server_error",
        # vLLM and SGLang: the request was thrown out by the server, vllm/v1/request.py FinishReason
        "abort",
    )
)
"""A `finish_reason` with which a provider says that it failed. A filter, a length or a stop is a good end."""


def error_in(value: dict[str, Any], holds: str) -> Any:
    """
    What is wrong with *value*, a 2xx answer whose top level has to hold the list *holds* (empty or `json`: unknown):
    None when nothing is, the error it tells, or a text in our words when it tells none.
    """
    error = value.get("error")
    if error is not None and not is_blank(error):
        return value
    if holds == "choices":
        choices = value.get("choices")
        return _in_choices(choices) if type(choices) is list and choices else _instead(value, "no choices")
    if holds == "output":
        if value.get("status") == "failed":
            return {"code": "server_error"}
        good = type(value.get("output")) is list or value.get("object") == "response"
        return None if good else _instead(value, "no response")
    if holds and holds != "json" and type(value.get(holds)) is not list:
        return _instead(value, f"no {holds}")
    return None


def is_errors(values: list[Any]) -> bool:
    """Whether a list is one of errors, as Gemini sends them: `[{"error": ...}]`."""
    return bool(values) and type(values[0]) is dict and not is_blank(values[0].get("error"))


def _in_choices(choices: list[Any]) -> Any:
    for choice in choices:
        if type(choice) is not dict:
            return "a choice that is none"
        error = choice.get("error")
        if error is not None and not is_blank(error):
            return error if type(error) is dict else {"message": str(error)}
        finish = choice.get("finish_reason")
        if type(finish) is str and finish in FAILED_FINISHES:
            return {"code": "server_error"}
    return None


def _instead(value: dict[str, Any], reason: str) -> Any:
    told = read(value)
    return value if told.message or told.code else reason
