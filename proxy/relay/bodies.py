"""
The kinds of answer a provider gives, and when each may reach the client: a stream, a whole answer, an error, the rest.

Each takes body bytes as they come and tells its attempt what they amount to. None of them knows targets or clocks.
"""

from abc import ABC, abstractmethod
from typing import Any, Protocol

import orjson

from proxy.errors import ProxyError
from proxy.headers import Header, for_client, value_of
from proxy.relay.counts import TAIL, usage_in
from proxy.relay.gate import BOUNDARIES, Gate
from proxy.relay.usage_option import UsageFilter
from proxy.relay.verdict import (
    Failed,
    Reach,
    Refused,
    error_of,
    is_json,
    judge_error_event,
    judge_refusal,
    judge_status,
    object_of,
)
from proxy.sse import Dialect, EventTooLarge, Scanner

MAX_WHOLE_BYTES = 1024 * 1024
"""An answer up to this size is held until it is whole, so that one that breaks off can still come from elsewhere."""
MAX_ERROR_BYTES = 256 * 1024
JSON: tuple[Header, ...] = ((b"Content-Type", b"application/json"),)

NO_STREAM = Failed("upstream_protocol_error", Reach.UNANSWERED, "no event stream where one was asked")


class Progress(Protocol):
    """What an attempt lets its answer say."""

    def commit(self) -> bool:
        """The first content is here: begin the client's answer. False when another attempt was faster."""

    def pass_on(self, chunk: bytes) -> None:
        """These bytes go to the client."""

    def whole(self) -> None:
        """The answer is whole."""

    def finished_early(self) -> None:
        """The answer is whole for the client, while the provider has not ended it yet."""

    def send(self, body: bytes, value: dict[str, Any] | None) -> None:
        """The answer is whole and *body* is all of it; *value* is the JSON object in it."""

    def refuse_or_fail(self, verdict: Failed | Refused, words: bytes = b"") -> None:
        """There is no answer; *words* are the provider's own, where the verdict has others."""

    def broke(self, code: str, reason: str) -> None:
        """The answer broke off."""


class EventStream:
    """An event stream: shut until its first content, whole at its own terminal marker."""

    __slots__ = (
        "_committed",
        "_filter",
        "_progress",
        "_withhold_errors",
        "announced",
        "gate",
        "scanner",
    )

    def __init__(self, progress: Progress, dialect: Dialect, withhold_errors: bool, hide_usage: bool) -> None:
        """
        *withhold_errors*: an error event is not for the client, because somebody else may continue the answer.
        *hide_usage*: the client did not ask for the usage that will come.
        """
        self.announced = False
        """The provider's own error event has reached the client."""
        self._withhold_errors = withhold_errors
        self.scanner = Scanner(dialect)
        self.gate = Gate(self.scanner)
        self._filter = UsageFilter(self.scanner) if hide_usage else None
        self._progress = progress
        self._committed = False

    @property
    def events(self) -> int:
        """Events the client has been sent."""
        return self.scanner.events - (self._filter.removed if self._filter is not None else 0)

    def data(self, chunk: bytes) -> None:
        scanner, gate, progress = self.scanner, self.gate, self._progress
        try:
            ready = gate.feed(chunk)
        except EventTooLarge:
            progress.broke("upstream_protocol_error", "event too large")
            return
        if not self._committed:
            if scanner.error is not None and not scanner.content:
                progress.refuse_or_fail(told_in_200(scanner.error))
                return
            if scanner.malformed and not scanner.content:
                progress.broke("upstream_protocol_error", "malformed event before any content")
                return
            if not gate.open:
                return
            if not progress.commit():
                return
            self._committed = True
        if scanner.error is not None and not self.announced:
            if self._withhold_errors:
                self._pass_on(ready[: _start_of_error(ready)])
                progress.broke("upstream_error", "error event")
                return
            self.announced = True
        self._pass_on(ready)
        if scanner.done and scanner.whole and not scanner.within_newline:
            progress.finished_early()

    def ended(self, delimited: bool) -> None:
        scanner, progress = self.scanner, self._progress
        if not self._committed:
            reason = "empty stream" if scanner.events == 0 else "stream ended before any content"
            progress.broke("upstream_truncated", reason)
            return
        # Without any mark of its end, a stream whose events we do not know cannot be called whole.
        marked = delimited or (scanner.dialect is not Dialect.OTHER and scanner.between_events)
        if scanner.error is not None:
            progress.broke("upstream_error", "error event")
        elif scanner.whole and marked:
            rest = self.gate.rest()
            if self._filter is not None:
                rest = self._filter.rest(rest)
            if rest:
                progress.pass_on(rest)
            progress.whole()
        else:
            progress.broke("upstream_truncated", "stream ended without its terminal marker")

    def saved(self) -> bool:
        """Whether the connection may be lost now without harm: the stream had said its last word."""
        return self._committed and self.scanner.whole and self.scanner.between_events

    def _pass_on(self, ready: bytes) -> None:
        if ready and self._filter is not None:
            ready = self._filter.feed(ready, whole=not self.gate.split)
        if ready:
            self._progress.pass_on(ready)


