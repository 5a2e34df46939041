"""
What a provider sends in the place of an answer: a redirect, an error, or something else than the stream asked for.

It is held up to a bound and judged as a whole. It knows no targets and no clocks.
"""

from abc import ABC, abstractmethod

from proxy.core.headers import Header
from proxy.core.lenient import value_in
from proxy.relay.progress import Progress
from proxy.relay.shapes import error_in, is_errors
from proxy.relay.verdict import Failed, Reach, judge, told_in_200
from proxy.upstream.source import Source

MAX_ERROR_BYTES = 256 * 1024
"""Bytes that are held; a longer one is judged by its beginning."""

NO_STREAM = Failed("upstream_protocol_error", Reach.UNANSWERED, "no event stream where one was asked")


class _NoAnswer(ABC):
    """What is no answer and is judged as a whole: held up to a bound, and judged by that much when there is more."""

    def __init__(self, progress: Progress, source: Source) -> None:
        self._progress = progress
        self._source = source
        self._held: list[bytes] = []
        self._held_bytes = 0

    def data(self, chunk: bytes) -> None:
        self._held.append(chunk)
        self._held_bytes += len(chunk)
        if self._held_bytes > MAX_ERROR_BYTES:
            self.ended(delimited=False)

    def ended(self, delimited: bool) -> None:
        self._judge(b"".join(self._held))

    @abstractmethod
    def _judge(self, body: bytes) -> None:
        """Tell the attempt what *body* amounts to."""


class InsteadOfStream(_NoAnswer):
    """A 2xx that is no stream where one was asked: SDKs would show it as an empty success."""

    def _judge(self, body: bytes) -> None:
        value = value_in(body)
        wrong = error_in(value, "") if type(value) is dict else None
        if type(value) is list and is_errors(value):
            wrong = value
        elif wrong is None and type(value) is dict and "choices" not in value:
            wrong = error_in(value, "choices")
        told = wrong is not None and type(wrong) is not str
        self._progress.refuse_or_fail(told_in_200(wrong, self._source) if told else NO_STREAM)


class ErrorAnswer(_NoAnswer):
    """A redirect, a 4xx or a 5xx."""

    def __init__(self, progress: Progress, status: int, headers: list[Header], source: Source) -> None:
        super().__init__(progress, source)
        self._status = status
        self._headers = headers

    def _judge(self, body: bytes) -> None:
        self._progress.refuse_or_fail(judge(self._status, self._headers, body, self._source), body)
