"""The head of an answer, in lines and in fields."""

import pytest

from proxy.http import head_lines
from proxy.http.head_lines import head_fields

MORE = b'Vary: Origin\r\nAlt-Svc: h3=":443"; ma=86400\r\n'
HEADERS = [(b"Content-Type", b"text/event-stream"), (b"X-Request-Cost", b"a: b")]


@pytest.fixture(autouse=True)
def _at_one_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_lines, "_http_date", lambda: b"Mon, 30 Nov 2026 12:00:00 GMT")


def test_lines_for_http_1_1() -> None:
    assert head_lines.head_lines(200, "one", MORE, HEADERS) == (
        b"HTTP/1.1 200 OK\r\n"
        b"Date: Mon, 30 Nov 2026 12:00:00 GMT\r\n"
        b"X-Request-ID: one\r\n"
        b"Vary: Origin\r\n"
        b'Alt-Svc: h3=":443"; ma=86400\r\n'
        b"Content-Type: text/event-stream\r\n"
        b"X-Request-Cost: a: b\r\n"
    )


def test_fields_for_http_3_say_the_same_in_small_letters() -> None:
    assert head_fields(200, "one", MORE, HEADERS) == [
        (b":status", b"200"),
        (b"date", b"Mon, 30 Nov 2026 12:00:00 GMT"),
        (b"x-request-id", b"one"),
        (b"vary", b"Origin"),
        (b"alt-svc", b'h3=":443"; ma=86400'),
        (b"content-type", b"text/event-stream"),
        (b"x-request-cost", b"a: b"),
    ]
