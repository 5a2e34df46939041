"""
A reader of multipart forms, as they arrive: which fields the form names, and where the value of its model stands.

It looks at the headers of parts and at the values of two small fields (RFC 7578, RFC 2046 section 5.1). What is in a
file is never looked at but for the boundary. A form that two servers could take apart differently is refused, because
it is judged here and obeyed elsewhere. It keeps no bytes and rewrites none.
"""

import re

from proxy.core.errors import ProxyError
from proxy.core.peek import DESTINATIONS, MAX_MODEL
from proxy.http.disposition import disposition

MAX_BOUNDARY = 250
"""Characters; RFC 2046 allows 70, some clients make longer ones."""
MAX_HEADERS = 16 * 1024
"""Bytes of a part's headers."""
MAX_PADDING = 256
"""Bytes of white space after a boundary (RFC 2046: transport padding)."""

_BOUNDARY = re.compile(r';\s*boundary\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]*))', re.IGNORECASE)
_QUOTED_PAIR = re.compile(r"\\(.)")
_LONGEST_VALUE = 4 * MAX_MODEL
"""Bytes of a value that is read; UTF-8 has at most four for a character."""


def boundary_of(content_type: str) -> bytes | None:
    """The multipart boundary named in *content_type*; None when there is none, too long a one, or several."""
    found = _BOUNDARY.findall(content_type)
    if len(found) != 1:
        return None
    quoted, plain = found[0]
    boundary = _QUOTED_PAIR.sub(r"\1", quoted) if quoted else plain
    return boundary.encode("latin-1") if 0 < len(boundary) <= MAX_BOUNDARY else None


_READ = DESTINATIONS | {"model", "stream"}
"""Fields that are judged."""
_PREAMBLE, _HEADERS, _CONTENT, _EPILOGUE = range(4)


