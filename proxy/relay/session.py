"""
A WebSocket session: relayed message by message until one side ends, and the end told to the other.

Who may open one, at which provider, and what it costs, is decided elsewhere. Messages pass unchanged but for an error
that speaks of the operator's key; what is read of them is usage and such errors.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

import aiohttp

from proxy.core import clock, tasks
from proxy.core.errors import ProxyError
from proxy.core.exchange import Exchange, Outcome
from proxy.core.lenient import object_in
from proxy.core.masking import mask, mask_bytes
from proxy.core.usage import Tokens, read_usage
from proxy.providers.breaker import Judgement
from proxy.providers.last_error import LastError
from proxy.providers.pool import Pool
from proxy.providers.provider import Provider
from proxy.relay import transitions
from proxy.relay.handshake import Handshakes, Opened
from proxy.relay.lesson import learn
from proxy.relay.plan import OF_A_KEY
from proxy.relay.verdict import Failed, told_in_200
from proxy.upstream.control_plane import ControlPlane
from proxy.upstream.endpoint import Endpoint

FAILED = "response.failed"
ENDING = ("response.done", "response.completed", "response.incomplete", FAILED)
"""Events that end a response, and tell what it used (Realtime API: response.done; Responses API: the others)."""
_ENDING = tuple(kind.encode() for kind in ENDING)
LONGEST_REASON = 123
"""Bytes of a close frame's reason (RFC 6455 section 5.5)."""


class Socket(Protocol):
    """Either side of a session, as aiohttp has them."""

    async def receive(self) -> aiohttp.WSMessage:
        """The next message."""

    async def send_str(self, data: str) -> None:
        """Send a text."""

    async def send_bytes(self, data: bytes) -> None:
        """Send bytes."""

    async def close(self, *, code: int = 1000, message: bytes = b"") -> bool:
        """End it."""


