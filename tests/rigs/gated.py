"""A provider of literal bytes that says each piece of its answer when the test lets it, and counts who asked."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any

BODY = (
    b'{"id":"c1","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},'
    b'"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}'
)
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
ONE = b'data: {"id":"c1","choices":[{"index":0,"delta":{"role":"assistant","content":"Good "}}]}\n\n'
TWO = b'data: {"id":"c1","choices":[{"index":0,"delta":{"content":"day"},"finish_reason":"stop"}]}\n\n'
DONE = b"data: [DONE]\n\n"


def framed(*events: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(event), event) for event in events)


STREAM = (HEAD + framed(ONE), framed(TWO), framed(DONE) + b"0\r\n\r\n")
"""A stream in three pieces."""


class Gated:
    """
    A server at a port of loopback. Every POST gets the same pieces, each once `let` has been called for it; `asked` is
    how many calls came, `left` how many of their connections were closed before the end of the answer.
    """

    def __init__(self, pieces: Sequence[bytes], open_pieces: int = 0) -> None:
        """The first *open_pieces* of *pieces* are said without being let."""
        self._pieces = pieces
        self._gates = [asyncio.Event() for _ in pieces]
        for gate in self._gates[:open_pieces]:
            gate.set()
        self.asked = 0
        self.left = 0
        self.requests: list[bytes] = []
        """Bodies, as they came."""
        self._tasks: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> "Gated":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.base_url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def settings(self, **more: Any) -> dict[str, Any]:
        """Settings of a provider that is this server."""
        return {"type": "compatible", "base_url": self.base_url, "models": ["*"], **more}

    def let(self, piece: int) -> None:
        """Say *piece*, by its number, to all that wait for it and all that come."""
        self._gates[piece].set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while True:
                    await self._answer(reader, writer)
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        if head.startswith(b"get "):
            # The gateway asks for models by itself.
            writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            return
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
        self.requests.append(await reader.readexactly(length))
        self.asked += 1
        gone = asyncio.ensure_future(reader.read(1))  # noqa: TID251 - held and ended below
        try:
            for piece, gate in zip(self._pieces, self._gates, strict=True):
                waits = asyncio.ensure_future(gate.wait())  # noqa: TID251 - held and ended below
                await asyncio.wait({waits, gone}, return_when=asyncio.FIRST_COMPLETED)
                waits.cancel()
                if gone.done():
                    self.left += 1
                    raise ConnectionResetError
                writer.write(piece)
                await writer.drain()
        finally:
            gone.cancel()
            with suppress(asyncio.CancelledError, ConnectionError):
                await gone
