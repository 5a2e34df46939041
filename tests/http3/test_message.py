"""The head of a request over HTTP/3, as the rest of the gateway reads it."""

import pytest
from aiohttp import HttpVersion

from proxy.http3.message import message_of, without_head

PSEUDO = [(b":method", b"POST"), (b":scheme", b"https"), (b":authority", b"a.example:443"), (b":path", b"/v1/x?y=1")]


def test_it_is_that_of_a_request_to_a_host() -> None:
    message = message_of([*PSEUDO, (b"content-type", b"application/json"), (b"x-name", b"caf\xc3\xa9")])
    assert (message.method, message.path, message.version) == ("POST", "/v1/x?y=1", HttpVersion(3, 0))
    assert message.raw_headers == (
        (b"host", b"a.example:443"),
        (b"content-type", b"application/json"),
        (b"x-name", b"caf\xc3\xa9"),
    )
    assert [*message.headers.items()] == [
        ("host", "a.example:443"),
        ("content-type", "application/json"),
        ("x-name", "caf\u00e9"),
    ]
    assert (message.url.path, message.url.query_string) == ("/v1/x", "y=1")
    assert [message.should_close, message.upgrade, message.chunked] == [False] * 3


def test_a_host_that_says_the_same_is_said_once_and_another_is_left_to_the_guard() -> None:
    assert message_of([*PSEUDO, (b"host", b"a.example:443")]).raw_headers == ((b"host", b"a.example:443"),)
    assert message_of([*PSEUDO, (b"host", b"b.example")]).raw_headers == (
        (b"host", b"a.example:443"),
        (b"host", b"b.example"),
    )


def test_a_tunnel_has_no_path() -> None:
    message = message_of([(b":method", b"CONNECT"), (b":authority", b"a.example:443")])
    assert (message.method, message.path, message.url.path) == ("CONNECT", "*", "/")


@pytest.mark.parametrize(
    "fields",
    [
        [(b":method", b"GE T"), *PSEUDO[1:]],
        [(b":method", b"G\xcaT"), *PSEUDO[1:]],
        [*PSEUDO[:3], (b":path", b"https://b.example/")],
        [*PSEUDO[:3], (b":path", b"v1/x")],
        [*PSEUDO[:3], (b":path", b"/v1\x7f")],
        [*PSEUDO[:3], (b":path", b"/caf\xc3\xa9")],
        [*PSEUDO, (b"content-length", b"1_0")],
        [*PSEUDO, (b"content-length", b"+1")],
        [*PSEUDO, (b"content-length", b"")],
        [*PSEUDO, (b"x(y)", b"1")],
        [*PSEUDO, (b"", b"1")],
        [*PSEUDO, (b"x", b"\x1b[31m")],
    ],
)
def test_what_http_1_1_could_not_have_said_is_no_head(fields: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(ValueError, match=r"no method|no path|a length|no token|ascii"):
        message_of(fields)


def test_what_cannot_be_read_has_no_headers() -> None:
    message = without_head()
    assert (message.method, message.path, message.raw_headers) == ("UNKNOWN", "/", ())
