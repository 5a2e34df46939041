"""
The page at `/ui` and the files it is made of, with the headers that keep a browser from loading anything else there.

They tell nothing of this gateway: what the page shows it asks the HTTP API for, with the key of who looks at it.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from proxy.core.errors import ProxyError
from proxy.http.inbound import INBOUND

STATIC = Path(__file__).parent / "static"
"""Where they lie in the package."""
INDEX = "index.html"

TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
"""Media types, by the ends of the files' names."""
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""
Content Security Policy Level 3: nothing of another host, no inline script or style, no form that is sent, no frame
around the page.
"""
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # A browser keeps them and asks each time whether they are the same: a new version is seen at once.
    "Cache-Control": "no-cache",
}


@dataclass(frozen=True, slots=True)
class File:
    """One of them, as it is sent."""

    body: bytes
    kind: str
    """Its media type."""
    tag: str
    """Its ETag, without quotes: a digest of the body."""


class Files:
    """The handlers of `/ui` and below."""

    def __init__(self) -> None:
        """Reads all of them: they are about a hundred kilobytes, and are not looked for while a request waits."""
        self._files = {
            path.name: File(path.read_bytes(), TYPES[path.suffix], _digest(path))
            for path in STATIC.iterdir()
            if path.suffix in TYPES
        }

    async def page(self, request: web.Request) -> web.StreamResponse:
        """`GET /ui`: the page. Its links are relative to a path without a slash at the end, so `/ui/` leads there."""
        if request[INBOUND].location.path.endswith("/"):
            return web.Response(status=308, headers={"Location": "../ui"})
        return self._sent(request, self._files[INDEX])

    async def file(self, request: web.Request) -> web.StreamResponse:
        """`GET /ui/{name}`: one of the page's files. `ProxyError` 404 for a name that is none of them."""
        file = self._files.get(request[INBOUND].location.path.removeprefix("/ui/"))
        if file is None:
            raise ProxyError("unknown_url")
        return self._sent(request, file)

    def _sent(self, request: web.Request, file: File) -> web.Response:
        headers = {**_HEADERS, "ETag": f'"{file.tag}"'}
        # Weakly compared (RFC 9110 section 13.1.2): the tag of a compressed answer is a weak one.
        if any(each.value in (file.tag, "*") for each in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        return web.Response(body=file.body, content_type=file.kind, charset="utf-8", headers=headers)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:20]
