"""
Whatever a provider sends as a 2xx: it passes unchanged, or ends in a failover, a refusal or a visible cut. Never in a
parked key without a word about the key, never in a clean end without a finish, and never otherwise for being cut
otherwise.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Any, cast

from hypothesis import example, given, settings

from proxy.core.exchange import AttemptRecord, Exchange
from proxy.core.headers import Header
from proxy.relay.attempt import Attempt
from proxy.relay.clocks import Clocks
from proxy.relay.endpoints import operation
from proxy.relay.question import Question
from proxy.relay.verdict import Cut, Failed, Refused, Verdict, Whole
from proxy.upstream.source import UNKNOWN
from tests.relay.any_answer import KEY_WORDS, Sent, is_finished, objects_of, sent


class Handle:
    def cancel(self) -> None: ...


class Loop:
    """A loop on which no time passes."""

    def time(self) -> float:
        return 0.0

    def call_at(self, when: float, call: Any, *args: Any) -> Handle:
        return Handle()

    call_later = call_at


@dataclass
class Outcome:
    """What came of an answer: a client and an owner that write it down."""

    body: bytes = b""
    began: bool = False
    finished: bool = False
    headers: list[Header] = field(default_factory=list)
    verdict: Verdict | None = None
    on_pause: Any = None
    on_resume: Any = None
    paused: bool = False

    def send(self, status: int, headers: list[Header], body: bytes) -> None:
        assert not self.began
        self.began = self.finished = True
        self.body = body

    def start(self, status: int, headers: list[Header], length: int | None, streamed: bool) -> None:
        assert not self.began
        self.began = True
        self.headers = headers

    def push(self, chunk: bytes) -> None:
        assert self.began
        assert not self.finished
        self.body += chunk

    def finish(self) -> None:
        assert self.began
        self.finished = True

    def cut(self) -> None: ...

    def claim(self, attempt: Attempt) -> bool:
        return True

    def ended(self, attempt: Attempt, verdict: Verdict) -> None:
        assert self.verdict is None
        self.verdict = verdict

    def impatient(self, attempt: Attempt) -> None: ...

    def has_alternative(self) -> bool:
        return False


def play(answer: Sent, pieces: list[bytes]) -> Outcome:
    outcome = Outcome()
    question = Question(
        "POST", answer.path, operation(answer.path), b"", b"{}", {}, "m", True, True, None, lambda model: True
    )
    attempt = Attempt(
        outcome,
        Exchange("id", "POST"),
        AttemptRecord("a", "m", 0.0),
        question,
        outcome,
        Clocks(first_token=60, idle=60, total=600),
        cast(asyncio.AbstractEventLoop, Loop()),
        UNKNOWN,
    )
    # No moment passes: a sign of life begins no answer, so that only bytes decide.
    attempt.record.started = 1e12
    attempt.head(200, [] if answer.kind is None else [(b"content-type", answer.kind)])
    for piece in pieces:
        attempt.data(piece)
    attempt.ended(answer.delimited)
    assert outcome.verdict is not None
    return outcome


@settings(deadline=None, max_examples=250, derandomize=True)
@given(sent())
@example(Sent("/audio/transcriptions", b"text/plain", b'junk\n\ndata: {"error": {"code": 500}}\n\n', True))
@example(Sent("/chat/completions", None, b'data: {"choices":[{"delta":{"content":"a"}}]}\n\ndata: [DONE]\n\n', True))
def test_any_answer_passes_or_ends_visibly_and_the_same_however_it_is_cut(answer: Sent) -> None:
    outcome = play(answer, answer.pieces)
    verdict = outcome.verdict
    if isinstance(verdict, Whole):
        assert outcome.finished
        # Behind `[DONE]` nothing is read, and so nothing passes.
        assert outcome.body == answer.body or (
            answer.body.startswith(outcome.body) and objects_of(outcome.body)[-1] == "[DONE]"
        )
        assert is_finished(answer.path, outcome.body) or not objects_of(outcome.body)
    elif isinstance(verdict, Cut):
        assert not outcome.finished
        assert answer.body.startswith(outcome.body)
        assert "[DONE]" not in objects_of(outcome.body) or answer.path.startswith("/audio")
    else:
        assert isinstance(verdict, Failed | Refused)
        assert not outcome.began
        if verdict.code in ("upstream_auth_error", "insufficient_quota"):
            assert KEY_WORDS.search(answer.body)
        if isinstance(verdict, Refused):
            assert 400 <= verdict.status < 500
            assert b'"error"' in verdict.body
    for pieces in ([answer.body], [answer.body[at : at + 1] for at in range(len(answer.body))]):
        other = play(answer, [piece for piece in pieces if piece])
        assert type(other.verdict) is type(verdict)
        # A line that tells nothing may pass before the event it stands in is cut.
        assert other.body == outcome.body or objects_of(other.body) == objects_of(outcome.body)
        assert (other.finished, other.headers) == (outcome.finished, outcome.headers)
        if isinstance(verdict, Failed | Cut) and isinstance(other.verdict, Failed | Cut):
            assert (other.verdict.code, other.verdict.reason) == (verdict.code, verdict.reason)
        if isinstance(verdict, Cut) and isinstance(other.verdict, Cut):
            assert other.verdict.announced == verdict.announced
        if isinstance(verdict, Whole):
            assert other.body == outcome.body
