"""
What is written on a client's connection over QUIC: frames, sent together once a turn of the event loop.

What is asked on it, and what comes of that, is `connection`'s.
"""

from aioquic.asyncio.protocol import QuicConnectionProtocol

from proxy.core.headers import Header
from proxy.http3.quic import Http3, Quic


class Written(QuicConnectionProtocol):
    """One connection, as far as it is written to."""

    def __init__(self, quic: Quic) -> None:
        super().__init__(quic)
        self.quic = quic
        self._http: Http3 | None = None
        """None until both sides have agreed on HTTP/3."""
        self._woken = False

    @property
    def delivered(self) -> bool:
        """The client has all that was sent to it."""
        return self.quic.delivered

    def transmit(self) -> None:
        self._woken = False
        super().transmit()

    def send_head(self, stream_id: int, fields: list[Header], ended: bool) -> None:
        """A HEADERS frame."""
        if self._http is not None:
            self._http.send_headers(stream_id, fields, ended)
            self._wake()

    def send_body(self, stream_id: int, data: bytes, ended: bool) -> None:
        """A DATA frame."""
        if self._http is not None:
            self._http.send_data(stream_id, data, ended)
            self._wake()

    def untaken(self, stream_id: int) -> int:
        """Bytes that the client has not acknowledged."""
        return self.quic.untaken(stream_id)

    def hold(self, stream_id: int, held: bool) -> None:
        """The client's window stands still, or moves on."""
        if held:
            self.quic.hold(stream_id)
        else:
            self.quic.release(stream_id)
            self._wake()

    def _go_away(self, number: int) -> None:
        if self._http is not None:
            self._http.go_away(number)
            self._wake()

    def _wake(self) -> None:
        """Send what there is to send, once all that is written in this turn of the loop has been."""
        if not self._woken:
            self._woken = True
            self._loop.call_soon(self.transmit)
