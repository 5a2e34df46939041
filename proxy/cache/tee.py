"""
One answer for several clients: the relay's `Client` that hands what it is given to everyone who reads along.

Plain calls. Each reader has its own back pressure; the answer waits only while none of them has room. It decides
nothing about who may read.
"""

import asyncio
from collections.abc import Callable

from proxy.core.headers import Header
from proxy.relay.client import Client

KEPT = 256 * 1024
"""Bytes of an answer up to which all of it is held, so that one more client can read it from its beginning."""
BEHIND = 256 * 1024
"""Bytes a client may be behind the fastest one; then it is dropped."""
SHARED: Header = (b"X-Hapax-Deduplicated", b"true")
"""On an answer that another call asked for."""


class Reader:
    """One of the clients, and what it has not taken yet."""

    def __init__(self, client: Client, follows: bool, ids: tuple[bytes, bytes], changed: Callable[[], object]) -> None:
        """
        *follows*: another call asked for the answer. *ids*: the id of that call where an event names it, and what
        stands in its place for this client. *changed*: called when the client has become full, or has room again.
        """
        self._client = client
        self._follows = follows
        self._ids = ids
        self._changed = changed
        self._behind = bytearray()
        self.dropped = False
        """It was too far behind."""
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when nothing more comes."""
        client.on_pause = changed
        client.on_resume = self._go_on

    @property
    def paused(self) -> bool:
        """It has no room now."""
        return self._client.paused

    def send(self, status: int, headers: list[Header], body: bytes) -> None:
        self._client.send(status, self._marked(headers), self._own(body))

    def start(self, status: int, headers: list[Header], length: int | None, streamed: bool) -> None:
        self._client.start(status, self._marked(headers), length, streamed)

    def push(self, chunk: bytes, alone: bool) -> None:
        """More of the answer; kept here while the client has no room. *alone*: it holds up no other one."""
        if self.dropped:
            return
        chunk = self._own(chunk)
        if not self._behind and not self._client.paused:
            self._client.push(chunk)
        elif alone or len(self._behind) + len(chunk) <= BEHIND:
            self._behind += chunk
        else:
            self.dropped = True
            self._behind.clear()
            self.end()

    def finish(self) -> None:
        if not self.dropped:
            self._flush()
            self._client.finish()

    def cut(self) -> None:
        if not self.dropped:
            self._flush()
            self._client.cut()

    def end(self) -> None:
        """Nothing more comes; what leads from the client back here does so no longer."""
        self._client.on_pause = self._client.on_resume = None
        if not self.over.done():
            self.over.set_result(None)

    def _go_on(self) -> None:
        self._flush()
        self._changed()

    def _flush(self) -> None:
        if self._behind:
            behind = bytes(self._behind)
            self._behind.clear()
            self._client.push(behind)

    def _marked(self, headers: list[Header]) -> list[Header]:
        return [*headers, SHARED] if self._follows else headers

    def _own(self, part: bytes) -> bytes:
        """An error names the call it is about, which for this client is its own."""
        return part.replace(*self._ids) if self._follows and self._ids[0] in part else part


class Tee:
    """Takes one answer; a relay's `Client`."""

    def __init__(self, request_id: str) -> None:
        """*request_id*: of the call that asks for the answer."""
        self.on_pause: Callable[[], object] | None = None
        self.on_resume: Callable[[], object] | None = None
        self._id = _named(request_id)
        self._readers: list[Reader] = []
        self._full = False
        self._heads: list[tuple[int, list[Header], int | None, bool]] = []
        self._kept: list[bytes] = []
        self._size = 0
        self.over = False
        """The answer has come to an end, good or bad."""

    @property
    def joinable(self) -> bool:
        """One more client can have the answer from its beginning."""
        return not self.over and self._size <= KEPT

    @property
    def paused(self) -> bool:
        """No reader has room."""
        return bool(self._readers) and all(reader.paused for reader in self._readers)

    def join(self, client: Client, request_id: str, follows: bool) -> Reader:
        """*client* reads along from now on, and gets at once what there was so far."""
        reader = Reader(client, follows, (self._id, _named(request_id)), self._look)
        self._readers.append(reader)
        for head in self._heads:
            reader.start(*head)
        for chunk in self._kept:
            reader.push(chunk, alone=True)
        self._look()
        return reader

    def leave(self, reader: Reader) -> None:
        """Its client is gone, or was too slow."""
        if reader in self._readers:
            self._readers.remove(reader)
            reader.end()
            self._look()

    def close(self) -> None:
        """The answer is over, whatever came of it."""
        self.over = True
        readers, self._readers = self._readers, []
        for reader in readers:
            reader.end()

    def send(self, status: int, headers: list[Header], body: bytes) -> None:
        self.over = True
        for reader in self._readers:
            reader.send(status, headers, body)

    def start(self, status: int, headers: list[Header], length: int | None, streamed: bool) -> None:
        self._heads.append((status, headers, length, streamed))
        for reader in self._readers:
            reader.start(status, headers, length, streamed)

    def push(self, chunk: bytes) -> None:
        self._size += len(chunk)
        if self._size <= KEPT:
            self._kept.append(chunk)
        elif self._kept:
            self._kept = []
        for reader in list(self._readers):
            reader.push(chunk, alone=len(self._readers) == 1)
            if reader.dropped:
                self.leave(reader)

    def finish(self) -> None:
        self.over = True
        for reader in self._readers:
            reader.finish()

    def cut(self) -> None:
        self.over = True
        for reader in self._readers:
            reader.cut()

    def _look(self) -> None:
        """Tell the relay whether to wait, where that has changed."""
        full = self.paused
        if full is not self._full:
            self._full = full
            call = self.on_pause if full else self.on_resume
            if call is not None:
                call()


def _named(request_id: str) -> bytes:
    return b'"request_id":"%b"' % request_id.encode()
