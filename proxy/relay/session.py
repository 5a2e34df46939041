"""
A WebSocket session: connected to the first provider that opens it, and relayed message by message until one side ends.

Until the provider has opened it another target may; from then on the session belongs to it. Who may open one, and what
a session costs, is decided elsewhere. Messages pass unchanged; what is read of them is usage.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

import orjson

from proxy import clock, tasks
from proxy.errors import ProxyError
from proxy.exchange import AttemptRecord, Exchange, Outcome
from proxy.providers.breaker import Permit
from proxy.providers.breaker import Verdict as Judgement
from proxy.providers.pool import Pool
from proxy.providers.provider import Provider
from proxy.providers.target import Target
from proxy.relay.blame import PARK_REFUSED
from proxy.relay.side import Side, Socket, close
from proxy.upstream.endpoint import Endpoint
from proxy.usage import Tokens, read_usage

if TYPE_CHECKING:
    import aiohttp

OPENING = 20.0
"""Seconds a provider has to open a session; it is a handshake, no model is asked yet."""
MAX_MESSAGE_BYTES = 16 * 1024 * 1024
"""A message longer than this ends the session; OpenAI takes 15 MiB of audio at once (Realtime API)."""
ENDING = ("response.done", "response.completed", "response.incomplete")
"""Events that tell what a response used (Realtime API: response.done; Responses API: the others)."""


class Opened:
    """A session a provider has opened."""

    def __init__(
        self, socket: "aiohttp.ClientWebSocketResponse", target: Target, permit: Permit | None, record: AttemptRecord
    ) -> None:
        self.socket = socket
        self.target = target
        self.permit = permit
        self.record = record


class Sessions:
    """Opens sessions at providers, and relays them."""

    def __init__(self, pool: Pool, endpoints: Mapping[Provider, Endpoint], rng: random.Random) -> None:
        self._pool = pool
        self._endpoints = endpoints
        self._rng = rng
        self._client: aiohttp.ClientSession | None = None
        self._under_way: set[asyncio.Event] = set()

    async def stop(self) -> None:
        """Close what connections to providers there still are."""
        if self._client is not None:
            await self._client.close()

    def end_all(self) -> None:
        """The gateway stops: end every session with 1012, service restart, so that clients come back (RFC 6455)."""
        for stopping in self._under_way:
            stopping.set()

    async def open(
        self, exchange: Exchange, model: str | None, path: Callable[[str | None], str], lines: bytes, offered: list[str]
    ) -> Opened:
        """
        Open a session for *model* at the first of its targets that does; *path* makes the path for a target's name of
        it, *offered* are subprotocols. `ProxyError` when none does.
        """
        targets = self._pool.choose(model, clock.now()).available
        if not targets:
            known = self._pool.targets(model)
            raise ProxyError("upstream_unavailable" if known or model is None else "model_not_found", param="model")
        error: ProxyError | None = None
        for target in targets:
            now = clock.now()
            permit, key = target.begin(now)
            record = AttemptRecord(target.provider.name, target.model or "", now)
            exchange.attempts.append(record)
            judgement = Judgement.EXCLUDED
            try:
                socket = await self._handshake(target, path(target.model), lines, offered, key, exchange.id, record)
            except ProxyError as failed:
                error = failed
                judgement = self._learn(target, key, record, failed)
            else:
                record.head_at = clock.now()
                exchange.answered_model = model or ""
                if permit is not None and permit.probe:
                    target.breaker.record(permit, clock.now(), Judgement.SUCCESS, self._rng)
                    permit = target.breaker.allow(clock.now())
                return Opened(socket, target, permit, record)
            finally:
                if not record.head_at:
                    record.ended = clock.now()
                    target.end(permit, judgement, clock.now(), self._rng)
        assert error is not None
        raise error

    async def relay(
        self, exchange: Exchange, client: Socket, opened: Opened, admit: Callable[[str], Awaitable[str | None]]
    ) -> None:
        """
        Pass messages both ways until one side ends, and the end as well. *admit* is asked about each text of the
        client: it returns the text to send on, or None for one that has been answered already.
        """
        record, target = opened.record, opened.target
        up, down = Side(client), Side(opened.socket)
        stopping = asyncio.Event()
        self._under_way.add(stopping)

        async def upward() -> None:
            while (message := await up.next()) is not None:
                text, data = message
                exchange.bytes_in += len(data)
                if not text:
                    await down.socket.send_bytes(data)
                elif (admitted := await admit(data.decode())) is not None:
                    await down.socket.send_str(admitted)

        async def downward() -> None:
            while (message := await down.next()) is not None:
                text, data = message
                record.first_content_at = record.first_content_at or clock.now()
                exchange.bytes_out += len(data)
                exchange.events += 1
                if text and (used := _used(data)) is not None:
                    record.tokens = used if record.tokens is None else record.tokens + used
                await (up.socket.send_str(data.decode()) if text else up.socket.send_bytes(data))

        sides = [tasks.start(upward(), "session, from the client"), tasks.start(downward(), "session, to the client")]
        waiting = tasks.start(stopping.wait(), "end of sessions")
        judgement = Judgement.SUCCESS
        try:
            await asyncio.wait({*sides, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if stopping.is_set():
                exchange.outcome, exchange.error_code = Outcome.CUT, "shutting_down"
                await asyncio.gather(close(client, 1012), close(opened.socket, 1001))
            elif down.over and down.code is None and not up.over:
                exchange.outcome, exchange.error_code = Outcome.CUT, "upstream_truncated"
                record.failure, judgement = "upstream_truncated", Judgement.FAILURE
                await close(client, 1011)
            elif down.over:
                await close(client, down.code)
            else:
                if up.code is None:
                    exchange.outcome = Outcome.CLIENT_GONE
                await close(opened.socket, up.code)
        finally:
            # What must not be missed stands before what may be cancelled.
            self._under_way.discard(stopping)
            record.ended = clock.now()
            target.end(opened.permit, judgement, clock.now(), self._rng)
            for task in (*sides, waiting):
                task.cancel()
            await asyncio.gather(*sides, waiting, return_exceptions=True)
            await opened.socket.close()

    async def _handshake(
        self,
        target: Target,
        path: str,
        lines: bytes,
        offered: list[str],
        key: int,
        request_id: str,
        record: AttemptRecord,
    ) -> "aiohttp.ClientWebSocketResponse":
        # A megabyte, and eight with what it brings, that only sessions need.
        import aiohttp

        if self._client is None:
            self._client = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=None), trace_configs=[_without_redirects()]
            )
        endpoint = self._endpoints[target.provider]
        url, headers = endpoint.websocket(path, lines, request_id, key)
        record.sent_at = clock.now()
        try:
            async with asyncio.timeout(OPENING):
                return await self._client.ws_connect(
                    url,
                    headers=headers,
                    protocols=offered,
                    autoclose=False,
                    max_msg_size=MAX_MESSAGE_BYTES,
                    proxy=endpoint.forward_proxy or None,
                )
        except TimeoutError:
            raise ProxyError("upstream_timeout") from None
        except aiohttp.WSServerHandshakeError as refused:
            record.status = refused.status
            raise _refusal(refused.status) from None
        except (aiohttp.ClientError, OSError):
            raise ProxyError("upstream_connect_error") from None

    @staticmethod
    def _learn(target: Target, key: int, record: AttemptRecord, failed: ProxyError) -> Judgement:
        """What a handshake that failed means for the next calls, and what the breaker is told."""
        record.failure = failed.code
        now = clock.now()
        if failed.code == "upstream_auth_error":
            target.provider.park(key, now + PARK_REFUSED)
        elif failed.code == "rate_limit_exceeded":
            target.rest(key, None, now)
        elif failed.code != "upgrade_not_supported":
            return Judgement.FAILURE
        return Judgement.EXCLUDED


def _refusal(status: int) -> ProxyError:
    """What a provider's answer to the handshake amounts to."""
    if status == 401:
        return ProxyError("upstream_auth_error")
    if status == 429:
        return ProxyError("rate_limit_exceeded")
    if status >= 500 and status != 501:
        return ProxyError("upstream_error")
    # It is there and speaks HTTP: clients that know both go on with that when they are told so (RFC 9110 15.5.22).
    return ProxyError(
        "upgrade_not_supported",
        "No provider of this model opens a WebSocket at this path; use HTTP.",
        headers=(("Upgrade", "HTTP/1.1"),),
    )


def _without_redirects() -> "aiohttp.TraceConfig":
    """A handshake that is redirected is refused: our key must go nowhere but to its provider."""
    import aiohttp

    async def refuse(*_: object) -> None:
        raise aiohttp.ClientError

    config = aiohttp.TraceConfig()
    config.on_request_redirect.append(refuse)
    return config


def _used(data: bytes) -> Tokens | None:
    """What a response used, if *data* is the event that ends one."""
    if b'"usage"' not in data:
        return None
    try:
        event = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    if type(event) is not dict or event.get("type") not in ENDING:
        return None
    response = event.get("response")
    usage = response.get("usage") if type(response) is dict else None
    return read_usage(usage) if type(usage) is dict else None
