"""
The head of an answer: as the bytes of its status line and its headers, joined in one go, or as HTTP/3's fields.

It decides nothing about what is sent.
"""

import time
from collections.abc import Iterable
from http import HTTPStatus

from proxy.core.headers import Header

REASONS = {status.value: status.phrase for status in HTTPStatus}
_STATUS_LINES = {status: f"HTTP/1.1 {status} {reason}\r\n".encode() for status, reason in REASONS.items()}

_date: tuple[int, bytes] = (0, b"")


def head_lines(status: int, request_id: str, more: bytes, headers: Iterable[Header]) -> bytes:
    """All of it but for the empty line at its end; *more* are header lines that are joined already."""
    return b"%bDate: %b\r\nX-Request-ID: %b\r\n%b%b" % (
        _STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status,
        _http_date(),
        request_id.encode("ascii"),
        more,
        b"".join([b"%b: %b\r\n" % pair for pair in headers]),
    )


def head_fields(status: int, request_id: str, more: bytes, headers: Iterable[Header]) -> list[Header]:
    """The same head for HTTP/3, which knows no reasons and no capitals (RFC 9114 section 4.2)."""
    lines = [line.partition(b": ") for line in more.split(b"\r\n")[:-1]]
    fields = [(b"date", _http_date()), (b"x-request-id", request_id.encode("ascii"))]
    fields += [(name, value) for name, _, value in lines]
    return [(b":status", b"%d" % status), *[(name.lower(), value) for name, value in (*fields, *headers)]]


def in_milliseconds(seconds: float) -> str:
    """A duration as `X-Response-Time` has it: `12.345ms`."""
    microseconds = int(seconds * 1e6 + 0.5)
    return f"{microseconds // 1000}.{microseconds % 1000:03}ms"


def _http_date() -> bytes:
    """The time as HTTP writes it, formatted once a second."""
    global _date
    now = int(time.time())
    if _date[0] != now:
        _date = (now, time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(now)).encode("ascii"))
    return _date[1]
