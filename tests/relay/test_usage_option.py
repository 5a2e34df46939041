"""The usage option's way back: what a provider adds because it was asked goes, and not a byte of anything else."""

from itertools import pairwise

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.core.sse import Dialect, Scanner
from proxy.relay.commit import MAX_HELD, Commit
from proxy.relay.endpoints import operation
from proxy.relay.question import Question
from proxy.relay.usage_option import UsageFilter, is_missing, is_named

CONTENT = b'data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]%b}\n\n'
USAGE = b'{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}'
CHUNK = b'data: {"id":"x","choices":[],"usage":' + USAGE + b"}\n\n"


def shown(*pieces: bytes) -> bytes:
    """What a client sees of a stream that comes in *pieces* and ends well."""
    scanner = Scanner(Dialect.CHAT)
    commit, usage_filter = Commit(scanner), UsageFilter(scanner)
    passed = b""
    for piece in pieces:
        ready = commit.feed(piece)
        if ready:
            passed += usage_filter.feed(ready, whole=not commit.split)
    return passed + usage_filter.rest(commit.rest())


def split(stream: bytes, cuts: set[int]) -> list[bytes]:
    places = [0, *sorted(cut for cut in cuts if 0 < cut < len(stream)), len(stream)]
    return [stream[start:end] for start, end in pairwise(places)]


# Pairs: how a provider says something when it was asked for usage, and how it says it when it was not.

