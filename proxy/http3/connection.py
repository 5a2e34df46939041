"""
One client's connection over QUIC: its requests, each on a stream of its own, and how it ends.

Heads get a deadline and a bound, a client that takes no byte is dropped, one that merely waits for an answer keeps its
connection. What is answered is the application's; which connections there are, `door`'s.
"""

from typing import Any, cast

from aiohttp.http_parser import RawRequestMessage
from aioquic.h3.connection import ErrorCode
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic import events
from aioquic.quic.connection import stream_is_unidirectional

from proxy.core.errors import ProxyError
from proxy.http3.early import EarlyData, is_too_early
from proxy.http3.heads import Heads
from proxy.http3.message import message_of, without_head
from proxy.http3.pulse import Pulse
from proxy.http3.quic import LAST_STREAM, Http3, Quic
from proxy.http3.stalls import Stalls
from proxy.http3.stream import Application, Stream
from proxy.http3.terms import Bounds, Registry
from proxy.http3.written import Written


class ClientConnection(Written):
    """One client connection."""

    def __init__(
        self,
        quic: Quic,
        application: Application,
        bounds: Bounds,
        registry: Registry["ClientConnection"],
        address: str,
    ) -> None:
        super().__init__(quic)
        self.address = address
        """Where the client was when it connected."""
        self.opened = self._loop.time()
        self.confirmed = False
        """The handshake is over; until then all that comes is early."""
        self.leaving = False
        """It closes as soon as its last answer has arrived."""
        self._application = application
        self._bounds = bounds
        self._registry = registry
        self._early = EarlyData(bounds.max_early_bytes)
        self._streams: dict[int, Stream] = {}
        """Those whose handler is under way, and those that were cut and have bytes left to send."""
        self._heads = Heads(bounds.read_timeout, bounds.max_header_bytes, self._reject)
        self._stalls = Stalls(quic, bounds.write_timeout, self._give_up)
        self._pulse = Pulse(quic, lambda: bool(self._streams), self._wake)
        self._deaf: set[int] = set()
        """Streams of which nothing is read any more; the client has been told."""
        self._next = 0
        """The id behind that of the last stream that was opened."""
        self._last = LAST_STREAM
        """Requests from this stream on are not answered here."""

    @property
    def idle(self) -> bool:
        """No request is under way on it."""
        return not self._streams and not self._heads

    # What the door and the event loop call.

    def datagram_received(self, data: bytes | str, addr: Any) -> None:
        datagram = cast(bytes, data)
        super().datagram_received(datagram if self.confirmed else self._early.within(datagram), addr)
        self._settle()

    def announce_end(self) -> None:
        """Ask the client to make its next requests on another connection; those it makes here are answered."""
        if not self.leaving:
            self._go_away(LAST_STREAM)

    def end_soon(self) -> None:
        """Answer no requests but those under way, and close after the last."""
        self.leaving = True
        if self._http is None:
            self.drop()
        else:
            self._last = self._next
            self._go_away(self._last)
            self._settle()

    def drop(self) -> None:
        """Close it at once; what is under way on it is broken off."""
        self.close(ErrorCode.H3_NO_ERROR)
        self._leave_all()

    def quic_event_received(self, event: events.QuicEvent) -> None:
        if isinstance(event, events.ProtocolNegotiated):
            self._http = Http3(self.quic, self._bounds.max_header_bytes)
        elif isinstance(event, events.HandshakeCompleted):
            self.confirmed = True
            self._registry.completed(self)
        elif isinstance(event, events.ConnectionIdIssued):
            self._registry.issued(event.connection_id, self)
        elif isinstance(event, events.ConnectionIdRetired):
            self._registry.retired(event.connection_id)
        elif isinstance(event, events.ConnectionTerminated):
            self._leave_all()
            self._registry.ended(self)
        elif isinstance(event, events.StreamDataReceived):
            self._received(event)
        elif isinstance(event, events.StreamReset | events.StopSendingReceived) and self._http is not None:
            self._http.handle_event(event)
            self._left(event.stream_id, isinstance(event, events.StreamReset))

    # What a stream calls.

    def ended(self, stream: Stream) -> None:
        """Its handler has come to its end."""
        if not stream.body.is_eof():
            # What is left of the request is not wanted (RFC 9114 section 4.1).
            self._stop_reading(stream.id, ErrorCode.H3_NO_ERROR)
        self.quic.release(stream.id)
        if stream.is_cut and self.quic.untaken(stream.id):
            # A reset would overtake what was written before it, which says why.
            self._stalls.watch(stream.id)
        else:
            self._close_stream(stream)
        self._settle()
        self._wake()

    # Requests.

    def _received(self, event: events.StreamDataReceived) -> None:
        number = event.stream_id
        if self._http is None:
            return
        if number in self._deaf:
            if event.end_stream:
                self._deaf.discard(number)
                self._http.forget(number)
            return
        if stream_is_unidirectional(number):
            self._http.control(event)
            return
        if number not in self._streams and number not in self._heads:
            if number >= self._last:
                self._reject(number)
                return
            self._next = max(self._next, number + 4)
            self._heads.expect(number)
        found = self._http.handle_event(event)
        fault = self._http.fault_of(number, begun=number in self._streams)
        if fault is not None:
            self.close(fault)
            self._leave_all()
            return
        for each in found:
            if isinstance(each, HeadersReceived):
                self._asked(number, each)
            elif isinstance(each, DataReceived) and (stream := self._streams.get(number)) is not None:
                stream.feed(each.data, each.stream_ended)
        if number not in self._heads:
            return
        if event.end_stream:
            # Its end came before its head, which aioquic has answered.
            self._heads.forget(number)
            self._http.forget(number)
        elif self._heads.too_large(number, len(event.data)):
            self._heads.forget(number)
            self._stop_reading(number, ErrorCode.H3_EXCESSIVE_LOAD)
            self._begin(number, without_head(), ProxyError("headers_too_large"), has_body=False)

    def _asked(self, number: int, event: HeadersReceived) -> None:
        if (stream := self._streams.get(number)) is not None:
            # Trailers say nothing that is read here.
            stream.feed(b"", event.stream_ended)
            return
        self._heads.forget(number)
        message, refusal = without_head(), None
        try:
            message = message_of(event.headers)
            if not self.confirmed and is_too_early(message.method, self._bounds.allow_replay):
                refusal = ProxyError("too_early")
        except ValueError:
            refusal = ProxyError("bad_request", "The request is not valid HTTP/3.")
        self._begin(number, message, refusal, has_body=not event.stream_ended)

    def _begin(self, number: int, message: RawRequestMessage, refusal: ProxyError | None, has_body: bool) -> None:
        stream = Stream(number, self, self.quic.validated_address or (self.address, 0), has_body)
        self._streams[number] = stream
        self._pulse.keep_up()
        stream.serve(self._application, message, refusal)

    def _reject(self, number: int) -> None:
        """One whose head does not come, or that comes after we said that we answer no more: it may be asked again."""
        self._stop_reading(number, ErrorCode.H3_REQUEST_REJECTED)
        self._reset(number, ErrorCode.H3_REQUEST_REJECTED)
        self._wake()

    def _left(self, number: int, question_broke_off: bool) -> None:
        """The client wants no answer any more, or has broken off its request."""
        self._deaf.discard(number)
        self._heads.forget(number)
        stream = self._streams.get(number)
        if stream is None and not question_broke_off:
            # Its head may still come, and is not to be answered.
            self._stop_reading(number, ErrorCode.H3_REQUEST_CANCELLED)
        if stream is None or (question_broke_off and stream.body.is_eof()):
            return
        if question_broke_off:
            self.quic.reset_stream(number, ErrorCode.H3_REQUEST_CANCELLED)
        stream.leave()

    # The end of a stream.

    def _close_stream(self, stream: Stream) -> None:
        """No more is read from it or written to it."""
        if not stream.finished:
            # A whole answer has an end, so what has none must not be taken for one.
            self._reset(stream.id, ErrorCode.H3_INTERNAL_ERROR)
        elif self.quic.untaken(stream.id):
            self._stalls.watch(stream.id)
        stream.let_go()
        del self._streams[stream.id]

    def _reset(self, number: int, code: ErrorCode) -> None:
        self.quic.reset_stream(number, code)
        if self._http is not None:
            self._http.forget(number)

    def _stop_reading(self, number: int, code: ErrorCode) -> None:
        if self.quic.stop_reading(number, code):
            self._deaf.add(number)

    # What is looked at after every packet, and from time to time.

    def _settle(self) -> None:
        """See what the client has acknowledged, and whether it is still there."""
        if self.quic.is_closing:
            self._leave_all()
            return
        for stream in list(self._streams.values()):
            if stream.writing_paused:
                stream.acknowledged()
                if stream.writing_paused:
                    self._stalls.watch(stream.id)
            if stream.is_cut and stream.is_served and not self.quic.untaken(stream.id):
                self._close_stream(stream)
                self._wake()
        if self.leaving and self.idle and self.quic.delivered:
            self.drop()

    def _give_up(self, number: int) -> None:
        """The client takes no more of an answer."""
        self._stop_reading(number, ErrorCode.H3_REQUEST_CANCELLED)
        self._reset(number, ErrorCode.H3_REQUEST_CANCELLED)
        if (stream := self._streams.get(number)) is not None:
            stream.leave()
            self._settle()
        self._wake()

    def _leave_all(self) -> None:
        """Nothing is sent any more."""
        self._registry.closed(self)
        self._heads.stop()
        self._stalls.stop()
        self._pulse.stop()
        for stream in list(self._streams.values()):
            stream.leave()
