"""
Which objects of an account a call names: tables, and how they are read.

An object is what an account at a provider keeps under an id: a file, a batch, a response. Whose it is stands elsewhere,
and what an answer tells of in `made`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qsl, unquote

MOST = 16
"""Ids of one call that are looked at."""
LONGEST = 256
"""Characters of an id that is kept as it is. Longer ones, which carry encrypted data, are kept by their digest."""
LONGEST_READ = 8192
"""Characters of an id that is looked at."""

PATHS = (
    # OpenAI: the methods of its SDK, https://github.com/openai/openai-python/blob/main/api.md
    *("assistants/{}", "batches/{}", "chat/completions/{}", "containers/{}/files/{}", "conversations/{}/items/{}"),
    *("evals/{}/runs/{}/output_items/{}", "files/{}", "responses/{}", "skills/{}"),
    *("fine_tuning/jobs/{}", "fine_tuning/checkpoints/{}/permissions/{}"),
    *("threads/{}/messages/{}", "threads/{}/runs/{}/steps/{}", "uploads/{}/parts/{}"),
    *("vector_stores/{}/files/{}", "vector_stores/{}/file_batches/{}"),
    *("videos/{}", "videos/characters/{}", "chatkit/sessions/{}", "chatkit/threads/{}", "realtime/calls/{}"),
    *(
        "agents/{}",
        "agents/automations/{}/invocations/{}",
        "agents/environments/{}",
        "agents/environments/templates/{}",
    ),
    *("agents/sessions/{}/turns/{}", "live/sessions/{}", "vaults/{}/credentials/{}"),
    *("webhook_endpoints/{}", "audio/voices/{}", "audio/voice_consents/{}"),
    # Anthropic: https://github.com/anthropics/anthropic-sdk-python/blob/main/api.md (files and skills are as OpenAI's)
    "messages/batches/{}",
    # Mistral: https://docs.mistral.ai/api (files, agents and conversations are as OpenAI's)
    *("batch/jobs/{}", "libraries/{}/documents/{}"),
    # Together: https://docs.together.ai/reference/post-fine-tunes
    "fine-tunes/{}",
    # xAI: https://docs.x.ai/docs/api-reference
    "chat/deferred-completion/{}",
)
"""Where ids stand in a path below `/v1`: `{}`. What follows an id is free."""

LINKS = ("/vector_stores/",)
"""Paths below which a file is only named: it lives on when it is taken out there."""

WORDS = (
    *("responses/compact", "responses/input_tokens", "threads/runs", "videos/edits", "videos/extensions"),
    *("videos/generations", "messages/count_tokens"),
)
"""Paths whose last segment stands where an id could, and is none."""

QUERIES = {"generation": "id"}
"""Parameters that name an object, by path. OpenRouter: https://openrouter.ai/docs/api-reference/get-a-generation"""
CURSORS = frozenset(("after", "before", "after_id", "before_id"))
"""Parameters of lists that name the last object of a page: the next page is in the account that has it."""

FIELDS = frozenset(
    (
        # OpenAI's request bodies, the types `*_params.py` of its SDK.
        *("previous_response_id", "conversation", "input_file_id", "file_id", "file_ids", "training_file"),
        *("validation_file", "vector_store_id", "vector_store_ids", "assistant_id", "thread_id", "container"),
        *("container_id", "part_ids", "skill_id", "eval_id", "agent_id", "environment_id"),
        # Mistral: https://docs.mistral.ai/api/#tag/beta.conversations
        *("conversation_id", "library_ids", "document_ids", "input_files"),
    )
)
"""Members of a body whose text, texts or object's `id` names something an account keeps."""
OBJECTS = frozenset(("prompt", "audio", "video", "voice"))
"""Members that do so where they are objects, and are plain text elsewhere; of what is mostly not made by a call."""

KEPT_ITEMS = frozenset(("item_reference", "reasoning", "image_generation_call"))
"""
Types of items that a call may name by their id alone, the rest of them being kept by the account: what a model thought,
unless it was handed out encrypted, and a picture that is to be changed (the guide of image generation, "multi-turn").
"""

PLAIN_TEXT = frozenset(("auto", "none"))
"""Values of such members that choose how something is made, and name nothing: `container: auto`."""

OPAQUE = frozenset(
    (
        *("metadata", "parameters", "input_schema", "json_schema", "schema", "arguments", "inputs"),
        # Of a vector store's files, and of the rows of an eval: https://platform.openai.com/docs/api-reference
        *("attributes", "item", "item_schema"),
    )
)
"""Members that hold what a client or a model wrote, not what the API reads."""
TOOL_CALLS = frozenset(("tool_use", "server_tool_use", "mcp_tool_use", "function_call", "custom_tool_call"))
"""Types of parts whose `input` is what a model wrote."""

GENERATING = frozenset(
    (
        *("/chat/completions", "/completions", "/responses", "/messages", "/messages/count_tokens", "/embeddings"),
        *("/moderations", "/rerank", "/images/edits", "/images/generations", "/images/variations", "/audio/speech"),
        *("/audio/transcriptions", "/audio/translations"),
    )
)
"""Paths whose calls ask a model and mostly name nothing."""
SEARCHED = frozenset(
    ("/chat/completions", "/responses", "/messages", "/messages/count_tokens", "/images/edits", "/audio/speech")
)
"""Those whose bodies may name something. Of the others some are long lists of numbers."""
MOST_PARTS = 20_000
"""Objects within a body that are looked at: a batch of messages may have hundreds of thousands."""