PIECES: list[tuple[bytes, bytes]] = [
    (b', "usage": null', b""),
    (b',"usage":null', b""),
    (b' ,\t"usage" : null ', b"  "),
]
chunks = st.sampled_from(
    [
        *((CONTENT % added, CONTENT % left) for added, left in PIECES),
        (
            b'data: {"usage":null,"choices":[{"delta":{"content":"b"}}]}\n\n',
            b'data: {"choices":[{"delta":{"content":"b"}}]}\n\n',
        ),
        (b'data:{ "usage" : null , "choices":[]}\n\n', b'data:{ "choices":[]}\n\n'),
        (b'data: {"usage":null}\n\n', b"data: {}\n\n"),
        (
            b'data: {\ndata:   "choices": [],\ndata:   "usage": null,\ndata:   "id": "x"\ndata: }\n\n',
            b'data: {\ndata:   "choices": [],\ndata:   "id": "x"\ndata: }\n\n',
        ),
        (
            b'data: {\ndata:   "usage": null,\n: hm\ndata:   "id": "x"}\n\n',
            b'data: {\ndata:   \n: hm\ndata: "id": "x"}\n\n',
        ),
        (
            b'id: 7\ndata: {"choices":[],"usage":null,"obfuscation":"xy"}\n\n',
            b'id: 7\ndata: {"choices":[],"obfuscation":"xy"}\n\n',
        ),
        (CHUNK, b""),
        (CHUNK.replace(b"[]", b"null"), b""),
        (b'data: {"id":"x","usage":' + USAGE + b"}\n\n", b""),
        (CONTENT % (b',"usage":' + USAGE), CONTENT % b""),
        (b'data: {"choices":[{"logprobs":[NaN]}],"usage": {}}\n\n', b'data: {"choices":[{"logprobs":[NaN]}]}\n\n'),
        (b"id: 7\nevent: message\n" + CHUNK, b""),
        (b": keep-alive\n" + CHUNK, b": keep-alive\n"),
        (b'data: {"usage": {"total_tokens": 1},\ndata: "choices": [ ]}\n\n', b""),
    ]
)
alike = st.sampled_from(
    [
        CONTENT % b"",
        b'data: {"choices":[{"delta":{"content":"\\"usage\\":null,"}}]}\n\n',
        b'data: {"choices":[{"delta":{"content":",","usage":null}}]}\n\n',
        b'data: {"choices":[],"usage":[]}\n\n',
        b'data: {"choices":[{"delta":{},"usage":' + USAGE + b"}]}\n\n",
        b'data: {"choices":[],"x":{"usage":null},"y":[{"usage":{}}]}\n\n',
        b'data: {"broken,"usage":null}\n\n',
        b'data: [1,"usage"]\n\n',
        b': "usage":null\n\n',
        b": ping\n",
        b"retry: 5\n\n",
        b"\n",
    ]
).map(lambda event: (event, event))


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A stream of a provider that was asked for usage, and of one that was not; in lines that end alike."""
    asked = unasked = draw(st.sampled_from([b"", b"\xef\xbb\xbf"]))
    end = draw(st.sampled_from([b"\n", b"\r\n", b"\r"]))
    for with_usage, without in [(CONTENT % b"", CONTENT % b""), *draw(st.lists(chunks | alike, max_size=12))]:
        if draw(st.integers(0, 4)) == 0:
            end = draw(st.sampled_from([b"\n", b"\r\n", b"\r"]))
        with_usage, without = with_usage.replace(b"\n", end), without.replace(b"\n", end)
        if asked.endswith(b"\r") and with_usage.startswith(b"\n"):
            # The two would be one line end.
            continue
        asked += with_usage
        unasked += without
    return asked, unasked


@settings(deadline=None, max_examples=600)
@given(streams(), st.sets(st.integers(1, 900), max_size=15))
def test_the_client_sees_what_it_would_have_seen_unasked_wherever_the_bytes_are_cut(
    case: tuple[bytes, bytes], cuts: set[int]
) -> None:
    asked, unasked = case
    assert shown(asked) == unasked
    assert shown(*split(asked, cuts)) == unasked
    assert shown(*(bytes([byte]) for byte in asked)) == unasked


@settings(deadline=None, max_examples=300)
@given(st.lists(alike, max_size=8), st.sets(st.integers(1, 900), max_size=8))
def test_events_that_are_the_same_unasked_pass_as_they_came(events: list[tuple[bytes, bytes]], cuts: set[int]) -> None:
    stream = CONTENT % b"" + b"".join(event for event, _ in events)
    assert shown(*split(stream, cuts)) == stream


def test_only_what_was_taken_out_last_takes_the_lf_that_follows_with_it() -> None:
    comment = b": ping\r\n\r"
    chunk = CHUNK.replace(b"\n", b"\r")
    assert (
        shown(CONTENT % b"", chunk + comment, b"\n" + CONTENT % b"") == CONTENT % b"" + comment + b"\n" + CONTENT % b""
    )
    assert shown(CONTENT % b"", chunk[:-1] + b"\n\r", b"\n" + CONTENT % b"") == 2 * (CONTENT % b"")


def test_bytes_without_usage_are_not_even_copied() -> None:
    usage_filter = UsageFilter(Scanner(Dialect.CHAT))
    event = CONTENT % b""
    assert usage_filter.feed(event, whole=True) is event


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("together", [True, False])
def test_an_event_too_large_to_be_held_passes_and_the_usage_behind_it_does_not(end: bytes, together: bool) -> None:
    large = b'data: {"choices":[{"delta":{"content":"' + b"x" * 2 * MAX_HELD + b'"}}],"usage":null}\n\n'
    start = (CONTENT % b"").replace(b"\n", end)
    large, chunk = large.replace(b"\n", end), CHUNK.replace(b"\n", end)
    half = len(large) - 10
    for cut in range(half, len(large) + 1):
        pieces = [start, large[:half], large[half:cut], large[cut:] + chunk + chunk[:20], chunk[20:]]
        if not together:
            pieces[3:4] = [large[cut:], chunk, chunk[:20]]
        assert shown(*pieces) == start + large


@pytest.mark.parametrize("end", [b"", b"\n", b"\r", b"\r\n"])
def test_a_usage_chunk_that_nothing_ends_is_taken_out_as_well(end: bytes) -> None:
    start = CONTENT % b""
    assert shown(start, CHUNK.rstrip(b"\n") + end) == start
    last = b'data: {"choices":[]%b}' + end
    assert shown(start, last % b',"usage":null') == start + last % b""
    assert shown(start, b": bye" + end) == start + b": bye" + end


def question(**more: object) -> Question:
    value = {"model": "m", "stream": True, **more}
    path = "/chat/completions"
    return Question(
        "POST", path, operation(path), b"", orjson.dumps(value), value, "m", True, True, None, lambda model: True
    )


@pytest.mark.parametrize(
    ("options", "missing"),
    [
        (None, True),
        ({}, True),
        ({"include_usage": False}, True),
        ({"include_usage": None, "include_obfuscation": False}, True),
        ({"include_usage": True}, False),
        ({"include_usage": "yes"}, False),
        ({"include_usage": 0}, False),
        ([], False),
        ("include_usage", False),
        (True, False),
    ],
)
def test_it_is_asked_for_where_the_client_did_not_and_made_no_mistake(options: object, missing: bool) -> None:
    assert is_missing(question(stream_options=options)) is missing


def test_only_streams_that_know_the_option_are_asked() -> None:
    assert is_missing(question())
    for path in ("/completions", "/responses", "/messages", "/embeddings", "/audio/speech"):
        other = question()
        other.operation = operation(path)
        assert is_missing(other) is (path == "/completions")
    whole = question()
    whole.stream = False
    assert not is_missing(whole)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (b'{"error":{"message":"Unrecognized request argument supplied: stream_options"}}', True),
        (b'{"detail":[{"loc":["body","stream_options"],"msg":"extra fields not permitted"}]}', True),
        (b"unknown field include_usage", True),
        (b'Unknown name "streamOptions"', True),
        (b"Stream options are not supported", True),
        (b'{"error":{"message":"messages must be a list"}}', False),
        (b"", False),
    ],
)
def test_a_refusal_that_names_it_may_be_about_it(words: bytes, named: bool) -> None:
    assert is_named(words) is named