class Form:
    """
    One form as far as it has come. Any way to cut it into pieces comes to the same.

    `ProxyError` 400 `invalid_multipart` for a second `model` and for what cannot be read or could be read in two ways,
    `invalid_type` for a model that is no name, `unsupported_parameter` for a field that names a destination or a
    credential.
    """

    __slots__ = (
        "_at",
        "_boundary",
        "_buffer",
        "_content",
        "_delimiter",
        "_field",
        "_has_model",
        "_longest",
        "_newline",
        "_offset",
        "_routes_by_model",
        "ended",
        "model",
        "named",
        "settled",
        "span",
        "stream",
    )

    def __init__(self, boundary: bytes, routes_by_model: bool) -> None:
        """*routes_by_model*: the call goes where its model is, so that nothing is settled before that is known."""
        self.model: str | None = None
        """The model, if it stood before what settled the form."""
        self.stream = False
        """A stream is asked for, as far as was said before the form was settled."""
        self.span: tuple[int, int] | None = None
        """Where that model stands: the bytes from the form's beginning."""
        self.named: str | None = None
        """The model, wherever it stood."""
        self.settled = False
        """What the call is routed by is known: a file begins, behind the model where the route depends on that."""
        self.ended = False
        """The closing boundary has come."""
        self._routes_by_model = routes_by_model
        self._delimiter = b"--" + boundary
        # It begins a line and stands alone on it: anything else is content (RFC 2046 section 5.1.1).
        self._boundary = re.compile(
            rb"%b(?<=[\r\n]%b)(?:--)?(?:[ \t]{0,%d}(\r\n|\n|\r)|[ \t]{%d})"
            % (re.escape(self._delimiter), re.escape(self._delimiter), MAX_PADDING, MAX_PADDING + 1)
        )
        self._longest = len(self._delimiter) + MAX_PADDING + 4
        """Bytes its line may have."""
        self._newline = b""
        """What ends the form's lines; its first boundary tells."""
        self._at = _PREAMBLE
        self._buffer = b"\r\n"
        """What has still to be looked at, and the two bytes before it: the form begins at the beginning of a line."""
        self._offset = -2
        """Where that begins: bytes from the form's beginning."""
        self._content = 0
        """Where the content of the present part begins, likewise."""
        self._field = ""
        """The present part's name, if its value is read."""
        self._has_model = False

    @property
    def into_part(self) -> int:
        """Bytes that have come of the present part's content."""
        return self._offset + len(self._buffer) - self._content if self._at == _CONTENT else 0

    def feed(self, piece: bytes) -> None:
        """Read the next bytes."""
        self._buffer += piece
        seen = 2
        while seen >= 0:
            seen = self._read_headers(seen) if self._at == _HEADERS else self._find_boundary(seen)

    def end(self) -> None:
        """That was all; `ProxyError` 400 when the form breaks off."""
        if not self.ended:
            # A closing boundary may be the last thing there is, without the end of its line.
            self.feed(b"\r\n")
        if not self.ended:
            raise _unreadable("The form breaks off: its closing boundary is missing.")

    def _find_boundary(self, seen: int) -> int:
        """Look for a boundary from *seen* on; the place behind its line, or -1 when more has to come first."""
        buffer = self._buffer
        # Nearly all there is of a file holds nothing like it, and is passed over ten times as fast as by the pattern.
        at = buffer.find(self._delimiter, seen)
        found = self._boundary.search(buffer, at) if at >= 0 else None
        if found is None:
            return self._wait(max(seen, len(buffer) - self._longest))
        at, behind = found.span()
        if found.group(1) is None:
            raise _unreadable("A boundary has too much white space behind it.")
        if behind == len(buffer) and buffer[-1] == 13:
            # Perhaps half of a line end.
            return self._wait(at)
        self._take_boundary(at, behind)
        return behind

    def _take_boundary(self, at: int, behind: int) -> None:
        """A part ends before *at*, and the next begins at *behind*, if there is one."""
        buffer = self._buffer
        closing = buffer[at + len(self._delimiter) : at + len(self._delimiter) + 2] == b"--"
        newline = b"\r\n" if buffer[behind - 2 : behind] == b"\r\n" else buffer[behind - 1 : behind]
        first = self._at == _PREAMBLE
        if first:
            if newline == b"\r":
                raise _ambiguous()
            self._newline = newline
        elif self._at == _EPILOGUE:
            raise _unreadable("The form goes on behind its closing boundary.")
        # What is no boundary for one server, because of how its line begins or ends, is one for another.
        before = buffer[at - 2 : at]
        begins = b"\r\n" if before == b"\r\n" else before[-1:]
        if begins != self._newline and not (first and begins in (b"\n", b"\r\n")):
            raise _ambiguous()
        if newline != self._newline and not closing:
            raise _ambiguous()
        if self._field:
            end = max(self._content, self._offset + at - len(self._newline))
            self._take_value(self._content, end, buffer[self._content - self._offset : end - self._offset])
            self._field = ""
        self._at = _EPILOGUE if closing else _HEADERS
        self.ended = closing

    def _read_headers(self, seen: int) -> int:
        """Read the headers that begin at *seen*; where the content begins, or -1 when more has to come first."""
        buffer, newline = self._buffer, self._newline
        if buffer[seen : seen + len(newline)] == newline:
            end, content = seen, seen + len(newline)
        else:
            end = buffer.find(newline + newline, seen)
            content = end + 2 * len(newline)
        if (end if end >= 0 else len(buffer)) - seen > MAX_HEADERS:
            raise _unreadable("The headers of a part are too large.")
        if end < 0:
            return self._wait(seen)
        lines = buffer[seen:end].split(newline)
        for line in lines:
            if b"\r" in line or b"\n" in line or b"\0" in line or line.startswith(self._delimiter):
                raise _ambiguous()
        self._content = self._offset + content
        self._at = _CONTENT
        self._begin_part([line.decode("utf-8", "replace") for line in lines])
        return content

    def _begin_part(self, headers: list[str]) -> None:
        part = disposition(headers)
        if part.may_be_field and not part.names.isdisjoint(_READ):
            for name in DESTINATIONS:
                if name in part.names:
                    raise ProxyError("unsupported_parameter", param=name, close=True)
            if "model" not in part.names:
                self._field = "stream"
                return
            if self._has_model:
                raise _unreadable("The form names 'model' twice.", "model")
            if part.encoded:
                raise _unreadable("The form's 'model' has a transfer coding; send it as it is.", "model")
            self._has_model = True
            self._field = "model"
        elif part.is_file and (self._has_model or not self._routes_by_model):
            self.settled = True

    def _take_value(self, start: int, end: int, value: bytes) -> None:
        if self._field == "stream":
            if not self.settled:
                self.stream = value.strip().lower() in (b"true", b"1")
            return
        try:
            model = value.decode()
        except UnicodeDecodeError:
            raise ProxyError("invalid_type", "'model' must be UTF-8 text.", param="model", close=True) from None
        if not 0 < len(model) <= MAX_MODEL:
            raise _no_name()
        self.named = model
        if not self.settled:
            self.model, self.span = model, (start, end)

    def _wait(self, at: int) -> int:
        """Keep the buffer from *at* on, and what else is still needed; -1."""
        if self._field:
            at = self._content - self._offset
            if len(self._buffer) - at > _LONGEST_VALUE + len(self._delimiter) + MAX_PADDING:
                if self._field == "model":
                    raise _no_name()
                # Too long to mean anything here.
                self._field = ""
        self._buffer = self._buffer[at - 2 :]
        self._offset += at - 2
        return -1


def _unreadable(words: str, param: str | None = None) -> ProxyError:
    return ProxyError("invalid_multipart", words, param=param, close=True)


def _ambiguous() -> ProxyError:
    return _unreadable("The form mixes line ends around its boundaries or headers; end every line with CRLF.")


def _no_name() -> ProxyError:
    return ProxyError("invalid_type", f"'model' must have 1 to {MAX_MODEL} characters.", param="model", close=True)
