"""
The gateway as `hapax chat` asks it: which models there are, one streamed answer, and what that cost.

A question is sent once and never again by itself, since each time costs money. It prints nothing.
"""

import ssl
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote

import aiohttp

from proxy.cli.chat_answer import Answer, EventReader
from proxy.cli.gateway import WITHIN, silent
from proxy.core import clock
from proxy.core.lenient import value_in

CONNECT_WITHIN = 10.0
"""Seconds until a gateway that does not take a connection is taken as none. How long an answer lasts is its affair."""
COST_WITHIN = 2.0
"""Seconds a gateway gets to say what an answer cost; it does not say it to every key."""

Message = dict[str, str]


class Unanswered(Exception):
    """The gateway refused, or is not there; a sentence."""


class Client:
    """A caller of one gateway."""

    def __init__(self, there: str, context: ssl.SSLContext, key: str | None, admin_key: str | None) -> None:
        """
        *there*: its URL, without a path. *key*: of a client, None where none is needed. *admin_key*: opens what calls
        cost; None where that is not known. To be made within an event loop.
        """
        self.there = there
        self._key = key
        self._admin_key = admin_key
        # A gateway leads nowhere else, and a key must not go where something else leads.
        self._way: dict[str, Any] = {"ssl": context, "allow_redirects": False}
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_WITHIN),
            headers={} if key is None else {"X-API-Key": key},
        )

    async def close(self) -> None:
        """Let go of the connection."""
        await self._session.close()

    async def models(self) -> list[str]:
        """The models this key may ask, in the gateway's order; `Unanswered`."""
        timeout = aiohttp.ClientTimeout(total=WITHIN)
        try:
            async with self._session.get(f"{self.there}/v1/models", timeout=timeout, **self._way) as came:
                body = await came.read()
        except (aiohttp.ClientError, OSError) as error:
            raise self._silent(error) from None
        if came.status != 200:
            raise _refused(came.status, body, self._key)
        value = value_in(body)
        listed = value.get("data") if isinstance(value, dict) else None
        if not isinstance(listed, list):
            raise Unanswered(f"What answers at {self.there} is no gateway: its list of models is none.")
        return [each["id"] for each in listed if isinstance(each, dict) and isinstance(each.get("id"), str)]

    async def ask(
        self, model: str, messages: Sequence[Message], answer: Answer, heard: Callable[[str, str], object]
    ) -> None:
        """
        Put a question; all that comes is in *answer*, and *heard* is told it as it comes: what was thought, and what
        was said. A stream that breaks off ends with a fault in *answer*. `Unanswered` where none was begun.
        """
        body = {
            "model": model,
            "messages": list(messages),
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        url = f"{self.there}/v1/chat/completions"
        begun = False
        try:
            async with self._session.post(url, json=body, **self._way) as came:
                if came.status != 200:
                    raise _refused(came.status, await came.read(), self._key)
                begun = True
                answer.provider = came.headers.get("X-Hapax-Provider", "")
                answer.attempts = came.headers.get("X-Hapax-Attempts", "")
                answer.stored = came.headers.get("X-Hapax-Cache") == "hit"
                answer.shared = came.headers.get("X-Hapax-Deduplicated") == "true"
                answer.request_id = came.headers.get("X-Request-ID", "")
                await _read(came, answer, heard)
        except (aiohttp.ClientError, OSError) as error:
            if not begun:
                raise self._silent(error) from None
            answer.fault = answer.fault or "the connection broke off"

    async def find_cost(self, answer: Answer) -> None:
        """Put into *answer* what it cost, where that may be known: with the admin key, or where none is needed."""
        if not answer.request_id or (self._admin_key is None and self._key is not None):
            return
        url = f"{self.there}/admin/requests/{quote(answer.request_id, safe='')}"
        headers = {} if self._admin_key is None else {"X-API-Key": self._admin_key}
        timeout = aiohttp.ClientTimeout(total=COST_WITHIN)
        try:
            async with self._session.get(url, headers=headers, timeout=timeout, **self._way) as came:
                told: Any = value_in(await came.read()) if came.status == 200 else None
        except (aiohttp.ClientError, OSError):
            # It is not what was asked for.
            return
        cost = told.get("cost_micro_usd") if isinstance(told, dict) else None
        answer.cost = cost if isinstance(cost, int) else None

    def _silent(self, error: Exception) -> Unanswered:
        return Unanswered(silent(self.there, type(error).__name__))


async def _read(came: aiohttp.ClientResponse, answer: Answer, heard: Callable[[str, str], object]) -> None:
    if came.content_type != "text/event-stream":
        # An answer that is no stream, from a gateway or provider that does not know any.
        heard(*answer.take(await came.read(), clock.now()))
        return
    reader = EventReader()
    async for piece in came.content.iter_any():
        for data in reader.feed(piece):
            heard(*answer.take(data, clock.now()))
    for data in reader.end():
        heard(*answer.take(data, clock.now()))


def _refused(status: int, body: bytes, key: str | None) -> Unanswered:
    value = value_in(body)
    error = value.get("error") if isinstance(value, dict) else None
    told = error if isinstance(error, dict) else {}
    message = str(told.get("message") or "no reason")
    code = f" ({told['code']})" if told.get("code") else ""
    advice = ""
    if status == 401 and key is None:
        advice = " Name a key with --key or HAPAX_CLIENT_KEY; `hapax keys create NAME` makes one."
    return Unanswered(f"The gateway answered {status}: {message}{code}{advice}")
