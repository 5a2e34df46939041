"""
Whether an answer is an event stream, told by its first bytes: labels are often wrong, and SDKs do not look at them.

Pure: bytes go in, a judgement comes out, or none yet. It holds what has come until then, so that no judgement depends
on how the bytes were cut.
"""

from collections.abc import Iterable

from proxy.core.headers import Header, value_of

MAX_BLANK = 64 * 1024
"""White space that is held at most; what begins with more is no event stream."""

_FIELDS = (b"data", b"event", b"id", b"retry", b"error")
"""Names a line of an event stream begins with (WHATWG HTML section 9.2.6), and llama.cpp's `error`."""

_NO_FIELD = (b"{", b"[", b"<", b'"')
"""What begins JSON and pages, which no line of an event stream does."""


def is_labelled_stream(headers: Iterable[Header]) -> bool:
    """Whether an answer with *headers* says that it is an event stream."""
    return (value_of(headers, b"content-type") or b"").lstrip()[:17].lower() == b"text/event-stream"


def is_event_stream(start: bytes, labelled: bool) -> bool | None:
    """
    Whether an answer that begins with *start* is an event stream; None while that is open. *labelled*: its type says
    so, and only the beginning of something else speaks against it.
    """
    line = start.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n")
    if not line:
        return None if len(start) <= MAX_BLANK else labelled
    if line.startswith(b":"):
        return True
    if line.startswith(_NO_FIELD):
        return False
    if labelled:
        return None if b"\xef\xbb\xbf".startswith(line) else True
    for name in _FIELDS:
        if line.startswith(name):
            after = line[len(name) : len(name) + 1]
            return None if not after else after in b":\r\n"
        if name.startswith(line):
            return None
    return None if b"\xef\xbb\xbf".startswith(line) else False


class FirstBytes:
    """The beginning of an answer to a question for a stream, held until it tells what it is."""

    def __init__(self, labelled: bool) -> None:
        """*labelled*: the answer's type is `text/event-stream`."""
        self._labelled = labelled
        self._held = b""

    def feed(self, chunk: bytes) -> bool | None:
        """Whether what has come with *chunk* is an event stream; None while that is open."""
        self._held += chunk
        return is_event_stream(self._held, self._labelled)

    def close(self) -> bool:
        """Whether it is one when nothing more will come."""
        return self._labelled

    def take(self) -> bytes:
        """All that has been held."""
        held, self._held = self._held, b""
        return held
