"""
Paths as other vendors' SDKs write them, and which of ours each stands for.

Azure OpenAI puts the deployment, which is the model, into the path; Gemini's OpenAI endpoint lies below a prefix of its
own. Only the path is read here, and no provider is asked anything.
"""

import re
from urllib.parse import unquote

OTHERS = ("/openai/", "/deployments/", "/v1/deployments/", "/v1/openai/deployments/", "/v1beta/openai/")
"""How a path begins that may be another vendor's spelling."""

_PREFIXES = ("/openai/v1/", "/v1beta/openai/", "/openai/")
"""
What stands for `/v1/`. `/openai/v1`: https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle;
`/openai` before it: openai-python, lib/azure.py; `/v1beta/openai`: https://ai.google.dev/gemini-api/docs/openai.
"""

_DEPLOYMENT = re.compile(r"(?:/v1|/openai|/v1/openai|/openai/v1)?/deployments/([^/]+)(/.+)")
"""
`/openai/deployments/{deployment}/chat/completions`: https://learn.microsoft.com/azure/ai-foundry/openai/reference. The
other prefixes are what the SDKs make of a base URL that ends in `/v1`.
"""
_OF_DEPLOYMENTS = frozenset(
    (
        "/chat/completions",
        "/completions",
        "/embeddings",
        "/audio/speech",
        "/audio/transcriptions",
        "/audio/translations",
        "/images/generations",
        "/images/edits",
        "/responses",
    )
)
"""What is asked of a deployment: `_deployments_endpoints` of openai-python's lib/azure.py, and responses."""
_BATCHES = "/batches"
"""openai-node writes these below a deployment too (azure.ts), though a batch has no model."""

_LONGEST = 256
"""Characters of a deployment's name; no model has a longer one."""


def translated(path: str) -> tuple[str, str] | None:
    """
    The path of ours that *path*, which begins like one of `OTHERS`, stands for, and the model it names, empty where it
    names none. None for a path that is no such spelling.
    """
    found = _DEPLOYMENT.fullmatch(path)
    if found is not None:
        below = found[2].rstrip("/")
        if below == _BATCHES:
            return "/v1/batches", ""
        # (What is no UTF-8 becomes U+FFFD, which is not printable as a name either way.)
        name = unquote(found[1])
        if below in _OF_DEPLOYMENTS and len(name) <= _LONGEST and name.isprintable() and "\ufffd" not in name:
            return f"/v1{below}", name
        return None
    for prefix in _PREFIXES:
        if path.startswith(prefix):
            below = path[len(prefix) :]
            # Their list of deployments is no OpenAI call, and no provider's business.
            return None if below.partition("/")[0] == "deployments" else (f"/v1/{below}", "")
    return None


def query_of(query: str, path: str) -> str:
    """
    What remains of the *query* of a path that was translated to *path*: `api-version` names one of Azure's, which is
    meant for it alone, and `deployment` is the model of a realtime session (lib/azure.py, `_configure_realtime`).
    """
    kept = [pair for pair in query.split("&") if not pair.startswith("api-version=")]
    if path == "/v1/realtime":
        kept = ["model=" + pair[11:] if pair.startswith("deployment=") else pair for pair in kept]
    return "&".join(kept)
