"""
What the native endpoint asks a model: messages made of its own fields, by the templates of the configuration.

It checks those fields and fills templates whose form the settings have checked. Options are not its affair.
"""

import re
from functools import partial
from typing import Any

from proxy.core.errors import ProxyError
from proxy.settings.processing import RequestTemplates

MAX_FUNCTION_DESCRIPTION = 5 * 1024
MAX_INPUT = 512 * 1024
OWN = frozenset(("input", "function_description", "messages"))
"""Fields that become messages; whatever else stands in a body is an option of the chat."""
UNCHANGED = "none"
"""What stands for a template where messages pass as they are."""

_ROLES = ("system", "user", "assistant")
_ACTION = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}", re.DOTALL)
_LOOP = re.compile(r"\{\{-?\s*range \.Messages\s*-?\}\}(.*?)\{\{-?\s*end\s*-?\}\}", re.DOTALL)

Messages = list[dict[str, Any]]


def prompt_of(value: dict[str, Any], kind: str, templates: RequestTemplates) -> tuple[str, Messages]:
    """
    The template that was used and the messages it made of the body *value*; *kind* is what the query says under
    `type`. `ProxyError` 400 where a field is missing, of a wrong type or too large.
    """
    described = value.get("function_description")
    if described is not None and type(described) is not str:
        raise ProxyError("invalid_type", "'function_description' must be a string.", param="function_description")
    if described and len(described.encode()) > MAX_FUNCTION_DESCRIPTION:
        raise ProxyError(
            "function_description_too_large",
            param="function_description",
            details={
                "type": "function",
                "max_size": "5KB",
                "actual_size": f"{-(-len(described.encode()) // 1024)}KB",
            },
        )
    messages = value.get("messages")
    given = value.get("input")
    if messages is not None:
        if type(messages) is not list or not messages or not all(_is_message(message) for message in messages):
            raise ProxyError("invalid_type", "'messages' must be a list of {role, content}.", param="messages")
        used = UNCHANGED
        if kind == "chat":
            used, messages = kind, [{"role": "user", "content": _fill(templates.chat, "", "", messages)}]
        leading = [{"role": "system", "content": described}] if described else []
        return used, leading + messages
    if given is None:
        raise ProxyError("missing_required_parameter", "Either input or messages must be provided.")
    if type(given) is not str:
        raise ProxyError("invalid_type", "'input' must be a string.", param="input")
    if len(given.encode()) > MAX_INPUT:
        raise ProxyError("input_too_large", param="input")
    used, template = "default", templates.default
    if kind == "function" or (described and kind != "default"):
        used, template = "function", templates.function
    return used, [{"role": "user", "content": _fill(template, given, described or "", [])}]


def _fill(template: str, given: str, described: str, messages: Messages) -> str:
    """Fill a template; values are never read as templates themselves."""
    pieces: list[str] = []
    at = 0
    for match in _LOOP.finditer(template):
        pieces.append(_plain(template[at : match.start()], given, described))
        pieces += [_ACTION.sub(partial(_of_message, message), match[1]) for message in messages]
        at = match.end()
    return "".join([*pieces, _plain(template[at:], given, described)])


def _plain(template: str, given: str, described: str) -> str:
    return _ACTION.sub(lambda part: given if part.group(1) == ".Input" else described, template)


def _of_message(message: dict[str, Any], part: re.Match[str]) -> str:
    return str(message["role" if part.group(1) == ".Role" else "content"])


def _is_message(message: Any) -> bool:
    return (
        type(message) is dict
        and message.get("role") in _ROLES
        and type(message.get("content")) is str
        and bool(message["content"])
    )
