"""
What the settings of other gateways and clients are called here.

A table by name, for names that are no settings; nothing is translated. Sources: https://docs.litellm.ai/docs/proxy/config_settings,
https://portkey.ai/docs/api-reference/inference-api/config-object, https://docs.getbifrost.ai/deployment-guides/config-json,
https://openrouter.ai/docs/features/provider-routing, https://www.librechat.ai/docs/configuration/librechat_yaml.
"""

import re
from collections.abc import Mapping

from proxy.settings.shape import Place

_LIMITS = "`limits` (default, models, routes) or `auth.keys[].limits`"
_BALANCE = "`models.<name>.balance`"
_FAILOVER = "`failover` (retries, initial_delay, max_delay)"

SECTIONS: Mapping[str, tuple[str, str]] = {
    # name of a section: (whose it is, what it is here)
    "model_list": (
        "LiteLLM",
        "accounts under `providers` (type, base_url, api_key), public names under `models` (targets: [provider/model])",
    ),
    "litellm_settings": (
        "LiteLLM",
        f"fallbacks under `models.<name>.fallbacks`, retries under {_FAILOVER}, timeouts under "
        "`providers.<name>.timeouts`, callbacks under `tracing` and `metrics`",
    ),
    "general_settings": ("LiteLLM", "master_key is `auth.admin_key`, database_url is `store.url`, limits are `limits`"),
    "router_settings": (
        "LiteLLM",
        f"routing_strategy is {_BALANCE}, num_retries is `failover.retries`, allowed_fails and cooldown_time are "
        "`circuit_breaker`, redis_* is `state.url`",
    ),
    "environment_variables": ("LiteLLM", "set variables in the environment, and refer to them as ${VAR}"),
    "model_group_alias": ("LiteLLM", "`models.<alias>.targets`"),
    "callback_settings": ("LiteLLM", "`tracing` and `metrics`"),
    "guardrails": ("LiteLLM and Portkey", "there are none here"),
    "mcp_servers": ("LiteLLM", "there are none here"),
    "strategy": ("Portkey", f"mode: fallback is the order of `models.<name>.targets`, mode: loadbalance is {_BALANCE}"),
    "targets": ("Portkey", "accounts under `providers`, their order under `models.<name>.targets`"),
    "virtual_key": ("Portkey", "`providers.<name>.api_key`"),
    "virtual_keys": ("Portkey and Bifrost", "`auth.keys` for clients, `providers.<name>.api_keys` for providers"),
    "on_status_codes": ("Portkey", "no setting: which statuses lead to the next target is decided by what they mean"),
    "override_params": (
        "Portkey",
        "clients send their parameters themselves; another model is `models.<name>.targets`",
    ),
    "retry": ("Portkey", _FAILOVER),
    "input_guardrails": ("Portkey", "there are none here"),
    "output_guardrails": ("Portkey", "there are none here"),
    "before_request_hooks": ("Portkey", "there are none here"),
    "after_request_hooks": ("Portkey", "there are none here"),
    "forward_headers": ("Portkey", "`providers.<name>.headers`"),
    "custom_host": ("Portkey", "`providers.<name>.base_url`"),
    "client": ("Bifrost", "`server`, `logging` and `server.cors`"),
    "config_store": ("Bifrost", "`store.url`"),
    "logs_store": ("Bifrost", "`store.url` for usage, `logging` for lines"),
    "vector_store": ("Bifrost", "there is none here"),
    "governance": ("Bifrost", "`auth.keys` (limits, budget, models)"),
    "encryption_key": ("Bifrost", "no setting: keys are stored as hashes"),
    "mcp": ("Bifrost", "there is none here"),
    "framework": ("Bifrost", "prices are `store.prices`"),
    "plugins": ("Bifrost and Kong", "there are none here"),
    "endpoints": ("LibreChat", "`providers`"),
    "upstreams": ("nginx and Kong", "`providers`"),
    "backends": ("other gateways", "`providers`"),
    "gateway": ("TensorZero and Helicone", "`server`"),
    "functions": ("TensorZero", "`models`"),
    "routers": ("Helicone", "`models`"),
    "services": ("Kong and Docker Compose", "accounts under `providers`"),
    "_format_version": ("Kong", "no setting: there is one format"),
    "version": ("other programs", "no setting: there is one format"),
    "static_resources": ("Envoy", "accounts under `providers`, the listener under `server`"),
    "entryPoints": ("Traefik", "`server.host` and `server.port`"),
    "http": ("nginx and Traefik", "`server` for the listener, `providers` for upstreams"),
    "log_level": ("other gateways", "`logging.level`"),
    "worker_processes": ("nginx", "`server.workers`"),
    "listen": ("nginx", "`server.host` and `server.port`"),
    "keys": ("other gateways", "`auth.keys` for clients, `providers.<name>.api_keys` for providers"),
    "api_keys": ("other gateways", "`auth.keys` for clients, `providers.<name>.api_keys` for providers"),
    "users": ("other gateways", "`auth.keys`, or `hapax keys create NAME`"),
    "fallbacks": ("LiteLLM", "`models.<name>.fallbacks`"),
    "context_window_fallbacks": ("LiteLLM", "`models.<name>.context_fallbacks`"),
    "database": ("other gateways", "`store.url`"),
    "redis": ("other gateways", "`state.url`"),
    "rate_limit": ("other gateways", _LIMITS),
    "rate_limits": ("other gateways", _LIMITS),
    "log": ("other gateways", "`logging`"),
    "provider": ("OpenRouter", "`providers` for accounts, `provider_preference` for their order"),
    "llm": ("earlier releases", "`providers` for the account, `models` for its model"),
}