@dataclass(frozen=True, slots=True)
class Named:
    """What a call names."""

    ids: tuple[str, ...] = ()
    """Of objects, the one that decides first."""
    items: tuple[str, ...] = ()
    """Of parts of earlier answers that an account keeps: what a model thought or said."""
    cursors: tuple[str, ...] = ()
    """Of the object before or after which a list is to go on."""
    deletes: str = ""
    """The object that is gone once the call has been answered."""
    lists: bool = False
    """It asks for a list of an account's objects."""


def _tree(paths: tuple[str, ...]) -> dict[str, Any]:
    root: dict[str, Any] = {}
    for path in paths:
        node = root
        for segment in path.split("/"):
            node = node.setdefault(segment, {})
    return root


_TREE = _tree(PATHS + WORDS)


def named_by(method: str, path: str, query: str, value: dict[str, Any]) -> Named | None:
    """
    What the call names that asks for *path*, below `/v1` and without its *query*; None for one that has to do with no
    object of an account. *value* is the JSON object in its body, empty where there is none.
    """
    if method == "POST" and path in GENERATING:
        if path not in SEARCHED or (path == "/chat/completions" and not _is_rich(value)):
            return None
        ids, items = _of_body(value)
        return Named(ids, items) if ids or items else None
    parameter = QUERIES.get(path[1:])
    if parameter is not None:
        return Named(tuple(said for name, said in parse_qsl(query.lstrip("?")) if name == parameter and said))
    found, rest, is_list = of_path(path)
    if found is None:
        return None
    ids, items = _of_body(value) if value else ((), ())
    ids = tuple(unique([*found, *ids]))
    if method in ("GET", "HEAD") and is_list:
        cursors = tuple(short(said) for name, said in parse_qsl(query.lstrip("?")) if name in CURSORS and said)
        return Named(ids, cursors=cursors, lists=True)
    if method != "DELETE" or rest or not found:
        return Named(ids, items)
    linked = len(found) > 1 and path.startswith(LINKS)
    return Named(ids, items, deletes="" if linked else found[-1])


def _is_rich(chat: dict[str, Any]) -> bool:
    """Whether a chat has more than texts: most have not, and a file or a sound can only be elsewhere."""
    if "audio" in chat:
        return True
    messages = chat.get("messages")
    if type(messages) is list:
        for message in messages:
            if type(message) is dict and (type(message.get("content")) is list or "audio" in message):
                return True
    return False


def of_path(path: str) -> tuple[list[str] | None, bool, bool]:
    """The ids in *path*, None where it is of no family; whether more follows the last; whether it is a collection."""
    node: dict[str, Any] = _TREE
    ids: list[str] = []
    segments = path[1:].split("/")
    for number, segment in enumerate(segments):
        child = node.get(segment)
        if child is None:
            child = node.get("{}")
            if child is None:
                return (ids if ids else None), True, False
            ids.append(short(unquote(segment)))
        elif number == len(segments) - 1:
            return ids, True, "{}" in child
        node = child
    return ids, False, False


def _of_body(value: dict[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The ids, and those of items, in the members of *value* that the API reads, the outermost first."""
    ids: list[str] = []
    items: list[str] = []
    level: list[Any] = [value]
    left = MOST_PARTS
    while level:
        left -= len(level)
        below: list[Any] = []
        for part in level:
            if type(part) is list:
                below.extend([each for each in part if type(each) is dict or type(each) is list])
                continue
            kind = part.get("type")
            if kind in KEPT_ITEMS and not part.get("encrypted_content"):
                items.extend(texts(part.get("id")))
            elif kind == "file_id":
                # Where an eval's rows come from.
                ids.extend(texts(part.get("id")))
            if kind == "anthropic" or kind in TOOL_CALLS:
                # Skills of the provider's own, and what a model wrote.
                continue
            for name, member in part.items():
                if name in FIELDS:
                    ids.extend(texts(member))
                elif name in OBJECTS and type(member) is dict:
                    items.extend(texts(member))
                if name == "variables" and type(member) is dict:
                    # A prompt's: texts, and parts as in a message.
                    below.extend([each for each in member.values() if type(each) is dict and _is_part(each)])
                elif name not in OPAQUE and (type(member) is dict or type(member) is list):
                    below.append(member)
        level = below[: max(0, left)]
    return tuple(unique(ids)), tuple(unique(items))


def _is_part(value: dict[str, Any]) -> bool:
    """Whether *value* is a part of what a model reads: `input_file`, `input_image`."""
    return str(value.get("type")).startswith("input_")


def texts(member: Any) -> Iterator[str]:
    """The ids in *member* of a body: a text, several, or an object's `id`."""
    if type(member) is dict:
        member = member.get("id")
    for text in member if type(member) is list else (member,):
        if type(text) is str and 0 < len(text) <= LONGEST_READ and text not in PLAIN_TEXT:
            yield short(text)


def short(id: str) -> str:
    """*id* as it is kept."""
    return id if len(id) <= LONGEST else "sha256:" + sha256(id.encode("utf-8", "surrogatepass")).hexdigest()


def unique(ids: Any) -> list[str]:
    """The first `MOST` of *ids*, each once."""
    found: dict[str, None] = {}
    for each in ids:
        found[each] = None
        if len(found) >= MOST:
            break
    return list(found)
