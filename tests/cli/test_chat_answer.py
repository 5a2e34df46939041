"""An answer as `hapax chat` reads it: the same however its bytes come, and whole only where it says so."""

import itertools

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.cli.chat_answer import Answer, EventReader


def read(*pieces: bytes) -> list[bytes]:
    reader = EventReader()
    return [data for piece in pieces for data in reader.feed(piece)] + reader.end()


@given(
    st.lists(st.sampled_from([b"data: one\n\n", b": sign of life\n\n", b"event: x\r\ndata:two\r\ndata: three\r\n\r\n",
                              b"data: four\r\r", b"id: 7\ndata\n\n", b"\n"]), max_size=6),
    st.lists(st.integers(0, 200), max_size=8),
)  # fmt: skip
def test_events_are_the_same_wherever_their_bytes_are_cut(events: list[bytes], cuts: list[int]) -> None:
    told = {b"data: one\n\n": b"one", b"data: four\r\r": b"four", b"id: 7\ndata\n\n": b""}
    told[b"event: x\r\ndata:two\r\ndata: three\r\n\r\n"] = b"two\nthree"
    whole = b"".join(events)
    edges = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})
    pieces = [whole[start:end] for start, end in itertools.pairwise(edges)]
    assert read(*pieces) == [told[event] for event in events if event in told]


def test_an_event_without_its_blank_line_is_none_and_a_byte_order_mark_is_no_part_of_a_name() -> None:
    assert read(b"\xef\xbb\xbfdata: one\n\ndata: two\n") == [b"one"]


def chunk(said: str | None = None, finish: str | None = None, **more: object) -> bytes:
    delta = {} if said is None else {"content": said}
    return orjson.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more})


def test_what_is_said_and_what_it_took_is_known() -> None:
    answer = Answer(10.0)
    assert answer.take(b'{"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}', 10.1) == ("", "")
    assert answer.take(chunk("Good "), 10.25) == ("", "Good ")
    assert answer.take(chunk("day", "stop"), 11.25) == ("", "day")
    usage = {"prompt_tokens": 1200, "completion_tokens": 30, "total_tokens": 1230}
    assert answer.take(orjson.dumps({"choices": [], "usage": usage}), 11.3) == ("", "")
    assert answer.take(b"[DONE]", 11.3) == ("", "")
    answer.provider, answer.attempts, answer.cost = "openai", "2", 1250
    assert (answer.text, answer.trouble) == ("Good day", "")
    assert answer.figures == (
        "first token 250 ms · 30.0 tokens/s · 1,200 tokens in, 30 out · $0.001250 · openai, 2 attempts"
    )


def test_without_usage_the_pieces_are_counted_and_what_is_not_known_is_left_out() -> None:
    answer = Answer(10.0)
    answer.take(chunk("Good day", "length"), 11.5)
    assert answer.figures == "first token 1.50 s · about 1 tokens out · ended by length"
    assert Answer(10.0).figures == ""


@pytest.mark.parametrize(
    ("events", "trouble"),
    [
        ([chunk("a"), b"[DONE]"], ""),
        ([chunk("a", "stop")], ""),
        ([chunk("a")], "it ended before it was finished"),
        ([], "it ended before it was finished"),
        (
            [chunk("a"), b'{"error":{"message":"The provider broke off.","code":"upstream_truncated"}}'],
            "The provider broke off. (upstream_truncated)",
        ),
        ([chunk("a"), b'{"error":{}}', b'{"type":"error"}', b"[DONE]"], "the provider failed"),
    ],
)
def test_it_is_whole_only_where_it_says_so(events: list[bytes], trouble: str) -> None:
    answer = Answer(0.0)
    for event in events:
        answer.take(event, 1.0)
    assert answer.trouble == trouble


@pytest.mark.parametrize(
    "data",
    [b"", b"null", b"[]", b"{", b'{"choices":{}}', b'{"choices":[7]}', b'{"choices":[{"delta":[]}]}',
     b'{"choices":[{"delta":{"content":7,"reasoning":{}}}],"usage":[]}'],
)  # fmt: skip
def test_what_is_no_piece_of_an_answer_says_nothing(data: bytes) -> None:
    answer = Answer(0.0)
    assert (answer.take(data, 1.0), answer.text, answer.figures) == (("", ""), "", "")


def test_a_whole_answer_parts_of_a_text_and_what_was_thought_are_read() -> None:
    answer = Answer(0.0)
    assert answer.take(b'{"choices":[{"message":{"content":"Hi"},"finish_reason":"stop"}]}', 1.0) == ("", "Hi")
    parts = b'[{"type":"thinking","thinking":[]},{"type":"text","text":"a"},{"type":"text","text":"b"}]'
    assert answer.take(b'{"choices":[{"delta":{"content":%b}}]}' % parts, 1.0) == ("", "ab")
    assert answer.take(b'{"choices":[{"delta":{"reasoning_content":"hm"}}]}', 1.0) == ("hm", "")
    assert answer.take(b'{"choices":[{"delta":{"refusal":"No."}}]}', 1.0) == ("", "No.")
    assert answer.text == "HiabNo."
