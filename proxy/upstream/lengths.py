"""
A head with one length told twice, made one that tells it once.

llhttp refuses two `Content-Length` even where they are equal; RFC 9112 section 6.3 lets a recipient take them for one,
and so do httpx (h11) and curl. Differing ones stay what they are. Pure: bytes in, bytes out.
"""

import re

_TWICE = re.compile(
    rb"\n(content-length:[^\r\n]*,|content-length:[^\r\n]*\r\n(?:[^\r\n]+\r\n)*?content-length(?::|\Z))", re.I
)
_LENGTH = re.compile(rb"(?<=\n)content-length:([^\r\n]*)\r\n", re.I)
_INTERIM = re.compile(rb"\r*\n*HTTP/1\.\d 1(?!01)\d\d")


def are_told_twice(head: bytes) -> bool:
    """Whether *head*, as far as it has come, tells a length more than once."""
    return _TWICE.search(head) is not None


def told_once(head: bytes) -> bytes | None:
    """
    *head* and what follows it with every length but the first left out, empty while the head has not come whole; None
    where they differ, or are none.
    """
    start = 0
    while True:
        end = head.find(b"\r\n\r\n", start) + 4
        if end < 4:
            return b""
        if _INTERIM.match(head, start) is None:
            break
        start = end
    found = list(_LENGTH.finditer(head, start, end))
    lengths = {length.strip(b" \t") for line in found for length in line.group(1).split(b",")}
    if len(lengths) != 1 or not (length := lengths.pop()).isdigit():
        return None
    fields = _LENGTH.sub(b"", head[start : end - 2])
    return head[:start] + fields + b"Content-Length: " + length + b"\r\n\r\n" + head[end:]
