"""Whatever bytes a provider sends, however they are cut: the call ends once, and nothing passes that may not."""

import asyncio
from typing import Any, cast

from hypothesis import example, given, settings
from hypothesis import strategies as st

from proxy.core.headers import Header
from proxy.upstream.connection import MAX_HEADERS, Connection
from proxy.upstream.wire import Loss

HEADS = [
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.0 200 OK\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 999 \r\n",
    b"HTTP/2 200\r\n",
]
FIELDS = [
    b"Content-Length: 5\r\n",
    b"Content-Length: 6\r\n",
    b"Content-Length: 5, 5\r\n",
    b"Content-Length: -1\r\n",
    b"Content-Length: 99999999999999999999\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"Transfer-Encoding: chunked, chunked\r\n",
    b"Connection: close\r\n",
    b"Connection: upgrade\r\n",
    b" folded\r\n",
    b"X: \x00\r\n",
    b"No colon\r\n",
    b"X: y\n",
    b"X: %b\r\n" % (b"z" * 70_000),
    b"A: b\r\n" * (MAX_HEADERS + 1),
]
BODIES = [
    *(b"hello", b"5\r\nhello\r\n", b"0\r\n\r\n", b"0\r\nTrailer: x\r\n\r\n", b"fffffffffffffffff\r\n", b"-1\r\n"),
    *(b"5;ext=1\r\nhello\r\n", b"5\r\nhelloXX", b"", b"\r\n", b"x" * 300),
]
piece = st.sampled_from([*HEADS, *FIELDS, b"\r\n", *BODIES]) | st.binary(max_size=20)
messages = st.lists(piece, max_size=8).map(b"".join) | st.builds(
    lambda head, fields, body: head + b"".join(fields) + b"\r\n" + b"".join(body),
    st.sampled_from(HEADS),
    st.lists(st.sampled_from(FIELDS), max_size=4),
    st.lists(st.sampled_from(BODIES), max_size=4),
)
cuts = st.lists(st.integers(0, 400), max_size=6)


class Transport:
    """As much of a transport as a connection needs."""

    def __init__(self) -> None:
        self.closed = False

    def write(self, data: bytes) -> None:
        assert not self.closed

    def abort(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def get_extra_info(self, name: str) -> None: ...


class Strict:
    """A sink that holds the connection to its word."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: list[Header] = []
        self.body = b""
        self.ends: list[bool | Loss] = []

    def connected(self) -> None: ...

    def head(self, status: int, headers: list[Header]) -> None:
        assert not self.status
        assert not self.ends
        assert 200 <= status <= 599
        assert len(headers) <= MAX_HEADERS
        assert all(name == name.lower() for name, _ in headers)
        self.status, self.headers = status, headers

    def data(self, chunk: bytes) -> None:
        assert self.status
        assert not self.ends
        self.body += chunk

    def ended(self, delimited: bool) -> None:
        assert self.status
        self.ends.append(delimited)

    def lost(self, loss: Loss) -> None:
        self.ends.append(loss)


def received(message: bytes, at: list[int]) -> tuple[Strict, bool]:
    """What comes of *message*, cut in those places, and whether the connection would be used again."""
    reusable: list[bool] = []
    buffer = memoryview(bytearray(len(message) or 1))
    connection = Connection(lambda _, again: reusable.append(again), buffer)
    transport, sink = Transport(), Strict()
    connection.connection_made(cast(asyncio.BaseTransport, cast(Any, transport)))
    connection.begin(sink, b"GET / HTTP/1.1\r\n\r\n", complete=True)
    start = 0
    for end in [*sorted(at), len(message)]:
        part = message[start:end]
        start = max(start, end)
        if part and not transport.closed:
            connection.get_buffer(-1)[: len(part)] = part
            connection.buffer_updated(len(part))
    connection.connection_lost(None)
    assert len(sink.ends) == 1
    return sink, bool(reusable and reusable[0] and not transport.closed)


@settings(deadline=None, max_examples=400)
@given(messages, cuts)
@example(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", [])
@example(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n5\r\nhello\r\n0\r\n\r\n", [])
@example(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\n\r\n", [43])
def test_every_message_ends_the_call_once_and_the_same_way_however_it_is_cut(message: bytes, at: list[int]) -> None:
    whole, reusable = received(message, [])
    cut, reusable_cut = received(message, at)
    ended, ended_cut = whole.ends[0], cut.ends[0]
    assert isinstance(ended, Loss) == isinstance(ended_cut, Loss)
    if isinstance(ended, bool):
        assert (whole.status, whole.headers, whole.body, ended) == (cut.status, cut.headers, cut.body, ended_cut)
        # A surplus may come in time to be seen, or later: either way its bytes reach no client.
        assert reusable or not reusable_cut or whole.body == cut.body
    names = [name for name, _ in whole.headers]
    if isinstance(ended, bool) and ended and b"content-length" in names:
        assert names.count(b"content-length") == 1
        assert b"transfer-encoding" not in names
