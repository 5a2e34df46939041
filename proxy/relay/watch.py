"""
The watch over one attempt: whether its time is up by one of its clocks, and when to look again.

It answers from what it was told and the time it is given; it sets no timer and ends nothing.
"""

from collections.abc import Callable

from proxy.relay.clocks import Clocks

STREAM_OVER = "the stream has lasted as long as it may"
"""Why a stream is ended that went on well: the operator's limit (`timeouts.stream`), not the provider's fault."""


class Watch:
    """What the clocks say of one attempt. Moments are monotonic seconds."""

    def __init__(self, clocks: Clocks, started: float, streamed: bool) -> None:
        """*streamed*: a stream was asked for."""
        self._clocks = clocks
        self._started = started
        self._streamed = streamed
        self._patient = True
        self._first_content_at = 0.0
        self._is_stream = False
        self.progress_at = started
        """
        The provider's last sign of life: its head, an event, a comment that says it is at work. It postpones
        `first_token` and `idle`, never `total`, `stream` or patience.
        """
        self.said_at = started
        """When it last said something: comments and empty events keep it alive no longer than `total` after that."""

    def begin_answer(self, now: float, is_stream: bool) -> float:
        """The client's answer has begun; when to look for the first time whether it goes on."""
        self._first_content_at = now
        self._is_stream = is_stream
        return now + (min(self._clocks.idle, self._clocks.stream) if is_stream else self._clocks.idle)

    def overdue(self, now: float, paused: bool, has_alternative: Callable[[], bool]) -> str:
        """
        Why the attempt is given up, empty when it may go on. *paused*: the client does not read, and nothing can come;
        *has_alternative*: whether the call would not be lost with it.
        """
        if self._first_content_at:
            if self._is_stream and now >= self._first_content_at + self._clocks.stream:
                return STREAM_OVER
            return "stalled" if now >= self._deadline(now, paused) else ""
        clocks = self._clocks
        # Silent for `first_token`, unless this is the last target and may take its time.
        silent = self._streamed and now - self.progress_at >= clocks.first_token
        late = silent and (clocks.strict or has_alternative())
        return "no content in time" if now - self._started >= clocks.total or late else ""

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
        look = self._started + clocks.total
        if self._streamed:
            # The last target is looked at again now and then: an alternative may have come back.
            silent = now - self.progress_at >= clocks.first_token
            look = min(look, (now if silent else self.progress_at) + clocks.first_token)
        return min(look, self._started + self._hedge_after) if self._patient else look

    @property
    def _hedge_after(self) -> float:
        # An answer that is not streamed shows nothing until it is complete, and long ones are no sign of trouble.
        return self._clocks.patience if self._streamed else max(self._clocks.patience, self._clocks.first_token)

    def _deadline(self, now: float, paused: bool) -> float:
        """When an answer that has begun is given up."""
        # A client that does not read is the write timeout's business, not the provider's fault.
        alive = now if paused else self.progress_at
        if not self._is_stream:
            return min(self._started + self._clocks.total, alive + self._clocks.idle)
        if not paused:
            alive = min(alive, self.said_at + max(0.0, self._clocks.total - self._clocks.idle))
        return min(self._first_content_at + self._clocks.stream, alive + self._clocks.idle)
