"""
The head of a request as aiohttp has it, made of the fields of an HTTP/3 HEADERS frame.

aioquic has seen to it that pseudo-fields come first and once, names are lower case, and no value breaks its line. What
is asked is judged by `http.guard` like anything else.
"""

import re

from aiohttp import HttpVersion
from aiohttp.http_parser import RawRequestMessage
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from proxy.core.headers import Header

VERSION = HttpVersion(3, 0)
_NAME = re.compile(rb"[a-z0-9!#$%&'*+.^_`|~-]+")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
"""What no value has in HTTP/1.1 (RFC 9110 section 5.5)."""


def message_of(fields: list[Header]) -> RawRequestMessage:
    """The message of these *fields*; `ValueError` for a head that HTTP/1.1 could not have had."""
    pseudo: dict[bytes, bytes] = {}
    raw: list[Header] = []
    for name, value in fields:
        if name.startswith(b":"):
            pseudo[name] = value
        elif name == b"host" and value == pseudo.get(b":authority"):
            # The same said twice (RFC 9114 section 4.3.1); where it is not the same, the guard finds two.
            continue
        elif name == b"content-length" and not value.isdigit():
            raise ValueError("a length with a sign or an underscore, which Python reads as a number")
        elif not _NAME.fullmatch(name) or _CONTROL.search(value):
            raise ValueError("a name that is no token, or a value with control characters")
        else:
            raw.append((name, value))
    raw.insert(0, (b"host", pseudo[b":authority"]))
    method = pseudo[b":method"].decode("ascii")
    if not method.isalpha():
        raise ValueError("no method")
    # A tunnel has no path, and is refused for its method.
    target = pseudo.get(b":path", b"*").decode("ascii")
    if not (target.startswith("/") or target == "*") or not target.isprintable():
        raise ValueError("no path")
    headers = CIMultiDict((name.decode("latin-1"), value.decode("utf-8", "surrogateescape")) for name, value in raw)
    path, _, query = target.partition("?")
    return _message(method, target, headers, tuple(raw), "/" if path == "*" else path, query)


def without_head() -> RawRequestMessage:
    """What stands for a request whose head cannot be read."""
    return _message("UNKNOWN", "/", CIMultiDict(), (), "/", "")


def _message(
    method: str, target: str, headers: CIMultiDict[str], raw: tuple[Header, ...], path: str, query: str
) -> RawRequestMessage:
    return RawRequestMessage(
        method=method,
        path=target,
        version=VERSION,
        headers=CIMultiDictProxy(headers),
        raw_headers=raw,
        should_close=False,
        compression=None,
        upgrade=False,
        chunked=False,
        url=URL.build(path=path, query_string=query, encoded=True),
    )
