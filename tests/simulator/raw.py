"""A client of literal bytes, for tests that must see exactly what is on the wire."""

from __future__ import annotations

import asyncio
import json
from types import TracebackType
from typing import Any

import h11

from tests.rigs.simulator import Simulator

QUESTION = [{"role": "user", "content": "hello there"}]


def request(path: str, body: Any = None, *, method: str = "POST", head: str = "", version: str = "1.1") -> bytes:
    """The bytes of a request with a JSON body."""
    payload = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    start = f"{method} {path} HTTP/{version}\r\nHost: sim\r\nContent-Length: {len(payload)}\r\n{head}\r\n"
    return start.encode() + payload


def chat(model: str, *, head: str = "", **fields: Any) -> bytes:
    """The bytes of a chat request."""
    return request("/v1/chat/completions", {"model": model, "messages": QUESTION, **fields}, head=head)


class Raw:
    """One connection to the simulator."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator

    async def __aenter__(self) -> Raw:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.simulator.port, limit=2**26)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.writer.transport.abort()

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def until(self, mark: bytes) -> bytes:
        return await self.reader.readuntil(mark)

    async def to_end(self) -> tuple[bytes, str]:
        """Everything up to the end of the connection, and whether that was a `fin` or a `rst`."""
        received = b""
        while True:
            try:
                data = await self.reader.read(65536)
            except ConnectionResetError:
                return received, "rst"
            if not data:
                return received, "fin"
            received += data

    async def response(self, method: str = "POST") -> tuple[h11.Response, bytes]:
        """One whole response, as another implementation of HTTP reads it."""
        parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=2**20)
        parser.send(h11.Request(method=method, target="/", headers=[("Host", "sim")]))
        parser.send(h11.EndOfMessage())
        head: h11.Response | None = None
        body = b""
        while True:
            event = parser.next_event()
            if event is h11.NEED_DATA:
                parser.receive_data(await self.reader.read(65536))
            elif isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                assert head is not None
                return head, body


async def ask(simulator: Simulator, data: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send one request on a connection of its own and read one whole response."""
    async with Raw(simulator) as raw:
        raw.send(data)
        head, body = await raw.response(data.split(b" ", 1)[0].decode())
        return head.status_code, {k.decode(): v.decode() for k, v in head.headers}, body


async def raw_end(simulator: Simulator, data: bytes) -> tuple[bytes, str]:
    """Send one request on a connection of its own and read until the connection ends."""
    async with Raw(simulator) as raw:
        raw.send(data)
        return await raw.to_end()


def events(body: bytes) -> list[Any]:
    """The data of each event; `[DONE]` stays text."""
    found = []
    for block in body.split(b"\n\n"):
        for line in block.split(b"\n"):
            if line.startswith(b"data: "):
                value = line[6:].decode()
                found.append(value if value == "[DONE]" else json.loads(value))
    return found


def said(body: bytes) -> str:
    """The text of a chat stream."""
    parts = [e["choices"][0]["delta"].get("content") or "" for e in events(body) if e != "[DONE]" and e["choices"]]
    return "".join(parts)