def _start_of_error(events: bytes) -> int:
    """Where the event that holds the error begins in *events*, which end with it or go on behind it."""
    said = events.find(b'"error"')
    return max(0, *(events.rfind(mark, 0, said) + len(mark) if mark in events[:said] else 0 for mark in BOUNDARIES))


class WholeAnswer:
    """A 2xx that is not a stream: JSON is held until it is whole, anything else passes as it comes."""

    def __init__(self, progress: Progress, headers: list[Header], wanted: bool) -> None:
        """*wanted*: the call is for what stands in the body, so an empty one is no answer."""
        self.size = 0
        """Bytes that have come."""
        self._progress = progress
        self._wanted = wanted
        kind = (value_of(headers, b"content-type") or b"").partition(b";")[0].strip().lower()
        self.json = kind == b"application/json" or kind.endswith(b"+json")
        """It is JSON."""
        self._held: list[bytes] = []
        self._committed = False
        self._tail = b""

    @property
    def usage(self) -> dict[str, Any] | None:
        """The usage object at the end of JSON that was too long to be held."""
        return usage_in(self._tail)

    def data(self, chunk: bytes) -> None:
        self.size += len(chunk)
        if self._committed:
            self._pass_on(chunk)
            return
        self._held.append(chunk)
        if (self.size > MAX_WHOLE_BYTES or not self.json) and self._progress.commit():
            self._committed = True
            held, self._held = self._held, []
            self._pass_on(b"".join(held))

    def _pass_on(self, chunk: bytes) -> None:
        if self.json:
            self._tail = (self._tail + chunk[-TAIL:])[-TAIL:]
        self._progress.pass_on(chunk)

    def ended(self, delimited: bool) -> None:
        progress = self._progress
        if self._committed:
            if delimited:
                progress.whole()
            else:
                # Nothing but the closed connection says that this is all: we cannot vouch for it.
                progress.broke("upstream_truncated", "ended without a mark")
            return
        body = b"".join(self._held)
        parsed = object_of(body) if self.json else None
        if not body and self._wanted:
            progress.broke("upstream_protocol_error", "empty answer")
        elif self.json and parsed is None and body and (self._wanted or not is_json(body)):
            # What generates answers with an object; of other paths we know only that it is JSON.
            progress.broke("upstream_protocol_error", "not a JSON object")
        elif self._wanted and parsed is not None and is_only_an_error(parsed):
            progress.refuse_or_fail(told_in_200(parsed["error"]))
        elif not delimited and parsed is None and not body.lstrip().startswith(b"["):
            progress.broke("upstream_truncated", "ended without a mark")
        else:
            progress.send(body, parsed)


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


def is_only_an_error(answer: dict[str, Any]) -> bool:
    """A 200 that is an error all the same. (A failed response of the Responses API names its `object`.)"""
    return type(answer.get("error")) is dict and "object" not in answer and "choices" not in answer


def told_in_200(error: dict[str, object]) -> Failed | Refused:
    """An error told inside a 200, before any content: it gets the status it should have had."""
    failed = judge_error_event(error)
    if failed is not None:
        return failed
    return judge_refusal(Refused(400, JSON, orjson.dumps({"error": error}), str(error.get("code") or "")))
