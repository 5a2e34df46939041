"""
One HTTP/1.1 connection to a provider: bytes in, parsed by llhttp, pushed to the sink of the request under way.

It trusts nothing the provider sends: sizes are bounded, framing must be unambiguous, and bytes that were not asked for
end the connection. It does not connect, choose or retry; `connections` does.
"""

import asyncio
from collections.abc import Callable
from typing import cast

import httptools

from proxy.core.headers import Header
from proxy.upstream.lengths import are_told_twice, told_once
from proxy.upstream.reading import Reading
from proxy.upstream.wire import Loss, Sink

MAX_HEAD_BYTES = 64 * 1024
"""Status line and headers of one answer, interim answers included."""
MAX_HEADERS = 256


class Connection(asyncio.BufferedProtocol):
    """A connection, idle or serving exactly one request."""

    def __init__(self, released: Callable[["Connection", bool], None], buffer: memoryview) -> None:
        """
        *released* is called with the connection and whether it may serve another request. *buffer* is where reads go,
        see `Reading`; what was read is parsed at once, so connections may share it.
        """
        self._released = released
        self._reading = Reading(buffer)
        self._parser = self._make_parser()
        self._sink: Sink | None = None
        self._write_paused: asyncio.Future[None] | None = None
        self._head_bytes = 0
        self._header_bytes = 0
        self._headers: list[Header] = []
        self._reset()
        self.transport: asyncio.Transport | None = None
        """None once the connection is lost, and before it is made."""
        self.requests = 0
        """Requests sent so far; more than one means the connection is being reused."""
        self.spoke_unasked = False
        """The provider sent bytes while no request was under way."""
        self.expires = 0.0
        """When it is too old to be used again; set by the pool while it is idle."""

    def _reset(self) -> None:
        self._head_bytes = 0
        self._header_bytes = 0
        self._headers.clear()
        self._received = False
        self._head_done = False
        self._interim = False
        self._delimited = True
        self._complete = False
        self._keep_alive = False
        self._request_sent = False
        self._fault = ""
        self._kept = b""
        """The head so far, where it comes in more than one read."""
        self._mended = False
        """The head could not be read as it was: no promise that the next one can."""

    def _make_parser(self) -> httptools.HttpResponseParser:
        parser = httptools.HttpResponseParser(self)
        # Some servers write chunk sizes into fields of a fixed width; httpx and curl skip the spaces.
        parser.set_dangerous_leniencies(lenient_spaces_after_chunk_size=True)
        return parser

    @property
    def usable(self) -> bool:
        """Open, and serving no request."""
        return self.transport is not None and not self.transport.is_closing() and self._sink is None

    def begin(self, sink: Sink, request: bytes, complete: bool, body: bytes = b"") -> None:
        """
        Send *request* and *body* for *sink*; unless *complete*, the rest follows through `write` and `finish`.
        `ConnectionResetError` where the connection is lost, as it is not while it is `usable`.
        """
        if self.transport is None:
            raise ConnectionResetError
        self._reset()
        self._sink = sink
        self.requests += 1
        self._request_sent = complete
        self.transport.write(request)
        if body:
            self.transport.write(body)

    async def write(self, chunk: bytes) -> None:
        """Send more of the body; waits while the transport's buffer is full."""
        if self.transport is None or self._sink is None:
            raise ConnectionResetError
        self.transport.write(chunk)
        if self._write_paused is not None:
            await asyncio.shield(self._write_paused)

    def finish(self) -> None:
        """The request is complete."""
        self._request_sent = True

    def pause(self) -> None:
        """Read no further for now."""
        self._reading.pause()

    def resume(self) -> None:
        """Read on."""
        self._reading.resume()

    def abandon(self) -> None:
        """Close at once; the sink hears nothing more."""
        self._sink = None
        if self.transport is not None:
            self.transport.abort()

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._reading.connected(self.transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self._reading.lost()
        if self._write_paused is not None and not self._write_paused.done():
            self._write_paused.set_result(None)
        sink, self._sink = self._sink, None
        self._released(self, False)
        if sink is None:
            return
        if self._head_done and not self._delimited and exc is None:
            sink.ended(False)
        else:
            reason = "connection reset" if exc is not None else "connection closed early"
            sink.lost(Loss("upstream_truncated", reason, sent=True, received=self._received))

    def pause_writing(self) -> None:
        self._write_paused = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        waiting, self._write_paused = self._write_paused, None
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._reading.room(sizehint)

    def buffer_updated(self, nbytes: int) -> None:
        if self._sink is None:
            # Bytes that were not asked for: whatever they are, they belong to no request.
            self.spoke_unasked = True
            self.abandon()
            return
        self._received = True
        in_head = not self._head_done
        data = self._reading.taken(nbytes)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fault = self._fault or "protocol upgrade"
        except httptools.HttpParserCallbackError:
            # A bug of ours below a callback, not the provider's fault: let the event loop report it.
            raise
        except httptools.HttpParserError as error:
            if not self._complete and not self._fault and not (in_head and self._mend(data)):
                self._fault = f"unparseable: {type(error).__name__}"
            # After a complete answer, junk only costs the connection.
            self._keep_alive = False
        if in_head and not self._complete:
            if not self._head_done:
                self._kept += data
            self._head_bytes += nbytes
            if not self._head_done and self._head_bytes > MAX_HEAD_BYTES:
                self._fault = self._fault or "head too large"
        if self._fault:
            self._fail(self._fault)
        elif self._complete:
            self._end()

    def _mend(self, data: memoryview) -> bool:
        """
        Whether the head that ends with *data*, which the parser has refused, can be read all the same, or may be when
        the rest of it has come. The parser refuses all that follows, so each further read comes here as well.
        """
        head = self._kept + data
        if self._head_done or not are_told_twice(head):
            return False
        mended = told_once(head)
        if not mended:
            return mended is not None
        self._headers = []
        self._header_bytes = 0
        self._interim = False
        self._mended = True
        self._parser = self._make_parser()
        try:
            self._parser.feed_data(mended)
        except httptools.HttpParserError:
            return self._complete
        return True

    def _fail(self, reason: str) -> None:
        sink = self._sink
        self.abandon()
        if sink is not None:
            sink.lost(Loss("upstream_protocol_error", reason, sent=True, received=True))

    def _end(self) -> None:
        sink, self._sink = self._sink, None
        reusable = self._keep_alive and self._request_sent
        if not reusable and self.transport is not None:
            self.transport.abort()
        # The client was slow to the last byte; the next one must find an open ear.
        self.resume()
        self._released(self, reusable)
        if sink is not None:
            sink.ended(True)

    # What the parser calls. Nothing may raise here: the parser would hide it.

    def on_message_begin(self) -> None:
        if self._complete:
            # More than the answer announced: the surplus must reach no client.
            self._keep_alive = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._complete or self._fault:
            return
        # The parser leaves the white space after a value, which is no part of it (RFC 9112 section 5.1).
        self._headers.append((name.lower(), value.rstrip(b" \t")))
        # Counted here too: a whole head may come in one read.
        self._header_bytes += len(name) + len(value)
        if len(self._headers) > MAX_HEADERS:
            self._fault = "too many headers"
        elif self._header_bytes > MAX_HEAD_BYTES:
            self._fault = "head too large"

    def on_headers_complete(self) -> None:
        if self._complete or self._fault or self._sink is None:
            return
        status = self._parser.get_status_code()
        headers = self._headers
        if status < 200:
            self._interim = status >= 100 and status != 101
            if not self._interim:
                self._fault = f"status {status}"
            self._headers = []
            return
        if status > 599:
            self._fault = f"status {status}"
            return
        self._head_done = True
        self._delimited = status in (204, 304)
        for name, value in headers:
            if name == b"content-length":
                self._delimited = True
            elif name == b"transfer-encoding":
                if value.strip().lower() != b"chunked":
                    self._fault = "unknown transfer coding"
                    return
                self._delimited = True
        # What comes now are trailers, which are not headers of the answer.
        self._headers = []
        self._sink.head(status, headers)

    def on_body(self, body: bytes) -> None:
        if self._sink is not None and not self._complete and not self._fault:
            self._sink.data(body)

    def on_message_complete(self) -> None:
        if self._complete:
            return
        if self._interim:
            self._interim = False
            return
        self._complete = True
        self._keep_alive = self._parser.should_keep_alive() and not self._mended
