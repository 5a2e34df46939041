"""The comparison of two recordings: what counts as the same request."""

from tests.suites.compare import ADDED, compared, likeness, outcomes, table
from tests.suites.mock import Recorded, plain


def request(
    target: str = "/v1/chat/completions", body: bytes = b"{}", method: str = "POST", test: str = "t"
) -> Recorded:
    return Recorded(test, method, target, "application/json", body)


def test_the_same_bytes_are_the_same_and_any_other_byte_is_told() -> None:
    assert likeness(request(), request()) == ""
    assert likeness(request("/v1/files?a=1"), request("/v1/files")) == "the target is /v1/files"
    assert likeness(request(), request(method="PUT")) == "the method is PUT"
    assert likeness(request(body=b'{"a":1}'), request(body=b'{"a": 1}')) == "the body is written otherwise"
    assert likeness(request(body=b'{"a":1}'), request(body=b'{"a":2}')) == "the body is another"


def test_usage_that_is_asked_for_is_the_only_addition() -> None:
    sent = b'{"stream":true}'
    added = b'{"stream":true,"stream_options":{"include_usage":true}}'
    assert likeness(request(body=sent), request(body=added)) == ADDED
    other = b'{"stream":true,"stream_options":{"include_usage":true},"user":"u"}'
    assert likeness(request(body=sent), request(body=other)) == "the body is another"
    kept = b'{"stream":true,"stream_options":{"include_obfuscation":false}}'
    more = b'{"stream":true,"stream_options":{"include_obfuscation":false,"include_usage":true}}'
    assert likeness(request(body=kept), request(body=more)) == ADDED


def test_a_form_is_compared_without_its_boundary() -> None:
    kind = "multipart/form-data; boundary=abc123"
    assert plain(kind, b"--abc123\r\nx\r\n--abc123--") == b"--BOUNDARY\r\nx\r\n--BOUNDARY--"


def test_requests_are_matched_by_test_and_order_and_those_answered_here_are_counted() -> None:
    direct = [
        request("/v1/models", b"", "GET", "a"),
        request("/v1/files", b"", "GET", "a"),
        request("/v1/files/x", b"", "DELETE", "b"),
    ]
    through = [request("/v1/files", b"", "GET", "a"), request("/v1/evals", b"", "GET", "c")]
    rows = {row.group: row for row in compared(direct, through)}
    assert (rows["/v1/models"].calls, rows["/v1/models"].excepted.total()) == (1, 1)
    assert (rows["/v1/files"].calls, rows["/v1/files"].same) == (2, 1)
    assert rows["/v1/files"].different == ["DELETE /v1/files/x: did not arrive (b)"]
    assert rows["/v1/evals"].different == ["GET /v1/evals: arrived with the gateway alone (c)"]
    assert "| `/v1/files` | 2 | 1 |  |  | 1 |" in table(list(rows.values()))


def test_a_test_that_passes_without_the_gateway_alone_is_told() -> None:
    assert outcomes({"a": "passed", "b": "failed", "c": "passed"}, {"a": "passed", "b": "failed"}) == ["c"]
