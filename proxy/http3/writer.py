"""
How a response that aiohttp writes itself, such as a page's, reaches its stream: without a status line and without what
HTTP/1.1 says of its connection.
"""

from typing import Protocol

from aiohttp.abc import AbstractStreamWriter
from multidict import CIMultiDict

from proxy.core.headers import Header

_OF_HTTP_1 = frozenset(("connection", "keep-alive", "transfer-encoding"))


class Output(Protocol):
    """Where it is written: see `stream`."""

    def head(self, fields: list[Header], ended: bool) -> None:
        """Send a head; *ended*: no body follows."""

    def write(self, data: bytes) -> None:
        """Send more of the body."""

    def last(self, data: bytes) -> None:
        """Send the end of the body, and say that it is whole."""

    async def drain(self) -> None:
        """Wait until there is room for more."""


class StreamWriter(AbstractStreamWriter):
    """Writes one response."""

    def __init__(self, stream: Output) -> None:
        self._stream = stream

    async def write_headers(self, status_line: str, headers: CIMultiDict[str]) -> None:
        """*status_line* is HTTP/1.1's, of which the number is meant."""
        status = status_line.split(" ", 2)[1]
        fields = [(b":status", status.encode("ascii"))]
        for name, value in headers.items():
            lower = name.lower()
            if lower not in _OF_HTTP_1:
                fields.append((lower.encode("latin-1"), value.encode("utf-8")))
        self._stream.head(fields, False)

    async def write(self, chunk: bytes | bytearray | memoryview) -> None:
        """Send it, and wait until the client has room for more."""
        self.output_size += len(chunk)
        self._stream.write(bytes(chunk))
        await self.drain()

    async def write_eof(self, chunk: bytes = b"") -> None:
        """The response is whole."""
        self.output_size += len(chunk)
        self._stream.last(chunk)
        await self.drain()

    async def drain(self) -> None:
        """Wait until the client has room for more."""
        await self._stream.drain()

    def enable_chunking(self) -> None:
        """Nothing: a stream has frames anyway."""

    def enable_compression(self, encoding: str = "deflate", strategy: int | None = None) -> None:
        """Nothing of ours compresses what it sends piece by piece."""
        raise RuntimeError("a body is compressed as a whole")