SETTINGS: Mapping[str, str] = {
    # name of a setting at any depth: what it is here
    "litellm_params": "`providers.<name>` (type, base_url, api_key) and `models.<name>.targets`",
    "model_name": "the name of an entry of `models`",
    "model_info": "prices are `store.prices`",
    "api_base": "`base_url`",
    "url": "`base_url`",
    "endpoint": "`base_url`",
    "base": "`base_url`",
    "host": "`base_url`",
    "azure_endpoint": "`base_url` with `type: azure`",
    "custom_host": "`base_url`",
    "network_config": "`base_url` and `timeouts`",
    "api_version": "no setting: Azure's /openai/v1 needs none",
    "deployment_id": "the upstream model of `models.<name>.targets`",
    "deployment": "the upstream model of `models.<name>.targets`",
    "virtual_key": "`api_key`",
    "key": "`api_key`",
    "keys": "`api_keys`, a list of the keys themselves",
    "token": "`api_key`",
    "api_token": "`api_key`",
    "apikey": "`api_key`",
    "provider": "`type`",
    "kind": "`type`",
    "model": "`models`, a list; which model a public name leads to is `models.<name>.targets`",
    "organization": "`headers: {OpenAI-Organization: ...}`",
    "extra_headers": "`headers`",
    "default_headers": "`headers`",
    "timeout": "`timeouts` (connect, first_token, idle, total)",
    "request_timeout": "`timeouts.total`",
    "stream_timeout": "`timeouts.first_token`",
    "num_retries": "`failover.retries`",
    "max_retries": "`failover.retries`",
    "retries": "`failover.retries`",
    "rpm": "`requests_per_minute`",
    "rps": "`requests_per_minute`",
    "requests_per_second": "`requests_per_minute`",
    "tpm": "`tokens_per_minute`",
    "max_parallel_requests": "`concurrent`",
    "concurrency_and_buffer_size": "`max_concurrency`",
    "max_budget": "`budget: {usd: ..., per: ...}`",
    "budget_duration": "`budget.per`",
    "priority": "`provider_preference`",
    "order": "`provider_preference`",
    "routing_strategy": f"{_BALANCE}",
    "cooldown_time": "`circuit_breaker.timeout`",
    "allowed_fails": "`circuit_breaker.failure_threshold`",
    "master_key": "`auth.admin_key`",
    "database_url": "`store.url`",
    "context_window_fallbacks": "`context_fallbacks`",
    "proxy": "`forward_proxy`",
    "https_proxy": "`forward_proxy`",
}

TYPES: Mapping[str, str] = {
    # a type of provider elsewhere, in lower case and without -, _, . and blanks: the type here.
    # https://docs.litellm.ai/docs/providers, https://portkey.ai/docs/integrations/llms, https://docs.getbifrost.ai
    "azureopenai": "azure",
    "openaiazure": "azure",
    "azureai": "azure",
    "claude": "anthropic",
    "google": "gemini",
    "googleai": "gemini",
    "googleaistudio": "gemini",
    "googlegenai": "gemini",
    "grok": "xai",
    "oai": "openai",
    "chatgpt": "openai",
    "mock": "simulator",
    "fake": "simulator",
}
COMPATIBLE = """
openaicompatible openailike openaicompat openaiapicompatible customopenai custom local http vllm hostedvllm sglang tgi
lmstudio llamacpp llamafile localai litellm litellmproxy xinference ramalama jan groq mistral mistralai together
togetherai fireworks fireworksai perplexity cerebras sambanova nvidia nvidianim nim cohere huggingface hf deepinfra
moonshot moonshotai kimi zhipu zai qwen dashscope alibaba volcengine siliconflow novita nebius hyperbolic replicate
github githubmodels bedrock amazonbedrock awsbedrock vertex vertexai googlevertex databricks snowflake watsonx
cloudflare workersai baseten anyscale portkey helicone
"""
"""Those that are `compatible` here, in the same spelling."""


def type_here(name: object) -> str | None:
    """The type that a provider of type *name* elsewhere has here; None: not known."""
    if not isinstance(name, str):
        return None
    plain = re.sub(r"[-_. ]", "", name.lower())
    return TYPES.get(plain) or ("compatible" if plain in COMPATIBLE.split() else None)


def called_here(place: Place) -> str | None:
    """What the unknown name at the end of *place* is called here, to follow `is not a setting`; None: not known."""
    name = str(place[-1])
    if len(place) == 1 and name in SECTIONS:
        whose, here = SECTIONS[name]
        return f" (it is {whose}'s); here: {here}"
    words = SETTINGS.get(name)
    # `host` of server and the like are told apart by where they stand.
    return f"; here: {words}" if words is not None and len(place) > 1 else None