class Sessions:
    """Relays sessions."""

    def __init__(
        self, pool: Pool, endpoints: Mapping[Provider, Endpoint], rng: random.Random, control: ControlPlane
    ) -> None:
        self.handshakes = Handshakes(pool, endpoints, rng, control)
        """What opens them."""
        self._endpoints = endpoints
        self._rng = rng
        self.under_way: set[asyncio.Event] = set()
        """What ends each session that is open."""

    def end_all(self) -> None:
        """The gateway stops: end every session with 1012, service restart, so that clients come back (RFC 6455)."""
        for stopping in self.under_way:
            stopping.set()

    async def first(self, exchange: Exchange, client: Socket) -> aiohttp.WSMessage | None:
        """The client's first message; None when the gateway stops before it has come, which the client is told."""
        stopping = asyncio.Event()
        self.under_way.add(stopping)
        receiving = tasks.start(client.receive(), "first message of a session")
        waiting = tasks.start(stopping.wait(), "end of sessions")
        try:
            await asyncio.wait({receiving, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if receiving.done():
                message: aiohttp.WSMessage = receiving.result()
                return message
            receiving.cancel()
            await asyncio.gather(receiving, return_exceptions=True)
            exchange.outcome, exchange.error_code = Outcome.CUT, "shutting_down"
            await _close(client, 1012)
            return None
        finally:
            self.under_way.discard(stopping)
            receiving.cancel()
            waiting.cancel()

    async def relay(
        self,
        exchange: Exchange,
        client: Socket,
        opened: Opened,
        admit: Callable[[bool, bytes], Awaitable[bytes | None]],
        tell: Callable[[ProxyError], str],
        ended: Callable[[Tokens | None, bool], Awaitable[None]],
        first: bytes | None = None,
    ) -> None:
        """
        Pass messages both ways until one side ends, and the end as well. *admit* is asked about each message of the
        client, whether it is a text and its bytes: it returns those to send on, or None where it has answered already.
        *tell* makes the event that tells a client of an error. *ended* hears of each response that has ended, with what
        it used and whether it failed. *first*: a text of the client's that has been read already.
        """
        record, target = opened.record, opened.target
        up, down = _Reading(client), _Reading(opened.socket)
        stopping = asyncio.Event()
        self.under_way.add(stopping)

        async def upward() -> None:
            message = await up.next() if first is None else (True, first)
            while message is not None:
                text, data = message
                exchange.bytes_in += len(data)
                if (admitted := await admit(text, data)) is not None:
                    await _send(down.socket, text, admitted)
                message = await up.next()

        async def downward() -> None:
            while (message := await down.next()) is not None:
                text, data = message
                record.first_content_at = record.first_content_at or clock.now()
                exchange.bytes_out += len(data)
                # Events of the Realtime and Responses APIs that hold a piece of an answer are named so.
                exchange.emitted += b'.delta"' in data
                if text and (end := _end_in(data)) is not None:
                    await ended(*end)
                if text and (error := _error_in(data)) is not None:
                    data = self._as_told(opened, data, error, tell)
                await _send(up.socket, text, data)

        sides = [tasks.start(upward(), "session, from the client"), tasks.start(downward(), "session, to the client")]
        waiting = tasks.start(stopping.wait(), "end of sessions")
        judgement = Judgement.SUCCESS
        try:
            await asyncio.wait({*sides, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if stopping.is_set():
                exchange.outcome, exchange.error_code = Outcome.CUT, "shutting_down"
                await asyncio.gather(_close(client, 1012), _close(opened.socket, 1001))
            elif down.over and down.code is None and not up.over:
                exchange.outcome, exchange.error_code = Outcome.CUT, "upstream_truncated"
                record.failure, judgement = "upstream_truncated", Judgement.FAILURE
                await _close(client, 1011)
            elif down.over:
                await _close(client, down.code, mask(down.reason, self._endpoints[target.provider].source.keys))
            else:
                if up.code is None:
                    exchange.outcome = Outcome.CLIENT_GONE
                await _close(opened.socket, up.code, up.reason)
        finally:
            # What must not be missed stands before what may be cancelled.
            self.under_way.discard(stopping)
            record.ended = clock.now()
            if record.failure:
                target.provider.last_error = LastError.of(record, clock.iso(clock.wall()))
            target.end(opened.permit, judgement, clock.now(), self._rng)
            transitions.tell(target)
            for task in (*sides, waiting):
                task.cancel()
            await asyncio.gather(*sides, waiting, return_exceptions=True)
            await opened.socket.close()

    def _as_told(self, opened: Opened, data: bytes, error: Any, tell: Callable[[ProxyError], str]) -> bytes:
        """The event *data*, which tells of *error*, without a word of the operator's key; the next sessions learn."""
        source = self._endpoints[opened.target.provider].source
        verdict = told_in_200(error, source)
        if isinstance(verdict, Failed) and verdict.code in OF_A_KEY:
            learn(opened.target, opened.key, verdict, clock.now())
            if verdict.code == "upstream_auth_error":
                return tell(ProxyError(verdict.code)).encode()
        return mask_bytes(data, source.keys)


class _Reading:
    """One side's messages, and how it ended."""

    def __init__(self, socket: Socket) -> None:
        self.socket = socket
        self.over = False
        self.code: int | None = None
        """The code it was closed with; None while it was not, and for a connection that was lost."""
        self.reason = ""

    async def next(self) -> tuple[bool, bytes] | None:
        """The next message: whether it is text, and its bytes; None when this side has ended."""
        message = await self.socket.receive()
        if message.type is aiohttp.WSMsgType.TEXT:
            return True, message.data.encode()
        if message.type is aiohttp.WSMsgType.BINARY:
            return False, message.data
        self.over = True
        if message.type is aiohttp.WSMsgType.CLOSE:
            self.code, self.reason = int(message.data), message.extra or ""
        return None


async def _send(side: Socket, text: bool, data: bytes) -> None:
    await (side.send_str(data.decode()) if text else side.send_bytes(data))


async def _close(side: Socket, code: int | None, reason: str = "") -> None:
    # Codes that only stand for what did not come may not be sent (RFC 6455 section 7.4.1).
    sent = 1000 if code in (None, 0, 1004, 1005, 1006, 1015) else code
    await side.close(code=sent, message=reason.encode()[:LONGEST_REASON].decode(errors="ignore").encode())


def _end_in(data: bytes) -> tuple[Tokens | None, bool] | None:
    """What a response used and whether it failed, if *data* is the event that ends one."""
    if not any(kind in data for kind in _ENDING):
        return None
    event = object_in(data) or {}
    kind = event.get("type")
    if kind not in ENDING:
        return None
    response = event.get("response")
    if type(response) is not dict:
        return None, kind == FAILED
    usage = response.get("usage")
    failed = kind == FAILED or response.get("status") == "failed"
    return (read_usage(usage) if type(usage) is dict else None), failed


def _error_in(data: bytes) -> Any:
    """
    The error that an event tells of: `error`, `*.failed`, and a `response.done` whose `status_details` hold one
    (Realtime API); None for any other.
    """
    if b'"error"' not in data:
        return None
    event = object_in(data) or {}
    response = event.get("response")
    if type(response) is not dict:
        return event.get("error")
    details = response.get("status_details")
    return response.get("error") or (details.get("error") if type(details) is dict else None)
