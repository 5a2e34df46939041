"""What an event stream's attempt is told, event by event: when it commits, what passes, and how it ends."""

from typing import Any

import pytest

from proxy.core.sse import Dialect
from proxy.relay.event_stream import AT_WORK, EventStream
from proxy.relay.verdict import Failed, Refused

ROLE = b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n'
WORD = b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
STOP = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
ERROR = b'data: {"error":{"message":"overloaded","code":"overloaded","type":"overloaded_error"}}\n\n'
DONE = b"data: [DONE]\n\n"


class Told:
    """An attempt that writes down what it is told."""

    def __init__(self) -> None:
        self.committed = False
        self.passed = b""
        self.end = ""
        self.verdict: Failed | Refused | None = None

    def commit(self) -> bool:
        assert not self.committed
        assert not self.end
        self.committed = True
        return True

    def named(self, name: str) -> None:
        assert self.committed
        assert not self.passed

    def pass_on(self, chunk: bytes) -> None:
        assert self.committed
        assert not self.end
        self.passed += chunk

    def whole(self) -> None:
        self._over("whole")

    def finished_early(self) -> None:
        self._over("whole")

    def send(self, body: bytes, value: dict[str, Any] | None) -> None:
        raise AssertionError("a stream is never sent whole")

    def refuse_or_fail(self, verdict: Failed | Refused, words: bytes = b"") -> None:
        assert not self.committed
        self.verdict = verdict
        self._over("refused" if isinstance(verdict, Refused) else "failed")

    def broke(self, code: str, reason: str) -> None:
        self._over("cut" if self.committed else "failed")

    def _over(self, how: str) -> None:
        assert not self.end
        self.end = how


def play(*pieces: bytes, dialect: Dialect = Dialect.CHAT, now: float = 0.0, ends: bool = True) -> Told:
    """What comes of a stream that was asked for at 0 and comes in *pieces* at *now*."""
    told = Told()
    stream = EventStream(told, dialect, withhold_errors=False, hide_usage=False)
    for piece in pieces:
        if not told.end:
            stream.data(piece, now)
    if ends and not told.end:
        stream.ended(delimited=True)
    return told


def typed(kind: str, more: bytes = b"") -> bytes:
    return b'event: %b\ndata: {"type":"%b"%b}\n\n' % (kind.encode(), kind.encode(), more)


@pytest.mark.parametrize(
    "work",
    [
        "response.output_item.added",
        "response.web_search_call.in_progress",
        "response.web_search_call.searching",
        "response.file_search_call.in_progress",
        "response.code_interpreter_call.interpreting",
        "response.code_interpreter_call_code.delta",
        "response.image_generation_call.generating",
        "response.image_generation_call.partial_image",
        "response.mcp_list_tools.in_progress",
        "response.mcp_call.in_progress",
        "response.reasoning_summary_part.added",
        "response.reasoning_text.delta",
        "response.content_part.added",
        "response.a_step_of_next_year",
    ],
)
def test_the_first_step_of_a_response_passes_at_once_and_its_preamble_does_not(work: str) -> None:
    """developers.openai.com/api/reference/resources/responses/streaming-events."""
    preamble = typed("response.created") + typed("response.queued") + typed("response.in_progress")
    assert not play(preamble, dialect=Dialect.RESPONSES, ends=False).committed
    assert play(preamble, typed(work), dialect=Dialect.RESPONSES, ends=False).passed == preamble + typed(work)


START = typed("message_start", b',"message":{"usage":{"input_tokens":3}}')


@pytest.mark.parametrize(
    ("event", "commits"),
    [
        (typed("ping"), True),
        (typed("content_block_start", b',"content_block":{"type":"text","text":""}'), False),
        (typed("content_block_start", b',"content_block":{"type":"thinking","thinking":""}'), False),
        (typed("content_block_start", b',"content_block":{"type":"tool_use","id":"t","name":"f","input":{}}'), True),
        (typed("content_block_start", b',"content_block":{"type":"server_tool_use","name":"web_search"}'), True),
        (typed("content_block_start", b',"content_block":{"type":"redacted_thinking","data":"x"}'), True),
        (typed("content_block_delta", b',"delta":{"type":"text_delta","text":"a"}'), True),
        (typed("heartbeat"), False),
    ],
)
def test_a_message_commits_at_its_first_sign_of_work(event: bytes, commits: bool) -> None:
    """platform.claude.com/docs/en/build-with-claude/streaming."""
    assert play(START, event, dialect=Dialect.MESSAGES, ends=False).committed is commits
    assert not play(typed("ping"), dialect=Dialect.MESSAGES, ends=False).committed


