"""
One try of one target: send the request, watch the clocks, and once there is an answer, copy it to the client.

Until the first content reaches the client everything is held and a failure leaves no trace; from then on the answer
belongs to this target. It does not choose targets, does not try again, and leaves it to its owner to end an answer that
broke off. What an answer amounts to is judged in `bodies`.
"""

import asyncio
from dataclasses import dataclass
from typing import Any, Protocol

from proxy import clock
from proxy.exchange import AttemptRecord, Exchange
from proxy.headers import Header, for_client, value_of
from proxy.relay.bodies import ErrorAnswer, EventStream, InsteadOfStream, WholeAnswer
from proxy.relay.client import Client
from proxy.relay.endpoints import Operation
from proxy.relay.verdict import Cut, Failed, Reach, Refused, Verdict, Whole
from proxy.upstream.decoding import Decoder, DecodingError
from proxy.upstream.wire import Call, Loss

STREAM_LIFE = 1800.0
"""Seconds a stream may last after its first content, however lively it is (reliability.md T5)."""
DRAIN_AFTER_DONE = 1.0
"""Seconds a provider gets to end its answer after `[DONE]`, so that the connection can serve again (S14)."""


@dataclass(frozen=True, slots=True)
class Clocks:
    """Seconds each phase may take."""

    first_token: float
    """From the request to the first content of a stream."""
    idle: float
    """Between two reads once the answer has begun."""
    total: float
    """From the request to the end of an answer that is not streamed, or to the first content of one that is."""


class Owner(Protocol):
    """Who runs the attempt, perhaps beside others."""

    def claim(self, attempt: "Attempt") -> bool:
        """Whether this attempt's answer may go to the client; the first to ask wins."""

    def ended(self, attempt: "Attempt", verdict: Verdict) -> None:
        """It is over."""


class Attempt:
    """The sink of one request to one provider."""

    def __init__(
        self,
        owner: Owner,
        exchange: Exchange,
        record: AttemptRecord,
        operation: Operation,
        client: Client,
        clocks: Clocks,
        streamed: bool,
    ) -> None:
        """*streamed*: the client asked for a stream."""
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
        self._headers: list[Header] = []
        self._body: EventStream | WholeAnswer | InsteadOfStream | ErrorAnswer | None = None
        self._decoder: Decoder | None = None
        self._committed = False
        self._over = False
        self._read_at = record.started
        self._patience = min(clocks.first_token, clocks.total) if streamed else clocks.total
        self._timer: asyncio.TimerHandle | None = loop.call_at(loop.time() + self._patience, self._tick)

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
        self.record.head_at = self._read_at = clock.now()
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
            self._body = EventStream(self, self._operation.dialect)
        elif self._streamed:
            self._body = InsteadOfStream(self)
        else:
            self._body = WholeAnswer(self, headers, wanted=self._operation.generates)

    def data(self, chunk: bytes) -> None:
        if self._over or self._body is None:
            return
        self._read_at = clock.now()
        if self._decoder is not None:
            try:
                chunk = self._decoder.feed(chunk)
            except DecodingError as error:
                self.broke("upstream_protocol_error", str(error))
                return
        if chunk:
            self._body.data(chunk)

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
            self._settle(Failed(loss.code, Reach.UNANSWERED if loss.sent else Reach.NEVER_SENT, loss.reason))

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
            self._client.on_pause, self._client.on_resume = call.pause, call.resume
            if self._client.paused:
                call.pause()
        return True

    def pass_on(self, chunk: bytes) -> None:
        self._exchange.bytes_out += len(chunk)
        self._client.write(chunk)

    def whole(self) -> None:
        self._client.finish()
        self._settle(Whole())

    def finished_early(self) -> None:
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
        if not self._committed:
            self._settle(Failed(code, Reach.UNANSWERED, reason))
            return
        stream = self._body if isinstance(self._body, EventStream) else None
        self._settle(
            Cut(
                code,
                reason,
                streamed=stream is not None,
                announced=stream is not None and stream.scanner.error is not None,
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
        if self._committed:
            self._client.on_pause = self._client.on_resume = None
        if isinstance(self._body, EventStream) and self._committed:
            self._exchange.events = self._body.scanner.events
            self._exchange.usage = self._body.scanner.usage
        self._owner.ended(self, verdict)

    def _stop(self) -> None:
        self._stop_timer()
        if self.call is not None:
            # No more than a goodbye when the answer was read to its end: the connection is back in its pool.
            self.call.cancel()

    # The clocks: one timer, set again only when it fires.

    def _tick(self) -> None:
        now = clock.now()
        if not self._committed:
            deadline = self.record.started + self._patience
        else:
            deadline = self.record.first_content_at + STREAM_LIFE
            if not self._client.paused:
                # A client that does not read is the write timeout's business, not the provider's fault.
                deadline = min(deadline, self._read_at + self._clocks.idle)
        if now >= deadline:
            self._timer = None
            self.broke("upstream_timeout", "stalled" if self._committed else "no content in time")
            return
        loop = asyncio.get_running_loop()
        self._timer = loop.call_at(loop.time() + max(0.001, deadline - now), self._tick)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
