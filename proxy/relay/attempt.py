"""
One try of one target: send the request, watch the clocks, and once there is an answer, copy it to the client.

Until the first content reaches the client everything is held and a failure leaves no trace; from then on the answer
belongs to this target. It does not choose targets, does not try again, and leaves it to its owner to end an answer that
broke off. What an answer amounts to is judged in `bodies`.
"""

import asyncio
from typing import Any, Protocol

from proxy import clock
from proxy.exchange import AttemptRecord, Exchange
from proxy.headers import Header, for_client, value_of
from proxy.relay.bodies import ErrorAnswer, EventStream, InsteadOfStream, WholeAnswer
from proxy.relay.client import Client
from proxy.relay.clocks import Clocks
from proxy.relay.endpoints import Operation
from proxy.relay.resume import Recorder
from proxy.relay.verdict import Cut, Failed, Reach, Refused, Verdict, Whole
from proxy.sse import Scanner
from proxy.upstream.decoding import Decoder, DecodingError
from proxy.upstream.wire import Call, Loss

STREAM_LIFE = 1800.0
"""Seconds a stream may last after its first content, however lively it is (reliability.md T5)."""
DRAIN_AFTER_DONE = 1.0
"""Seconds a provider gets to end its answer after `[DONE]`, so that the connection can serve again (S14)."""


class Owner(Protocol):
    """Who runs the attempt, perhaps beside others."""

    def claim(self, attempt: "Attempt") -> bool:
        """Whether this attempt's answer may go to the client; the first to ask wins."""

    def ended(self, attempt: "Attempt", verdict: Verdict) -> None:
        """It is over."""

    def impatient(self, attempt: "Attempt") -> None:
        """It has produced nothing for as long as patience goes."""

    def has_alternative(self) -> bool:
        """Whether the call would not be lost with this attempt."""


