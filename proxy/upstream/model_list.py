"""
A provider's model list as it comes: asked for page by page, read leniently.

OpenAI's form is `{"data": [{"id": ...}]}`; others answer a bare array, `models`, or entries that have a `name`. What
is there is taken. What a list means, and when it is asked for, is decided elsewhere.
"""

from typing import Any
from urllib.parse import quote

from proxy.core.lenient import value_in
from proxy.upstream.control_plane import ControlPlane, FetchError, TooLarge
from proxy.upstream.endpoint import Endpoint
from proxy.upstream.fetch import fetch

MOST_PAGES = 20
LONGEST_NAME = 512
"""Characters; what is longer is no name of a model."""

_LISTS = ("data", "models", "result", "value", "items")
"""
Where the entries stand. `data`: OpenAI, Anthropic, most others. `models`: Ollama's `/api/tags` (docs.ollama.com/api),
Gemini's `v1beta/models` (ai.google.dev/api/models), Cohere's `v1/models` (docs.cohere.com/reference/list-models).
`result`: Cloudflare Workers AI (developers.cloudflare.com/api, ai/models/search). A bare array: Together
(docs.together.ai/reference/models), GitHub Models (docs.github.com/rest/models/catalog).
"""
_NAMES = ("id", "name", "model", "model_name", "model_id")
"""What a name is called: `id` at OpenAI, `name` at Ollama, Gemini and Cohere, `model_name` in LiteLLM's own list."""
_NATIVE_PREFIX = "models/"
"""Stands before the names of Gemini's own list, and not in requests of OpenAI's form."""
_TOKENS = (("nextPageToken", "pageToken"), ("next_page_token", "page_token"))
"""What leads to the next page, and the query key that takes it: Gemini's own list, Cohere's."""


class NoList(Exception):
    """The provider answered, and with something else; the text says what, for the log."""


async def model_list(control: ControlPlane, endpoint: Endpoint, key_count: int, timeout: float) -> list[dict[str, Any]]:
    """
    The entries of the provider's list, each with an `id`. Each page has *timeout* seconds. Raises `FetchError` where
    it cannot be reached or has failed (a status above 499), `NoList` where it is there and gives none.
    """
    path, key = endpoint.models_path, 0
    entries: dict[str, dict[str, Any]] = {}
    for page in range(MOST_PAGES):
        try:
            status, body = await _page(control, endpoint, path, timeout, key)
            while not page and status in (401, 403) and key + 1 < key_count:
                # One key that was revoked says nothing of the others.
                key += 1
                status, body = await _page(control, endpoint, path, timeout, key)
            value = _judged(status, body)
        except (FetchError, NoList):
            if page:
                # What has come is more than nothing.
                break
            raise
        before = len(entries)
        for entry in _entries(value, endpoint.model_prefix):
            entries.setdefault(entry["id"], entry)
        query = next_page(value)
        if query is None or len(entries) == before:
            break
        path = endpoint.models_path + ("&" if "?" in endpoint.models_path else "?") + query
    return list(entries.values())


def next_page(value: Any) -> str | None:
    """The query that asks for the page after *value*; None at the end."""
    if type(value) is not dict:
        return None
    for token, key in _TOKENS:
        said = value.get(token)
        if type(said) is str and said:
            return f"{key}={quote(said, safe='')}"
    if value.get("has_more") is not True:
        return None
    last = value.get("last_id")
    if type(last) is not str or not last:
        entries = _entries(value, "")
        last = entries[-1]["id"] if entries else ""
    # OpenAI's lists go on with `after` (platform.openai.com/docs/api-reference), Anthropic's with `after_id`
    # (platform.claude.com/docs/en/api/models-list); each passes over the other's.
    return f"after_id={quote(last, safe='')}&after={quote(last, safe='')}" if last else None


async def _page(control: ControlPlane, endpoint: Endpoint, path: str, timeout: float, key: int) -> tuple[int, bytes]:
    try:
        return await fetch(control, endpoint, path, timeout, key)
    except TooLarge as error:
        raise NoList(str(error)) from error


def _judged(status: int, body: bytes) -> Any:
    if status >= 500 and status != 501:
        raise FetchError(f"status {status}")
    if status != 200:
        raise NoList(f"status {status}")
    value = value_in(body)
    if _found(value) is None:
        raise NoList("not a model list")
    return value


def _found(value: Any) -> list[Any] | None:
    """The array the entries of *value* stand in; None where it is no list of models."""
    if type(value) is list:
        entries: list[Any] = value
        return entries
    if type(value) is not dict or type(value.get("error")) is dict:
        return None
    lists: list[list[Any]] = [value[key] for key in _LISTS if type(value.get(key)) is list]
    if lists:
        return next((entries for entries in lists if entries), lists[0])
    # Ollama without any model writes null (github.com/ollama/ollama, openai.ListCompletion's Data).
    return [] if value.get("object") == "list" and "data" in value and value["data"] is None else None


def _entries(value: Any, prefix: str) -> list[dict[str, Any]]:
    found = []
    for entry in _found(value) or ():
        if type(entry) is str:
            entry = {"id": entry}
        if type(entry) is not dict:
            continue
        for key in _NAMES:
            name = entry.get(key)
            if type(name) is str and name:
                name = name.removeprefix(prefix if key == "id" else prefix or _NATIVE_PREFIX)
                if name and len(name) <= LONGEST_NAME and name.isprintable():
                    found.append({**entry, "id": name})
                break
    return found
