"""
Which objects of an account a call names, and which an answer tells of: tables, and how they are read.

An object is what an account at a provider keeps under an id: a file, a batch, a response. Whose it is stands elsewhere.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any
from urllib.parse import parse_qsl, unquote

MOST = 16
"""Ids of one call that are looked at."""
LONGEST = 256
"""Characters of an id."""

PATHS = (
    # OpenAI: the methods of its SDK, https://github.com/openai/openai-python/blob/main/api.md
    *("assistants/{}", "batches/{}", "chat/completions/{}", "containers/{}/files/{}", "conversations/{}/items/{}"),
    *("evals/{}/runs/{}/output_items/{}", "files/{}", "responses/{}", "skills/{}/versions/{}"),
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

PLAIN_TEXT = frozenset(("auto", "none"))
"""Values of such members that choose how something is made, and name nothing: `container: auto`."""

OPAQUE = frozenset(
    ("metadata", "parameters", "input_schema", "json_schema", "schema", "arguments", "inputs", "variables")
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

TOLD = ("id", "request_id", "conversation_id", "thread_id")
"""
Members of the answer to a POST that name what it made: an object, xAI's videos and deferred completions, Mistral's
conversations, the thread of `POST /threads/runs`.
"""
PRODUCTS = ("output_file_id", "error_file_id", "result_files", "output_file", "error_file", "container_id")
"""
Members of any answer about an object that name what was made for it: OpenAI's batches and fine-tuning jobs, Mistral's
batch jobs.
"""
WITHIN = ("file", "conversation", "container")
"""Members whose `id` names something made: an upload's file, a response's conversation, a message's container."""


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
    found, rest, is_list = _of_path(path)
    if found is None:
        return None
    ids, items = _of_body(value) if value else ((), ())
    ids = tuple(_unique([*found, *ids]))
    if method in ("GET", "HEAD") and is_list:
        cursors = tuple(said for name, said in parse_qsl(query.lstrip("?")) if name in CURSORS and said)
        return Named(ids, cursors=cursors, lists=True)
    return Named(ids, items, deletes=found[-1] if method == "DELETE" and found and not rest else "")


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


class Tells(Enum):
    """What the answer to a call may tell of."""

    NOTHING = 0
    MADE = 1
    """An object that was made, and what was made for it."""
    PRODUCTS = 2
    """What was made for the object it shows."""
    CONTAINER = 3
    """A container in which a model ran its code: https://docs.claude.com/en/api/messages (`container`)"""


def tells(method: str, path: str, value: dict[str, Any]) -> Tells:
    """What the answer may tell of that is given at *path*, below `/v1`, to a body that is the JSON object *value*."""
    if path in GENERATING:
        if method != "POST":
            return Tells.NOTHING
        if path == "/responses":
            # Kept unless the call says otherwise: https://platform.openai.com/docs/api-reference/responses/create
            return Tells.NOTHING if value.get("store") is False else Tells.MADE
        if path == "/chat/completions":
            return Tells.MADE if value.get("store") is True or value.get("deferred") is True else Tells.NOTHING
        if path == "/messages" and ("container" in value or _runs_code(value.get("tools"))):
            return Tells.CONTAINER
        return Tells.NOTHING
    found, rest, _ = _of_path(path)
    if found is None or method not in ("GET", "POST"):
        return Tells.NOTHING
    if method == "POST":
        return Tells.MADE
    # What stands below an object may be a file: what is in that was written by its maker.
    return Tells.PRODUCTS if found and not rest else Tells.NOTHING


def _runs_code(tools: Any) -> bool:
    if type(tools) is list:
        for tool in tools:
            if type(tool) is dict and str(tool.get("type")).startswith("code_execution"):
                return True
    return False


def _of_path(path: str) -> tuple[list[str] | None, bool, bool]:
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
            ids.append(unquote(segment)[:LONGEST])
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
            if kind == "item_reference" or (kind == "reasoning" and not part.get("encrypted_content")):
                # What a model thought is kept by its account alone, unless it was handed out encrypted.
                items.extend(_texts(part.get("id")))
            if kind == "anthropic" or kind in TOOL_CALLS:
                # Skills of the provider's own, and what a model wrote.
                continue
            for name, member in part.items():
                if name in FIELDS:
                    ids.extend(_texts(member))
                elif name in OBJECTS and type(member) is dict:
                    items.extend(_texts(member))
                if name not in OPAQUE and (type(member) is dict or type(member) is list):
                    below.append(member)
        level = below[: max(0, left)]
    return tuple(_unique(ids)), tuple(_unique(items))


def _texts(member: Any) -> Iterator[str]:
    if type(member) is dict:
        member = member.get("id")
    for text in member if type(member) is list else (member,):
        if type(text) is str and 0 < len(text) <= LONGEST and text not in PLAIN_TEXT:
            yield text


def _unique(ids: Any) -> list[str]:
    found: dict[str, None] = {}
    for each in ids:
        found[each] = None
        if len(found) >= MOST:
            break
    return list(found)


def told_by(asked: Tells, value: dict[str, Any]) -> list[str]:
    """The objects that the answer *value* says there are now, the one it is about first."""
    found: list[str] = []
    if asked is Tells.MADE:
        for name in TOLD:
            found += _texts(value.get(name))
    if asked is not Tells.CONTAINER:
        for name in PRODUCTS:
            found += _texts(value.get(name))
    for name in WITHIN:
        member = value.get(name)
        if type(member) is dict and (asked is Tells.MADE or name == "container"):
            found += _texts(member)
    output = value.get("output")
    if type(output) is list:
        for item in output:
            if type(item) is dict:
                found += _texts(item.get("container_id"))
    return _unique(found)