class Attempt:
    """The sink of one request to one provider."""

    __slots__ = (
        "_body",
        "_client",
        "_clocks",
        "_committed",
        "_decoder",
        "_exchange",
        "_headers",
        "_operation",
        "_over",
        "_owner",
        "_patient",
        "_progress_at",
        "_recorder",
        "_scanner",
        "_streamed",
        "_timer",
        "call",
        "record",
    )

    def __init__(
        self,
        owner: Owner,
        exchange: Exchange,
        record: AttemptRecord,
        operation: Operation,
        client: Client,
        clocks: Clocks,
        streamed: bool,
        recorder: Recorder | None = None,
    ) -> None:
        """*streamed*: the client asked for a stream. *recorder* is told what passes, so that it can be continued."""
        loop = asyncio.get_running_loop()
        self.call: Call | None = None
        """Set by the owner as soon as the request is on its way."""
        self.record = record
        self._owner = owner
        self._exchange = exchange
        self._operation = operation
        self._client = client
        self._clocks = clocks
        self._streamed = streamed
        self._recorder = recorder
        self._headers: list[Header] = []
        self._body: EventStream | WholeAnswer | InsteadOfStream | ErrorAnswer | None = None
        self._decoder: Decoder | None = None
        self._scanner: Scanner | None = None
        """Counts the events of a stream."""
        self._committed = False
        self._over = False
        self._progress_at = record.started
        self._patient = True
        self._timer: asyncio.TimerHandle | None = loop.call_at(loop.time() + self._next_look(0.0), self._tick)

    def cancel(self) -> None:
        """Nobody wants the answer any more: close the provider's connection at once."""
        if not self._over:
            self._over = True
            self._stop()
            self.record.ended = clock.now()

    # What the wire pushes.

    def connected(self) -> None:
        self.record.sent_at = clock.now()

    def head(self, status: int, headers: list[Header]) -> None:
        if self._over:
            return
        self.record.status = status
        self._headers = headers
        self.record.head_at = self._progress_at = clock.now()
        upstream_id = value_of(headers, b"x-request-id") or value_of(headers, b"request-id")
        if upstream_id is not None:
            self._exchange.upstream_request_id = upstream_id.decode("latin-1")
        coding = (value_of(headers, b"content-encoding") or b"identity").strip().lower()
        if coding != b"identity":
            try:
                self._decoder = Decoder(coding)
            except DecodingError as error:
                self.broke("upstream_protocol_error", str(error))
                return
        if status >= 300:
            self._body = ErrorAnswer(self, status, headers, self._exchange.id)
        elif (value_of(headers, b"content-type") or b"")[:17].lower() == b"text/event-stream":
            self._body = stream = EventStream(self, self._operation.dialect, withhold_errors=self._recorder is not None)
            self._scanner = stream.scanner
        elif self._streamed:
            self._body = InsteadOfStream(self)
        else:
            self._body = WholeAnswer(self, headers, wanted=self._operation.generates)

    def data(self, chunk: bytes) -> None:
        if self._over or self._body is None:
            return
        scanner = self._scanner
        events = -1 if scanner is None else scanner.events
        if self._decoder is not None:
            try:
                chunk = self._decoder.feed(chunk)
            except DecodingError as error:
                self.broke("upstream_protocol_error", str(error))
                return
        if chunk:
            self._body.data(chunk)
        if scanner is None or scanner.events != events:
            # Comments and half events keep a connection open, but they are no progress (reliability.md T4, T5).
            self._progress_at = clock.now()

    def ended(self, delimited: bool) -> None:
        if self._over:
            self._stop_timer()
        elif self._decoder is not None and not self._decoder.whole:
            self.broke("upstream_truncated", "content coding broke off")
        elif self._body is not None:
            self._body.ended(delimited)

    def lost(self, loss: Loss) -> None:
        if self._over:
            self._stop_timer()
        elif isinstance(self._body, EventStream) and self._body.saved():
            # Its own last word had been said; only the goodbye is missing.
            self._body.ended(delimited=False)
        elif self._committed:
            self.broke(loss.code, loss.reason)
        else:
            # What we lack ourselves comes back as soon as other calls end.
            wait = 1.0 if loss.code == "overloaded" else None
            self._settle(Failed(loss.code, Reach.UNANSWERED if loss.sent else Reach.NEVER_SENT, loss.reason, wait))

    # What the answer turns out to be.

    def commit(self) -> bool:
        if not self._owner.claim(self):
            return False
        self._committed = True
        self.record.first_content_at = clock.now()
        loop = asyncio.get_running_loop()
        self._stop_timer()
        self._timer = loop.call_at(loop.time() + self._clocks.idle, self._tick)
        streamed = isinstance(self._body, EventStream)
        length = None
        if self._decoder is None and not streamed:
            declared = value_of(self._headers, b"content-length")
            length = int(declared) if declared is not None and declared.isdigit() else None
        self._client.start(self.record.status, self._answer_headers(), length, streamed)
        call = self.call
        if call is not None:
            self._client.on_pause, self._client.on_resume = call.pause, self._client_reads_on
            if self._client.paused:
                call.pause()
        return True

    def _client_reads_on(self) -> None:
        # While nobody read from it, the provider could make no progress.
        self._progress_at = clock.now()
        if self.call is not None:
            self.call.resume()

    def pass_on(self, chunk: bytes) -> None:
        if self._over:
            return
        self._exchange.bytes_out += len(chunk)
        self._client.write(chunk)
        if self._recorder is not None:
            self._recorder.note(chunk)

    def whole(self) -> None:
        if self._over:
            return
        self._client.finish()
        # A client that takes only the continuation of an answer may have found that this is none.
        if not self._over:
            self._settle(Whole())

    def finished_early(self) -> None:
        if self._over:
            return
        call, self.call = self.call, None
        self.whole()
        if call is not None:
            call.resume()
            self._timer = asyncio.get_running_loop().call_later(DRAIN_AFTER_DONE, call.cancel)

    def send(self, body: bytes, value: dict[str, Any] | None) -> None:
        if self._owner.claim(self):
            if value is not None and type(usage := value.get("usage")) is dict:
                self._exchange.usage = usage
            self.record.first_content_at = clock.now()
            self._exchange.bytes_out += len(body)
            self._client.send(self.record.status, self._answer_headers(), body)
            self._settle(Whole())

    def refuse_or_fail(self, verdict: Failed | Refused) -> None:
        self._settle(verdict)

    def broke(self, code: str, reason: str) -> None:
        """The answer will not become whole."""
        if self._over:
            return
        if not self._committed:
            self._settle(Failed(code, Reach.UNANSWERED if self.record.sent_at else Reach.NEVER_SENT, reason))
            return
        stream = self._body if isinstance(self._body, EventStream) else None
        self._settle(
            Cut(
                code,
                reason,
                streamed=stream is not None,
                announced=stream is not None and stream.announced,
                split=stream is not None and stream.gate.split,
            )
        )

    def _answer_headers(self) -> list[Header]:
        return [
            (b"X-Hapax-Provider", self.record.provider.encode("latin-1", "replace")),
            (b"X-Hapax-Attempts", b"%d" % len(self._exchange.attempts)),
            *for_client(self._headers),
        ]

    # The end.

    def _settle(self, verdict: Verdict) -> None:
        self._over = True
        self._stop()
        self.record.ended = clock.now()
        if isinstance(verdict, Failed | Cut):
            self.record.failure = verdict.code
            self.record.reason = verdict.reason
            self.record.reach = verdict.reach.value if isinstance(verdict, Failed) else "committed"
        if self._committed:
            self._client.on_pause = self._client.on_resume = None
        if isinstance(self._body, EventStream) and self._committed:
            self._exchange.events += self._body.scanner.events
            self._exchange.usage = self._body.scanner.usage
        # It points back here; without this only the garbage collector could free the two, and what they hold.
        self._body = None
        self._owner.ended(self, verdict)

    def _stop(self) -> None:
        self._stop_timer()
        call, self.call = self.call, None
        if call is not None:
            # No more than a goodbye when the answer was read to its end: the connection is back in its pool.
            call.cancel()

    # The clocks: one timer, set again only when it fires.

    def _tick(self) -> None:
        now = clock.now()
        if not self._committed:
            elapsed = now - self.record.started
            if elapsed >= self._clocks.total or self._is_too_late(elapsed):
                self._timer = None
                self.broke("upstream_timeout", "no content in time")
                return
            if self._patient and elapsed >= self._hedge_after:
                self._patient = False
                self._owner.impatient(self)
            deadline = self.record.started + self._next_look(elapsed)
        else:
            deadline = self.record.first_content_at + STREAM_LIFE
            # A client that does not read is the write timeout's business, not the provider's fault.
            since = now if self._client.paused else self._progress_at
            deadline = min(deadline, since + self._clocks.idle)
            if not isinstance(self._body, EventStream):
                deadline = min(deadline, self.record.started + self._clocks.total)
        if self._committed and now >= deadline:
            self._timer = None
            self.broke("upstream_timeout", "stalled")
            return
        loop = asyncio.get_running_loop()
        self._timer = loop.call_at(loop.time() + max(0.001, deadline - now), self._tick)

    def _is_too_late(self, elapsed: float) -> bool:
        """A stream without content for `first_token`, unless this is the last target and may take its time."""
        clocks = self._clocks
        if not self._streamed or elapsed < clocks.first_token:
            return False
        return clocks.strict or self._owner.has_alternative()

    @property
    def _hedge_after(self) -> float:
        # An answer that is not streamed shows nothing until it is complete, and long ones are no sign of trouble.
        return self._clocks.patience if self._streamed else max(self._clocks.patience, self._clocks.first_token)

    def _next_look(self, elapsed: float) -> float:
        """Seconds after the start at which something may be due next."""
        clocks = self._clocks
        moments = [clocks.total]
        if self._streamed:
            # The last target is looked at again now and then: an alternative may have come back.
            moments.append(clocks.first_token if elapsed < clocks.first_token else elapsed + clocks.first_token)
        if self._patient:
            moments.append(self._hedge_after)
        return min(moments)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
