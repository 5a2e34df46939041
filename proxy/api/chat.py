"""
The chat question that the native paths ask of a provider in their client's name.

It is admitted, shared and relayed like one to `/v1/chat/completions`; what becomes of the answer is its caller's.
"""

from functools import partial
from typing import Any

import orjson

from proxy.api.captured import Captured, refused
from proxy.api.shared import Shared
from proxy.core import peek
from proxy.core.errors import ProxyError
from proxy.core.exchange import Exchange
from proxy.core.usage import expected_prompt, most_completion
from proxy.http.inbound import Inbound
from proxy.relay.client import Client
from proxy.relay.endpoints import operation
from proxy.relay.question import Question
from proxy.relay.relay import Relay

PATH = "/chat/completions"
_CHAT = operation(PATH)
_HEADERS = b"content-type: application/json\r\n"


class Chat:
    """Asks them."""

    def __init__(self, relay: Relay, shared: Shared) -> None:
        self._relay = relay
        self._shared = shared

    async def once(self, inbound: Inbound, asked: dict[str, Any]) -> Captured:
        """
        The whole answer of status 200 to the chat question *asked*; `ProxyError` for anything else. Whether the caller
        may use its model has been asked before.
        """
        captured = Captured()
        await self.ask(inbound, asked, captured)
        if not captured.whole:
            raise ProxyError("upstream_truncated")
        if captured.status >= 400:
            raise refused(captured.status, captured.body, asked, inbound.exchange.error_code)
        return captured

    async def ask(self, inbound: Inbound, asked: dict[str, Any], client: Client) -> None:
        """Have *client* get the answer to *asked* once its caller's limits allow it; raises as `Relay.relay` does."""
        exchange = inbound.exchange
        exchange.model = asked["model"]
        exchange.stream = stream = asked.get("stream") is True
        body = orjson.dumps(asked)
        prompt = expected_prompt(body, asked)
        key = self._shared.key(inbound, _CHAT, PATH, _HEADERS, None, body, asked)
        await self._shared.admit(inbound, _CHAT, prompt, most_completion(asked), key)
        question = Question(
            "POST",
            PATH,
            _CHAT,
            _HEADERS,
            body,
            peek.outline(asked) if len(body) >= peek.LONG else asked,
            exchange.model,
            stream=stream,
            # What a provider is asked to keep must not be kept twice.
            repeatable=asked.get("store") is not True,
            patience=None,
            timeout=inbound.timeout,
            may_use=inbound.principal.may_use,
            prompt_tokens=prompt,
        )
        if key is None:
            await self._relay.relay(exchange, question, client)
            return
        asking = partial(_relay, self._relay, question)
        await self._shared.flights.answer(key, exchange, client, asking)


async def _relay(relay: Relay, question: Question, exchange: Exchange, client: Client) -> None:
    await relay.relay(exchange, question, client)
