"""The tap on event streams: the same facts wherever the bytes are cut, and those a reader of the WHATWG text finds."""

import json
import re
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.core.sse import MAX_EVENT_BYTES, Dialect, EventTooLarge, Scanner

pytestmark = pytest.mark.as_python
"""What a scanner finds is written down by one that inherits from it."""


def read(stream: bytes) -> list[tuple[bytes, bytes]]:
    """Type and data of each event of *stream*, by the letter of WHATWG HTML section 9.2.6 and nothing else."""
    stream = stream.removeprefix(b"\xef\xbb\xbf")
    # A last line without its end is no line, and an event without its blank line is no event.
    lines = re.split(rb"\r\n|\n|\r", stream)[:-1]
    events = []
    data, kind = b"", b""
    for line in lines:
        if line == b"":
            if data:
                events.append((kind or b"message", data.removesuffix(b"\n")))
            data, kind = b"", b""
            continue
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            data += value + b"\n"
        elif name == b"event":
            kind = value
    return events


class Recorder(Scanner):
    """A scanner that shows which events it read."""

    def __init__(self, dialect: Dialect) -> None:
        super().__init__(dialect)
        self.seen: list[bytes] = []

    def _read(self, event: bytes, data: bytes) -> None:
        self.seen.append(data)
        super()._read(event, data)


def told(scanner: Recorder) -> dict[str, Any] | None:
    return scanner.error_event.error if scanner.error_event is not None else None


def facts(scanner: Scanner) -> dict[str, Any]:
    """Everything a scanner tells."""
    names = (
        "events",
        "content",
        "usage",
        "counted",
        "deltas",
        "text_bytes",
        "done",
        "whole",
        "between_events",
    )
    return {"error": told(scanner), **{name: getattr(scanner, name) for name in names}}


def scan(dialect: Dialect, *chunks: bytes) -> Recorder:
    scanner = Recorder(dialect)
    for chunk in chunks:
        scanner.feed(chunk)
    return scanner


fragments = st.sampled_from(
    [
        *(b"\n", b"\r", b"\r\n", b"\n\n", b"\r\r", b"\r\n\r\n", b":", b" ", b"\xef\xbb\xbf", b"\x00", b"\xff", b"x"),
        *(b"data", b"data:", b"data: ", b"data:  ", b"event:", b"event: error", b"id: 1", b"retry:", b": hello"),
        *(b"[DONE]", b'{"choices":[{"delta":{"content":"a"}}]}', b'{"choices":[{"finish_reason":"stop"}]}'),
        *(b'{"error":{"code":"x"}}', b'{"usage":{"total_tokens":1}}', b'{"type":"message_stop"}', b"{}", b"["),
    ]
)
ends = st.sampled_from([b"\n", b"\r\n", b"\r", b"\n\n", b"\r\n\r\n", b"\r\r"])
lines = st.tuples(st.lists(fragments, min_size=1, max_size=3).map(b"".join), ends).map(b"".join)
marks = st.sampled_from([b"", b"", b"\xef\xbb\xbf"])
streams = st.tuples(marks, st.lists(lines | fragments | st.binary(max_size=3), max_size=20).map(b"".join)).map(b"".join)


@settings(deadline=None, max_examples=400)
@given(streams, st.sampled_from(Dialect), st.sets(st.integers(0, 200)))
def test_any_split_tells_the_same(stream: bytes, dialect: Dialect, cuts: set[int]) -> None:
    places = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    parts = [stream[start:end] for start, end in pairwise(places)]
    assert facts(scan(dialect, *parts)) == facts(scan(dialect, stream))
    assert facts(scan(dialect, *(bytes([byte]) for byte in stream))) == facts(scan(dialect, stream))


@settings(deadline=None, max_examples=400)
@given(streams)
def test_it_reads_the_events_the_standard_defines(stream: bytes) -> None:
    scanner = scan(Dialect.CHAT, stream)
    events = [data for _, data in read(stream)]
    # Reading ends where clients stop.
    assert scanner.seen == (events[: len(scanner.seen)] if scanner.stopped else events)


