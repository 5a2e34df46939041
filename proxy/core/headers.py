"""
Which headers pass through, in which direction, and what a request id may look like.

Allow-lists both ways: a header that is not listed stays outside. Nothing here builds or sends a message.
"""

import os
import re
from collections.abc import Iterable
from typing import Any

Header = tuple[bytes, bytes]
"""A name and a value; the name in lower case where it was received."""

PSEUDONYM = "hapax"
"""Our name in `Via` and `Server`."""

TO_PROVIDER = frozenset(
    (
        b"accept",
        b"content-type",
        b"openai-beta",
        b"anthropic-beta",
        b"anthropic-version",
        b"idempotency-key",
        b"traceparent",
        b"tracestate",
    )
)
"""Request headers that reach a provider. Host, length, credentials, Via and the request id are always our own."""
TO_PROVIDER_TRACED = TO_PROVIDER - {b"traceparent", b"tracestate"}
"""The same where the gateway takes part in traces: a provider's parent is then the attempt, not the caller."""

READ_HERE = frozenset(
    (
        "access-control-request-headers",
        "access-control-request-method",
        "api-key",
        "authorization",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "host",
        "origin",
        "te",
        "transfer-encoding",
        "upgrade",
        "via",
        "x-api-key",
        "x-correlation-id",
        "x-forwarded-for",
        "x-goog-api-key",
        "x-request-id",
    )
)
"""
Request headers that decide something here, so their values are plain ASCII. All others may hold any byte that is no
control character (`obs-text`, RFC 9110 section 5.5): a user's name, a title, what a client calls itself.
"""

TO_CLIENT = {
    b"content-type": b"Content-Type",
    b"content-disposition": b"Content-Disposition",
    b"content-language": b"Content-Language",
    b"content-range": b"Content-Range",
    b"accept-ranges": b"Accept-Ranges",
    b"etag": b"ETag",
    b"last-modified": b"Last-Modified",
    b"openai-processing-ms": b"openai-processing-ms",
    b"openai-version": b"openai-version",
    b"openai-model": b"openai-model",
    # The provider's own id stands beside ours: support tickets ask for it.
    b"x-request-id": b"X-Upstream-Request-ID",
    # Anthropic's SDKs read theirs where they know it: https://docs.claude.com/en/api/errors#request-id.
    b"request-id": b"request-id",
}
"""
Response headers that reach the client, and the name they get there. Left out on purpose: cookies, HSTS, Alt-Svc, the
provider's server and CDN headers, and its organisation and rate limits, which describe an account shared by others.
"""

_random: list[str] = []
"""Random hexadecimal digits, 32 each, not used yet."""
_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,512}")


def request_id(offered: str | None) -> str:
    """The id the client offered when it is printable ASCII of at most 512 characters, else a new UUID."""
    if offered is not None and _REQUEST_ID.fullmatch(offered):
        return offered
    return _new_id()


def correlation_in(value: dict[str, Any]) -> str:
    """
    The `metadata.correlation_id` of a body that was read, within the bounds of the header `X-Correlation-ID`; empty
    where there is none, or one that no header could hold.
    """
    metadata = value.get("metadata")
    if type(metadata) is not dict:
        return ""
    offered = metadata.get("correlation_id")
    return offered if type(offered) is str and _REQUEST_ID.fullmatch(offered) else ""


def _new_id() -> str:
    """A random UUID (version 4). The system is asked for randomness once for many of them."""
    if not _random:
        block = os.urandom(4096)
        _random.extend(block[at : at + 16].hex() for at in range(0, len(block), 16))
    digits = _random.pop()
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


def for_provider(headers: Iterable[Header], allowed: frozenset[bytes] = TO_PROVIDER) -> bytes:
    """The client's headers that a provider may see, as header lines; named by `Connection` means left out."""
    kept = [header for header in headers if header[0] in allowed or header[0] == b"connection"]
    named = _named(kept)
    return b"".join([b"%b: %b\r\n" % header for header in kept if header[0] not in named])


def for_client(headers: Iterable[Header]) -> list[Header]:
    """The provider's headers that the client may see, under the names it sees them by."""
    kept = [header for header in headers if header[0] in TO_CLIENT or header[0] == b"connection"]
    named = _named(kept)
    passed = [(TO_CLIENT[name], value) for name, value in kept if name not in named]
    theirs = value_of(passed, b"request-id")
    if theirs is not None and value_of(passed, b"X-Upstream-Request-ID") is None:
        passed.append((b"X-Upstream-Request-ID", theirs))
    return passed


def value_of(headers: Iterable[Header], wanted: bytes) -> bytes | None:
    """The first value of header *wanted*, or None."""
    for name, value in headers:
        if name == wanted:
            return value
    return None


def _named(headers: Iterable[Header]) -> set[bytes]:
    """`Connection` itself and what it names: headers of one hop."""
    named = {b"connection"}
    for name, value in headers:
        if name == b"connection" and value != b"keep-alive":
            named.update(token.strip() for token in value.lower().split(b","))
    return named
