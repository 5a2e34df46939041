"""
An event stream on its way to the client: held until its first content, whole at its own terminal marker.

It takes bytes as they come and tells its attempt what they amount to. It knows no targets and no clocks.
"""

from proxy.masking import mask_bytes
from proxy.relay.gate import BOUNDARIES, Gate
from proxy.relay.progress import Progress
from proxy.relay.usage_option import UsageFilter
from proxy.relay.verdict import told_in_200
from proxy.sse import Dialect, EventTooLarge, Scanner
from proxy.upstream.source import UNKNOWN, Source


class EventStream:
    """An event stream: shut until its first content, whole at its own terminal marker."""

    __slots__ = (
        "_committed",
        "_filter",
        "_progress",
        "_source",
        "_withhold_errors",
        "announced",
        "gate",
        "scanner",
    )

    def __init__(
        self,
        progress: Progress,
        dialect: Dialect,
        withhold_errors: bool,
        hide_usage: bool,
        source: Source = UNKNOWN,
    ) -> None:
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
        self._source = source
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
                progress.refuse_or_fail(told_in_200(scanner.error, self._source))
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
            start = _start_of_error(ready)
            # Even its last words may show a part of the key.
            ready = ready[:start] + mask_bytes(ready[start:], self._source.keys)
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
