"""
The `llm` section of earlier releases, and a provider's single `model`, in today's words.

It moves what is written; checking it, and filling in its ${VAR}, comes afterwards. What has no place any more is
named in a warning with what to do instead.
"""

from collections.abc import Callable
from typing import Any

_RETRY = {
    "max_retries": "retries",
    "initial_delay": "initial_delay",
    "max_delay": "max_delay",
    "multiplier": "multiplier",
}
_ONLY_CLIENTS = "clients send it themselves now"
_DROPPED = {
    # (what stood there: what to do instead)
    "system_prompt": f"{_ONLY_CLIENTS}, or `processing.request_templates` puts it into prompts of /v1/completion",
    "options": _ONLY_CLIENTS,
    "max_context_tokens": "the provider's own window counts: a longer prompt is answered with 400 "
    "context_length_exceeded, and `models.<name>.context_fallbacks` names a model with a larger one",
    "cache": "see `cache`",
    "retry.retryable_errors": "what is tried again is decided by what an error means",
}


def translated(raw: dict[Any, Any]) -> tuple[dict[Any, Any], list[str]]:
    """*raw* without an `llm` section and with what it said elsewhere, where nothing stood; and what was moved."""
    warnings: list[str] = []
    result = {key: _copied(value) for key, value in raw.items()}
    for name, entry in _entries(result.get("providers")):
        if "model" in entry and "models" not in entry and isinstance(entry["model"], str):
            entry["models"] = [entry.pop("model")]
            warnings.append(f"providers.{name}.model: is now written `models: [...]`; the old spelling still works")
    llm = result.get("llm")
    if isinstance(llm, dict) and llm.get("provider"):
        del result["llm"]
        _move(llm, result, warnings.append)
    return result, warnings


def _move(llm: dict[Any, Any], result: dict[Any, Any], warn: Callable[[str], None]) -> None:
    providers = _section(result, "providers")
    first = _account(llm, providers)
    accounts = [(first, llm.get("model"))]
    for backup in llm.get("backup_providers") or ():
        if isinstance(backup, dict) and backup.get("provider"):
            accounts.append((_account(backup, providers), backup.get("model")))
    names = ", ".join(dict.fromkeys(name for name, _ in accounts))
    warn(f"llm: is now written as `providers` ({names}) and `models`; the old section still works")
    targets = [f"{name}/{model}" for name, model in accounts if model]
    if llm.get("model") and "models" not in result:
        result["models"] = {str(llm["model"]): {"targets": list(dict.fromkeys(targets))}}
        if len(targets) > 1:
            warn(f"llm.backup_providers: are now further targets of `models.{llm['model']}`, asked in this order")
    result.setdefault("provider_preference", list(dict.fromkeys(name for name, _ in accounts)))
    retry = llm.get("retry")
    if isinstance(retry, dict):
        _take(retry, _RETRY, _section(result, "failover"))
        warn("llm.retry: is now written `failover`; the old section still works")
    for name in ("health_check", "circuit_breaker"):
        if isinstance(llm.get(name), dict):
            _take(llm[name], {key: key for key in llm[name]}, _section(result, name))
            warn(f"llm.{name}: is now written `{name}` of its own; the old section still works")
    cache = llm.get("cache")
    if isinstance(cache, dict) and cache.get("enable") and "cache" not in result:
        result["cache"] = {"enabled": True} | ({"ttl": cache["ttl"]} if cache.get("ttl") else {})
    for name, instead in _DROPPED.items():
        section, _, inner = name.partition(".")
        there = (
            llm.get(section)
            if not inner
            else (llm.get(section) or {}).get(inner)
            if isinstance(llm.get(section), dict)
            else None
        )
        if there:
            warn(f"llm.{name}: has no effect any more; {instead}")


def _account(written: dict[Any, Any], providers: dict[Any, Any]) -> str:
    """The name of the provider that an old entry describes, which is made where there is none."""
    kind = str(written["provider"])
    made: dict[str, Any] = {"type": kind}
    if written.get("api_key"):
        made["api_key"] = written["api_key"]
    if written.get("endpoint"):
        made["base_url"] = _address(kind, str(written["endpoint"]))
    name, number = kind, 1
    while isinstance(known := providers.get(name), dict) and any(
        known.get(key, value) != value for key, value in made.items()
    ):
        # Another account of the same kind.
        number += 1
        name = f"{kind}-{number}"
    providers[name] = made | (providers.get(name) or {})
    return name


def _address(kind: str, endpoint: str) -> str:
    """Earlier releases spoke Ollama's own API, whose address has no version."""
    endpoint = endpoint.rstrip("/")
    return f"{endpoint}/v1" if kind == "ollama" and not endpoint.endswith("/v1") else endpoint


def _take(old: dict[Any, Any], names: dict[Any, str], new: dict[Any, Any]) -> None:
    for before, now in names.items():
        if before in old:
            new.setdefault(now, old[before])


def _section(result: dict[Any, Any], name: str) -> dict[Any, Any]:
    if not isinstance(result.get(name), dict):
        result[name] = {}
    section: dict[Any, Any] = result[name]
    return section


def _entries(providers: Any) -> list[tuple[Any, dict[Any, Any]]]:
    return (
        [(name, each) for name, each in providers.items() if isinstance(each, dict)]
        if isinstance(providers, dict)
        else []
    )


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(entry) for key, entry in value.items()}
    return value
