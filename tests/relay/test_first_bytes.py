"""The first bytes of an answer tell whether it is a stream, and never depend on how they were cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.relay.first_bytes import MAX_BLANK, FirstBytes, is_event_stream, is_labelled_stream

BOM = b"\xef\xbb\xbf"


@pytest.mark.parametrize("before", [b"", BOM, b"\n\n", b"\r\n", BOM + b"\r\n\r\n", b"  "])
@pytest.mark.parametrize(
    "start", [b"data: x", b"data:", b"data\n", b"event: x", b": x", b"id: 1", b"retry: 5", b"error: {"]
)
def test_a_field_or_a_comment_begins_a_stream_whatever_the_label_says(before: bytes, start: bytes) -> None:
    assert is_event_stream(before + start, labelled=False) is True
    assert is_event_stream(before + start, labelled=True) is True


@pytest.mark.parametrize("start", [b'{"error"', b"[{", b"<html>", b'"x"'])
def test_json_and_pages_are_no_streams_whatever_the_label_says(start: bytes) -> None:
    for before in (b"", BOM, b"\r\n "):
        assert is_event_stream(before + start, labelled=False) is False
        assert is_event_stream(before + start, labelled=True) is False


@pytest.mark.parametrize(
    "start", [b"database error", b"idle", b"upstream connect error", b"ID3\x04", b"\xff\xfb", b"eventually"]
)
def test_anything_else_is_what_its_label_says(start: bytes) -> None:
    assert is_event_stream(start, labelled=False) is False
    assert is_event_stream(start, labelled=True) is True


@pytest.mark.parametrize("start", [b"", b"\n", b"d", b"dat", b"data", b"event", b"r", b"\xef", b"\xef\xbb", BOM])
def test_a_beginning_that_may_become_either_is_held(start: bytes) -> None:
    assert is_event_stream(start, labelled=False) is None


def test_white_space_is_not_held_for_ever() -> None:
    assert is_event_stream(b" " * (MAX_BLANK + 1), labelled=False) is False


@given(
    st.tuples(
        st.sampled_from([b"", BOM, b"\n", b" "]),
        st.sampled_from([b"data: x", b"dat", b"{}", b"<", b": x", b"idx", b"data\r", b"event:", b"\xef\xbbx"]),
    ).map(b"".join),
    st.booleans(),
)
def test_any_cut_tells_the_same(start: bytes, labelled: bool) -> None:
    whole, cut = FirstBytes(labelled), FirstBytes(labelled)
    told = whole.feed(start)
    steps = [cut.feed(start[at : at + 1]) for at in range(len(start))]
    first = next((step for step in steps if step is not None), None)
    assert first is told
    assert cut.take() == start


@pytest.mark.parametrize(
    ("kind", "labelled"),
    [
        (b"text/event-stream", True),
        (b" Text/Event-Stream; charset=utf-8", True),
        (b"text/plain", False),
        (b"application/json", False),
    ],
)
def test_the_label_is_read_as_http_writes_it(kind: bytes, labelled: bool) -> None:
    assert is_labelled_stream([(b"content-type", kind)]) is labelled
    assert is_labelled_stream([]) is False
