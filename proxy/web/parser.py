"""
Bytes of a client become requests: llhttp reads them, and what it finds is gathered here.

It bounds a head and whatever brings a body no further, and is done for at the first byte that is no HTTP. It keeps no
time and judges no request that could be read.
"""

from collections.abc import Callable

import httptools

from proxy.headers import READ_HERE, TO_PROVIDER, Header
from proxy.web.request import Body, Request

MAX_HEADERS = 128
LINES = 1024
"""Bytes of a head that are neither target nor header: colons, line ends, method and version."""

_COMMON = (
    "Accept Accept-Encoding Accept-Language Authorization Connection Content-Length Content-Type Host Idempotency-Key"
    " OpenAI-Beta OpenAI-Organization OpenAI-Project Origin Referer traceparent tracestate Transfer-Encoding User-Agent"
    " X-API-Key X-Correlation-ID X-Forwarded-For X-Forwarded-Proto X-Request-ID X-Stainless-Arch X-Stainless-Async"
    " X-Stainless-Lang X-Stainless-OS X-Stainless-Package-Version X-Stainless-Raw-Response X-Stainless-Read-Timeout"
    " X-Stainless-Retry-Count X-Stainless-Runtime X-Stainless-Runtime-Version X-Stainless-Timeout"
)
_NAMES = {
    spelling.encode(): name.lower() for name in _COMMON.split() for spelling in (name, name.lower(), name.title())
}
"""Header names as clients write them nearly always, and in lower case."""
_PASSING = {name.decode(): name for name in TO_PROVIDER | {b"connection"}}
"""Those a provider may be told, and the one that names what is for one hop alone."""


def _nothing(*_: object) -> None:
    """What is called when nobody listens any more."""


_NONE = Body(True, _nothing, _nothing)
UNREADABLE = Request("UNKNOWN", "/", "1.0", {}, None, [], 0, True, False, False, _NONE)
"""Stands for what never became a request."""


