"""
Base URLs as they are often mistyped: with an endpoint at their end, without a version, of a website, in the clear.

Tables with sources, and what they say about one address. Whether something answers there `hapax doctor --online`
tells.
"""

import ipaddress
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

ENDPOINTS: tuple[str, ...] = (
    # What calls add themselves: https://platform.openai.com/docs/api-reference, https://docs.anthropic.com/en/api,
    # https://github.com/ollama/ollama/blob/main/docs/api.md, https://ai.google.dev/api
    "chat/completions",
    "chat",
    "completions",
    "completion",
    "responses",
    "responses/compact",
    "responses/input_tokens",
    "embeddings",
    "models",
    "messages",
    "messages/count_tokens",
    "complete",
    "moderations",
    "rerank",
    "images/generations",
    "images/edits",
    "audio/speech",
    "audio/transcriptions",
    "audio/translations",
    "files",
    "batches",
    "assistants",
    "threads",
    "realtime",
    "api/chat",
    "api/generate",
    "api/tags",
    "api/embed",
    "api/embeddings",
)
_ENDPOINT = re.compile(
    "(/(?:"
    + "|".join(re.escape(each) for each in sorted(ENDPOINTS, key=len, reverse=True))
    + r"))$|(:\w*[gG]enerateContent)$"
)
_SURE = ("chat/completions", "count_tokens", "generations", "speech", "transcriptions", "translations", "api/")
_VERSION = re.compile(r"/(v[0-9]+[a-z0-9.]*|openai|compatible-mode|serving-endpoints|openapi)(/|$)", re.IGNORECASE)

DOCUMENTED: tuple[tuple[str, str, str], ...] = (
    # (host, or the end of one; the paths its OpenAI-like API has, the usual one first; the vendor's page)
    ("api.openai.com", "/v1", "https://platform.openai.com/docs/api-reference/introduction"),
    ("api.anthropic.com", "/v1", "https://docs.anthropic.com/en/api/openai-sdk"),
    ("generativelanguage.googleapis.com", "/v1beta/openai /v1/openai", "https://ai.google.dev/gemini-api/docs/openai"),
    ("openrouter.ai", "/api/v1", "https://openrouter.ai/docs/quickstart"),
    ("api.deepseek.com", "/v1 / /beta", "https://api-docs.deepseek.com/"),
    ("api.x.ai", "/v1", "https://docs.x.ai/docs/api-reference"),
    ("api.groq.com", "/openai/v1", "https://console.groq.com/docs/openai"),
    ("api.mistral.ai", "/v1", "https://docs.mistral.ai/api"),
    ("api.together.xyz", "/v1", "https://docs.together.ai/docs/openai-api-compatibility"),
    ("api.together.ai", "/v1", "https://docs.together.ai/docs/openai-api-compatibility"),
    ("api.fireworks.ai", "/inference/v1", "https://docs.fireworks.ai/tools-sdks/openai-compatibility"),
    ("api.perplexity.ai", "/ /v1", "https://docs.perplexity.ai/guides/chat-completions-guide"),
    ("api.deepinfra.com", "/v1/openai", "https://deepinfra.com/docs/openai_api"),
    ("api.cerebras.ai", "/v1", "https://inference-docs.cerebras.ai/resources/openai"),
    ("api.sambanova.ai", "/v1", "https://docs.sambanova.ai/docs/en/features/openai-compatibility"),
    ("integrate.api.nvidia.com", "/v1", "https://docs.api.nvidia.com/nim/reference/llm-apis"),
    ("api.cohere.com", "/compatibility/v1", "https://docs.cohere.com/docs/compatibility-api"),
    ("api.cohere.ai", "/compatibility/v1", "https://docs.cohere.com/docs/compatibility-api"),
    (
        "dashscope.aliyuncs.com",
        "/compatible-mode/v1",
        "https://www.alibabacloud.com/help/en/model-studio/compatibility-of-openai-with-dashscope",
    ),
    (
        "dashscope-intl.aliyuncs.com",
        "/compatible-mode/v1",
        "https://www.alibabacloud.com/help/en/model-studio/compatibility-of-openai-with-dashscope",
    ),
    ("api.moonshot.ai", "/v1", "https://platform.moonshot.ai/docs"),
    ("api.moonshot.cn", "/v1", "https://platform.moonshot.cn/docs"),
    ("open.bigmodel.cn", "/api/paas/v4", "https://docs.bigmodel.cn/cn/guide/develop/openai/introduction"),
    ("api.z.ai", "/api/paas/v4 /api/coding/paas/v4", "https://docs.z.ai/guides/develop/openai/python"),
    ("api.siliconflow.cn", "/v1", "https://docs.siliconflow.cn/en/userguide/quickstart"),
    ("router.huggingface.co", "/v1", "https://huggingface.co/docs/inference-providers/index"),
    ("models.github.ai", "/inference", "https://docs.github.com/en/rest/models/inference"),
    ("ai-gateway.vercel.sh", "/v1", "https://vercel.com/docs/ai-gateway/openai-compat"),
    ("inference.baseten.co", "/v1", "https://docs.baseten.co/development/model-apis/overview"),
    ("api.studio.nebius.com", "/v1", "https://docs.nebius.com/studio/inference/api"),
    ("api.hyperbolic.xyz", "/v1", "https://docs.hyperbolic.xyz/docs/rest-api"),
    (
        "api.novita.ai",
        "/v3/openai /openai/v1 /openai",
        "https://novita.ai/docs/api-reference/model-apis-llm-create-chat-completion",
    ),
)
_UNFILLED = re.compile(r"[{}<>\\]|%(?:7B|3C)|(?<=/)\[", re.IGNORECASE)
"""What stands around a word that is to be filled in; no address holds it."""
_YOURS = re.compile(
    r"(?:^|[./_-])your[_-]?(?:own|azure|openai|resource|endpoint|host|server|domain|account|instance|company)"
)
"""How manuals write a name that is to be filled in: https://learn.microsoft.com/azure/ai-foundry/openai/reference."""
AZURE = (".openai.azure.com", ".cognitiveservices.azure.com", ".services.ai.azure.com")
"""https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle: https://RESOURCE.openai.azure.com/openai/v1/"""
WEBSITES = {
    "platform.openai.com": "https://api.openai.com/v1",
    "chat.openai.com": "https://api.openai.com/v1",
    "chatgpt.com": "https://api.openai.com/v1",
    "openai.com": "https://api.openai.com/v1",
    "console.anthropic.com": "https://api.anthropic.com/v1",
    "claude.ai": "https://api.anthropic.com/v1",
    "aistudio.google.com": "https://generativelanguage.googleapis.com/v1beta/openai",
    "ai.google.dev": "https://generativelanguage.googleapis.com/v1beta/openai",
    "platform.deepseek.com": "https://api.deepseek.com/v1",
    "chat.deepseek.com": "https://api.deepseek.com/v1",
    "console.x.ai": "https://api.x.ai/v1",
    "console.groq.com": "https://api.groq.com/openai/v1",
    "console.mistral.ai": "https://api.mistral.ai/v1",
    "oai.azure.com": "https://RESOURCE.openai.azure.com",
    "ai.azure.com": "https://RESOURCE.openai.azure.com",
    "portal.azure.com": "https://RESOURCE.openai.azure.com",
}
"""Where people read and click, and the address that programs ask instead."""


