"""
A tap on an event stream: it reads what passes and never alters, delays or withholds a byte.

Parsing follows the WHATWG rules (CR, LF and CRLF, BOM, multi-line data, comments). What the events tell is read in
`stream_facts`; where reading stops, at an error or `[DONE]`, this says at which byte. What passes is its user's
decision.
"""

import re

from proxy.core.dialect import Dialect as Dialect
from proxy.core.stream_facts import ERROR_LINE, StreamFacts

MAX_EVENT_BYTES = 16 * 1024 * 1024
"""An event longer than this ends the stream: without a cap one provider could fill our memory."""

_LINE_END = re.compile(rb"\r\n|\n|\r")
_OPENING = (b"data", b"event:", b"error:")


class EventTooLarge(Exception):
    """One event exceeded `MAX_EVENT_BYTES`."""


class Scanner(StreamFacts):
    """Facts about one stream, updated by `feed`."""

    def __init__(self, dialect: Dialect) -> None:
        super().__init__(dialect)
        self.fed = 0
        """Bytes that have come."""
        self.stop_start = 0
        """The offset in the stream at which the event begins where reading stopped."""
        self.stop_end = 0
        """The offset at which it ends, with its blank line."""
        self._line = bytearray()
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._event = b""
        self._start = 0
        """The offset at which the event begins that has not ended yet; that of the next byte between events."""
        self._opened = False
        """The bytes behind it hold a line of that event, or the start of one."""
        self._halfway = False
        """They end within a line."""
        self._after_cr = False
        self._first_line = True

    @property
    def between_events(self) -> bool:
        """No event is half delivered, so another event may be written after what has passed."""
        return not self._line and not self._data and not self._event

    @property
    def within_newline(self) -> bool:
        """The last byte was a CR, which may yet turn out to be the first half of a CRLF."""
        return self._after_cr

    def feed(self, chunk: bytes) -> None:
        """Read the next bytes of the stream; raises `EventTooLarge`."""
        at = self.fed
        self.fed = at + len(chunk)
        if self._after_cr and chunk:
            self._after_cr = False
            if chunk[0] == 10:
                # The LF belongs to the line before it.
                chunk = chunk[1:]
                at += 1
                if self.stopped:
                    self.stop_end = at
                elif self._start == at - 1:
                    self._start = at
        if self.stopped:
            return
        end = len(chunk) - 2
        if (
            at == self._start
            and chunk.startswith(b"data: {")
            and chunk.find(b"\n") == end
            and chunk.endswith(b"\n\n")
            and end < MAX_EVENT_BYTES
            and b"\r" not in chunk
        ):
            self._read_one(chunk[6:end], at)
            return
        raw = chunk
        if b"\r" in chunk:
            self._after_cr = chunk[-1] == 13
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        lines = chunk.split(b"\n")
        last = lines.pop()
        line = self._line
        for number, text in enumerate(lines):
            if line:
                line += text
                text = bytes(line)
                line.clear()
            if text:
                self._take_line(text)
            elif self._dispatch():
                self._place(raw, at, number)
                return
        if last:
            line += last
            if len(line) + self._data_bytes > MAX_EVENT_BYTES:
                raise EventTooLarge
        elif not self._data and not self._event:
            self._start = self.fed
            return
        if lines:
            self._start = self._walk(raw, at, -1)[0]
        self._opened = bool(self._data or self._event) or line[0] in b"de"
        self._halfway = len(line) > 0

    def _read_one(self, data: bytes, at: int) -> None:
        """What most reads hold: one whole event of one line, and nothing before it; this only saves time."""
        self._first_line = False
        self._start = self.fed
        self.events += 1
        self._read(b"", data)
        if self.stopped:
            self.stop_start, self.stop_end = at, self.fed

    def _place(self, raw: bytes, at: int, number: int) -> None:
        """Note where the event lies that ended with the blank line *number* of *raw*, the bytes at offset *at*."""
        self.stop_start, self.stop_end = self._walk(raw, at, number)
        self._after_cr = self.stop_end == self.fed and raw.endswith(b"\r")

    def _walk(self, raw: bytes, at: int, number: int) -> tuple[int, int]:
        """Where the last event of *raw* begins and its lines end, of all lines or up to the blank one *number*."""
        start, end, opened = self._start, at, self._start < at and self._opened
        # The first may be the rest of a line.
        goes_on = self._start < at and self._halfway
        for count, found in enumerate(_LINE_END.finditer(raw)):
            text = raw[end - at : found.start()]
            before, end = end, at + found.end()
            if count == number:
                break
            if goes_on:
                goes_on = False
            elif not text:
                opened = False
            elif not opened and text.removeprefix(b"\xef\xbb\xbf").startswith(_OPENING):
                opened = True
                start = before
            if not opened:
                start = end
        return start, end

    def _take_line(self, line: bytes) -> None:
        if self._first_line:
            self._first_line = False
            line = line.removeprefix(b"\xef\xbb\xbf")
        if line.startswith(b"data:"):
            value = line[6:] if line[5:6] == b" " else line[5:]
            self._data.append(value)
            self._data_bytes += len(value)
            if self._data_bytes > MAX_EVENT_BYTES:
                raise EventTooLarge
        elif line.startswith(b"event:"):
            self._event = line[6:].strip()
        elif line.startswith(b":"):
            self.signs += 1
        elif line == b"data":
            # A field without a colon has the empty value.
            self._data.append(b"")
        elif line.startswith(b"error:"):
            # llama.cpp's field (tools/server/server.cpp), which clients know as little as the standard does.
            self._event = ERROR_LINE
            self._data.append(line[6:])
            self._data_bytes += len(line) - 6

    def _dispatch(self) -> bool:
        """Read the event that a blank line has ended; whether reading stops there."""
        self._first_line = False
        data, event = self._data, self._event
        if event:
            self._event = b""
        if not data:
            self.signs += event != b""
            return False
        self._data = []
        self._data_bytes = 0
        self.events += 1
        self._read(event, data[0] if len(data) == 1 else b"\n".join(data))
        return self.stopped
