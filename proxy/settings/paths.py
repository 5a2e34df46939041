"""
Paths that settings name and no call has: misspelt ones, and those that lead nowhere.

A list of OpenAI's, Anthropic's and our own paths, to find the one that was meant; what is not on it may be right, since
every path below /v1 is relayed.
"""

import difflib
from collections.abc import Iterator
from fnmatch import fnmatchcase

from proxy.settings.whole import Settings

RELAYED = (
    # https://platform.openai.com/docs/api-reference, https://docs.anthropic.com/en/api
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/responses",
    "/v1/messages",
    "/v1/messages/count_tokens",
    "/v1/embeddings",
    "/v1/moderations",
    "/v1/rerank",
    "/v1/images/generations",
    "/v1/images/edits",
    "/v1/images/variations",
    "/v1/audio/speech",
    "/v1/audio/transcriptions",
    "/v1/audio/translations",
    "/v1/files",
    "/v1/uploads",
    "/v1/batches",
    "/v1/assistants",
    "/v1/threads",
    "/v1/vector_stores",
    "/v1/fine_tuning/jobs",
    "/v1/conversations",
    "/v1/containers",
    "/v1/evals",
    "/v1/videos",
    "/v1/models",
)
OWN = (
    "/v1/completion",
    "/v1/usage",
    "/v1/health",
    "/api/generate",
    "/health",
    "/live",
    "/ready",
    "/metrics",
    "/metrics/json",
    "/api/metrics/summary",
    "/debug",
    "/admin/requests",
    "/admin/providers",
    "/admin/keys",
    "/admin/usage",
    "/admin/config",
    "/admin/reload",
)
TEMPLATES = frozenset(("/v1/*", *(f"/v1/{path.split('/')[2]}/*" for path in RELAYED)))
"""What the calls below a path are counted under together."""
_STARTS = ("/v1/", "/admin/", "/health/", "/openai/", "/api/")


def warnings(settings: Settings) -> Iterator[str]:
    """Of every path in `limits.routes`, `routes` and `auth.keys[].routes`."""
    known = (*RELAYED, *OWN, *(route.full_path for route in settings.routes))
    for path in settings.limits.routes:
        yield from _of(f"limits.routes.{path}", path, known)
    for i, route in enumerate(settings.routes):
        if route.handler == "relay":
            # What answers there is a provider, so a path of its own is likely a slip.
            yield from _of(f"routes[{i}].path", route.full_path, (*RELAYED, *OWN))
    for i, key in enumerate(settings.auth.keys):
        for j, pattern in enumerate(key.routes):
            if not any(fnmatchcase(path, pattern) for path in known):
                yield from _of(f"auth.keys[{i}].routes[{j}]", pattern, known)


def _of(place: str, path: str, known: tuple[str, ...]) -> Iterator[str]:
    if path in known:
        return
    if path != path.rstrip("/") and path.rstrip("/") in known:
        yield f"{place}: no call has this path; did you mean `{path.rstrip('/')}`?"
        return
    bare = path.rstrip("*/")
    meant = next((each for each in (f"/v1{path}", f"/v1/{path}", f"/{path}") if each in known), None)
    if meant is None and not any(bare.startswith(f"{each}/") for each in known):
        close = difflib.get_close_matches(bare, known, n=1, cutoff=0.8)
        meant = close[0] if close and close[0] != bare else None
    if meant is not None:
        yield f"{place}: no call has this path; did you mean `{meant}`?"
    elif not path.startswith((*_STARTS, "*")) and not any(each.startswith(bare) for each in known):
        yield f"{place}: no call has this path; paths of the API begin with /v1/"
    elif "{" in path or (place.startswith("limits.routes") and "*" in path and path not in TEMPLATES):
        yield f"{place}: no call is counted under this pattern; name one path, or a family such as /v1/files/*"