@settings(deadline=None, max_examples=400)
@given(streams)
def test_between_events_another_one_can_be_written_without_harm(stream: bytes) -> None:
    scanner = scan(Dialect.CHAT, stream)
    if scanner.between_events and not scanner.stopped:
        after = read(stream + b"data: ours\n\n")
        assert [data for _, data in after] == [*(data for _, data in read(stream)), b"ours"]


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"\xef\xbb\xbfdata: x\n\n", [b"x"]),
        (b"\xef\xbb\xbf\xef\xbb\xbfdata: x\n\n", []),
        (b"data: x\n\n\xef\xbb\xbfdata: y\n\n", [b"x"]),
        (b"\n\xef\xbb\xbfdata: x\n\n", []),
    ],
)
def test_a_byte_order_mark_is_skipped_once_and_only_first(stream: bytes, events: list[bytes]) -> None:
    assert scan(Dialect.CHAT, stream).seen == events
    assert [data for _, data in read(stream)] == events


@pytest.mark.parametrize(
    ("stream", "between"),
    [
        (b"", True),
        (b": comment\n", True),
        (b"data: x", False),
        (b"data: x\n", False),
        (b"data: x\n\n", True),
        (b"data: x\r\n\r", True),
        (b"event: ping\n", False),
        (b"event: ping\n\n", True),
        (b"data\n", False),
    ],
)
def test_it_knows_whether_an_event_is_half_delivered(stream: bytes, between: bool) -> None:
    assert scan(Dialect.CHAT, stream).between_events is between


def event(value: Any, kind: str | None = None) -> bytes:
    head = f"event: {kind}\n" if kind else ""
    return f"{head}data: {json.dumps(value)}\n\n".encode()


def delta(index: int = 0, finish: str | None = None, **fields: Any) -> bytes:
    return event({"choices": [{"index": index, "delta": fields, "finish_reason": finish}]})


@pytest.mark.parametrize(
    "preamble",
    [
        b": comment\n\n",
        delta(role="assistant"),
        delta(role="assistant", content=""),
        delta(role="assistant", content=None, refusal=None, tool_calls=[]),
        event({"choices": []}),
        event({"choices": "none"}),
        event({"choices": [7]}),
        event([]),
        event({"usage": {"total_tokens": 3}, "choices": []}),
        b"data: {broken\n\n",
        b"event: ping\n\n",
        b"data: \n\n",
        b"data: [DONE]\n\n",
        delta(role="assistant", content="", provider_specific_fields={"citations": ["a"]}, name="assistant-1"),
        delta(content="", reasoning_details=[{"type": "reasoning.text", "text": "", "format": "unknown", "index": 0}]),
        delta(audio={"id": "audio_1", "expires_at": 5}),
        delta(content=[{"type": "text", "text": ""}]),
    ],
)
def test_a_chat_preamble_is_no_content(preamble: bytes) -> None:
    assert not scan(Dialect.CHAT, preamble).content


@pytest.mark.parametrize(
    "chunk",
    [
        delta(content="a"),
        delta(role="assistant", content="a"),
        delta(content=" "),
        delta(refusal="no"),
        delta(reasoning_content="hm"),
        delta(content="\ud83d"),
        delta(content=[{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]),
        delta(reasoning_details=[{"type": "reasoning.encrypted", "data": "gAAA"}]),
        delta(audio={"id": "audio_1", "transcript": "a"}),
        delta(images=[{"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBO"}}]),
        b'data: {"choices":[{"delta":{"content":"a"},"logprobs":{"content":[{"logprob":-Infinity}]}}]}\n\n',
        b'data: \xef\xbb\xbf{"choices":[{"delta":{"content":"\xf0\x9f"}}]}\n\n',
        delta(tool_calls=[{"index": 0, "function": {"name": "f"}}]),
        delta(finish="stop"),
    ],
)
def test_what_a_reader_would_call_an_answer_is_chat_content(chunk: bytes) -> None:
    assert scan(Dialect.CHAT, delta(role="assistant"), chunk).content


def test_a_chat_is_whole_when_every_choice_has_finished() -> None:
    scanner = scan(Dialect.CHAT, delta(0, content="a"), delta(1, content="b"))
    assert not scanner.whole
    scanner.feed(delta(1, finish="stop"))
    assert not scanner.whole
    scanner.feed(delta(0, finish="length"))
    assert scanner.whole
    assert not scanner.done


def test_done_alone_makes_no_chat_whole() -> None:
    scanner = scan(Dialect.CHAT, delta(content="a"), b"data: [DONE]\n\n")
    assert scanner.done
    assert not scanner.whole


def test_a_completion_speaks_in_text() -> None:
    scanner = scan(Dialect.COMPLETIONS, event({"choices": [{"index": 0, "text": ""}]}))
    assert not scanner.content
    scanner.feed(event({"choices": [{"index": 0, "text": "a"}]}))
    assert (scanner.content, scanner.whole) == (True, False)
    scanner.feed(event({"choices": [{"index": 0, "text": "", "finish_reason": "stop"}]}))
    assert scanner.whole


