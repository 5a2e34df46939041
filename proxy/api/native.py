"""
The native completion endpoint: `messages` or `input` in, `{completion, content, request_id}` out, whole or in pieces.

It asks the same relay a chat question, with every option it was given, and tidies the answer; OpenAI's own routes
never pass here.
"""

import re
from typing import Any

from aiohttp import web

from proxy.api.captured import Captured, first_choice, refused
from proxy.api.chat import Chat
from proxy.api.native_stream import BESIDE_TEXT, ErrorBody, NativeStream, dumps
from proxy.api.processed import Processed
from proxy.api.prompts import OWN, prompt_of
from proxy.api.tidying import Pieces, tidied
from proxy.core import peek
from proxy.core.errors import ProxyError
from proxy.core.headers import Header
from proxy.http.inbound import INBOUND, Inbound
from proxy.providers.pool import Pool
from proxy.settings import Processing

TRUNCATED: Header = (b"X-Hapax-Truncated", b"true")
"""On an answer that was cut to `max_length`."""


class Native:
    """The handler of `/v1/completion`, and of `/v1/completions` without a prompt."""

    def __init__(self, chat: Chat, pool: Pool, processing: Processing, processed: Processed) -> None:
        self._chat = chat
        self._pool = pool
        self._templates = processing.request_templates
        self._formatting = processing.response_formatting
        self.processed = processed
        """What was done so far."""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Read the body and answer it."""
        inbound = request[INBOUND]
        _, value = await inbound.read_json()
        await self.answer(inbound, value, ProxyError.native_body)
        return inbound.answer

    async def answer(self, inbound: Inbound, value: dict[str, Any], error_body: ErrorBody = ProxyError.body) -> None:
        """Answer a body that has been read; *error_body*: the shape of errors at its path."""
        found = peek.peek_json(value)
        model = found.model or self._pool.default_model()
        if model is None:
            raise ProxyError("missing_required_parameter", "Name a model, or configure one under models.")
        if not inbound.principal.may_use(model):
            raise ProxyError("model_not_allowed", param="model")
        if value.get("n") not in (None, 1):
            raise ProxyError(
                "invalid_parameter", "This path answers with one text; ask /v1/chat/completions for more.", param="n"
            )
        kind = re.search(r"[?&]type=(\w+)", inbound.location.query)
        with self.processed.timed("template"):
            template, messages = prompt_of(value, kind.group(1) if kind else "", self._templates)
        self.processed.templates[template] += 1
        options = {name: option for name, option in value.items() if name not in OWN}
        asked = {**options, "model": model, "messages": messages}
        if found.stream:
            await self._stream(inbound, asked, error_body)
        else:
            await self._whole(inbound, asked)

    async def _whole(self, inbound: Inbound, asked: dict[str, Any]) -> None:
        captured = await self._chat.once(inbound, asked)
        text, more = _said(captured)
        if text is None:
            self.processed.answers["invalid"] += 1
            raise ProxyError("upstream_protocol_error")
        self.processed.answers["ok"] += 1
        headers = captured.ours
        with self.processed.timed("format"):
            text, truncated = tidied(text, self._formatting, self.processed.note)
        if truncated:
            more |= {"finish_reason": "length", "truncated": True}
            headers.append(TRUNCATED)
        value = {"completion": text, "content": text, "request_id": inbound.exchange.id, **more}
        inbound.answer.send(200, [(b"Content-Type", b"application/json"), *headers], dumps(value))

    async def _stream(self, inbound: Inbound, asked: dict[str, Any], error_body: ErrorBody) -> None:
        exchange = inbound.exchange
        pieces = Pieces(self._formatting, self.processed.note)
        client = NativeStream(inbound.answer, exchange.id, pieces, error_body)
        await self._chat.ask(inbound, asked, client)
        if client.whole:
            self.processed.answers["ok"] += 1
            client.end(exchange.tokens)
        elif client.status >= 400:
            raise refused(client.status, client.body, asked, exchange.error_code)
        elif not inbound.answer.begun:
            self.processed.answers["invalid"] += 1
            raise ProxyError("upstream_protocol_error")


def _said(captured: Captured) -> tuple[str | None, dict[str, Any]]:
    """The text of an answer, and what stands beside it: calls of tools, a refusal, an end that is none of its own."""
    choice = first_choice(captured.value)
    message, reason = choice.get("message"), choice.get("finish_reason")
    more: dict[str, Any] = {}
    if type(message) is dict:
        more = {name: message[name] for name in BESIDE_TEXT if message.get(name)}
    text = captured.text()
    if text is None and more:
        text = ""
    if type(reason) is str and reason != "stop":
        more["finish_reason"] = reason
    return text, more