def certain(provider_type: str, url: str) -> Iterator[str]:
    """What is wrong with the base URL of a provider of that type beyond doubt, with what to write."""
    parts = urlsplit(url)
    host, path = (parts.hostname or "").lower(), parts.path
    if _UNFILLED.search(url):
        yield "holds brackets or a backslash, as manuals have around what is to be filled in; write the real address"
        return
    if host in WEBSITES:
        yield f"is the address of a website; write {WEBSITES[host]}"
        return
    ending = _ENDPOINT.search(path)
    if ending is not None and not _azure_models(host, path):
        before = path[: ending.start()]
        if any(word in ending[0] for word in _SURE) or ending[2] or _VERSION.search(before) or _documented(host):
            yield f"ends in an endpoint; leave off `{ending[0]}`, which each call adds itself{_instead(host)}"
            return
    if provider_type == "azure":
        yield from _of_azure(path)


def doubtful(provider_type: str, url: str, has_key: bool) -> Iterator[str]:
    """What is probably wrong with a base URL that `certain` lets pass."""
    parts = urlsplit(url)
    host, path = (parts.hostname or "").lower(), parts.path
    known = _documented(host)
    if _YOURS.search(url.lower()):
        yield "looks as manuals write it, with a name that is to be filled in"
    if parts.scheme == "http" and has_key and public(host):
        yield "is http://, so the key crosses the network in the clear; write https://"
    if _azure_models(host, path):
        yield (
            "is Azure's inference API, which wants a version in every call; write `type: azure` and leave off /models"
        )
    elif host.endswith(AZURE) and provider_type != "azure":
        yield "is Azure's, which takes its key in another header; write `type: azure`"
    elif known is not None:
        if path.rstrip("/") not in [each.rstrip("/") for each in known]:
            yield f"has another path than its API is documented with{_instead(host)}"
    elif ending := _ENDPOINT.search(path):
        yield f"seems to end in an endpoint; leave off `{ending[0]}` if calls add it themselves"
    elif re.search(r"/(v[0-9]+)/\1$", path):
        yield "has its version twice"
    elif "//" in path:
        yield "has a slash too many in its path, which few servers overlook"
    elif path.endswith(("/docs", "/redoc", "/openapi.json")):
        yield "is the address of a server's documentation; its API is probably below /v1"
    elif provider_type == "ollama" and not _VERSION.search(path):
        yield "lacks /v1, below which Ollama answers as OpenAI does (https://docs.ollama.com/openai)"
    elif provider_type not in ("azure", "simulator") and path in ("", "/"):
        yield "has no path; servers that speak OpenAI's API answer below /v1, so it is probably to end in /v1"


def public(host: str) -> bool:
    """Whether a host is likely reached through networks of others: neither this machine, nor a private network."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "." in host and not host.endswith(
            (".local", ".internal", ".localhost", ".lan", ".home.arpa", ".test", ".svc", ".invalid", ".example")
        )
    return address.is_global


def _documented(host: str) -> list[str] | None:
    return next((paths.split() for name, paths, _ in DOCUMENTED if host == name), None)


def _instead(host: str) -> str:
    known = _documented(host)
    return f" (write https://{host}{known[0].rstrip('/')})" if known is not None else ""


def _azure_models(host: str, path: str) -> bool:
    """https://learn.microsoft.com/azure/ai-foundry/foundry-models/concepts/endpoints: a base that ends in /models."""
    return host.endswith(".services.ai.azure.com") and path.rstrip("/") == "/models"


def _of_azure(path: str) -> Iterator[str]:
    if "/deployments" in path:
        yield "names a deployment; write the resource's address alone, and the deployment as the model of each call"
    elif re.search(r"/openai(/v1/.+|/(?!v1$).*)?$", path):
        yield "ends in the middle; write the resource's address alone, or all of it to /openai/v1"
    elif re.search(r"/v1$", path) and not path.endswith("/openai/v1"):
        yield "ends in /v1, where Azure's API stands below /openai/v1; write the resource's address alone"
