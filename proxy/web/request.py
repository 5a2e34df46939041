"""
One request as it comes from a client: its head, whole, and its body as it arrives.

It says what was sent and judges none of it; `guard` does.
"""

import asyncio
from collections.abc import Callable

from proxy.headers import Header

HIGH_WATER = 128 * 1024
"""Bytes of a body that wait for somebody to read them before the client is made to wait."""


class BrokenBody(Exception):
    """What should be the rest of a body cannot be read as one."""


class Body:
    """The body of a request."""

    __slots__ = ("_hold", "_parts", "_release", "_size", "_waiter", "broken", "complete", "held")

    def __init__(self, complete: bool, hold: Callable[[], None], release: Callable[[], None]) -> None:
        """*complete*: there is none. *hold* is called when too much of it waits, *release* when that has been read."""
        self.complete = complete
        """All of it has come."""
        self.broken = False
        """What came next is no part of it, so it never will be complete."""
        self.held = False
        """The client waits until what has come is read."""
        self._parts: list[bytes] = []
        self._size = 0
        self._waiter: asyncio.Future[None] | None = None
        self._hold = hold
        self._release = release

    def feed(self, part: bytes) -> None:
        """More of it has come."""
        self._parts.append(part)
        self._size += len(part)
        if self._size > HIGH_WATER and not self.held:
            self.held = True
            self._hold()
        self._wake()

    def finish(self) -> None:
        """That was all."""
        self.complete = True
        self._wake()

    def spoil(self) -> None:
        """What came next is no part of it."""
        self.broken = True
        self._wake()

    def take(self) -> bytes:
        """What has come and nobody has read yet."""
        parts = self._parts
        if not parts:
            return b""
        self._parts = []
        self._size = 0
        if self.held:
            self.held = False
            self._release()
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def read(self) -> bytes:
        """What has come since the last time, or comes next; empty at the end. `BrokenBody` when there is no such."""
        while not self._parts and not self.complete:
            if self.broken:
                raise BrokenBody
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self.take()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Request:
    """The head of a request, and its body."""

    __slots__ = (
        "ascii",
        "body",
        "has_body",
        "headers",
        "keep_alive",
        "method",
        "passing",
        "repeated",
        "size",
        "target",
        "version",
    )

    def __init__(
        self,
        method: str,
        target: str,
        version: str,
        headers: dict[str, str],
        repeated: dict[str, list[str]] | None,
        passing: list[Header],
        size: int,
        ascii: bool,
        keep_alive: bool,
        has_body: bool,
        body: Body,
    ) -> None:
        self.method = method
        self.target = target
        """Path and query, as they came."""
        self.version = version
        """Of HTTP, such as `1.1`."""
        self.headers = headers
        """By name in lower case; of one that came more than once, the first."""
        self.repeated = repeated
        """The values of those that came more than once; None where none did, which is nearly always."""
        self.passing = passing
        """Those a provider may be told, and `Connection`, in the order they came."""
        self.size = size
        """Bytes of the target, the names and the values."""
        self.ascii = ascii
        """The values of all headers that are read here are (`headers.READ_HERE`)."""
        self.keep_alive = keep_alive
        """The client means to use the connection again."""
        self.has_body = has_body
        """A body was announced."""
        self.body = body

    def every(self, name: str) -> list[str]:
        """The values of the header of that name, lower case, in the order they came."""
        if self.repeated is not None and name in self.repeated:
            return self.repeated[name]
        value = self.headers.get(name)
        return [] if value is None else [value]

    @property
    def content_length(self) -> int | None:
        """Bytes of the body, where they were announced."""
        length = self.headers.get("content-length")
        return None if length is None else int(length.lstrip("0") or "0")
