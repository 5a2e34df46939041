"""
What a provider sends in the place of an answer: a redirect, an error, or something else than the stream asked for.

It is held up to a bound and judged as a whole. It knows no targets and no clocks.
"""

from abc import ABC, abstractmethod

from proxy.errors import ProxyError
from proxy.headers import Header, for_client
from proxy.relay.progress import Progress
from proxy.relay.verdict import (
    JSON,
    Failed,
    Reach,
    Refused,
    error_of,
    judge_refusal,
    judge_status,
    object_of,
    told_in_200,
)

MAX_ERROR_BYTES = 256 * 1024
"""Bytes that are held; a longer one is judged by its beginning."""

NO_STREAM = Failed("upstream_protocol_error", Reach.UNANSWERED, "no event stream where one was asked")


class _NoAnswer(ABC):
    """What is no answer and is judged as a whole: held up to a bound, and judged by that much when there is more."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
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
    """A 2xx that is no stream where one was asked: SDKs would show it as an empty success (reliability.md 1.1)."""

    def _judge(self, body: bytes) -> None:
        error = error_of(body)
        self._progress.refuse_or_fail(told_in_200(error) if error else NO_STREAM)


class ErrorAnswer(_NoAnswer):
    """A redirect, a 4xx or a 5xx."""

    def __init__(self, progress: Progress, status: int, headers: list[Header], request_id: str) -> None:
        super().__init__(progress)
        self._status = status
        self._headers = headers
        self._request_id = request_id

    def _judge(self, body: bytes) -> None:
        failed = judge_status(self._status, self._headers, body)
        if failed is not None:
            self._progress.refuse_or_fail(failed)
            return
        if object_of(body) is None:
            # A page from some proxy on the way is no use to an SDK; the status is.
            error = ProxyError("bad_request", "The provider refused the request.")
            refusal = Refused(self._status, JSON, error.body(self._request_id))
        else:
            code = str(error_of(body).get("code") or "")
            refusal = Refused(self._status, for_client(self._headers), body, code)
        self._progress.refuse_or_fail(judge_refusal(refusal), body)
