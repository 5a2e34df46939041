"""
One request as the front's handlers see it, and how its body is read.

Bounded in size and time; a body is never decompressed and never echoed.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web

from proxy.accounts.principals import ANYONE, Principal
from proxy.core import clock, peek
from proxy.core.errors import ProxyError
from proxy.core.exchange import Exchange
from proxy.core.headers import Header, correlation_in
from proxy.http.answer import Answer
from proxy.http.buffered import Buffered
from proxy.http.gist import Gist
from proxy.http.guard import Location
from proxy.http.reader import Reader
from proxy.http.request import BrokenBody, Request

MIN_RATE = 1024
"""Bytes a second an upload must bring on average, once the read timeout has passed."""

UNCOUNTED = 64 * 1024
"""Bytes of a body up to which it is not counted: so much may have come with its head."""

MOST_HERE = 4 * 1024 * 1024
"""Bytes of a body of which another one is made: 20 ms, if it is all text. No prompt of any model is longer."""

NO_STORE: Header = (b"Cache-Control", b"no-store")
"""On every answer of our own: a cache may keep a 404 or a list of models for as long as it likes otherwise."""
JSON_HEADERS: list[Header] = [(b"Content-Type", b"application/json"), NO_STORE]


@dataclass(slots=True)
class Inbound:
    """A request that is well formed, its record, and the answer to come."""

    request: Request
    exchange: Exchange
    answer: Answer
    location: Location
    max_body_bytes: int
    read_timeout: float
    look: "Look"
    """Whether a body may be waited for, see `Admission.look`."""
    buffered: Buffered
    """Where long bodies are counted."""
    reader: Reader
    """Where heavy ones are read."""
    handler: "Handler" = field(init=False)
    """What its route does."""
    principal: Principal = field(init=False, default=ANYONE)
    limited: bool = field(init=False, default=True)
    """The rates and places of its caller's limits hold for it."""
    timeout: float | None = field(init=False, default=None)
    """Seconds the path allows a call, the wait for a place included; None: as many as its provider is given."""
    _awaited: float = field(init=False, default=0.0)
    """Seconds spent waiting for parts of the body."""
    _held: int = field(init=False, default=0)
    """Bytes of the body that are counted in `buffered`."""

    def beside(self, exchange: Exchange) -> "Inbound":
        """The same request as part of another *exchange*: a response within a session."""
        inbound = Inbound(
            self.request,
            exchange,
            self.answer,
            self.location,
            self.max_body_bytes,
            self.read_timeout,
            self.look,
            self.buffered,
            self.reader,
        )
        inbound.principal, inbound.limited = self.principal, self.limited
        return inbound

    @property
    def content_type(self) -> str:
        """The media type, lower case, without parameters; empty when none was sent."""
        return self.request.headers.get("content-type", "").partition(";")[0].strip().lower()

    async def welcome_body(self) -> None:
        """Judge the head, and who sends it, and only then ask for the body (RFC 9110 section 10.1.1)."""
        headers = self.request.headers
        if headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
            raise ProxyError("unsupported_content_encoding")
        if not self.request.body.complete:
            await self.look(self)
        expect = headers.get("expect")
        if expect is None or self.request.version == "1.0":
            return
        if expect.strip().lower() != "100-continue":
            raise ProxyError("expectation_failed")
        self.answer.ask_for_body()

    async def read_body(self) -> bytes:
        """The whole body; 413 above the limit, 408 when it is not there in time."""
        limit = self.max_body_bytes
        length = self.request.content_length
        if length is not None and length > limit:
            # Nothing of it is wanted, so the connection cannot be used again.
            raise ProxyError("request_too_large", close=True)
        if length is not None and length > UNCOUNTED:
            await self._hold(length, self.read_timeout)
        await self.welcome_body()
        if self.request.body.complete:
            body = self.request.body.take()
        else:
            try:
                async with asyncio.timeout(self.read_timeout):
                    body = await self._collect(limit)
            except TimeoutError:
                raise ProxyError("request_timeout", headers=(("x-should-retry", "false"),), close=True) from None
            except BrokenBody:
                raise ProxyError("bad_request", "The body's framing is invalid.", close=True) from None
        if len(body) > limit:
            raise ProxyError("request_too_large", close=True)
        self.exchange.bytes_in = len(body)
        self.exchange.keep_question(body)
        return body

    async def read_part(self) -> bytes:
        """
        The next bytes of a body that is passed on as it arrives; empty at its end. Each wait is bounded, and so are
        all of them together: the time a provider takes is not held against the client, a trickle is.
        """
        allowance = self.read_timeout + self.exchange.bytes_in / MIN_RATE - self._awaited
        began = clock.now()
        try:
            async with asyncio.timeout(min(self.read_timeout, allowance)):
                chunk = await self.request.body.read()
        except TimeoutError:
            raise ProxyError("request_timeout", headers=(("x-should-retry", "false"),), close=True) from None
        except BrokenBody:
            raise ProxyError("bad_request", "The body's framing is invalid.", close=True) from None
        self._awaited += clock.now() - began
        self.exchange.bytes_in += len(chunk)
        return chunk

    async def read_json(self) -> tuple[bytes, dict[str, Any]]:
        """
        The body and the JSON object in it, for a path that makes another body of it. 415 for another content type, 400
        for anything ambiguous; otherwise as `read_here`.
        """
        if self.content_type != "application/json":
            raise ProxyError("unsupported_media_type")
        body = await self.read_body()
        if len(body) > peek.LIGHT and peek.is_heavy(body):
            return body, await self.read_here(body)
        value = peek.read_json(body)
        self._correlate(correlation_in(value))
        return body, value

    async def read_here(self, body: bytes) -> dict[str, Any]:
        """
        The JSON object in a heavy *body*, where the call needs all of it. `ProxyError` as `Reader.weigh` raises it, and
        413 for one that even then would hold up all other calls.
        """
        if len(body) > MOST_HERE:
            raise ProxyError("request_too_large", f"This path takes at most {MOST_HERE >> 20} MiB.")
        await self.reader.weigh(body)
        value: dict[str, Any] = orjson.loads(body)
        self._correlate(correlation_in(value))
        return value

    async def read_call(self, path: str) -> tuple[bytes, dict[str, Any], Gist | None]:
        """
        The body of a call to *path*, below `/v1`, and the JSON object in it; of a heavy one its outline, and beside it
        what else the call's further way asks. 400 for anything ambiguous, 413 and 503 where a heavy one is not read.
        """
        body = await self.read_body()
        if len(body) > peek.LIGHT and peek.is_heavy(body):
            gist = await self.reader.read(self.request.method, path, self.location.query, body)
            self._correlate(gist.correlation)
            return body, gist.value, gist
        value = peek.read_json(body)
        if "metadata" in value:
            self._correlate(correlation_in(value))
        return body, value, None

    def _correlate(self, offered: str) -> None:
        """The caller's systems know the call by *offered*, which its body says, where no header has said another."""
        if offered and not self.exchange.correlated:
            self.exchange.correlation_id = offered

    async def _collect(self, limit: int) -> bytes:
        parts = []
        size = 0
        while part := await self.request.body.read():
            parts.append(part)
            size += len(part)
            if size > limit:
                break
            if size > max(self._held, UNCOUNTED):
                # A body that did not say how long it is; what is left of its time is for the rest of it.
                await self._hold(size - self._held, self.read_timeout / 2)
        return b"".join(parts)

    async def _hold(self, size: int, patience: float) -> None:
        try:
            await self.buffered.take(size, patience)
        except TimeoutError:
            raise ProxyError("overloaded", headers=(("Retry-After", "1"),), close=True) from None
        self._held += size

    def let_go(self) -> None:
        """The call is over, and its body is not held any more."""
        held, self._held = self._held, 0
        if held:
            self.buffered.give(held)


Look = Callable[[Inbound], Awaitable[None]]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
"""Answers a request; it finds what is known of it under `INBOUND`."""

INBOUND = web.RequestKey("INBOUND", Inbound)
"""Where a handler finds what the middleware has made of its request."""
