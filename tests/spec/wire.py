"""
A client of literal bytes: it sends whatever it is given and shows what comes back as it was on the wire.

Its reading is strict: an answer that is not framed the way RFC 9112 asks for fails the test. It repairs nothing.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from tests.rigs.simulator import Request, Simulator

QUESTION = [{"role": "user", "content": "hello there"}]
ONCE: dict[str, Any] = {"failover": {"retries": 0}}
"""Settings under which the first attempt is the last one: for what becomes of a single bad answer."""
PATIENCE = 30.0
"""Seconds after which something that should have come long ago is taken as missing."""


@dataclass(frozen=True, slots=True)
class Response:
    """One answer."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        """The value of a header that came once; None when it did not come."""
        found = [value for key, value in self.headers if key.lower() == name.lower()]
        assert len(found) < 2, f"{name} came {len(found)} times"
        return found[0] if found else None

    @property
    def names(self) -> set[str]:
        return {name.lower() for name, _ in self.headers}

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of the error object it is."""
        assert self.header("content-type") == "application/json"
        return str(self.json["error"]["code"])


class Wire:
    """One connection to the gateway."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def until(self, mark: bytes) -> bytes:
        """Everything up to and including *mark*."""
        async with asyncio.timeout(PATIENCE):
            return await self.reader.readuntil(mark)

    async def to_end(self) -> tuple[bytes, str]:
        """Everything up to the end of the connection, and whether that was a `fin` or a `rst`."""
        received = b""
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    data = await self.reader.read(65536)
                except ConnectionResetError:
                    return received, "rst"
                if not data:
                    return received, "fin"
                received += data

    async def response(self, method: str = "POST") -> Response:
        """One whole answer to a request of that method; interim answers are the caller's to read."""
        head = await self.until(b"\r\n\r\n")
        status, headers = parse_head(head)
        found = {name.lower(): value for name, value in headers}
        if method == "HEAD" or status in (204, 304):
            return Response(status, headers, b"")
        async with asyncio.timeout(PATIENCE):
            if found.get("transfer-encoding") == "chunked":
                assert "content-length" not in found
                body = b""
                while size := int((await self.until(b"\r\n"))[:-2], 16):
                    body += await self.reader.readexactly(size)
                    assert await self.reader.readexactly(2) == b"\r\n"
                assert await self.reader.readexactly(2) == b"\r\n"
            else:
                body = await self.reader.readexactly(int(found["content-length"]))
        return Response(status, headers, body)

    def abort(self) -> None:
        """Leave without a word."""
        self.writer.transport.abort()


def parse_head(head: bytes) -> tuple[int, list[tuple[str, str]]]:
    """Status and headers of a response head."""
    start, *lines = head.removesuffix(b"\r\n\r\n").decode("ascii").split("\r\n")
    version, status, _ = start.split(" ", 2)
    assert version in ("HTTP/1.1", "HTTP/1.0")
    headers = [(name, value) for name, _, value in (line.partition(": ") for line in lines)]
    assert all(name and " " not in name for name, _ in headers)
    return int(status), headers


@asynccontextmanager
async def connect(port: int) -> AsyncIterator[Wire]:
    """A connection to *port* on this machine; aborted in the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**26)
    try:
        yield Wire(reader, writer)
    finally:
        writer.transport.abort()


async def ask(port: int, data: bytes) -> Response:
    """The answer to one request on a connection of its own."""
    async with connect(port) as wire:
        wire.send(data)
        return await wire.response(data.split(b" ", 1)[0].decode("latin-1"))


async def only_answer(port: int, data: bytes) -> Response:
    """The answer to *data*; fails unless it is the only one and the connection ends in good order after it."""
    async with connect(port) as wire:
        wire.send(data)
        answer = await wire.response(data.split(b" ", 1)[0].decode("latin-1"))
        assert await wire.to_end() == (b"", "fin")
        return answer


def request(path: str, body: Any = None, *, method: str = "POST", head: str = "", version: str = "1.1") -> bytes:
    """The bytes of a request with a JSON body; `bytes` are sent as they are."""
    payload = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    kind = "Content-Type: application/json\r\n" if "content-type" not in head.lower() and body is not None else ""
    length = f"Content-Length: {len(payload)}\r\n" if payload or method == "POST" else ""
    start = f"{method} {path} HTTP/{version}\r\nHost: 127.0.0.1\r\n{kind}{length}{head}\r\n"
    return start.encode("latin-1") + payload


def get(path: str, *, head: str = "") -> bytes:
    """The bytes of a GET."""
    return request(path, method="GET", head=head)


def chat(model: str = "sim-fast", *, head: str = "", version: str = "1.1", **fields: Any) -> bytes:
    """The bytes of a chat request."""
    body = {"model": model, "messages": QUESTION, **fields}
    return request("/v1/chat/completions", body, head=head, version=version)


def target(simulator: Simulator, **more: Any) -> dict[str, Any]:
    """Settings of a provider that is *simulator*."""
    return {"type": "compatible", "base_url": simulator.base_url, "models": ["sim-*"], **more}


def calls(simulator: Simulator) -> list[Request]:
    """The requests *simulator* saw, without those for its list of models that the gateway makes on its own."""
    return [record for record in simulator.ledger if record.header("x-request-id") != b"control-plane"]


async def eventually(simulator: Simulator, found: Callable[[Request], bool] = bool) -> Request:
    """The first call of *simulator* that *found* accepts; waits for it."""
    async with asyncio.timeout(PATIENCE):
        while not (matching := [record for record in calls(simulator) if found(record)]):
            await simulator.seen(simulator.ledger.seen + 1)
    return matching[0]


def bearing(key: str) -> str:
    """The header line that carries a client's key."""
    return f"X-API-Key: {key}\r\n"


async def becomes(true: Callable[[], object]) -> None:
    """Wait until *true* says so: for what no event tells."""
    async with asyncio.timeout(PATIENCE):
        while not true():  # noqa: ASYNC110 - a look now and then is all there is
            await asyncio.sleep(0.002)
