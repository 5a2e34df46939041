"""
The opening of a WebSocket towards a client: its connection goes over to aiohttp, which speaks the protocol.

The request has been judged before; nothing is read of it here but what the handshake needs, and no message is relayed.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from proxy.headers import PSEUDONYM
from proxy.web.answer import Answer
from proxy.web.request import Request

HANDSHAKE = ("host", "upgrade", "connection", "sec-websocket-key", "sec-websocket-version", "sec-websocket-protocol")
"""Headers of the request that the handshake is made of (RFC 6455 section 4.1). No extension is agreed on: frames pass
as they are, and compressed ones could not be read."""


@asynccontextmanager
async def upgraded(
    request: Request, answer: Answer, protocol: str | None, max_message_bytes: int
) -> AsyncIterator[web.WebSocketResponse]:
    """
    The WebSocket that *request* asks for, open; *protocol* is the subprotocol agreed on. `ConnectionResetError` when
    the client has left. In the end the connection is closed.
    """
    opened: asyncio.Future[web.WebSocketResponse] = asyncio.get_running_loop().create_future()
    over = asyncio.Event()

    async def serve(handshake: web.BaseRequest) -> web.StreamResponse:
        # Pings are answered by either side of the gateway for itself; a close is the relay's to pass on.
        socket = web.WebSocketResponse(
            protocols=() if protocol is None else (protocol,),
            autoclose=False,
            compress=False,
            max_msg_size=max_message_bytes,
        )
        socket.headers["Server"] = PSEUDONYM
        for line in answer.taken_over():
            socket.headers.add(*line)
        try:
            await socket.prepare(handshake)
        except Exception as error:
            opened.set_exception(error)
            raise
        opened.set_result(socket)
        await over.wait()
        return socket

    speaks = web.Server(serve)()
    lines = [f"{name}: {request.headers[name]}\r\n" for name in HANDSHAKE if name in request.headers]
    answer.connection.hand_over(speaks)
    speaks.data_received(f"GET / HTTP/1.1\r\n{''.join(lines)}\r\n".encode("latin-1"))
    try:
        yield await opened
    finally:
        over.set()
        await speaks.shutdown()
