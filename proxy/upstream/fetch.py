"""
A whole answer of a provider in one await: its model list, or what a probe asks.

It comes by the control plane, and by the wire where aiohttp cannot take it as calls do: a probe tells what calls would
find. Small and bounded; a client's request never passes here.
"""

import asyncio

from proxy.core import clock
from proxy.core.headers import Header
from proxy.upstream.control_plane import ControlPlane, FetchError, TooLarge, Unreadable
from proxy.upstream.endpoint import Endpoint
from proxy.upstream.wire import Loss

MAX_BODY_BYTES = 8 * 1024 * 1024
_REQUEST_ID = "control-plane"


async def fetch(
    control: ControlPlane, endpoint: Endpoint, path: str, timeout: float, key: int = 0, body: bytes | None = None
) -> tuple[int, bytes]:
    """Status and body of `GET path`, or of a POST of JSON *body*; `FetchError` unless both come within *timeout* s."""
    lines = b"Accept: application/json\r\n"
    if body is not None:
        lines += b"content-type: application/json\r\n"
    method = "GET" if body is None else "POST"
    if endpoint.tunnels_plain_http:
        # Of aiohttp such a proxy is asked to fetch the answer itself, and may refuse what it would lead on.
        return await _over_the_wire(endpoint, method, path, lines, body, key, timeout)
    until = clock.now() + timeout
    url, headers = endpoint.described(method, path, lines, _REQUEST_ID, key)
    try:
        status, _, answer = await control.ask(
            method,
            url,
            headers,
            body,
            timeout,
            endpoint.connect_timeout,
            MAX_BODY_BYTES,
            forward_proxy=endpoint.forward_proxy,
        )
    except Unreadable:
        # A length that is told twice, say, which the wire reads.
        return await _over_the_wire(endpoint, method, path, lines, body, key, until - clock.now())
    return status, answer


async def _over_the_wire(
    endpoint: Endpoint, method: str, path: str, lines: bytes, body: bytes | None, key: int, timeout: float
) -> tuple[int, bytes]:
    gathered = _Gathered()
    call = endpoint.send(method, path, lines, _REQUEST_ID, body, key, gathered)
    try:
        async with asyncio.timeout(timeout):
            answer = await gathered.done
            return gathered.status, answer
    except TimeoutError:
        raise FetchError("timeout") from None
    finally:
        call.cancel()


class _Gathered:
    """A sink that keeps an answer until its end."""

    def __init__(self) -> None:
        self.status = 0
        self.done: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._body = bytearray()

    def connected(self) -> None:
        pass

    def head(self, status: int, headers: list[Header]) -> None:
        self.status = status

    def data(self, chunk: bytes) -> None:
        self._body += chunk
        if len(self._body) > MAX_BODY_BYTES and not self.done.done():
            self.done.set_exception(TooLarge("the answer is too large"))

    def ended(self, delimited: bool) -> None:
        if not self.done.done():
            self.done.set_result(bytes(self._body))

    def lost(self, loss: Loss) -> None:
        if not self.done.done():
            self.done.set_exception(FetchError(loss.reason))
