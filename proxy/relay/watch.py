"""
The watch over one attempt: whether its time is up by one of its clocks, and when to look again.

It answers from what it was told and the time it is given; it sets no timer and ends nothing.
"""

from collections.abc import Callable

from proxy.relay.clocks import Clocks

STREAM_LIFE = 1800.0
"""Seconds a stream may last after its first content, however lively it is (reliability.md T5)."""


class Watch:
    """What the clocks say of one attempt. Moments are monotonic seconds."""

    __slots__ = ("_clocks", "_first_content_at", "_is_stream", "_patient", "_started", "_streamed", "progress_at")

    def __init__(self, clocks: Clocks, started: float, streamed: bool) -> None:
        """*streamed*: a stream was asked for."""
        self._clocks = clocks
        self._started = started
        self._streamed = streamed
        self._patient = True
        self._first_content_at = 0.0
        self._is_stream = False
        self.progress_at = started
        """When the answer last came a step further."""

    def begin_answer(self, now: float, is_stream: bool) -> float:
        """The client's answer has begun; when to look for the first time whether it goes on."""
        self._first_content_at = now
        self._is_stream = is_stream
        return now + self._clocks.idle

    def overdue(self, now: float, paused: bool, has_alternative: Callable[[], bool]) -> str:
        """
        Why the attempt is given up, empty when it may go on. *paused*: the client does not read, and nothing can come;
        *has_alternative*: whether the call would not be lost with it.
        """
        if self._first_content_at:
            return "stalled" if now >= self._deadline(now, paused) else ""
        elapsed = now - self._started
        clocks = self._clocks
        # Without content for `first_token`, unless this is the last target and may take its time.
        late = self._streamed and elapsed >= clocks.first_token and (clocks.strict or has_alternative())
        return "no content in time" if elapsed >= clocks.total or late else ""

    def loses_patience(self, now: float) -> bool:
        """Whether another target should be asked beside this one; true once."""
        if self._first_content_at or not self._patient or now - self._started < self._hedge_after:
            return False
        self._patient = False
        return True

    def next_look(self, now: float, paused: bool) -> float:
        """The moment at which something may be due next."""
        if self._first_content_at:
            return self._deadline(now, paused)
        clocks = self._clocks
        moments = [clocks.total]
        if self._streamed:
            # The last target is looked at again now and then: an alternative may have come back.
            elapsed = now - self._started
            moments.append(clocks.first_token if elapsed < clocks.first_token else elapsed + clocks.first_token)
        if self._patient:
            moments.append(self._hedge_after)
        return self._started + min(moments)

    @property
    def _hedge_after(self) -> float:
        # An answer that is not streamed shows nothing until it is complete, and long ones are no sign of trouble.
        return self._clocks.patience if self._streamed else max(self._clocks.patience, self._clocks.first_token)

    def _deadline(self, now: float, paused: bool) -> float:
        """When an answer that has begun is given up."""
        # A client that does not read is the write timeout's business, not the provider's fault.
        deadline = min(self._first_content_at + STREAM_LIFE, (now if paused else self.progress_at) + self._clocks.idle)
        return deadline if self._is_stream else min(deadline, self._started + self._clocks.total)
