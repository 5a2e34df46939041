"""
Response heads, right and wrong: the status line and the header lines an answer goes out with.

It writes bytes for a given framing; which framing an answer has is decided in `faults.py`.
"""

from __future__ import annotations

from http import HTTPStatus

from proxy.simulator.directives import Directives
from proxy.simulator.streams import NUMBER

P20_HEADERS = (
    "openai-organization: org-simulator",
    "openai-project: proj_simulator",
    "openai-processing-ms: 42",
    "openai-version: 2020-10-01",
    "openai-model: sim-1-2025-01-01",
    "x-ratelimit-limit-requests: 10000",
    "x-ratelimit-limit-tokens: 30000000",
    "x-ratelimit-remaining-requests: 9999",
    "x-ratelimit-remaining-tokens: 29999000",
    "x-ratelimit-reset-requests: 6ms",
    "x-ratelimit-reset-tokens: 2ms",
    "Set-Cookie: __cf_bm=simulated; path=/; HttpOnly; Secure",
    "Server: cloudflare",
    'Alt-Svc: h3=":443"; ma=86400',
    "Strict-Transport-Security: max-age=31536000; includeSubDomains",
    "cf-ray: 0123456789abcdef-SIM",
    "cf-cache-status: DYNAMIC",
    "Via: 1.1 simulator",
    "Connection: keep-alive, X-Foo",
    "X-Foo: 1",
)
"""Headers that real providers send and a gateway sorts out: rate limits, cookies, hop-by-hop ones."""


def reason(status: str) -> str:
    """The reason phrase of a status, also of one that does not exist."""
    try:
        return HTTPStatus(int(status)).phrase
    except ValueError:
        return "Strange"


def head(status: str, content_type: str, framing: list[str], directives: Directives) -> bytes:
    """The status line and all header lines, with the empty line that ends them."""
    lines = [f"HTTP/1.1 {status} {reason(status)}"]
    if content_type:
        lines.append(f"Content-Type: {content_type}")
    lines += framing
    lines.append(f"x-request-id: req_{NUMBER.decode()}")
    if "retry_after" in directives:
        lines.append(f"Retry-After: {directives.text('retry_after')}")
    if "retry_after_ms" in directives:
        lines.append(f"retry-after-ms: {directives.text('retry_after_ms')}")
    if "redirect" in directives:
        lines.append(f"Location: {directives.text('redirect')}")
    if "coding" in directives:
        lines.append(f"Content-Encoding: {directives.text('coding')}")
    if any(name in directives for name in ("gzip", "gzip_cut", "gzip_corrupt")):
        lines.append("Content-Encoding: gzip")
    if "setcookie" in directives:
        lines.append(f"Set-Cookie: session={NUMBER.decode()}; Path=/; HttpOnly")
    if "header" in directives:
        name, _, value = directives.text("header").partition(":")
        lines.append(f"{name}: {value}")
    if "connection_close" in directives:
        lines.append("Connection: close")
    if "headers_p20" in directives:
        lines += P20_HEADERS
    if "bighead" in directives:
        # The size is that of the whole line, so that it can be set against a parser's limit on lines.
        lines.append("x-big: ".ljust(directives.count("bighead"), "b"))
    lines += [f"x-many-{i}: {i}" for i in range(directives.count("manyheads"))]
    end = "\n" if "bare_lf" in directives else "\r\n"
    return (end.join(lines) + end + end).encode("utf-8", "surrogateescape")


def interim(directives: Directives) -> bytes:
    """The interim heads that go before the head proper."""
    if "interim" not in directives and "interims" not in directives:
        return b""
    status = str(directives.count("interim", 103))
    one = f"HTTP/1.1 {status} {reason(status)}\r\nLink: </style.css>; rel=preload; as=style\r\n\r\n"
    return one.encode() * directives.count("interims", 1)