@pytest.mark.parametrize("name_in_data", [True, False])
@pytest.mark.parametrize("last", ["response.completed", "response.incomplete"])
def test_a_response_is_whole_at_its_last_event(last: str, name_in_data: bool) -> None:
    def typed(kind: str, **fields: Any) -> bytes:
        return event({"type": kind, **fields}) if name_in_data else event(fields, kind)

    scanner = scan(
        Dialect.RESPONSES, typed("response.created"), typed("response.queued"), typed("response.in_progress")
    )
    assert not scanner.content
    scanner.feed(typed("response.output_text.delta", delta="a"))
    assert (scanner.content, scanner.whole) == (True, False)
    scanner.feed(typed(last, response={"usage": {"total_tokens": 5}}))
    assert (scanner.whole, scanner.usage) == (True, {"total_tokens": 5})


def test_a_failed_response_is_over_and_an_error() -> None:
    failed = event({"type": "response.failed", "response": {"error": {"code": "server_error"}}})
    scanner = scan(Dialect.RESPONSES, failed)
    assert (scanner.whole, scanner.content, told(scanner)) == (False, False, {"code": "server_error"})


def test_a_message_is_whole_at_message_stop() -> None:
    scanner = scan(
        Dialect.MESSAGES,
        event({"type": "message_start", "message": {"usage": {"input_tokens": 2}}}, "message_start"),
        event({"type": "content_block_start"}, "content_block_start"),
    )
    assert (scanner.content, scanner.usage) == (False, {"input_tokens": 2})
    scanner.feed(event({"type": "content_block_delta"}, "content_block_delta"))
    assert (scanner.content, scanner.whole) == (True, False)
    scanner.feed(event({"type": "message_delta", "usage": {"output_tokens": 3}}, "message_delta"))
    scanner.feed(event({"type": "message_stop"}, "message_stop"))
    assert (scanner.whole, scanner.usage) == (True, {"input_tokens": 2, "output_tokens": 3})


def test_an_unknown_stream_is_content_from_its_first_event() -> None:
    scanner = scan(Dialect.OTHER, b": comment\n\n")
    assert not scanner.content
    scanner.feed(b"data: anything\n\n")
    assert (scanner.content, scanner.whole) == (True, True)


@pytest.mark.parametrize(
    ("stream", "error"),
    [
        (b'data: {"error":{"code":"x"}}\n\n', {"code": "x"}),
        (b'event: error\ndata: {"message":"flat"}\n\n', {"message": "flat"}),
        (b'data: {"error":"a string"}\n\n', {"message": "a string"}),
        (b'data: {"error":null,"choices":[]}\n\n', None),
        (b'event:error\r\ndata:{"error":\r\ndata:{"code":"x"}}\r\n\r\n', {"code": "x"}),
    ],
)
def test_it_sees_the_error_a_provider_tells_inside_a_stream(stream: bytes, error: dict[str, Any] | None) -> None:
    assert told(scan(Dialect.CHAT, stream)) == error


@pytest.mark.parametrize("usage", [None, 0, -1, "many", [], 10**30])
def test_usage_that_is_no_object_is_no_usage(usage: Any) -> None:
    assert scan(Dialect.CHAT, event({"usage": usage, "choices": []})).usage is None


@pytest.mark.parametrize(
    "nonsense",
    [
        b'data: {"choices":[{"index":"0","delta":7,"finish_reason":false}]}\n\n',
        b'data: {"choices":[{"delta":null}]}\n\n',
        b'data: {"type":7}\n\n',
        b'data: "\xff"\n\n',
        b"data: " + b"[" * 5000 + b"\n\n",
        b"data: nul \x00\n\n",
    ],
)
@pytest.mark.parametrize("dialect", list(Dialect))
def test_nonsense_tells_nothing_and_breaks_nothing(nonsense: bytes, dialect: Dialect) -> None:
    scanner = scan(dialect, nonsense)
    assert scanner.events == 1
    assert scanner.whole is (dialect is Dialect.OTHER)


@pytest.mark.parametrize("piece", [1000, 65536, 2**26])
def test_an_event_of_exactly_the_limit_is_read(piece: int) -> None:
    stream = b"data:" + b"x" * (MAX_EVENT_BYTES - 5) + b"\n\n"
    assert scan(Dialect.CHAT, *(stream[at : at + piece] for at in range(0, len(stream), piece))).events == 1


