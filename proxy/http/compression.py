"""
Whether a page of our own goes out compressed: what its client's `Accept-Encoding` says (RFC 9110 section 12.5.3).

aiohttp does the compressing, in a thread where there is much. Errors and what is relayed never come here.
"""

import re
from collections.abc import Sequence

from aiohttp import web

WORTHWHILE = 1024
"""Bytes up to which a page is left as it is, unless its client takes it in no other way."""

_CODING = re.compile(
    r"[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]*(?:;[ \t]*[qQ]=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)[ \t]*)?"
)
_OTHERS = ("application/json", "application/openmetrics-text", "application/vnd.google.protobuf")
"""Types that get much smaller, besides those that say they are text."""


def compress_where_asked(page: web.StreamResponse, accepted: Sequence[str]) -> None:
    """Have *page* compressed where that is possible and worthwhile; *accepted* are the `Accept-Encoding` headers."""
    if not isinstance(page, web.Response) or not isinstance(page.body, bytes) or "Content-Encoding" in page.headers:
        return
    kind = page.content_type
    if not (kind.startswith("text/") or kind in _OTHERS) or kind == "text/event-stream":
        return
    others = page.headers.get("Vary")
    page.headers["Vary"] = f"{others}, Accept-Encoding" if others else "Accept-Encoding"
    size = size_to_compress(",".join(accepted))
    if size is None or len(page.body) <= size:
        return
    page.enable_compression(web.ContentCoding.gzip)
    tag = page.headers.get("ETag", "")
    if tag.startswith('"'):
        # Other bytes than the plain ones it was made for, with the same meaning (RFC 9110 section 8.8.1).
        page.headers["ETag"] = f"W/{tag}"


def size_to_compress(accepted: str) -> int | None:
    """Bytes beyond which gzip is right for a client with this `Accept-Encoding`; None where it never is."""
    weights: dict[str, float] = {}
    for element in accepted.split(","):
        read = _CODING.fullmatch(element)
        # What is not well formed is passed over: without compression the page can always be read.
        if read is not None:
            weights[read[1].lower()] = float(read[2] or 1)
    rest = weights.get("*")
    gzip = weights.get("gzip", weights.get("x-gzip", rest or 0.0))
    if gzip == 0 or gzip < weights.get("identity", 0.0):
        return None
    plain_is_refused = weights.get("identity", rest) == 0
    return 0 if plain_is_refused else WORTHWHILE
