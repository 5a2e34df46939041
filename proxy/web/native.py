"""
The native completion endpoint: `messages` or `input` in, `{completion, content, request_id}` out.

It asks the same relay a chat question and tidies the answer; OpenAI's own routes never pass here.
"""

import re
from functools import partial
from typing import Any

import orjson

from proxy import peek
from proxy.errors import ProxyError
from proxy.providers.pool import Pool
from proxy.relay.relay import Relay
from proxy.settings import Processing
from proxy.web.admission import Admission
from proxy.web.captured import chat_once
from proxy.web.inbound import Inbound

MAX_FUNCTION_DESCRIPTION = 5 * 1024
MAX_INPUT = 512 * 1024
_ROLES = ("system", "user", "assistant")
_FENCE = re.compile(r"```[A-Za-z0-9]*\s*\n(.*?)\n?\s*```", re.DOTALL)
_ACTION = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}", re.DOTALL)
_LOOP = re.compile(r"\{\{-?\s*range \.Messages\s*-?\}\}(.*?)\{\{-?\s*end\s*-?\}\}", re.DOTALL)


class Native:
    """The handler of `/v1/completion`, and of `/v1/completions` without a prompt."""

    def __init__(self, relay: Relay, admission: Admission, pool: Pool, processing: Processing) -> None:
        self._relay = relay
        self._admission = admission
        self._pool = pool
        self._templates = processing.request_templates
        self._formatting = processing.response_formatting

    async def handle(self, inbound: Inbound) -> None:
        """Read the body and answer it."""
        _, value = await inbound.read_json()
        await self.answer(inbound, value)

    async def answer(self, inbound: Inbound, value: dict[str, Any]) -> None:
        """Answer a body that has been read."""
        exchange = inbound.exchange
        model = peek.peek_json(value).model or self._pool.default_model()
        if model is None:
            raise ProxyError("missing_required_parameter", "Name a model, or configure one under models.")
        if not inbound.principal.may_use(model):
            raise ProxyError("model_not_allowed", param="model")
        kind = re.search(r"[?&]type=(\w+)", inbound.location.query)
        messages = self._messages(value, kind.group(1) if kind else "")
        captured = await chat_once(self._relay, self._admission, inbound, {"model": model, "messages": messages})
        text = captured.text()
        if text is None:
            raise ProxyError("upstream_protocol_error")
        text = self._tidy(text)
        inbound.send_json({"completion": text, "content": text, "request_id": exchange.id}, headers=captured.ours)

    def _messages(self, value: dict[str, Any], kind: str) -> list[dict[str, Any]]:
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
            if kind == "chat":
                messages = [{"role": "user", "content": self._fill(self._templates.chat, "", "", messages)}]
            leading = [{"role": "system", "content": described}] if described else []
            return leading + messages
        if given is None:
            raise ProxyError("missing_required_parameter", "Either input or messages must be provided.")
        if type(given) is not str:
            raise ProxyError("invalid_type", "'input' must be a string.", param="input")
        if len(given.encode()) > MAX_INPUT:
            raise ProxyError("input_too_large", param="input")
        template = self._templates.default
        if kind == "function" or (described and kind != "default"):
            template = self._templates.function
        return [{"role": "user", "content": self._fill(template, given, described or "", [])}]

    @staticmethod
    def _fill(template: str, given: str, described: str, messages: list[dict[str, Any]]) -> str:
        """Fill a template whose form the settings have checked; values are never read as templates themselves."""

        pieces: list[str] = []
        at = 0
        for match in _LOOP.finditer(template):
            pieces.append(_plain(template[at : match.start()], given, described))
            pieces += [_ACTION.sub(partial(_of_message, message), match[1]) for message in messages]
            at = match.end()
        return "".join([*pieces, _plain(template[at:], given, described)])

    def _tidy(self, text: str) -> str:
        formatting = self._formatting
        if formatting.clean_json:
            fenced = _FENCE.search(text)
            if fenced is not None and _is_json(fenced.group(1)):
                text = fenced.group(1)
        if formatting.trim_whitespace:
            text = text.strip()
        encoded = text.encode()
        if len(encoded) > formatting.max_length:
            text = encoded[: formatting.max_length].decode(errors="ignore")
        return text


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


def _is_json(text: str) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True