SIGNS = [
    b": OPENROUTER PROCESSING\n\n",
    b": keep-alive\n",
    b"data: \n\n",
    b"event: ping\n\n",
    b"event: ping\ndata:\n\n",
]


@pytest.mark.parametrize("sign", SIGNS)
def test_a_sign_of_life_begins_the_answer_of_a_provider_that_has_worked_for_long(sign: bytes) -> None:
    assert not play(ROLE, sign, now=AT_WORK - 0.1, ends=False).committed
    assert play(ROLE, sign, now=AT_WORK, ends=False).passed == ROLE + sign
    # What a provider said before that is held as ever.
    assert not play(ROLE, now=60.0, ends=False).committed


@pytest.mark.parametrize("sign", SIGNS)
def test_an_error_a_moment_after_a_sign_of_life_can_still_be_mended(sign: bytes) -> None:
    for pieces in ((sign + ERROR,), (sign, ERROR)):
        told = play(*pieces, now=0.5)
        assert (told.end, told.passed) == ("failed", b"")
    for pieces in ((sign + ERROR,), (sign, ERROR)):
        told = play(*pieces, now=60.0)
        assert (told.end, told.passed) == ("cut", sign + ERROR)


@pytest.mark.parametrize("sign", SIGNS)
def test_a_sign_of_life_is_a_step(sign: bytes) -> None:
    stream = EventStream(Told(), Dialect.CHAT, withhold_errors=False, hide_usage=False)
    stream.data(sign[:-1], 0.0)
    stream.data(sign[-1:], 0.0)
    steps = stream.steps
    assert steps > 0
    stream.data(b"data: half an ev", 0.0)
    assert stream.steps == steps


@pytest.mark.parametrize(
    ("dialect", "event", "says"),
    [
        *((Dialect.CHAT, sign, False) for sign in SIGNS),
        (Dialect.CHAT, b'event: ping\ndata: {"type":"ping"}\n\n', False),
        (Dialect.CHAT, b'data: {"choices":[]}\n\n', False),
        (Dialect.CHAT, b'data: {"choices":[],"usage":null}\n\n', False),
        (Dialect.CHAT, b'data: {"choices":[],"usage":{"total_tokens":3}}\n\n', True),
        (Dialect.CHAT, ROLE, True),
        (Dialect.MESSAGES, typed("ping"), False),
        (Dialect.MESSAGES, START, True),
        (Dialect.RESPONSES, typed("keepalive", b',"sequence_number":3'), False),
        (Dialect.RESPONSES, typed("response.in_progress"), True),
        (Dialect.OTHER, b"data: anything\n\n", True),
    ],
)
def test_a_ping_keeps_alive_and_says_nothing_as_a_comment_does(dialect: Dialect, event: bytes, says: bool) -> None:
    """Comments and pings alone carry a stream no further than `total`."""
    stream = EventStream(Told(), dialect, withhold_errors=False, hide_usage=False)
    stream.data(event, 0.0)
    assert stream.steps > 0
    assert (stream.said > 0) is says


def test_done_waits_for_nothing_once_every_choice_has_finished() -> None:
    told = play(ROLE + WORD + STOP, DONE, ends=False)
    assert (told.end, told.passed) == ("whole", ROLE + WORD + STOP + DONE)


def test_what_follows_done_reaches_no_client_however_it_comes() -> None:
    whole = ROLE + WORD + STOP + DONE
    for pieces in ((whole + WORD + DONE,), (whole, WORD, DONE)):
        told = play(*pieces)
        assert (told.end, told.passed) == ("whole", whole)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_done_passes_with_its_own_line_ends(end: bytes) -> None:
    whole = (ROLE + WORD + STOP + DONE).replace(b"\n", end)
    for cut in range(len(whole) - 8, len(whole) + 1):
        told = play(*filter(None, (whole[:cut], whole[cut:])))
        assert (told.end, told.passed) == ("whole", whole)


def test_an_error_that_another_may_mend_is_withheld_where_the_answer_is_continued() -> None:
    for pieces in ((ROLE + WORD + ERROR,), (ROLE, WORD + ERROR[:9], ERROR[9:])):
        told = Told()
        stream = EventStream(told, Dialect.CHAT, withhold_errors=True, hide_usage=False)
        for piece in pieces:
            stream.data(piece, 0.0)
        assert (told.end, told.passed, stream.announced) == ("cut", ROLE + WORD, False)


def test_a_stream_that_is_watched_begins_before_its_first_event() -> None:
    told = Told()
    stream = EventStream(told, Dialect.OTHER, withhold_errors=False, hide_usage=False)
    stream.begin()
    assert told.committed
    stream.data(b": waiting\n\ndata: {}\n\nda", 0.0)
    assert told.passed == b": waiting\n\ndata: {}\n\n"
