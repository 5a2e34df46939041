"""
Undoing a content coding that a provider applied although `identity` was asked for.

Bounded: a little input may not become a lot of memory. Codings we cannot undo are the provider's fault.
"""

import zlib

MAX_OUTPUT_PER_READ = 8 * 1024 * 1024
"""More than this out of one socket read is a decompression bomb, not an answer."""


class DecodingError(Exception):
    """The coding is unknown, the data is corrupt, or it expands beyond reason."""


class Decoder:
    """Undoes gzip or deflate."""

    def __init__(self, coding: bytes) -> None:
        """*coding* is the value of Content-Encoding; raises `DecodingError` for one we cannot undo."""
        if coding not in (b"gzip", b"x-gzip", b"deflate"):
            raise DecodingError("unknown content coding")
        # 32 lets zlib tell gzip from zlib by itself.
        self._inflate = zlib.decompressobj(32 + zlib.MAX_WBITS)

    @property
    def whole(self) -> bool:
        """The coded data reached its own end."""
        return self._inflate.eof

    def feed(self, chunk: bytes) -> bytes:
        """The plain bytes of *chunk*."""
        try:
            plain = self._inflate.decompress(chunk, MAX_OUTPUT_PER_READ)
        except zlib.error:
            raise DecodingError("corrupt content coding") from None
        if self._inflate.unconsumed_tail:
            raise DecodingError("decompression bomb")
        if self._inflate.unused_data:
            # A second member, or junk: either way bytes that would silently be missing.
            raise DecodingError("bytes after the end of the content coding")
        return plain
