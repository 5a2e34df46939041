"""Whatever bytes come as a whole 2xx answer: they pass unchanged, or they are judged, and never both."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.relay.endpoints import operation
from proxy.relay.verdict import Failed, Refused
from proxy.relay.whole_answer import MAX_WHOLE_BYTES, WholeAnswer
from proxy.upstream.source import Source

JSON = [(b"content-type", b"application/json")]
HTML = [(b"content-type", b"text/html")]
PATHS = ["/chat/completions", "/completions", "/responses", "/messages", "/embeddings", "/moderations", "/rerank"]
NAMES = (
    "error",
    "choices",
    "message",
    "code",
    "type",
    "detail",
    "finish_reason",
    "status",
    "output",
    "data",
    "base_resp",
)


class Told:
    """What an answer tells its attempt."""

    def __init__(self) -> None:
        self.passed = b""
        self.ends: list[Any] = []

    def commit(self) -> bool:
        return True

    def named(self, name: str) -> None:
        assert not self.ends

    def pass_on(self, chunk: bytes) -> None:
        self.passed += chunk

    def whole(self) -> None:
        self.ends.append("whole")

    def finished_early(self) -> None:
        raise AssertionError("no stream")

    def send(self, body: bytes, value: Any) -> None:
        self.passed += body
        self.ends.append("whole")

    def refuse_or_fail(self, verdict: Failed | Refused, words: bytes = b"") -> None:
        self.ends.append(verdict)

    def broke(self, code: str, reason: str) -> None:
        self.ends.append(code)


def told(path: str, parts: list[bytes], headers: Any = JSON, delimited: bool = True) -> Told:
    progress, kind = Told(), operation(path)
    answer = WholeAnswer(progress, headers, kind.generates, kind.answers, Source("compatible", ("sk-of-tests-123456",)))
    for part in parts:
        answer.data(part)
        if progress.ends:
            return progress
    answer.ended(delimited)
    return progress


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
)
bodies = st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode())


@given(st.sampled_from([*PATHS, "/files", "/score"]), bodies, st.sampled_from([JSON, HTML, []]), st.integers(0, 200))
def test_any_bytes_pass_unchanged_or_are_judged(path: str, body: bytes, headers: Any, at: int) -> None:
    seen = told(path, [part for part in (body[:at], body[at:]) if part], headers)
    [end] = seen.ends
    if end == "whole":
        assert seen.passed == body
        return
    assert seen.passed == b""
    if isinstance(end, Failed) and end.code in ("upstream_auth_error", "insufficient_quota"):
        words = body.lower()
        assert any(word in words for word in (b"401", b"402", b"1004", b"1008", b"2049", b"1113", b"key", b"auth"))


@given(st.sampled_from(PATHS), bodies, st.integers(0, 200))
def test_no_outcome_depends_on_how_the_bytes_were_cut(path: str, body: bytes, at: int) -> None:
    one, other = told(path, [body] if body else []), told(path, [part for part in (body[:at], body[at:]) if part])
    assert (one.passed, repr(one.ends)) == (other.passed, repr(other.ends))


@pytest.mark.parametrize("path", PATHS)
def test_a_page_that_is_too_long_to_be_held_is_no_answer_either(path: str) -> None:
    seen = told(path, [b"<!doctype html>", b"x" * (MAX_WHOLE_BYTES + 1)], HTML)
    assert (seen.passed, seen.ends) == (b"", ["upstream_protocol_error"])


def test_json_that_is_too_long_to_be_held_passes_as_it_comes() -> None:
    parts = [b'\xef\xbb\xbf {"data":["', b"x" * MAX_WHOLE_BYTES, b'"]}']
    seen = told("/embeddings", parts)
    assert (seen.passed, seen.ends) == (b"".join(parts), ["whole"])
