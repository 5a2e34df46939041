"""
Why an answer ended, as providers say it: which `finish_reason` means that it failed rather than finished.

A table, for streams and whole answers alike. What follows from a failure is judged elsewhere.
"""

from typing import Any

FAILURES: dict[str, int] = {
    # Mistral: stop, length, model_length, error, tool_calls (docs.mistral.ai/api, chat completion).
    # OpenRouter: every provider's reason becomes tool_calls, stop, length, content_filter or error
    # (openrouter.ai/docs/api-reference/overview, "Finish Reason").
    "error": 502,
    # z.ai: stop, tool_calls, length, sensitive, network_error (docs.z.ai/api-reference/llm/chat-completion).
    "network_error": 502,
    # DeepSeek: "the request is interrupted due to insufficient resource of the inference system"
    # (api-docs.deepseek.com/api/create-chat-completion).
    "insufficient_system_resource": 503,
    # vLLM and SGLang give up a request that way: a server that shuts down, or one whose worker died
    # (vllm/v1/engine/__init__.py FinishReason; sglang/srt/managers/schedule_batch.py FINISH_ABORT).
    "abort": 502,
    "aborted": 502,
    # Cohere: COMPLETE, STOP_SEQUENCE, MAX_TOKENS, TOOL_CALL, ERROR, TIMEOUT (docs.cohere.com/reference/chat), and in
    # its first version USER_CANCEL.
    "timeout": 504,
    "user_cancel": 502,
    # watsonx.ai: stop, length, tool_calls, time_limit, cancelled, error (ibm.github.io/watsonx-ai-node-sdk,
    # TextChatResultChoice.FinishReason).
    "cancelled": 502,
    "canceled": 502,
    # The Responses API's word for the same, where a relay copies it into a chat.
    "failed": 502,
    # A relay that names the status it had from the provider behind it.
    "overloaded": 529,
    "rate_limit": 429,
    "rate_limited": 429,
    "rate_limit_exceeded": 429,
    "unavailable": 503,
    "service_unavailable": 503,
}
"""The reason in small letters, and the HTTP status the same failure has where it is told by one."""


def failure(reason: Any) -> int:
    """
    The HTTP status that *reason*, a `finish_reason`, amounts to where it says that the answer failed; 0 where the
    answer finished. A reason that stands nowhere here is a failure if it calls itself an error.
    """
    if type(reason) is dict:
        # SGLang's own form, {"type": "abort", "message": ...}.
        reason = reason.get("type")
    if type(reason) is not str:
        return 0
    if reason in _GOOD:
        return 0
    name = reason.lower()
    return FAILURES.get(name) or (502 if name.endswith("error") or name.startswith("error") else 0)


_GOOD = frozenset(("stop", "length", "tool_calls", "function_call", "content_filter", "end_turn", "eos"))
"""The usual ones, so that they cost one look."""


def as_error(reason: Any, status: int) -> dict[str, Any]:
    """The error object for an answer that ended with *reason* and told nothing more."""
    word = reason.get("type") if type(reason) is dict else reason
    return {"message": f"The provider ended the answer with {word}.", "type": "server_error", "code": status}