@pytest.mark.parametrize("piece", [1000, 65536, 2**26])
@pytest.mark.parametrize("line_break", [b"", b"\ndata:"])
def test_a_longer_event_is_refused(piece: int, line_break: bytes) -> None:
    stream = b"data:" + b"x" * (MAX_EVENT_BYTES - 5) + line_break + b"x" * 6 + b"\n\n"
    with pytest.raises(EventTooLarge):
        scan(Dialect.CHAT, *(stream[at : at + piece] for at in range(0, len(stream), piece)))


def test_many_events_together_may_be_longer_than_one() -> None:
    one = b"data:" + b"x" * (5 * 1024 * 1024) + b"\n\n"
    assert scan(Dialect.CHAT, *[one] * 5).events == 5


@pytest.mark.parametrize(
    ("fields", "deltas", "size"),
    [
        ({"content": "word"}, 1, 4),
        ({"role": "assistant", "content": "é"}, 1, 2),
        ({"content": ""}, 0, 0),
        ({"role": "assistant", "content": None, "tool_calls": []}, 0, 0),
        ({"content": None, "refusal": "no"}, 1, 2),
        ({"reasoning_content": "hm", "content": ""}, 1, 2),
        ({"tool_calls": [{"index": 0, "id": "call_1", "function": {"name": "f", "arguments": "{}"}}]}, 1, 3),
        ({"function_call": {"arguments": '{"a'}}, 1, 3),
        ({"content": "\ud83d"}, 1, 1),
        ({"name": "assistant-1"}, 0, 0),
        ({"odd": [[["deep"]]]}, 0, 0),
    ],
)
def test_what_a_model_generates_is_counted(fields: dict[str, Any], deltas: int, size: int) -> None:
    scanner = scan(Dialect.CHAT, delta(**fields), delta(finish="stop"))
    assert (scanner.deltas, scanner.text_bytes) == (deltas, size)


def test_every_choice_counts_and_so_does_what_comes_with_the_finish() -> None:
    scanner = scan(Dialect.CHAT, delta(0, content="a"), delta(1, content="bc"), delta(1, "stop", content="d"))
    assert (scanner.deltas, scanner.text_bytes) == (3, 4)
    scanner = scan(Dialect.COMPLETIONS, event({"choices": [{"index": 0, "text": "ab"}, {"index": 1, "text": ""}]}))
    assert (scanner.deltas, scanner.text_bytes) == (1, 2)


def test_the_deltas_of_typed_events_are_counted() -> None:
    scanner = scan(
        Dialect.RESPONSES,
        event({"type": "response.output_text.delta", "delta": "ab"}),
        event({"type": "response.function_call_arguments.delta", "delta": "{"}),
        event({"type": "response.output_text.delta", "delta": ""}),
        event({"type": "response.audio.delta", "delta": "QUJD"}),
        event({"type": "response.output_text.done", "text": "ab"}),
    )
    assert (scanner.deltas, scanner.text_bytes) == (2, 3)
    scanner = scan(
        Dialect.MESSAGES,
        event({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "ab"}}),
        event({"type": "content_block_delta", "delta": {"type": "thinking_delta", "thinking": "hm"}}),
        event({"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": "{"}}),
        event({"type": "content_block_delta", "delta": {"type": "signature_delta", "signature": "xyz"}}),
    )
    assert (scanner.deltas, scanner.text_bytes) == (3, 5)


def test_a_message_tells_its_prompt_first_and_what_was_generated_last() -> None:
    start = {"input_tokens": 9, "cache_read_input_tokens": 4, "output_tokens": 1}
    scanner = scan(Dialect.MESSAGES, event({"type": "message_start", "message": {"usage": start}}))
    assert not scanner.counted
    scanner.feed(event({"type": "message_delta", "usage": {"output_tokens": 7, "cache_read_input_tokens": None}}))
    assert scanner.counted
    assert scanner.usage == {"input_tokens": 9, "cache_read_input_tokens": 4, "output_tokens": 7}


def test_a_null_usage_says_that_it_is_to_come() -> None:
    scanner = scan(Dialect.CHAT, event({"choices": [], "usage": None}), event({"choices": []}))
    assert (scanner.null_usages, scanner.usage, scanner.counted) == (1, None, False)


def test_usage_in_a_stream_we_do_not_know_is_read_all_the_same() -> None:
    scanner = scan(Dialect.OTHER, b'data: {"type":"transcript.text.done","usage":{"input_tokens":3}}\n\n')
    assert (scanner.usage, scanner.counted) == ({"input_tokens": 3}, True)
    assert scan(Dialect.OTHER, b'data: {"usage"\n\n', b'data: ["usage"]\n\n').usage is None
