"""
aioquic's two connections, QUIC's and HTTP/3's, told what a gateway on the open internet must know.

Windows stay as wide as they were configured and move on with what was read, streams are counted as configured, and no
header can be larger than it was sent. Nothing here knows of requests. Names of aioquic's that are not public are used
in this file alone; what they are needed for fails in `tests/http3/test_quic.py` when aioquic changes them.
"""

from collections.abc import Callable
from typing import Any

import pylsqpack
from aioquic.buffer import encode_uint_var
from aioquic.h3.connection import ErrorCode, FrameType, H3Connection, ProtocolError, Setting, encode_frame
from aioquic.h3.events import Headers
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import NetworkAddress, QuicConnection, stream_is_unidirectional
from aioquic.quic.events import StreamDataReceived
from aioquic.quic.packet_builder import QuicPacketBuilder
from aioquic.quic.recovery import QuicPacketSpace
from aioquic.quic.stream import QuicStream

LAST_STREAM = 2**62 - 4
"""The highest id a request can have: in a GOAWAY it says that the connection ends soon (RFC 9114 section 5.2)."""


class Quic(QuicConnection):
    """One client's QUIC connection, on our side."""

    def __init__(
        self,
        configuration: QuicConfiguration,
        new_id: Callable[[], bytes],
        bi_streams: int,
        uni_streams: int,
        **origin: Any,
    ) -> None:
        """
        *new_id* makes ids of connections. *bi_streams*, *uni_streams*: how many the client may have open at once.
        *origin*: as aioquic's.
        """
        super().__init__(configuration=configuration, **origin)
        self._new_id = new_id
        self.host_cid = self._local_initial_source_connection_id = self._host_cids[0].cid = new_id()
        for limit, most in ((self._local_max_streams_bidi, bi_streams), (self._local_max_streams_uni, uni_streams)):
            limit.value = limit.sent = most
        self._held: dict[int, int] = {}
        """Streams that are not read from, and how far they had been read."""

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, NetworkAddress]]:
        """What there is to send; nothing as long as nothing that came could be read."""
        return super().datagrams_to_send(now) if self._network_paths else []

    @property
    def patience(self) -> float:
        """Seconds without a packet after which the connection ends: the shorter of what both sides said."""
        return self._idle_timeout()

    @property
    def validated_address(self) -> NetworkAddress | None:
        """
        Where the client is, if it has shown that it gets what is sent there (RFC 9000 section 9.3): the sender of a
        packet can be forged.
        """
        return next((path.addr for path in self._network_paths if path.is_validated), None)

    @property
    def delivered(self) -> bool:
        """The client has acknowledged all that was sent."""
        return not any(
            stream.sender._buffer
            or (stream.sender._buffer_stop and not stream_is_unidirectional(number) and not stream.sender.is_finished)
            for number, stream in self._streams.items()
        )

    def untaken(self, stream_id: int) -> int:
        """Bytes written to a stream that the client has not acknowledged and may still."""
        stream = self._streams.get(stream_id)
        if stream is None or self.is_closing or stream.sender._reset_error_code is not None:
            return 0
        return len(stream.sender._buffer)

    def taken(self, stream_id: int) -> int:
        """Bytes of a stream that the client has acknowledged, from its first one on."""
        stream = self._streams.get(stream_id)
        return 0 if stream is None else stream.sender._buffer_start

    @property
    def is_closing(self) -> bool:
        """One side has closed it; its end follows once no late packet can be taken for another's."""
        return self._close_event is not None

    def stop_reading(self, stream_id: int, error_code: int) -> bool:
        """Ask the client to send no more on a stream; False where it has sent all."""
        stream = self._streams.get(stream_id)
        if stream is None or stream.receiver.is_finished:
            return False
        self.stop_stream(stream_id, error_code)
        return True

    def hold(self, stream_id: int) -> None:
        """Let the client send no more on a stream than its window already allows."""
        stream = self._streams.get(stream_id)
        if stream is not None:
            self._held.setdefault(stream_id, stream.receiver.starting_offset())

    def release(self, stream_id: int) -> None:
        """Let its window move on."""
        self._held.pop(stream_id, None)

    def _replenish_connection_ids(self) -> None:
        known = len(self._host_cids)
        super()._replenish_connection_ids()
        for each in self._host_cids[known:]:
            each.cid = self._new_id()

    def _write_connection_limits(self, builder: QuicPacketBuilder, space: QuicPacketSpace) -> None:
        limit, window = self._local_max_data, self._configuration.max_data
        used = limit.used
        if limit.value - used < window // 2:
            unread = sum(each.receiver.highest_offset - self._read_of(each) for each in self._streams.values())
            limit.value = max(limit.value, used - unread + window)
        # aioquic doubles the window each time half of it has come, so that in the end there is none.
        limit.used = 0
        try:
            super()._write_connection_limits(builder, space)
        finally:
            limit.used = used

    def _write_stream_limits(self, builder: QuicPacketBuilder, space: QuicPacketSpace, stream: QuicStream) -> None:
        receiver, window = stream.receiver, self._configuration.max_stream_data
        if receiver.is_finished:
            return
        wanted = self._read_of(stream) + window
        if wanted - stream.max_stream_data_local > window // 2:
            stream.max_stream_data_local = wanted
        if stream.max_stream_data_local_sent == stream.max_stream_data_local:
            return
        came, receiver.highest_offset = receiver.highest_offset, 0
        try:
            super()._write_stream_limits(builder, space, stream)
        finally:
            receiver.highest_offset = came

    def _read_of(self, stream: QuicStream) -> int:
        """How far a stream has been read. What came out of order has not been."""
        read = stream.receiver.starting_offset()
        return read if stream.stream_id is None else self._held.get(stream.stream_id, read)


