"""
How a connection reads: where what comes is put, and for how long no more is read. Over TLS in such a way that nothing
is lost where the provider closes the connection after its answer.

What was read means nothing here; `connection` parses it.
"""

import asyncio
from typing import Protocol, cast

MAX_RECORD_BYTES = 16 * 1024
"""What one record of TLS holds at most (RFC 8446 section 5.1)."""


class _TlsTransport(Protocol):
    """What a transport over TLS has besides, in asyncio as in uvloop."""

    def set_read_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Bytes not decrypted yet from which on the socket is left alone, and at which it is read again."""


class Reading:
    """That of one connection."""

    def __init__(self, buffer: memoryview) -> None:
        """*buffer* is the most that one read brings, but for TLS. What is in it is good until the loop turns."""
        self._shared = self._buffer = buffer
        self._transport: asyncio.Transport | None = None
        self._tls: _TlsTransport | None = None
        self._paused = False

    def connected(self, transport: asyncio.Transport) -> None:
        """The connection is made."""
        self._transport = transport
        if transport.get_extra_info("ssl_object") is not None:
            self._tls = cast(_TlsTransport, transport)

    def lost(self) -> None:
        """The connection is lost."""
        self._transport = self._tls = None

    def room(self, sizehint: int) -> memoryview:
        """Where the next read goes; *sizehint* as the event loop has it."""
        # Over TLS it is what has come and is not decrypted yet, but for the part of a record that OpenSSL has taken in
        # already. Event loops drop what does not fit when the provider has closed the connection.
        size = 0 if self._tls is None else sizehint + MAX_RECORD_BYTES
        self._buffer = self._shared if size <= len(self._shared) else memoryview(bytearray(size))
        return self._buffer

    def taken(self, size: int) -> memoryview:
        """The *size* bytes that were read."""
        data, self._buffer = self._buffer[:size], self._shared
        return data

    def pause(self) -> None:
        """Read no further for now."""
        if self._transport is not None and not self._paused:
            self._paused = True
            self._transport.pause_reading()
            if self._tls is not None:
                # It would go on to read from the socket, and at an end found there drop what is not decrypted yet.
                self._tls.set_read_buffer_limits(1, 0)

    def resume(self) -> None:
        """Read on."""
        if self._transport is not None and self._paused:
            self._paused = False
            self._transport.resume_reading()
            if self._tls is not None:
                # After what has come is decrypted, which is done as soon as the loop turns.
                asyncio.get_running_loop().call_soon(self._read_ahead)

    def _read_ahead(self) -> None:
        if self._tls is not None and not self._paused:
            self._tls.set_read_buffer_limits()
