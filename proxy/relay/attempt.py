"""
One try of one target: send the request, judge what comes back, and once it is an answer, copy it to the client.

Until the first content reaches the client everything is held and a failure leaves no trace; from then on the answer
belongs to this target. It does not choose targets, does not try again, and leaves it to its owner to end an answer that
broke off.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from proxy import clock
from proxy.errors import ProxyError
from proxy.exchange import AttemptRecord, Exchange
from proxy.headers import Header, for_client, value_of
from proxy.relay.client import Client
from proxy.relay.endpoints import Operation
from proxy.relay.gate import Gate
from proxy.relay.verdict import Answered, Cut, Failed, Reach, Verdict, judge_error_event, judge_status, object_of
from proxy.sse import Dialect, EventTooLarge, Scanner
from proxy.upstream.decoding import Decoder, DecodingError
from proxy.upstream.wire import Call, Loss

MAX_WHOLE_BYTES = 1024 * 1024
"""An answer up to this size is held until it is whole, so that one that breaks off can still come from elsewhere."""
MAX_ERROR_BYTES = 256 * 1024
STREAM_LIFE = 1800.0
"""Seconds a stream may last after its first content, however lively it is (reliability.md T5)."""
DRAIN_AFTER_DONE = 1.0
"""Seconds a provider gets to end its answer after `[DONE]`, so that the connection can serve again (S14)."""

_JSON = ((b"Content-Type", b"application/json"),)


@dataclass(frozen=True, slots=True)
class Clocks:
    """Seconds each phase may take."""

    first_token: float
    """From the request to the first content of a stream."""
    idle: float
    """Between two reads once the answer has begun."""
    total: float
    """From the request to the end of an answer that is not streamed, or to the first content of one that is."""


class Attempt:
    """The sink of one request to one provider."""

    def __init__(
        self,
        exchange: Exchange,
        record: AttemptRecord,
        operation: Operation,
        client: Client,
        clocks: Clocks,
        streamed: bool,
        answer_headers: list[Header],
    ) -> None:
        """*streamed*: the client asked for a stream. *answer_headers* are ours, added to the answer's."""
        loop = asyncio.get_running_loop()
        self.verdict: asyncio.Future[Verdict] = loop.create_future()
        """How it ended; once it is set, nothing more happens to the client."""
        self.call: Call | None = None
        """Set by the owner as soon as the request is on its way."""
        self._exchange = exchange
        self._record = record
        self._operation = operation
        self._client = client
        self._clocks = clocks
        self._streamed = streamed
        self._answer_headers = answer_headers
        self._status = 0
        self._headers: list[Header] = []
        self._gate: Gate | None = None
        self._scanner: Scanner | None = None
        self._decoder: Decoder | None = None
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._committed = False
        self._over = False
        self._read_at = record.started
        self._timer: asyncio.TimerHandle | None = loop.call_at(
            loop.time() + (min(clocks.first_token, clocks.total) if streamed else clocks.total), self._tick
        )

    def cancel(self) -> None:
        """The client is gone: close the provider's connection at once."""
        self._over = True
        self._stop_timer()
        self._client.on_pause = self._client.on_resume = None
        if self.call is not None:
            self.call.cancel()

    # What the wire pushes.

    def connected(self) -> None:
        pass

    def head(self, status: int, headers: list[Header]) -> None:
        if self._over:
            return
        self._status = self._record.status = status
        self._headers = headers
        self._record.head_at = self._read_at = clock.now()
        upstream_id = value_of(headers, b"x-request-id") or value_of(headers, b"request-id")
        if upstream_id is not None:
            self._exchange.upstream_request_id = upstream_id.decode("latin-1")
        coding = (value_of(headers, b"content-encoding") or b"identity").strip().lower()
        if coding != b"identity":
            try:
                self._decoder = Decoder(coding)
            except DecodingError as error:
                self._fail(Failed("upstream_protocol_error", Reach.UNANSWERED, str(error)))
                return
        if status < 300 and self._is_event_stream():
            self._scanner = Scanner(self._operation.dialect)
            self._gate = Gate(self._scanner)

    def data(self, chunk: bytes) -> None:
        if self._over:
            return
        self._read_at = clock.now()
        if self._decoder is not None:
            try:
                chunk = self._decoder.feed(chunk)
            except DecodingError as error:
                self._break("upstream_protocol_error", str(error))
                return
            if not chunk:
                return
        if self._gate is not None:
            self._stream(chunk)
        elif self._committed:
            self._pass(chunk)
        else:
            self._hold(chunk)

    def ended(self, delimited: bool) -> None:
        if self._over:
            self._stop_timer()
            return
        if self._decoder is not None and not self._decoder.whole:
            self._break("upstream_truncated", "content coding broke off")
        elif self._gate is not None:
            self._end_stream(self._gate, delimited)
        elif self._committed:
            # Nothing but the closed connection says that this is all: we cannot vouch for it.
            self._finish() if delimited else self._break("upstream_truncated", "ended without a mark")
        elif self._status >= 300:
            self._end_error()
        else:
            self._end_whole(delimited)

    def lost(self, loss: Loss) -> None:
        if self._over:
            self._stop_timer()
            return
        if self._gate is not None and self._scanner is not None and self._committed and self._scanner.whole:
            # Its own last word had been said; only the goodbye is missing.
            self._end_stream(self._gate, delimited=False)
            return
        reach = Reach.UNANSWERED if loss.sent else Reach.NEVER_SENT
        self._break(loss.code, loss.reason, reach)

    # Streams.

    def _is_event_stream(self) -> bool:
        kind = value_of(self._headers, b"content-type") or b""
        return kind[:17].lower() == b"text/event-stream"

    def _stream(self, chunk: bytes) -> None:
        gate, scanner = self._gate, self._scanner
        assert gate is not None
        assert scanner is not None
        try:
            ready = gate.feed(chunk)
        except EventTooLarge:
            self._break("upstream_protocol_error", "event too large")
            return
        if not self._committed:
            if scanner.error is not None and not scanner.content:
                self._refuse_or_fail(scanner.error)
                return
            if not gate.open:
                return
            self._commit()
        if ready:
            self._pass(ready)
        if scanner.done and scanner.whole:
            # The client is finished at once; the provider may take a moment to end.
            self._finish(drain=True)

    def _end_stream(self, gate: Gate, delimited: bool) -> None:
        scanner = self._scanner
        assert scanner is not None
        if not self._committed and not (scanner.content and scanner.whole):
            reason = "empty stream" if scanner.events == 0 else "stream ended before any content"
            self._fail(Failed("upstream_truncated", Reach.UNANSWERED, reason))
            return
        marked = delimited if scanner.dialect is Dialect.OTHER else delimited or scanner.between_events
        if not scanner.whole or not marked:
            self._break("upstream_truncated", "stream ended without its terminal marker")
            return
        if scanner.error is not None:
            self._break("upstream_error", "error event")
            return
        rest = gate.rest()
        if rest:
            self._pass(rest)
        self._finish()

    # Answers that are not streams.

    def _hold(self, chunk: bytes) -> None:
        self._held.append(chunk)
        self._held_bytes += len(chunk)
        if self._status >= 300:
            if self._held_bytes > MAX_ERROR_BYTES:
                self._end_error()
        elif self._held_bytes > MAX_WHOLE_BYTES or not self._is_json():
            if self._streamed:
                self._fail(Failed("upstream_protocol_error", Reach.UNANSWERED, "no event stream where one was asked"))
                return
            self._commit()
            held, self._held = self._held, []
            self._pass(b"".join(held))

    def _is_json(self) -> bool:
        kind = (value_of(self._headers, b"content-type") or b"").partition(b";")[0].strip().lower()
        return kind == b"application/json" or kind.endswith(b"+json")

    def _end_whole(self, delimited: bool) -> None:
        body = b"".join(self._held)
        answer = object_of(body) if self._is_json() else None
        if self._streamed:
            # Both SDKs would show this as an empty success (reliability.md 1.1).
            error = answer.get("error") if answer else None
            if type(error) is dict:
                self._refuse_or_fail(error)
            else:
                self._fail(Failed("upstream_protocol_error", Reach.UNANSWERED, "no event stream where one was asked"))
            return
        if self._status not in (204, 205):
            if self._is_json() and answer is None:
                self._fail(Failed("upstream_protocol_error", Reach.UNANSWERED, "not a JSON object"))
                return
            if not body and self._operation.generates:
                self._fail(Failed("upstream_protocol_error", Reach.UNANSWERED, "empty answer"))
                return
        if not delimited and answer is None:
            self._fail(Failed("upstream_truncated", Reach.UNANSWERED, "ended without a mark"))
            return
        if answer is not None and type(usage := answer.get("usage")) is dict:
            self._exchange.usage = usage
        self._mark_first_content()
        self._exchange.bytes_out += len(body)
        self._client.send(self._status, self._answer_headers + for_client(self._headers), body)
        self._settle(Answered.WHOLE)

    def _refuse_or_fail(self, error: dict[str, Any]) -> None:
        """An error told inside a 200, before any content: it gets the status it should have had."""
        failed = judge_error_event(error)
        if failed is not None:
            self._fail(failed)
        else:
            self._refuse(400, orjson.dumps({"error": error}))

    def _refuse(self, status: int, body: bytes, headers: Sequence[Header] = _JSON) -> None:
        self._exchange.bytes_out += len(body)
        self._client.send(status, [*self._answer_headers, *headers], body)
        self._settle(Answered.REFUSED)

    def _end_error(self) -> None:
        body = b"".join(self._held)
        failed = judge_status(self._status, self._headers, body)
        if failed is not None:
            self._fail(failed)
            return
        if object_of(body) is not None:
            self._refuse(self._status, body, for_client(self._headers))
        else:
            # A page from some proxy on the way is no use to an SDK; the status is.
            refusal = ProxyError("bad_request", "The provider refused the request.")
            self._refuse(self._status, refusal.body(self._exchange.id))

    # Towards the client.

    def _commit(self) -> None:
        self._committed = True
        self._mark_first_content()
        streamed = self._gate is not None
        length = None
        if self._decoder is None and not streamed:
            declared = value_of(self._headers, b"content-length")
            length = int(declared) if declared is not None and declared.isdigit() else None
        self._client.start(self._status, self._answer_headers + for_client(self._headers), length, streamed)
        loop = asyncio.get_running_loop()
        self._stop_timer()
        self._timer = loop.call_at(loop.time() + self._clocks.idle, self._tick)
        call = self.call
        if call is not None:
            self._client.on_pause, self._client.on_resume = call.pause, call.resume
            if self._client.paused:
                call.pause()

    def _mark_first_content(self) -> None:
        self._record.first_content_at = clock.now()

    def _pass(self, chunk: bytes) -> None:
        self._exchange.bytes_out += len(chunk)
        self._client.write(chunk)

    def _finish(self, drain: bool = False) -> None:
        call = self.call
        if drain:
            self.call = None
        self._client.finish()
        self._settle(Answered.WHOLE)
        if drain and call is not None:
            call.resume()
            self._timer = asyncio.get_running_loop().call_later(DRAIN_AFTER_DONE, call.cancel)

    def _break(self, code: str, reason: str, reach: Reach = Reach.UNANSWERED) -> None:
        """The answer will not become whole."""
        if not self._committed:
            self._fail(Failed(code, reach, reason))
            return
        gate, scanner = self._gate, self._scanner
        self._record.failure = code
        self._settle(
            Cut(
                code,
                reason,
                streamed=gate is not None,
                announced=scanner is not None and scanner.error is not None,
                split=gate is not None and gate.split,
            )
        )

    # The end.

    def _fail(self, failed: Failed) -> None:
        self._record.failure = failed.code
        self._settle(failed)

    def _settle(self, verdict: Verdict) -> None:
        self._over = True
        self._stop_timer()
        self._record.ended = clock.now()
        self._client.on_pause = self._client.on_resume = None
        if self._scanner is not None:
            self._exchange.events = self._scanner.events
            self._exchange.usage = self._scanner.usage
        if self.call is not None:
            # No more than a goodbye when the answer was read to its end: the connection is back in its pool.
            self.call.cancel()
        if not self.verdict.done():
            self.verdict.set_result(verdict)

    # The clocks: one timer, set again only when it fires.

    def _tick(self) -> None:
        now = clock.now()
        clocks, record = self._clocks, self._record
        if not self._committed:
            budget = min(clocks.first_token, clocks.total) if self._streamed else clocks.total
            deadline = record.started + budget
        else:
            deadline = record.first_content_at + STREAM_LIFE
            if not self._client.paused:
                # A client that does not read is the write timeout's business, not the provider's fault.
                deadline = min(deadline, self._read_at + clocks.idle)
        if now >= deadline:
            self._timer = None
            self._break("upstream_timeout", "stalled" if self._committed else "no content in time")
            return
        loop = asyncio.get_running_loop()
        self._timer = loop.call_at(loop.time() + max(0.001, deadline - now), self._tick)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
