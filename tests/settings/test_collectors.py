"""Headers for a collector that is spoken to by gRPC are those that gRPC can carry."""

import pytest

from tests.settings.conftest import Configured, Refused

FIRST = "tracing: {otlp_endpoint: 'http://c', otlp_protocol: grpc, headers: {%s}}"
SECOND = "metrics: {otlp: {endpoint: 'http://c', protocol: grpc, headers: {%s}}}"


@pytest.mark.parametrize(
    ("header", "name", "words"),
    [
        ("'X!': a", "X!", "is no name for gRPC"),
        ("Token-Bin: abc", "Token-Bin", "would hold bytes for gRPC"),
        ("x-token: s\u00e9cret", "x-token", "must be printable ASCII for gRPC"),
    ],
)
def test_a_header_that_grpc_cannot_carry_is_refused(refused: Refused, header: str, name: str, words: str) -> None:
    for text, path in ((FIRST, "tracing.headers"), (SECOND, "metrics.otlp.headers")):
        (problem,) = refused(text % header)
        assert problem.path == f"{path}.{name}"
        assert words in problem.message
        assert "cret" not in problem.message


def test_by_http_the_same_headers_may_go_and_plain_ones_may_by_grpc(configured: Configured) -> None:
    by_http = FIRST.replace("grpc", "http/protobuf") % "'X!': a, Token-Bin: abc"
    assert list(configured(by_http).settings.tracing.headers) == ["X!", "Token-Bin"]
    assert list(configured(FIRST % "X-Token: 'a b'").settings.tracing.headers) == ["X-Token"]