class TooMuch(ProtocolError):
    """A client asks for more work than a call is worth."""

    error_code = ErrorCode.H3_EXCESSIVE_LOAD


class Http3(H3Connection):
    """
    HTTP/3 over one of them. Its client may not refer to headers it sent before (RFC 9204 section 3.2.3): a reference of
    one byte can stand for 4 KiB, so that a head of 64 KiB would become one of 256 MiB when it is read.
    """

    def __init__(self, quic: Quic, max_header_bytes: int) -> None:
        self._max_header_bytes = max_header_bytes
        super().__init__(quic)

    def go_away(self, stream_id: int) -> None:
        """Say that requests from this stream on are not answered on this connection."""
        control = self._local_control_stream_id
        if control is not None:
            self._quic.send_stream_data(control, encode_frame(FrameType.GOAWAY, encode_uint_var(stream_id)))

    def control(self, event: StreamDataReceived) -> None:
        """Take what came on one of the protocol's own streams."""
        self.handle_event(event)
        stream = self._stream.get(event.stream_id)
        if stream is not None and len(stream.buffer) > self._max_header_bytes:
            # A frame is kept until it is whole, and none of these is long.
            self._quic.close(ErrorCode.H3_EXCESSIVE_LOAD)

    def fault_of(self, stream_id: int, begun: bool) -> ErrorCode | None:
        """
        What is wrong with what came of a request: more than it said it would be (RFC 9114 section 4.1.2), which a
        provider would take for another request; or, once it has *begun*, a frame that is kept until it is whole.
        """
        stream = self._stream.get(stream_id)
        if stream is None:
            return None
        if stream.expected_content_length is not None and stream.content_length > stream.expected_content_length:
            return ErrorCode.H3_MESSAGE_ERROR
        return ErrorCode.H3_EXCESSIVE_LOAD if begun and len(stream.buffer) > self._max_header_bytes else None

    def forget(self, stream_id: int) -> None:
        """Nothing more is read from or written to a stream."""
        self._stream.pop(stream_id, None)

    def _init_connection(self) -> None:
        self._max_table_capacity = self._blocked_streams = 0
        self._decoder = pylsqpack.Decoder(0, 0)
        super()._init_connection()

    def _decode_headers(self, stream_id: int, frame_data: bytes | None) -> Headers:
        headers = super()._decode_headers(stream_id, frame_data)
        if sum([len(name) + len(value) for name, value in headers]) > 2 * self._max_header_bytes:
            # A byte can stand for a header of 80 that everyone knows, and all of them would be looked at one by one.
            raise TooMuch("The head is too large")
        return headers

    def _get_local_settings(self) -> dict[int, int]:
        return {
            Setting.QPACK_MAX_TABLE_CAPACITY: 0,
            Setting.QPACK_BLOCKED_STREAMS: 0,
            Setting.MAX_FIELD_SECTION_SIZE: self._max_header_bytes,
        }
