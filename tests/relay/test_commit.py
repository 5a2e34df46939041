"""The commit of an event stream: nothing before the first content, whole events after it, and not a byte lost."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.core.sse import Dialect, Scanner
from proxy.relay.commit import MAX_HELD, Commit

ROLE = b'data: {"choices":[{"index":0,"delta":{"role":"assistant"}}]}\n\n'
WORD = b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
ENDS = (b"\n", b"\r\n", b"\r")


def commit() -> Commit:
    return Commit(Scanner(Dialect.CHAT))


blocks = st.lists(
    st.one_of(
        st.sampled_from([ROLE, WORD, WORD, b": comment\n\n", b"event: ping\n\n", b"data: a\ndata: b\nid: 1\n\n"]),
        st.binary(max_size=20).map(lambda raw: b"data: x" + raw.translate(None, b"\r\n") + b"\n\n"),
    ),
    max_size=12,
)


@st.composite
def cut_streams(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    """A stream in one style of line ends, perhaps broken off, and its pieces."""
    stream = b"".join(draw(blocks)).replace(b"\n", draw(st.sampled_from(ENDS)))
    stream = stream[: draw(st.integers(0, len(stream)) | st.just(len(stream)))]
    marks = [0, *sorted(draw(st.sets(st.integers(0, len(stream)), max_size=12))), len(stream)]
    return stream, [stream[start:end] for start, end in pairwise(marks)]


@settings(deadline=None, max_examples=250)
@given(cut_streams())
def test_what_passes_and_the_rest_are_what_came(case: tuple[bytes, list[bytes]]) -> None:
    stream, pieces = case
    one = commit()
    assert b"".join([one.feed(piece) for piece in pieces]) + one.rest() == stream
    assert one.rest() == b""


@settings(deadline=None, max_examples=250)
@given(cut_streams())
def test_nothing_passes_before_content_and_only_whole_events_after_it(case: tuple[bytes, list[bytes]]) -> None:
    _, pieces = case
    scanner = Scanner(Dialect.CHAT)
    one = Commit(scanner)
    passed = b""
    for piece in pieces:
        ready = one.feed(piece)
        if not scanner.content:
            assert ready == b""
            continue
        passed += ready
        # An independent reader of what the client has: no line of it is unfinished, no event half there.
        reader = Scanner(Dialect.CHAT)
        reader.feed(passed)
        assert reader.between_events
        assert not one.split


@pytest.mark.parametrize("end", ENDS)
def test_content_lets_the_preamble_pass_with_it(end: bytes) -> None:
    role, word = ROLE.replace(b"\n", end), WORD.replace(b"\n", end)
    one = commit()
    assert one.feed(b": hello" + end + end) == b""
    assert one.feed(role) == b""
    assert one.feed(word[:-1]) == (b": hello" + end + end + role + word[:-1] if end == b"\r\n" else b"")
    assert one.feed(word[-1:]).endswith(word[-1:])


def test_half_an_event_waits_for_its_rest() -> None:
    one = commit()
    assert one.feed(WORD + WORD[:20]) == WORD
    assert one.feed(WORD[20:30]) == b""
    assert one.feed(WORD[30:] + WORD[:5]) == WORD
    assert one.rest() == WORD[:5]


def test_a_preamble_longer_than_can_be_held_passes() -> None:
    one = commit()
    comment = b":" + b"x" * 999 + b"\n\n"
    held = 0
    while (ready := one.feed(comment)) == b"":
        held += len(comment)
    assert held <= MAX_HELD < len(ready)
    assert ready == comment * (held // len(comment) + 1)


def test_an_event_longer_than_can_be_held_passes_as_it_comes() -> None:
    one = commit()
    one.feed(WORD)
    start = b"data: " + b"x" * MAX_HELD
    assert one.feed(start) == start
    assert one.split
    assert one.feed(b"y" * 10) == b"y" * 10
    assert one.feed(b"\n\n") == b"\n\n"
    assert not one.split
    assert one.feed(WORD[:9]) == b""


def test_it_never_holds_more_than_its_bound() -> None:
    one = commit()
    one.feed(WORD)
    came = passed = 0
    for _ in range(300):
        came += 1000
        passed += len(one.feed(b"x" * 1000))
        assert came - passed <= MAX_HELD
