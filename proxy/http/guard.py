"""
What a request must look like before the handlers see it: framing, version, headers, path.

Closes what the parser leaves open. It reads heads only and knows no routes.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote

from proxy.core.errors import ProxyError
from proxy.core.headers import PSEUDONYM
from proxy.http.meant import meant, unknown_url
from proxy.http.request import HTTP_3, Request
from proxy.http.spellings import OTHERS, query_of, translated

_PATH = re.compile(r"(?:/[A-Za-z0-9_.~:@+,=$!*'()-]+)+/?|/")
"""Plain segments: no escapes, empty segments, semicolons or backslashes that another hop might read differently."""
_ABSOLUTE = re.compile(
    r"https?://((?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?)((?:[/?].*)?)", re.IGNORECASE | re.DOTALL
)
"""A request target that is a whole URL, as clients of proxies write it: its authority, and the rest."""
_MODEL_PATH = re.compile(r"/v1/models(?:/[^/\\%;?#]+)+/?")
"""What the path of a model may be once it is unescaped: names hold colons, brackets, spaces, slashes."""
_DOTS = re.compile(r"/\.\.?(?:/|$)")
_QUERY = re.compile(r"[A-Za-z0-9_.~:@+,=$!*'()\[\]/?%&;-]*")

_SINGLE = frozenset(
    (
        "host",
        "content-length",
        "content-type",
        "transfer-encoding",
        "authorization",
        "x-api-key",
        "api-key",
        "x-goog-api-key",
        "origin",
        "expect",
        "content-encoding",
    )
)
"""Headers two readers could pick differently from, when they come twice."""


@dataclass(slots=True)
class Location:
    """Where a request goes, and what came with it."""

    path: str
    query: str
    """As it came, with its question mark; empty when there is none. Whether it may be passed on, `query` tells."""
    host: str | None = None
    """The authority it is addressed to; None for a request of HTTP/1.0 that does not say."""
    deployment: str = ""
    """The model that the path names, as Azure's SDKs write it; empty where it names none."""


def check(request: Request, max_header_bytes: int) -> Location:
    """The path and query of a request that is well formed; `ProxyError` for any other, closing where framing is."""
    version, headers = request.version, request.headers
    if version == "0.9" and not headers:
        # A line that names no version, which is how requests were made before there were any.
        raise ProxyError("bad_request", close=True)
    if version != "1.1" and version != "1.0" and version != HTTP_3:
        raise ProxyError("http_version_not_supported", close=True)
    if version == "1.1" and "host" not in headers:
        raise ProxyError("bad_request", "The Host header is missing.", close=True)
    if not request.ascii:
        raise ProxyError("bad_request", "A header that is read here has a value that is not ASCII.", close=True)
    if request.size > max_header_bytes:
        raise ProxyError("headers_too_large", close=True)
    coding = headers.get("transfer-encoding")
    if coding is not None:
        if version == "1.0":
            raise ProxyError("bad_request", "HTTP/1.0 knows no Transfer-Encoding.", close=True)
        if coding.rpartition(",")[2].strip().lower() != "chunked":
            raise ProxyError("bad_request", "The body has no end (RFC 9112 section 6.3).", close=True)
        if "," in coding:
            raise ProxyError("transfer_encoding_not_implemented", close=True)
    if request.body.broken:
        raise ProxyError("bad_request", "The body's framing is invalid.", close=True)
    if request.repeated is not None and not _SINGLE.isdisjoint(request.repeated):
        raise ProxyError("bad_request", "A header that may come once came twice.", close=True)
    if request.method in ("CONNECT", "TRACE"):
        raise ProxyError("method_not_allowed", close=True)
    if "upgrade" in headers and not (_merely_offers_h2c(headers) or asks_for_websocket(request)):
        path = request.target.partition("?")[0]
        if headers["upgrade"].strip().lower() == "websocket" and not path.startswith("/v1/") and meant(path):
            # A session below a base URL without /v1: a client told of HTTP would look for the fault elsewhere.
            raise unknown_url(path)
        raise ProxyError("upgrade_not_supported", headers=(("Upgrade", "HTTP/1.1"),), close=True)
    if "via" in headers and _passed_here(request.every("via")):
        raise ProxyError("loop_detected", "The request has passed through this gateway already.")
    host, target = headers.get("host"), request.target
    if not target.startswith("/"):
        host, target = _of_whole_url(request)
    return _locate(target, host)


def asks_for_websocket(request: Request) -> bool:
    """Whether *request* is the opening handshake of a WebSocket (RFC 6455 section 4.1) where there may be any."""
    headers = request.headers
    return (
        request.method == "GET"
        and request.target.startswith(("/v1/", "/openai/"))
        and headers.get("upgrade", "").strip().lower() == "websocket"
        and "upgrade" in [token.strip().lower() for token in headers.get("connection", "").split(",")]
        and "sec-websocket-key" in headers
    )


def _merely_offers_h2c(headers: Mapping[str, str]) -> bool:
    """
    The offer that Java's HTTP client and `curl --http2` add to every plain request (RFC 7540 section 3.2). It is
    declined by answering in HTTP/1.1; anything else in `Upgrade` asks for a protocol the gateway does not speak.
    """
    return headers["upgrade"].strip().lower() == "h2c" and "http2-settings" in headers


def _passed_here(via: list[str]) -> bool:
    """Whether one of the hops in *via* was us: its second word is the pseudonym (RFC 9110 section 7.6.3)."""
    return any(hop.split()[1:2] == [PSEUDONYM] for line in via for hop in line.split(","))


def _of_whole_url(request: Request) -> tuple[str, str]:
    """Authority and path of a target in absolute form, which overrules `Host` (RFC 9112 section 3.2.2)."""
    found = _ABSOLUTE.fullmatch(request.target)
    if found is None:
        if request.target == "*" and request.method == "OPTIONS":
            # Asked of the server as a whole (RFC 9110 section 9.3.7), which has nothing to say beyond its methods.
            allow = "DELETE, GET, HEAD, PATCH, POST, PUT"
            raise ProxyError("method_not_allowed", headers=(("Allow", allow),), close=True)
        raise ProxyError("bad_request", "The request target must be a path or an http URL.", close=True)
    return found[1], found[2] if found[2].startswith("/") else f"/{found[2]}"


def _locate(target: str, host: str | None) -> Location:
    path, _, query = target.partition("?")
    deployment = ""
    if path.startswith(OTHERS):
        spelled = translated(path)
        if spelled is not None:
            path, deployment = spelled
            query = query_of(query, path)
    if path.startswith("/v1/models/"):
        # SDKs escape what a model's name may hold. What is passed on of this path is passed on as it came.
        path = _unescaped(path)
    elif not _PATH.fullmatch(path) or _DOTS.search(path):
        raise unknown_url(path)
    if not query:
        return Location(path, "", host, deployment)
    if not _QUERY.fullmatch(query):
        raise ProxyError("bad_request", "The query holds characters that must be escaped.")
    return Location(path, f"?{query}", host, deployment)


def _unescaped(path: str) -> str:
    """The path of a model with its name as it is spelled in bodies; `ProxyError` where two readers could differ."""
    try:
        plain = unquote(path, errors="strict")
    except UnicodeDecodeError:
        raise unknown_url(path) from None
    # Escaped twice, a name still holds a percent sign.
    if not path.isascii() or not plain.isprintable() or not _MODEL_PATH.fullmatch(plain) or _DOTS.search(plain):
        raise unknown_url(path)
    return plain
