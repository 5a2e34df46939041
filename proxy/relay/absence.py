"""
How accounts say that they have no such object, and how clients are told that the one that has it cannot be asked.

Tables and words; whom to ask is decided in `kept`.
"""

import math
from collections.abc import Sequence

import orjson

from proxy.core.errors import ProxyError
from proxy.relay.told import Told, read
from proxy.relay.verdict import Failed, Refused

AGAIN = 5.0
"""Seconds after which a client may ask again for an object whose provider told no time."""
SHORTEST = 6
"""Characters of an id that is looked for in words: shorter ones stand in any sentence."""
LONGEST_WAIT = 60.0
"""Seconds a client is told to wait at most: a parked key may be replaced any moment."""

_CODES = frozenset(
    (
        # OpenAI: https://platform.openai.com/docs/api-reference/responses/create (previous_response_id)
        "previous_response_not_found",
        # Anthropic: https://docs.claude.com/en/api/errors
        "not_found_error",
        # Azure: https://learn.microsoft.com/azure/ai-foundry/openai/reference
        *("not_found", "notfound", "resourcenotfound", "resource_not_found"),
        # A server that has no such endpoint has no such object: vLLM, llama.cpp and the like.
        "unknown_url",
    )
)
"""Codes and types of refusals, in lower case, that say so."""
_WORDS = (
    # OpenAI: "Previous response with id '...' not found", "Item with id '...' not found", "No such File object: ...",
    # "No assistant found with id '...'", "Vector store ... does not exist"
    *("not found", "no such", " found with id", "does not exist"),
    # Azure: "The specified file could not be found."
    *("could not be found", "cannot be found"),
    # OpenAI, of an id in another vendor's form: "Invalid 'response_id': 'x'. Expected an ID that begins with 'resp'."
    "expected an id that",
)
"""Words of their messages, in lower case, that say so."""

_CONDITIONS = {
    "upstream_connect_error": "could not be reached",
    "upstream_connect_timeout": "did not connect in time",
    "upstream_timeout": "did not answer in time",
    "upstream_unavailable": "says it is unavailable",
    "upstream_error": "failed",
    "upstream_truncated": "broke off its answer",
    "upstream_protocol_error": "sent a malformed answer",
    "upstream_redirect": "answered with a redirect",
    "upstream_auth_error": "refused the gateway's key",
    "insufficient_quota": "has no money left",
    "rate_limit_exceeded": "is at its rate limit",
}
"""What a failed attempt says of a provider, by its code."""
_REASONS = {
    "drained": "was drained by the operator",
    "unhealthy": "fails its health checks",
    "parked": "refused the gateway's key a while ago",
    "resting": "asked for a pause",
    "full": "has as many calls under way as it may",
}
"""What `Target.blocked_by` says of it."""


def says_no_such(refused: Refused) -> bool:
    """Whether an account says that it does not have what the call names."""
    if refused.status in (404, 410):
        return True
    if refused.status not in (400, 403, 422):
        return False
    told = _told(refused.body)
    if told.code.lower() in _CODES or told.type.lower() in _CODES:
        return True
    message = told.message.lower()
    return any(words in message for words in _WORDS)


def speaks_of(refused: Refused, ids: Sequence[str]) -> bool:
    """Whether an account refuses a call for one of *ids*, which it quotes: `invalid training_file: file-abc123`."""
    message = _told(refused.body).message
    return any(len(each) >= SHORTEST and each in message for each in ids)


def has_no_endpoint(failed: Failed) -> bool:
    """
    Whether a server says, by a page or a text, that it has nothing at this path, and so no such object: Ollama's and
    llama.cpp's `404 page not found`, 501 (RFC 9110 sections 15.5.5 and 15.6.2).
    """
    return failed.status in (404, 501)


def _told(body: bytes) -> Told:
    try:
        return read(orjson.loads(body))
    except orjson.JSONDecodeError:
        return Told()


def condition_of(code: str) -> str:
    """What an attempt that failed with *code* says of its provider, as the end of a sentence."""
    return _CONDITIONS.get(code, "failed")


def condition_while(blocked_by: str) -> str:
    """What it says of a provider that it is not asked for this reason, as the end of a sentence."""
    if blocked_by.startswith("breaker"):
        return "has failed too often lately"
    return _REASONS.get(blocked_by, "cannot be asked in time")


def lives_at(provider: str, condition: str) -> str:
    """Why an object cannot be had, as a sentence."""
    return f"This object lives at the provider '{provider}', which {condition}."


def unavailable(message: str, wait: float, unsafe: bool = False) -> ProxyError:
    """The object cannot be had for *wait* seconds. *unsafe*: the call may have had its effect all the same."""
    headers = again(wait)
    if unsafe:
        headers = (*headers, ("x-should-retry", "false"))
    return ProxyError("object_owner_unavailable", message, headers=headers)


def again(wait: float) -> tuple[tuple[str, str], ...]:
    """Headers that tell a client to come back in *wait* seconds, within reason."""
    wait = min(max(wait, 0.001), LONGEST_WAIT)
    return (("Retry-After", str(math.ceil(wait))), ("retry-after-ms", str(math.ceil(wait * 1000))))
