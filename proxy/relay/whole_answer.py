"""
A 2xx answer that is no event stream: JSON is held until it is whole, anything else passes as it comes.

It takes bytes as they come and tells its attempt what they amount to. It knows no targets and no clocks.
"""

from typing import Any

from proxy.core.headers import Header, value_of
from proxy.core.lenient import value_in
from proxy.relay.answer_id import in_object
from proxy.relay.counts import TAIL, usage_in
from proxy.relay.progress import Progress
from proxy.relay.shapes import error_in, is_errors
from proxy.relay.verdict import told_in_200
from proxy.upstream.source import Source

MAX_WHOLE_BYTES = 1024 * 1024
"""An answer up to this size is held until it is whole, so that one that breaks off can still come from elsewhere."""


class WholeAnswer:
    """A 2xx that is not a stream: JSON is held until it is whole, anything else passes as it comes."""

    def __init__(self, progress: Progress, headers: list[Header], wanted: bool, answers: str, source: Source) -> None:
        """
        *wanted*: the call is for what stands in the body, so an empty one is no answer. *answers*: what the endpoint
        answers with, see `endpoints.Operation`.
        """
        self.size = 0
        """Bytes that have come."""
        self._progress = progress
        self._wanted = wanted
        # Where JSON is all there can be, the label says nothing: servers send it as text, as bytes and as nothing.
        self.json = bool(answers) or _is_labelled_json(headers)
        """It is JSON."""
        self._answers = answers
        self._source = source
        self._held: list[bytes] = []
        self._committed = False
        self._head = b""
        self._tail = b""

    @property
    def usage(self) -> dict[str, Any] | None:
        """The usage object at the end of JSON that was too long to be held, or at its beginning."""
        return usage_in(self._tail) or usage_in(self._head)

    def data(self, chunk: bytes) -> None:
        self.size += len(chunk)
        if self._committed:
            self._pass_on(chunk)
            return
        self._held.append(chunk)
        if self._answers and self.size > MAX_WHOLE_BYTES and not _begins_json(self._held[0]):
            self._progress.broke("upstream_protocol_error", "not JSON")
        elif (self.size > MAX_WHOLE_BYTES or not self.json) and self._progress.commit():
            self._committed = True
            held, self._held = b"".join(self._held), []
            self._head = held[:TAIL] if self.json else b""
            self._pass_on(held)

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
        value = value_in(body) if self.json else None
        parsed: dict[str, Any] | None = value if type(value) is dict else None
        if not body and self._wanted:
            progress.broke("upstream_protocol_error", "empty answer")
        elif self.json and parsed is None and body and not self._may_be(value, body):
            self._not_an_object(value)
        elif self._wanted and parsed is not None and (wrong := error_in(parsed, self._answers)) is not None:
            if type(wrong) is str:
                progress.broke("upstream_protocol_error", wrong)
            else:
                progress.refuse_or_fail(told_in_200(wrong, self._source))
        elif not delimited and parsed is None and not body.lstrip().startswith(b"["):
            progress.broke("upstream_truncated", "ended without a mark")
        else:
            progress.named(in_object(parsed))
            progress.send(body, parsed)

    def _may_be(self, value: Any, body: bytes) -> bool:
        """Whether JSON that is no object may be the answer: what generates answers with one, mostly."""
        if self._wanted and self._answers != "json":
            return False
        listed = type(value) is list and not (self._wanted and is_errors(value))
        return listed or (not self._wanted and (value is not None or body.strip() == b"null"))

    def _not_an_object(self, value: Any) -> None:
        if type(value) is list and is_errors(value):
            self._progress.refuse_or_fail(told_in_200(value, self._source))
        else:
            self._progress.broke("upstream_protocol_error", "not a JSON object")


def _is_labelled_json(headers: list[Header]) -> bool:
    kind = (value_of(headers, b"content-type") or b"").partition(b";")[0].strip().lower()
    return kind == b"application/json" or kind.endswith(b"+json")


def _begins_json(chunk: bytes) -> bool:
    return chunk.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"{", b"[", b"")
