"""Which headers pass, in which direction, under which name."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.headers import TO_CLIENT, TO_PROVIDER, Header, for_client, for_provider, request_id, value_of

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


@pytest.mark.parametrize("offered", ["a", "req-7", "!~", "x" * 512, 'quote"and\\slash'])
def test_a_printable_request_id_is_kept(offered: str) -> None:
    assert request_id(offered) == offered


@pytest.mark.parametrize(
    "offered", [None, "", "x" * 513, "a b", "a\tb", "a\r\nX-Evil: 1", "a\x00", "a\x7f", "é", "a\n"]
)
def test_any_other_is_replaced(offered: str | None) -> None:
    assert UUID.fullmatch(request_id(offered))


@given(st.none() | st.text())
def test_a_request_id_can_always_stand_in_a_header(offered: str | None) -> None:
    assert re.fullmatch(r"[!-~]{1,512}", request_id(offered))


def received(raw: list[Header]) -> list[Header]:
    """Headers as the reader of a message hands them on."""
    return [(name.lower(), value) for name, value in raw]


def test_a_provider_sees_the_headers_it_needs_as_the_client_wrote_them() -> None:
    raw = [
        (b"Host", b"gateway"),
        (b"ACCEPT", b"text/event-stream"),
        (b"Content-Type", b"application/json; charset=utf-8"),
        (b"OpenAI-Beta", b"assistants=v2"),
        (b"Idempotency-Key", b"k"),
        (b"traceparent", b"00-1-2-01"),
        (b"anthropic-version", b"2023-06-01"),
    ]
    assert for_provider(received(raw)) == (
        b"accept: text/event-stream\r\n"
        b"content-type: application/json; charset=utf-8\r\n"
        b"openai-beta: assistants=v2\r\n"
        b"idempotency-key: k\r\n"
        b"traceparent: 00-1-2-01\r\n"
        b"anthropic-version: 2023-06-01\r\n"
    )


SECRET = (
    *(b"Authorization", b"X-API-Key", b"api-key", b"Proxy-Authorization", b"Cookie", b"Host", b"Content-Length"),
    *(b"Transfer-Encoding", b"Connection", b"Keep-Alive", b"TE", b"Trailer", b"Upgrade", b"Expect", b"Via", b"Origin"),
    *(b"Referer", b"User-Agent", b"Accept-Encoding", b"X-Forwarded-For", b"Forwarded", b"X-Real-IP", b"X-Request-ID"),
    *(b"X-Stainless-Lang", b"OpenAI-Organization", b"OpenAI-Project", b"Range", b"Sec-Fetch-Mode", b"X-Anything"),
)


@pytest.mark.parametrize("name", SECRET)
def test_it_sees_no_other(name: bytes) -> None:
    assert for_provider(received([(name, b"value")])) == b""


@pytest.mark.parametrize("connection", [b"openai-beta", b"close, OpenAI-Beta", b"OPENAI-BETA ,x"])
def test_what_connection_names_ends_here(connection: bytes) -> None:
    raw = [(b"OpenAI-Beta", b"x"), (b"Connection", connection), (b"Accept", b"*/*")]
    assert for_provider(received(raw)) == b"accept: */*\r\n"


def test_a_client_sees_what_describes_the_answer() -> None:
    raw = [
        (b"content-type", b"audio/mpeg"),
        (b"CONTENT-DISPOSITION", b"attachment"),
        (b"Openai-Processing-Ms", b"12"),
        (b"x-request-id", b"req_1"),
        (b"ETag", b'"1"'),
    ]
    assert for_client(received(raw)) == [
        (b"Content-Type", b"audio/mpeg"),
        (b"Content-Disposition", b"attachment"),
        (b"openai-processing-ms", b"12"),
        (b"X-Upstream-Request-ID", b"req_1"),
        (b"ETag", b'"1"'),
    ]


HIDDEN = (
    *(b"Set-Cookie", b"Server", b"Strict-Transport-Security", b"Alt-Svc", b"CF-Ray", b"CF-Cache-Status", b"Via"),
    *(b"Content-Length", b"Transfer-Encoding", b"Content-Encoding", b"Connection", b"Keep-Alive", b"Trailer", b"Date"),
    *(b"openai-organization", b"x-ratelimit-remaining-requests", b"retry-after", b"Location", b"WWW-Authenticate"),
    *(b"Access-Control-Allow-Origin", b"X-Hapax-Provider", b"X-Anything"),
)


@pytest.mark.parametrize("name", HIDDEN)
def test_it_sees_nothing_of_the_providers_house(name: bytes) -> None:
    assert for_client(received([(name, b"value")])) == []


def test_what_a_providers_connection_header_names_ends_here() -> None:
    assert for_client([(b"etag", b"x"), (b"connection", b"close, etag"), (b"content-type", b"a/b")]) == [
        (b"Content-Type", b"a/b")
    ]


names = st.sampled_from([*TO_PROVIDER, *TO_CLIENT, *SECRET, *HIDDEN]) | st.binary(min_size=1, max_size=8)
headers = st.lists(st.tuples(names, st.binary(max_size=8).map(lambda raw: raw.translate(None, b"\r\n"))), max_size=8)


@given(headers)
def test_nothing_unlisted_ever_passes(raw: list[tuple[bytes, bytes]]) -> None:
    lines = for_provider(received(raw)).split(b"\r\n")
    assert lines.pop() == b""
    assert {line.partition(b": ")[0] for line in lines} <= TO_PROVIDER
    assert {name for name, _ in for_client(received(raw))} <= set(TO_CLIENT.values())


def test_the_first_of_several_headers_counts() -> None:
    raw = [(b"retry-after", b"1"), (b"retry-after", b"2")]
    assert value_of(raw, b"retry-after") == b"1"
    assert value_of(raw, b"date") is None
