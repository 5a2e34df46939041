"""
`POST /api/generate`: a prompt in, a text out, in the shape of the router this gateway also replaces.

One chat question through the relay; `options` are OpenAI's by their own names or by those older clients use.
"""

from typing import Any

import orjson
from aiohttp import web

from proxy.api.chat import Chat
from proxy.core import clock, peek
from proxy.core.errors import ProxyError
from proxy.http.inbound import INBOUND
from proxy.http.page import json_page
from proxy.providers.pool import Pool

OPTIONS = {
    **{name: name for name in ("temperature", "top_p", "max_tokens", "stop", "seed", "presence_penalty")},
    "frequency_penalty": "frequency_penalty",
    "maxTokens": "max_tokens",
    "topP": "top_p",
    "stopSequences": "stop",
}
"""What may stand in `options`, and how a provider knows it."""


class Generate:
    """The handler."""

    def __init__(self, chat: Chat, pool: Pool) -> None:
        self._chat = chat
        self._pool = pool

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer `{prompt, model, options}` with `{success, data, metadata}`."""
        inbound = request[INBOUND]
        _, value = await inbound.read_json()
        prompt, options = value.get("prompt"), value.get("options", {})
        if prompt is None:
            raise ProxyError("missing_required_parameter", "You must provide a prompt.", param="prompt")
        if type(prompt) is not str:
            raise ProxyError("invalid_type", "'prompt' must be a string.", param="prompt")
        if type(options) is not dict:
            raise ProxyError("invalid_type", "'options' must be an object.", param="options")
        if value.get("stream") or options.get("stream"):
            raise ProxyError(
                "invalid_parameter", "This path answers in one piece; stream /v1/chat/completions.", param="stream"
            )
        model = peek.peek_json({**options, **value}).model or self._pool.default_model()
        if model is None:
            raise ProxyError("missing_required_parameter", "Name a model, or configure one under models.")
        if not inbound.principal.may_use(model):
            raise ProxyError("model_not_allowed", param="model")
        asked: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": prompt}]}
        asked.update({OPTIONS[name]: option for name, option in options.items() if name in OPTIONS})
        captured = await self._chat.once(inbound, asked)
        text = captured.text()
        if text is None:
            raise ProxyError("upstream_protocol_error")
        exchange = inbound.exchange
        took = round((clock.now() - exchange.started) * 1000, 3)
        usage = orjson.loads(captured.body).get("usage")
        return json_page(
            {
                "success": True,
                "data": {"text": text, "model": model, "tokens": usage, "latency": took, "cached": False},
                "metadata": {"request_id": exchange.id, "duration": took},
            },
            headers={name.decode(): value.decode("latin-1") for name, value in captured.ours},
        )
