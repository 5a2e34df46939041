"""
One request as it is read here: its head, gathered once from the bytes that came, and its body as it arrives.

aiohttp reads the bytes. What is said here judges none of them; `guard` does.
"""

from typing import Any, Final

from aiohttp import HttpVersion11, web

from proxy.core.headers import READ_HERE, TO_PROVIDER, Header

HTTP_3 = "3.0"
"""The version of what came over QUIC; no parser of HTTP/1 lets it pass."""

_COMMON = (
    "Accept Accept-Encoding Accept-Language Authorization Connection Content-Length Content-Type Host Idempotency-Key"
    " OpenAI-Beta OpenAI-Organization OpenAI-Project Origin Referer traceparent tracestate Transfer-Encoding User-Agent"
    " X-API-Key X-Correlation-ID X-Forwarded-For X-Forwarded-Proto X-Request-ID X-Stainless-Arch X-Stainless-Async"
    " X-Stainless-Lang X-Stainless-OS X-Stainless-Package-Version X-Stainless-Raw-Response X-Stainless-Read-Timeout"
    " X-Stainless-Retry-Count X-Stainless-Runtime X-Stainless-Runtime-Version X-Stainless-Timeout"
)
_PASSING = {name.decode(): name for name in TO_PROVIDER | {b"connection"}}
"""Header names a provider may be told, and the one that names what is for one hop alone."""
_NAMES = {
    spelling.encode(): (name.lower(), _PASSING.get(name.lower()))
    for name in _COMMON.split()
    for spelling in (name, name.lower(), name.title())
}
"""Header names as clients write them nearly always: in lower case, and as they are told a provider."""


class BrokenBody(Exception):
    """What should be the rest of a body cannot be read as one."""


class Body:
    """The body of a request. How far the client may send ahead is aiohttp's to say (`read_bufsize`)."""

    def __init__(self, request: web.BaseRequest) -> None:
        self._content: Final = request.content

    @property
    def complete(self) -> bool:
        """All of it has come, or there is none."""
        return self._content.is_eof()

    @property
    def broken(self) -> bool:
        """What came next is no part of it, so it never will be complete."""
        return self._content.exception() is not None

    def take(self) -> bytes:
        """What has come and has not been read yet."""
        return self._content.read_nowait()

    async def read(self) -> bytes:
        """What has come since the last time, or comes next; empty at the end. `BrokenBody` when there is no such."""
        try:
            return await self._content.readany()
        except web.RequestPayloadError:
            raise BrokenBody from None


class Request:
    """The head of a request, and its body."""

    def __init__(self, request: web.BaseRequest, prefix: str = "") -> None:
        """*request* is aiohttp's, *prefix* what stands before each path of an application that is mounted."""
        self.inner = request
        self.method = request.method
        target = request.raw_path
        self.target = target[len(prefix) :] or "/" if prefix and target.startswith(prefix) else target
        """Path and query, as they came."""
        version = request.version
        self.version = "1.1" if version is HttpVersion11 else f"{version.major}.{version.minor}"
        """Of HTTP, such as `1.1`."""
        self.keep_alive = request.keep_alive
        """The client means to use the connection again."""
        self.has_body = request.body_exists
        """A body was announced."""
        self.body = Body(request)
        headers: dict[str, str] = {}
        repeated: dict[str, list[str]] | None = None
        passing: list[Header] = []
        size = len(target)
        # Of what could not be read as a request, aiohttp has empty mappings here, which are not of the types it says.
        untyped: Any = request
        raw: tuple[Header, ...] = untyped.raw_headers or ()
        ascii = b"".join([value for _, value in raw]).isascii()
        # What aiohttp has made of the values is the same, but for those that are not ASCII.
        texts = list(untyped.headers.values()) if ascii else [value.decode("latin-1") for _, value in raw]
        if not ascii:
            ascii = all(value.isascii() or name.lower().decode("latin-1") not in READ_HERE for name, value in raw)
        names = _NAMES
        number = 0
        for name, value in raw:
            known = names.get(name)
            if known is None:
                key = name.lower().decode("latin-1")
                spelled = _PASSING.get(key)
            else:
                key, spelled = known
            size += len(name) + len(value)
            if spelled is not None:
                passing.append((spelled, value))
            text: str = texts[number]
            number += 1
            if key not in headers:
                headers[key] = text
                continue
            if repeated is None:
                repeated = {}
            repeated.setdefault(key, [headers[key]]).append(text)
        self.headers = headers
        """By name in lower case; of one that came more than once, the first."""
        self.repeated = repeated
        """The values of those that came more than once; None where none did, which is nearly always."""
        self.passing = passing
        """Those a provider may be told, and `Connection`, in the order they came."""
        self.size = size
        """Bytes of the target, the names and the values."""
        self.ascii = ascii
        """The values of all headers that are read here are (`headers.READ_HERE`)."""

    def every(self, name: str) -> list[str]:
        """The values of the header of that name, lower case, in the order they came."""
        if self.repeated is not None and name in self.repeated:
            return self.repeated[name]
        value = self.headers.get(name)
        return [] if value is None else [value]

    @property
    def content_length(self) -> int | None:
        """Bytes of the body, where they were announced."""
        length = self.headers.get("content-length")
        return None if length is None else int(length.lstrip("0") or "0")
