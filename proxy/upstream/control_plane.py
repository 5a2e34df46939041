"""
The one `ClientSession` of a gateway: probes, model lists, what is sent to collectors, and WebSockets to providers.

It follows no redirect, keeps no cookie, reads no proxy variable, and takes no more of an answer than it is told to. The
calls of clients go over the wire (`connections`) and never through here.
"""

import asyncio
import errno
import io
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from contextvars import ContextVar
from functools import cached_property
from types import SimpleNamespace

import aiohttp
from yarl import URL

from proxy.upstream.connection import MAX_HEAD_BYTES, MAX_HEADERS
from proxy.upstream.connections import DNS_TTL, HAPPY_EYEBALLS_DELAY, KEEP_ALIVE, verified_tls
from proxy.upstream.resolver import Resolver

MAX_REFUSAL_BYTES = 64 * 1024
"""Bytes that are read of an answer to a handshake which is no upgrade."""

_said: ContextVar[bytearray | None] = ContextVar("said", default=None)
"""Takes what is answered in the place of an upgrade, of which aiohttp keeps the head alone; None for other calls."""


class FetchError(Exception):
    """No whole answer came; the text says why, for the log."""


class TooLarge(FetchError):
    """It is there, and says more than is read."""


class Unreadable(FetchError):
    """Something came that is no HTTP to aiohttp."""


class NoUpgrade(Exception):
    """A WebSocket was asked for and something else was answered."""

    def __init__(self, status: int, headers: Iterable[tuple[str, str]], body: bytes) -> None:
        super().__init__(status)
        self.status = status
        self.headers = headers
        self.body = body
        """`MAX_REFUSAL_BYTES` of it at most, and of an error alone."""


class ControlPlane:
    """The session: opened by the first call of it, closed for good by `stop`."""

    def __init__(self) -> None:
        self._ending = AsyncExitStack()

    @cached_property
    def _session(self) -> aiohttp.ClientSession:
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                ssl=verified_tls(),
                resolver=Resolver(),
                ttl_dns_cache=int(DNS_TTL),
                happy_eyeballs_delay=HAPPY_EYEBALLS_DELAY,
                keepalive_timeout=KEEP_ALIVE,
                # A provider that hangs must not stand in the way of another; each call has its own end.
                limit=0,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            # Each call says itself how long it may take.
            timeout=aiohttp.ClientTimeout(total=None),
            # What is sent is what the caller names.
            skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent"),
            max_line_size=MAX_HEAD_BYTES,
            max_field_size=MAX_HEAD_BYTES,
            max_headers=MAX_HEADERS,
            trace_configs=[_traced()],
        )
        self._ending.push_async_callback(session.close)
        return session

    async def stop(self) -> None:
        """Close it with every connection, WebSockets included."""
        await self._ending.aclose()

    async def ask(
        self,
        method: str,
        url: str,
        headers: list[tuple[str, str]],
        body: bytes | None,
        timeout: float,
        connect_timeout: float,
        most: int,
        enough: bool = False,
        forward_proxy: str = "",
    ) -> tuple[int, Mapping[str, str], bytes]:
        """
        Status, headers and body of the answer, the body as it comes, no content coding undone; `FetchError` unless all
        of it comes within *timeout* seconds. *most*: bytes of a body; a longer one is `TooLarge`, unless so much of it
        is *enough*. *url* is sent as it is written.
        """
        session, connection = self._session, SimpleNamespace(reused=False)

        async def once() -> tuple[int, Mapping[str, str], bytes]:
            async with session.request(
                method,
                URL(url, encoded=True),
                headers=headers,
                data=None if body is None else io.BytesIO(body),
                allow_redirects=False,
                auto_decompress=False,
                timeout=aiohttp.ClientTimeout(total=None, connect=connect_timeout),
                proxy=forward_proxy or None,
                trace_request_ctx=connection,
            ) as response:
                return response.status, response.headers, await _body(response, most, enough)

        try:
            async with asyncio.timeout(timeout):
                try:
                    return await once()
                except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError):
                    # The ordinary end of a keep-alive, after which aiohttp sends a GET once more and no POST.
                    if body is None or not connection.reused:
                        raise
                return await once()
        except aiohttp.ConnectionTimeoutError:
            raise FetchError("connect timeout") from None
        except TimeoutError:
            raise FetchError("timeout") from None
        except aiohttp.ClientHttpProxyError as refused:
            raise FetchError(f"forward proxy: status {refused.status}") from None
        except aiohttp.ClientResponseError:
            raise Unreadable("unparseable") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise FetchError(_reason(error)) from error

    async def websocket(
        self,
        url: str,
        headers: list[tuple[str, str]],
        protocols: Iterable[str],
        max_message_bytes: int,
        forward_proxy: str = "",
    ) -> aiohttp.ClientWebSocketResponse:
        """Open a WebSocket; `NoUpgrade` where something else is answered, `FetchError` where nothing is."""
        said = bytearray()
        before = _said.set(said)
        try:
            return await self._session.ws_connect(
                url,
                headers=headers,
                protocols=protocols,
                autoclose=False,
                max_msg_size=max_message_bytes,
                proxy=forward_proxy or None,
            )
        except aiohttp.WSServerHandshakeError as refused:
            raise NoUpgrade(refused.status, (refused.headers or {}).items(), bytes(said)) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise FetchError(_reason(error)) from error
        finally:
            _said.reset(before)


async def _body(response: aiohttp.ClientResponse, most: int, enough: bool) -> bytes:
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > most:
            response.close()
            if not enough:
                raise TooLarge("the answer is too large")
            return bytes(body[:most])
    return bytes(body)


def _reason(error: Exception) -> str:
    """Which fault, without a byte of content, a header or an address."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        cause = error.certificate_error
        return f"TLS: {getattr(cause, 'reason', None) or type(cause).__name__}"
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        return f"TLS: {getattr(error.os_error, 'reason', None) or type(error.os_error).__name__}"
    if isinstance(error, aiohttp.ClientConnectorError):
        cause = error.os_error
        return f"connect: {errno.errorcode.get(cause.errno or 0, type(cause).__name__)}"
    if isinstance(error, (aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError)):
        return "connection closed early"
    if isinstance(error, aiohttp.ClientOSError):
        return "connection reset"
    if isinstance(error, UnicodeError):
        # What the resolver's encoding makes of a label that is too long.
        return "connect: not a host name"
    return f"no answer: {type(error).__name__}"


def _traced() -> aiohttp.TraceConfig:
    """What aiohttp tells by no other way, and the one way to have it follow no redirect of a handshake."""

    async def refuse(_: object, __: object, redirected: aiohttp.TraceRequestRedirectParams) -> None:
        # Our key must go nowhere but to its provider.
        redirected.response.close()
        raise aiohttp.ClientError

    async def reuse(_: object, context: SimpleNamespace, __: object) -> None:
        if context.trace_request_ctx is not None:
            context.trace_request_ctx.reused = True

    async def keep(_: object, __: object, ended: aiohttp.TraceRequestEndParams) -> None:
        said, content = _said.get(), ended.response.content
        if said is not None and ended.response.status >= 400:
            while len(said) < MAX_REFUSAL_BYTES and (piece := await content.read(MAX_REFUSAL_BYTES)):
                said += piece

    config = aiohttp.TraceConfig()
    config.on_request_redirect.append(refuse)
    config.on_connection_reuseconn.append(reuse)
    config.on_request_end.append(keep)
    return config
