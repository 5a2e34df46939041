"""
A 2xx answer that is no event stream: JSON is held until it is whole, anything else passes as it comes.

It takes bytes as they come and tells its attempt what they amount to. It knows no targets and no clocks.
"""

from typing import Any

from proxy.headers import Header, value_of
from proxy.relay.counts import TAIL, usage_in
from proxy.relay.progress import Progress
from proxy.relay.verdict import is_json, is_only_an_error, object_of, told_in_200

MAX_WHOLE_BYTES = 1024 * 1024
"""An answer up to this size is held until it is whole, so that one that breaks off can still come from elsewhere."""


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
