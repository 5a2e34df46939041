"""
Which path a client probably meant that asked for one there is not: a base URL without `/v1`, or with too much.

Every suggestion stands in a table here; nothing of what was sent is said back.
"""

import re
from urllib.parse import unquote

from proxy.core.errors import ProxyError
from proxy.settings.paths import RELAYED

PATHS = frozenset(path.removeprefix("/v1") for path in RELAYED) | {
    *("/messages/batches", "/realtime", "/realtime/client_secrets", "/responses/compact", "/responses/input_tokens"),
    *("/threads/runs", "/usage"),
}
"""
What SDKs call below `/v1` without an id: https://platform.openai.com/docs/api-reference,
https://docs.claude.com/en/api, https://docs.cohere.com/reference/rerank; and `usage`, which is ours.
"""
_FAMILIES = frozenset(path[1:].partition("/")[0] for path in PATHS)

_ELSEWHERE = {
    # https://github.com/ollama/ollama/blob/main/docs/api.md
    "api/chat": "/v1/chat/completions",
    "api/embed": "/v1/embeddings",
    "api/embeddings": "/v1/embeddings",
    "api/ps": "/v1/models",
    "api/show": "/v1/models",
    "api/tags": "/v1/models",
    # https://docs.cohere.com/reference/chat, https://docs.claude.com/en/api/complete
    "v2/chat": "/v1/chat/completions",
    "complete": "/v1/messages",
    # What Kubernetes calls its own probes: https://kubernetes.io/docs/reference/using-api/health-checks
    "healthz": "/health",
    "livez": "/live",
    "readyz": "/ready",
}
"""Paths of other servers, without the first slash, and what comes closest here."""
_CALLS = {
    "generatecontent": "/v1/chat/completions",
    "streamgeneratecontent": "/v1/chat/completions",
    "counttokens": "/v1/messages/count_tokens",
    "embedcontent": "/v1/embeddings",
    "batchembedcontents": "/v1/embeddings",
    "predict": "/v1/images/generations",
}
"""What Gemini writes behind a model and a colon: https://ai.google.dev/api."""

_LONGEST = 200
"""Characters of a path that are looked at."""
_TWICE = ("/v1/", "/api/v1/", "/openai/v1/")
"""How a path below `/v1` goes on when the base URL held more than it should."""


def unknown_url(path: str) -> ProxyError:
    """The 404 for *path*, which names what was probably meant."""
    return _refusal(meant(path))


def check_relayed(path: str) -> None:
    """
    `ProxyError` 404 for a *path* below `/v1`, without that, which no provider can know: `/v1` twice, one call behind
    another, or a known call with one slip of the pen. All else may be a provider's own.
    """
    if path in PATHS:
        return
    if path.startswith(_TWICE) or _one_behind_another(path):
        raise _refusal(meant(path))
    slip = _slip_of(path.lower())
    if slip is not None:
        raise _refusal(f"/v1{slip}")


def meant(path: str) -> str | None:
    """The path of ours that is most like *path*, `/v1` included; None when none is."""
    plain = re.split("[;?#]", unquote(path[:_LONGEST]).lower(), maxsplit=1)[0]
    parts = [part.strip() for part in plain.split("/") if part.strip(" .")]
    if not parts:
        return None
    known = _ELSEWHERE.get("/".join(parts)) or _CALLS.get(parts[-1].rpartition(":")[2] if ":" in parts[-1] else "")
    if known is not None:
        return known
    # No known path has more than two parts.
    tails = ["/" + "/".join(parts[-count:]) for count in (2, 1)]
    for tail in tails:
        if tail in PATHS:
            return f"/v1{tail}"
    for tail in tails:
        slip = _slip_of(tail)
        if slip is not None:
            return f"/v1{slip}"
    family = next((part for part in parts if part in _FAMILIES), None)
    return None if family is None else f"/v1/{family}/*"


def _refusal(found: str | None) -> ProxyError:
    if found is None:
        return ProxyError("unknown_url", "There is nothing at this path. The API is below /v1, as in /v1/models.")
    hint = " An SDK's base_url is this server's address and /v1." if found.startswith("/v1/") else ""
    return ProxyError(
        "unknown_url", f"There is nothing at this path. Did you mean {found}?{hint}", details={"did_you_mean": found}
    )


def _one_behind_another(path: str) -> bool:
    """Whether the base URL held a call already, as in `/chat/completions/chat/completions`."""
    return any(path.endswith(known) and path[: -len(known)] in PATHS for known in PATHS)


def _slip_of(path: str) -> str | None:
    """The known path that *path* is but for one letter too many, missing, wrong or swapped; None when there is none."""
    if path in PATHS:
        return path
    return next((known for known in PATHS if abs(len(known) - len(path)) <= 1 and _differ_once(known, path)), None)


def _differ_once(one: str, other: str) -> bool:
    at = 0
    shorter = min(len(one), len(other))
    while at < shorter and one[at] == other[at]:
        at += 1
    if one[at + 1 :] == other[at + 1 :] or one[at:] == other[at + 1 :] or one[at + 1 :] == other[at:]:
        return True
    return one[at : at + 2] == other[at : at + 2][::-1] and one[at + 2 :] == other[at + 2 :]
