"""
Which objects of an account an answer tells of: tables, and how they are read.

Which a call names stands in `ids`. It remembers nothing.
"""

from enum import Enum
from typing import Any

from proxy.relay.ids import GENERATING, of_path, texts, unique

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
    found, rest, _ = of_path(path)
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


def updates(method: str, path: str) -> bool:
    """
    Whether the call changes or ends an object there is: what the answer says that used, it used before. A stored chat
    and a run show their usage whenever they are changed (https://platform.openai.com/docs/api-reference).
    """
    if method != "POST" or path in GENERATING:
        return False
    found, rest, _ = of_path(path)
    return bool(found) and (not rest or path.endswith("/cancel"))


def told_by(asked: Tells, value: dict[str, Any]) -> list[str]:
    """The objects that the answer *value* says there are now, the one it is about first."""
    found: list[str] = []
    if asked is Tells.MADE:
        for name in TOLD:
            found += texts(value.get(name))
    if asked is not Tells.CONTAINER:
        for name in PRODUCTS:
            found += texts(value.get(name))
    for name in WITHIN:
        member = value.get(name)
        if type(member) is dict and (asked is Tells.MADE or name == "container"):
            found += texts(member)
    output = value.get("output")
    if type(output) is list:
        for item in output:
            if type(item) is dict:
                found += texts(item.get("container_id"))
    return unique(found)
