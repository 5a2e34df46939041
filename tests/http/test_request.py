"""A request of aiohttp's as it is read here."""

from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from proxy.http.request import Request


def asked(target: str, *headers: tuple[str, str], prefix: str = "") -> Request:
    """A GET of *target* with *headers*."""
    return Request(make_mocked_request("GET", target, CIMultiDict(headers)), prefix)


def test_a_head_is_read_as_it_came() -> None:
    request = asked("/live?a=1", ("host", "a"), ("X-One", "1"), ("Accept", "b"), ("x-one", "2"), ("User-Agent", "ü"))
    assert (request.method, request.target, request.version) == ("GET", "/live?a=1", "1.1")
    assert request.headers == {"host": "a", "x-one": "1", "accept": "b", "user-agent": "Ã¼"}
    assert (request.every("x-one"), request.every("host"), request.every("via")) == (["1", "2"], ["a"], [])
    assert request.passing == [(b"accept", b"b")]
    assert (request.size, request.ascii) == (9 + 5 + 6 + 7 + 6 + 12, True)
    assert (request.has_body, request.content_length, request.body.complete) == (False, None, True)


def test_a_value_that_is_read_here_is_ascii_or_is_said_not_to_be() -> None:
    assert asked("/live", ("X-Title", "ü")).ascii
    assert not asked("/live", ("Authorization", "Bearer ü")).ascii


def test_what_stands_before_a_mounted_application_is_no_part_of_the_path() -> None:
    assert asked("/llm/v1/models?limit=1", prefix="/llm").target == "/v1/models?limit=1"
    assert asked("/llm", prefix="/llm").target == "/"
    assert asked("/v1/models", prefix="/llm").target == "/v1/models"


def test_zeros_before_a_length_are_no_part_of_it() -> None:
    assert asked("/live", ("Content-Length", "0" * 5000 + "3")).content_length == 3
    assert asked("/live", ("Content-Length", "000")).content_length == 0