class RequestParser:
    """Reads the requests of one connection."""

    __slots__ = (
        "_body",
        "_deaf",
        "_declined",
        "_fruitful",
        "_headers",
        "_hold",
        "_http",
        "_keep_alive",
        "_lines",
        "_max_header_bytes",
        "_odd",
        "_passing",
        "_plain",
        "_primed",
        "_release",
        "_repeated",
        "_requested",
        "_size",
        "_target",
        "_unfruitful",
        "fault",
        "in_head",
    )

    def __init__(
        self,
        requested: Callable[[Request], None],
        hold: Callable[[], None],
        release: Callable[[], None],
        max_header_bytes: int,
    ) -> None:
        """
        *requested* is called with each request whose head has come; *hold* when more of a body has come than should
        wait here, *release* when it has been read.
        """
        self._requested = requested
        self._hold = hold
        self._release = release
        self._max_header_bytes = max_header_bytes
        self._http: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)
        self.fault = ""
        """Code of the error that ended it; empty while there is none."""
        self.in_head = False
        """A head has begun and not ended."""
        self._deaf = False
        """The last request of the connection has come."""
        self._keep_alive = False
        self._declined = False
        """Another protocol was offered by the request that is being read."""
        self._primed = False
        self._target = b""
        self._plain = True
        """Nothing but ASCII has been read since before the head began."""
        self._odd = False
        """A header that is read here has a value that is not ASCII."""
        self._size = 0
        self._lines = 0
        self._headers: dict[str, str] = {}
        self._repeated: dict[str, list[str]] | None = None
        self._passing: list[Header] = []
        self._body: Body | None = None
        self._unfruitful = 0
        """Bytes since the last of any use: of a head that does not end, of trailers, of what is tied to chunks."""
        self._fruitful = False

    def feed(self, data: bytes) -> None:
        """Read *data*, which came next."""
        if self._deaf:
            return
        self._fruitful = False
        self._plain = (self._plain or not self.in_head) and data.isascii()
        size = len(data)
        while data and not self.fault and not self._deaf and self._http is not None:
            try:
                self._http.feed_data(data)
                break
            except httptools.HttpParserUpgrade as declined:
                # An offer of another protocol. Whoever only offers it goes on in this one behind the request.
                data = data[declined.args[0] :]
                self._begin_anew()
            except httptools.HttpParserCallbackError:
                # A bug of ours below a callback, not the client's fault.
                raise
            except httptools.HttpParserError:
                if not self._deaf:
                    self._spoil("bad_request")
        if self._fruitful:
            self._unfruitful = 0
        else:
            self._unfruitful += size
            if self._unfruitful > self._max_header_bytes + LINES:
                self._spoil("headers_too_large")

    def close(self) -> None:
        """Nothing more will come."""
        # They lead to each other, and to whom they call.
        self._http = None
        self._body = None
        self._requested = self._hold = self._release = _nothing

    def _begin_anew(self) -> None:
        """Read on behind a head that offered another protocol, with its body if there is one."""
        self._http = httptools.HttpRequestParser(self)
        if self._body is not None:
            # httptools leaves it out; it is found again behind a head that says no more than how it ends.
            length = self._headers.get("content-length")
            framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
            self._primed = True
            self._http.feed_data(f"POST / HTTP/1.1\r\n{framing}\r\n\r\n".encode("latin-1"))
            self._primed = False

    def _spoil(self, code: str) -> None:
        if not self.fault:
            self.fault = code
            self.in_head = False
            if self._body is not None:
                self._body.spoil()

    # What llhttp calls. Nothing may raise here.

    def on_message_begin(self) -> None:
        if self.fault or self._primed:
            return
        self.in_head = True
        self._target = b""
        self._odd = False
        self._size = 0
        self._lines = 0
        self._headers = {}
        self._repeated = None
        self._passing = []

    def on_url(self, part: bytes) -> None:
        self._target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.in_head:
            # A trailer, which is nobody's header.
            return
        if self._lines == MAX_HEADERS:
            self._spoil("bad_request")
            return
        self._lines += 1
        key = _NAMES.get(name)
        if key is None:
            key = name.lower().decode("latin-1")
        # llhttp leaves the white space after a value, which is no part of it (RFC 9112 section 5.1).
        if value and value[-1] in (0x20, 0x09):
            value = value.rstrip(b" \t")
        self._size += len(name) + len(value)
        if not self._plain and not value.isascii() and key in READ_HERE:
            self._odd = True
        passing = _PASSING.get(key)
        if passing is not None:
            self._passing.append((passing, value))
        text = value.decode("latin-1")
        if key not in self._headers:
            self._headers[key] = text
            return
        if self._repeated is None:
            self._repeated = {}
        self._repeated.setdefault(key, [self._headers[key]]).append(text)

    def on_headers_complete(self) -> None:
        http = self._http
        if http is None or not self.in_head:
            return
        self.in_head = False
        self._fruitful = True
        length = self._headers.get("content-length")
        announced = "transfer-encoding" in self._headers or (length is not None and length.strip("0") != "")
        body = _NONE
        if announced:
            body = self._body = Body(False, self._hold, self._release)
        self._declined = http.should_upgrade()
        self._keep_alive = http.should_keep_alive()
        method = http.get_method()
        request = Request(
            "POST" if method == b"POST" else method.decode("latin-1"),
            self._target.decode("latin-1"),
            http.get_http_version(),
            self._headers,
            self._repeated,
            self._passing,
            self._size + len(self._target),
            not self._odd,
            self._keep_alive,
            announced,
            body,
        )
        self._requested(request)

    def on_body(self, part: bytes) -> None:
        self._fruitful = True
        if self._body is not None:
            self._body.feed(part)

    def on_message_complete(self) -> None:
        self._fruitful = True
        if self._declined:
            self._declined = False
            if self._body is not None:
                return
        if self._body is not None:
            self._body.finish()
            self._body = None
        # Nothing may follow a request that is its connection's last.
        self._deaf = not self._keep_alive
