"""Bytes of a client become requests, whatever reads they come in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.web.parser import RequestParser
from proxy.web.request import HIGH_WATER, BrokenBody, Request

HEAD = b"GET /live HTTP/1.1\r\nHost: gateway\r\n\r\n"
POST = b"POST /v1/chat/completions?beta=true HTTP/1.1\r\nHost: gateway\r\nContent-Length: 3\r\n\r\nabc"
CHUNKED = (
    b"POST /v1/files HTTP/1.1\r\nhost: gateway\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"2\r\nab\r\n1;of=three\r\nc\r\n0\r\nHost: trailer\r\n\r\n"
)
OFFER = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"


class Reading:
    """A parser, and what it has found."""

    def __init__(self, max_header_bytes: int = 65536) -> None:
        self.requests: list[Request] = []
        self.holds: list[str] = []
        self.parser = RequestParser(
            self.requests.append,
            lambda: self.holds.append("hold"),
            lambda: self.holds.append("release"),
            max_header_bytes,
        )

    def feed(self, *reads: bytes) -> "Reading":
        for read in reads:
            self.parser.feed(read)
        return self


def parsed(*reads: bytes) -> list[Request]:
    """The requests in *reads*, which hold nothing else."""
    reading = Reading().feed(*reads)
    assert not reading.parser.fault
    return reading.requests


def shown(request: Request) -> tuple[str, str, str, bool, bytes]:
    """What tells one request from another."""
    headers = repr((request.headers, request.repeated, request.passing, request.size, request.ascii))
    return request.method, request.target, headers, request.body.complete, request.body.take()


def test_a_head_is_read_as_it_came() -> None:
    head = b"GET /live?a=1 HTTP/1.0\r\nhost: a\r\nX-One:\t 1 \t\r\nAccept: b\r\nx-one: 2\r\nUser-Agent: \xfc\r\n\r\n"
    (request,) = parsed(head)
    assert (request.method, request.target, request.version) == ("GET", "/live?a=1", "1.0")
    assert request.headers == {"host": "a", "x-one": "1", "accept": "b", "user-agent": "\xfc"}
    assert (request.every("x-one"), request.every("host"), request.every("via")) == (["1", "2"], ["a"], [])
    assert request.passing == [(b"accept", b"b")]
    assert (request.size, request.ascii) == (9 + 5 + 6 + 7 + 6 + 11, True)
    assert (request.has_body, request.content_length, request.keep_alive) == (False, None, False)


@pytest.mark.parametrize(
    ("length", "announced", "expected"),
    [(b"0", False, 0), (b"000", False, 0), (b"3", True, 3), (b"0" * 5000 + b"3", True, 3)],
)
def test_an_announced_body_is_one_of_some_bytes(length: bytes, announced: bool, expected: int) -> None:
    (request,) = parsed(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %b\r\n\r\n" % length)
    assert (request.has_body, request.content_length, request.body.complete) == (announced, expected, not announced)


@pytest.mark.parametrize("offered", [POST, CHUNKED, HEAD], ids=["a length", "chunks", "no body"])
def test_what_follows_an_offer_of_another_protocol_is_its_body_and_more_requests(offered: bytes) -> None:
    asked = offered.replace(b"\r\n\r\n", b"\r\n" + OFFER + b"\r\n", 1)
    whole = [shown(request) for request in parsed(asked + asked + POST)]
    assert [body for *_, body in whole] == [b"" if offered is HEAD else b"abc"] * 2 + [b"abc"]
    assert all(complete for *_, complete, _ in whole)
    singly = [bytes((byte,)) for byte in asked + asked + POST]
    assert [shown(request) for request in parsed(*singly)] == whole


@given(st.lists(st.sampled_from([HEAD, POST, CHUNKED]), min_size=1, max_size=4), st.data())
def test_it_does_not_matter_in_which_reads_requests_come(requests: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(requests)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=12)))
    reads = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    assert [shown(each) for each in parsed(*reads)] == [shown(each) for each in parsed(whole)]


@given(
    st.lists(
        st.one_of(st.binary(max_size=60), st.sampled_from([HEAD, POST, CHUNKED, OFFER, b"\r\n", b"CONNECT a:1 "])),
        max_size=8,
    )
)
def test_whatever_comes_is_requests_or_one_fault(reads: list[bytes]) -> None:
    reading = Reading(200).feed(*reads)
    found = len(reading.requests)
    if reading.parser.fault:
        assert reading.parser.fault in ("bad_request", "headers_too_large")
        reading.feed(HEAD)
        assert len(reading.requests) == found, "nothing is read behind a fault"


@pytest.mark.parametrize(
    "endless",
    [
        [b"GET /", *[b"x" * 100] * 20],
        [b"GET / HTTP/1.1\r\n", *[b"X-Header: 12345\r\n"] * 100],
        [CHUNKED[:-10], b"Trailer: ", *[b"x" * 100] * 20],
        [CHUNKED[: CHUNKED.index(b"of=")], *[b"x" * 100] * 20],
    ],
    ids=["a path", "headers", "a trailer", "what is tied to a chunk"],
)
def test_what_brings_nothing_is_read_to_a_limit(endless: list[bytes]) -> None:
    assert Reading(200).feed(*endless).parser.fault == "headers_too_large"


async def test_a_body_that_is_none_breaks_where_it_is_read() -> None:
    reading = Reading().feed(CHUNKED[: CHUNKED.index(b"1;of")])
    (request,) = reading.requests
    assert await request.body.read() == b"ab"
    reading.feed(b"no chunk\r\n")
    assert reading.parser.fault == "bad_request"
    with pytest.raises(BrokenBody):
        await request.body.read()


def test_nothing_is_read_behind_the_last_request_of_a_connection() -> None:
    (request,) = parsed(HEAD.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + b"junk" + HEAD, HEAD)
    assert not request.keep_alive


def test_a_body_nobody_reads_holds_its_client_until_it_is_read() -> None:
    reading = Reading().feed(POST.replace(b"Length: 3", b"Length: 1000000"))
    reading.feed(bytes(HIGH_WATER - 3))
    assert reading.holds == []
    reading.feed(b"x")
    reading.feed(b"x")
    assert reading.holds == ["hold"]
    assert len(reading.requests[0].body.take()) == HIGH_WATER + 2
    assert reading.holds == ["hold", "release"]
