"""
What arrives of one answer: its bytes go to the kind of answer that it turns out to be, an event stream or another.

It chooses the kind, by the head or by the first bytes, and says whether the answer came a step further. It knows no
targets and sets no clocks.
"""

from typing import Final

from proxy.core.headers import Header
from proxy.core.sse import Dialect
from proxy.core.usage import Tokens
from proxy.relay import counts
from proxy.relay.event_stream import EventStream
from proxy.relay.first_bytes import FirstBytes, is_labelled_stream
from proxy.relay.no_answer import ErrorAnswer, InsteadOfStream
from proxy.relay.progress import Progress
from proxy.relay.question import Question
from proxy.relay.whole_answer import WholeAnswer
from proxy.upstream.source import Source

NOTHING: Final = 0
"""Half an event has come: that keeps a connection open, but is no progress."""
ALIVE: Final = 1
"""A comment or an empty event has: a sign of life."""
SAID: Final = 2
"""An event with data has, or any byte of what is no stream."""


class Arrival:
    """One answer with a status, as far as it has come."""

    def __init__(
        self,
        progress: Progress,
        question: Question,
        status: int,
        headers: list[Header],
        source: Source,
        started: float,
        withhold_errors: bool,
        hide_usage: bool,
    ) -> None:
        """*source* is who answers, *started* when the attempt began (monotonic seconds); the rest as for each kind."""
        self._progress = progress
        self._question = question
        self._headers = headers
        self._source = source
        self._started = started
        self._withhold = withhold_errors
        self._hide_usage = hide_usage
        self._first: FirstBytes | None = None
        """The beginning of an answer that has yet to tell whether it is a stream."""
        self.stream: EventStream | None = None
        """The answer, where it is an event stream."""
        self.body: WholeAnswer | InsteadOfStream | ErrorAnswer | None = None
        """The answer, where it is none."""
        if status >= 300:
            self.body = ErrorAnswer(progress, status, headers, source)
        elif question.stream:
            self._first = FirstBytes(is_labelled_stream(headers))
        elif self._must_be_json() or not is_labelled_stream(headers):
            self._become_whole()
        elif question.method == "GET":
            self._become_stream()
        else:
            self._first = FirstBytes(labelled=True)

    def begin(self) -> None:
        """Begin the client's answer with the head alone, where an event stream is read that may be silent for long."""
        if self.stream is not None and self._question.method == "GET":
            self.stream.begin()

    def data(self, chunk: bytes, now: float) -> int:
        """The next bytes, which came at *now*, in monotonic seconds; returns how much further they have brought it."""
        if self._first is not None:
            is_stream = self._first.feed(chunk)
            if is_stream is None:
                return NOTHING
            chunk = self._decide(is_stream)
        return self._read(chunk, now)

    def ended(self, delimited: bool, now: float) -> None:
        """No more will come; *delimited*: the framing says that this was all."""
        if self._first is not None:
            held = self._decide(self._first.close())
            if held:
                self._read(held, now)
        if self.stream is not None:
            self.stream.ended(delimited)
        elif self.body is not None:
            self.body.ended(delimited)

    def tokens(self) -> Tokens | None:
        """What it used as far as it has come; None where a call of this kind is not counted."""
        question, stream, body = self._question, self.stream, self.body
        if not question.counted:
            return None
        if stream is not None:
            return counts.of_stream(stream.scanner, question.prompt_tokens, question.uses_tokens)
        if not isinstance(body, WholeAnswer):
            return None
        told, size = {"usage": body.usage}, body.size if body.json else 0
        return counts.of_answer(told, size, question.prompt_tokens, question.operation.dialect, question.uses_tokens)

    def _read(self, chunk: bytes, now: float) -> int:
        stream = self.stream
        if stream is None:
            if self.body is not None:
                self.body.data(chunk)
            return SAID
        steps, said = stream.steps, stream.said
        stream.data(chunk, now)
        if stream.said != said:
            return SAID
        return ALIVE if stream.steps != steps else NOTHING

    def _decide(self, is_stream: bool) -> bytes:
        """Become what the first bytes have told; returns them."""
        held = self._first.take() if self._first is not None else b""
        self._first = None
        if is_stream:
            self._become_stream()
        elif self._question.operation.dialect is not Dialect.OTHER:
            self.body = InsteadOfStream(self._progress, self._source)
        else:
            # Some endpoints and models answer whole whatever was asked: a transcription by `whisper-1`.
            self._become_whole()
        return held

    def _must_be_json(self) -> bool:
        """Whether a client that asked for no stream could read nothing but JSON, whatever the label says."""
        operation = self._question.operation
        # A form may ask for a stream too, which is not read.
        return self._question.method == "POST" and operation.json_only and bool(operation.answers)

    def _become_stream(self) -> None:
        dialect = self._question.operation.dialect
        self.stream = EventStream(
            self._progress, dialect, self._withhold, self._hide_usage, self._started, self._source
        )

    def _become_whole(self) -> None:
        question = self._question
        answers = question.operation.answers if question.method == "POST" else ""
        if answers and question.value.get("deferred"):
            # xAI answers with an id under which the completion will be found.
            answers = "json"
        self.body = WholeAnswer(self._progress, self._headers, question.operation.generates, answers, self._source)
