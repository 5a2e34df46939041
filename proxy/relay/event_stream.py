"""
An event stream on its way to the client: held until its first content, whole at its own terminal marker.

It takes bytes as they come and tells its attempt what they amount to. It knows no targets and no clocks but the time it
is given.
"""

from proxy.core.masking import mask_bytes
from proxy.core.sse import Dialect, EventTooLarge, Scanner
from proxy.relay.answer_id import in_events
from proxy.relay.commit import Commit
from proxy.relay.progress import Progress
from proxy.relay.usage_option import UsageFilter
from proxy.relay.verdict import Failed, told_in_200
from proxy.upstream.source import UNKNOWN, Source

AT_WORK = 2.0
"""
Seconds from the request after which a comment, or an event without data, begins the client's answer. A provider that
sends one that late is at work, and its client should see so. Earlier ones come from a relay's front as it takes the
question (OpenRouter's first `: OPENROUTER PROCESSING`), a moment before an error that another target can still mend.
"""


class EventStream:
    """An event stream: shut until its first content, whole at its own terminal marker."""

    def __init__(
        self,
        progress: Progress,
        dialect: Dialect,
        withhold_errors: bool,
        hide_usage: bool,
        started: float = 0.0,
        source: Source = UNKNOWN,
    ) -> None:
        """
        *withhold_errors*: an error event is not for the client, because another target may continue the answer.
        *hide_usage*: the client did not ask for the usage that will come. *started*: when the request was sent, in
        monotonic seconds. *source* is who sends it.
        """
        self.announced = False
        """The provider's own error event has reached the client, and its SDK raises on it."""
        self._withhold_errors = withhold_errors
        self.scanner = Scanner(dialect)
        self.commit = Commit(self.scanner)
        self._filter = UsageFilter(self.scanner) if hide_usage else None
        self._progress = progress
        self._started = started
        self._source = source
        self._committed = False
        self._told = 0

    def emitted(self) -> int:
        """Pieces of content read since this was asked last; where the dialect is not known, events with data."""
        scanner, before = self.scanner, self._told
        self._told = scanner.events if scanner.dialect is Dialect.OTHER else scanner.deltas
        return self._told - before

    @property
    def steps(self) -> int:
        """How often the provider has shown that it is alive: events, and comments."""
        return self.scanner.events + self.scanner.signs

    @property
    def said(self) -> int:
        """How often it has said something: events with data."""
        return self.scanner.events - self.scanner.beats

    def begin(self) -> None:
        """Begin the client's answer with its head: what follows is watched rather than waited for."""
        self._committed = self.commit.made = self._progress.commit()

    def data(self, chunk: bytes, now: float) -> None:
        """The next bytes, which came at *now*, in monotonic seconds."""
        scanner, commit, progress = self.scanner, self.commit, self._progress
        try:
            ready = commit.feed(chunk, self._committed or now - self._started >= AT_WORK)
        except EventTooLarge:
            progress.broke("upstream_protocol_error", "event too large")
            return
        if not self._committed:
            if not commit.made:
                if scanner.stopped:
                    self._fail()
                return
            if not progress.commit():
                return
            self._committed = True
            progress.named(in_events(ready))
        if scanner.stopped:
            self._stop(ready)
        else:
            self._pass_on(ready)

    def ended(self, delimited: bool) -> None:
        """No more bytes will come; *delimited*: the framing says that they were all."""
        scanner, progress = self.scanner, self._progress
        if not self._committed:
            self._fail()
            return
        if scanner.error_event is not None:
            progress.broke("upstream_error", "error event")
            return
        # Without any mark of its end, a stream cannot be called whole.
        marked = delimited or (scanner.said_last and scanner.between_events)
        if scanner.whole and marked:
            rest = self.commit.rest()
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

    def _fail(self) -> None:
        """It has ended before its first content: nothing of it has been seen."""
        scanner = self.scanner
        if scanner.error_event is not None:
            self._progress.refuse_or_fail(told_in_200(scanner.error_event.error, self._source))
        elif scanner.events == 0:
            self._progress.broke("upstream_truncated", "empty stream")
        elif scanner.opaque and scanner.opaque == scanner.events - scanner.done:
            self._progress.broke("upstream_protocol_error", "no event could be read")
        else:
            self._progress.broke("upstream_truncated", "stream ended before any content")

    def _stop(self, ready: bytes) -> None:
        """*ready* ends with an error or `[DONE]`, or goes on behind it, where clients read no further."""
        scanner, progress = self.scanner, self._progress
        first = scanner.fed - len(ready)
        told = scanner.error_event
        if told is not None:
            verdict = told_in_200(told.error, self._source)
            # Words about the operator's key or account are not for clients.
            private = isinstance(verdict, Failed) and verdict.code in ("upstream_auth_error", "insufficient_quota")
            passes = told.passes and not private and not self._withhold_errors
            self.announced = passes and told.raises
            start, end = max(0, scanner.stop_start - first), max(0, scanner.stop_end - first)
            # Even its last words may show a part of the key.
            words = mask_bytes(ready[start:end], self._source.keys) if passes else b""
            self._pass_on(ready[:start] + words)
            if not (passes and scanner.within_newline):
                progress.broke("upstream_error", "error event")
        elif scanner.whole:
            self._pass_on(ready[: max(0, scanner.stop_end - first)])
            if not scanner.within_newline:
                progress.finished_early()
        else:
            self._pass_on(ready[: max(0, scanner.stop_start - first)])
            progress.broke("upstream_truncated", "[DONE] before a finish")

    def _pass_on(self, ready: bytes) -> None:
        if ready and self._filter is not None:
            ready = self._filter.feed(ready, whole=not self.commit.split)
        if ready:
            self._progress.pass_on(ready)
