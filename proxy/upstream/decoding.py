"""
Undoing a content coding that a provider applied although `identity` was asked for.

Deflate may lack its frame and a name may be no coding, as httpx reads them; gzip may have several members, as RFC 1952
has it. Bounded: a little input may not become a lot of memory. Codings we cannot undo are the provider's fault.
"""

import zlib

MAX_OUTPUT_PER_READ = 8 * 1024 * 1024
"""More than this out of one socket read is a decompression bomb, not an answer."""

_PLAIN = frozenset((b"", b"identity", b"none", b"utf-8", b"utf8", b"iso-8859-1", b"us-ascii", b"binary", b"8bit"))
"""
Names that are no coding; charsets belong into another header. httpx skips every name it does not know; here unknown
ones stay the provider's fault.
"""
_GZIP = b"\x1f\x8b"
# 32 lets zlib tell gzip from zlib by itself.
_FRAMED = 32 + zlib.MAX_WBITS


class DecodingError(Exception):
    """The coding is unknown, the data is corrupt, or it expands beyond reason."""


def coding_of(header: bytes | None) -> bytes:
    """The coding that *header*, the value of Content-Encoding, tells; empty where the body is plain."""
    if header is None:
        return b""
    named = [name.strip().lower() for name in header.split(b",")]
    return b", ".join([name for name in named if name not in _PLAIN])


class Decoder:
    """Undoes gzip or deflate."""

    def __init__(self, coding: bytes) -> None:
        """*coding* is what `coding_of` found; raises `DecodingError` for one we cannot undo."""
        if coding not in (b"gzip", b"x-gzip", b"deflate"):
            raise DecodingError("unknown content coding")
        self._may_be_bare = coding == b"deflate"
        self._inflate = zlib.decompressobj(_FRAMED)
        self._start = b""
        """The first byte of a body or of a further member: two tell what it is."""
        self._begun = False
        self._ended = False
        """A member has ended, and no other has begun."""

    @property
    def whole(self) -> bool:
        """The coded data reached its own end."""
        return self._ended and not self._start

    def feed(self, chunk: bytes) -> bytes:
        """The plain bytes of *chunk*."""
        plain = b""
        while True:
            if not self._begun:
                chunk = self._start + chunk
                self._start = b""
                if len(chunk) < 2:
                    self._start = chunk
                    return plain
                self._begin(chunk)
            try:
                plain += self._inflate.decompress(chunk, MAX_OUTPUT_PER_READ - len(plain) + 1)
            except zlib.error:
                raise DecodingError("corrupt content coding") from None
            if len(plain) > MAX_OUTPUT_PER_READ:
                raise DecodingError("decompression bomb")
            if not self._inflate.eof:
                return plain
            self._ended, self._begun = True, False
            chunk = self._inflate.unused_data
            if not chunk:
                return plain

    def _begin(self, start: bytes) -> None:
        """The body begins with *start*, or goes on with it after a member's end (RFC 1952 section 2.2)."""
        if self._ended:
            if not start.startswith(_GZIP):
                # Bytes that would silently be missing.
                raise DecodingError("bytes after the end of the content coding")
            self._inflate = zlib.decompressobj(_FRAMED)
        elif self._may_be_bare and not start.startswith(_GZIP) and not _is_zlib(start):
            # Deflate without the frame of zlib, as old servers understood the name (RFC 9110 section 8.4.1.2).
            self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        self._begun, self._ended = True, False


def _is_zlib(start: bytes) -> bool:
    """Whether *start* is the header of a zlib stream (RFC 1950 section 2.2)."""
    return start[0] & 15 == 8 and (start[0] * 256 + start[1]) % 31 == 0
