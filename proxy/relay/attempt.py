"""
One try of one target: send the request, watch the clocks, and once there is an answer, copy it to the client.

Until the first content reaches the client everything is held and a failure leaves no trace; from then on the answer
belongs to this target. It does not choose targets, does not try again, and leaves it to its owner to end an answer that
broke off. What an answer amounts to is judged in `event_stream`, `whole_answer` and `no_answer`.
"""

import asyncio
from typing import Any, Protocol

from proxy import clock
from proxy.exchange import AttemptRecord, Exchange
from proxy.headers import Header, for_client, value_of
from proxy.relay import counts
from proxy.relay.client import Client
from proxy.relay.clocks import Clocks
from proxy.relay.event_stream import EventStream
from proxy.relay.no_answer import ErrorAnswer, InsteadOfStream
from proxy.relay.question import Question
from proxy.relay.resume import Recorder, Splice
from proxy.relay.usage_option import is_named
from proxy.relay.verdict import Cut, Failed, Reach, Refused, Verdict, Whole
from proxy.relay.watch import Watch
from proxy.relay.whole_answer import WholeAnswer
from proxy.sse import Scanner
from proxy.upstream.decoding import Decoder, DecodingError
from proxy.upstream.source import Source
from proxy.upstream.wire import Call, Loss
from proxy.usage import Tokens

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
        "_committed",
        "_decoder",
        "_exchange",
        "_headers",
        "_hide_usage",
        "_loop",
        "_over",
        "_owner",
        "_question",
        "_recorder",
        "_scanner",
        "_source",
        "_timer",
        "_watch",
        "call",
        "option_refused",
        "record",
    )

    def __init__(
        self,
        owner: Owner,
        exchange: Exchange,
        record: AttemptRecord,
        question: Question,
        client: Client,
        clocks: Clocks,
        loop: asyncio.AbstractEventLoop,
        source: Source,
        hide_usage: bool = False,
        recorder: Recorder | None = None,
    ) -> None:
        """
        *source* is who answers. *hide_usage*: the provider was asked for usage the client did not ask for. *recorder*
        is told what passes, so that it can be continued.
        """
        self._loop = loop
        self.call: Call | None = None
        """Set by the owner as soon as the request is on its way."""
        self.option_refused = False
        """The provider refused the request, perhaps only for the usage option we added."""
        self.record = record
        self._owner = owner
        self._exchange = exchange
        self._question = question
        self._client = client
        self._source = source
        self._hide_usage = hide_usage
        self._recorder = recorder
        self._headers: list[Header] = []
        self._body: EventStream | WholeAnswer | InsteadOfStream | ErrorAnswer | None = None
        self._decoder: Decoder | None = None
        self._scanner: Scanner | None = None
        """Counts the events of a stream."""
        self._committed = False
        self._over = False
        self._watch = Watch(clocks, record.started, question.stream)
        first_look = self._watch.next_look(record.started, paused=False) - record.started
        self._timer: asyncio.TimerHandle | None = loop.call_at(loop.time() + first_look, self._tick)

    def cancel(self) -> None:
        """Nobody wants the answer any more: close the provider's connection at once."""
        if not self._over:
            self._over = True
            self._stop()
            self.record.ended = clock.now()
            self.record.tokens = self._tokens()
            self._body = None

    # What the wire pushes.

    def connected(self) -> None:
        self.record.sent_at = clock.now()

    def head(self, status: int, headers: list[Header]) -> None:
        if self._over:
            return
        self.record.status = status
        self._headers = headers
        self.record.head_at = self._watch.progress_at = clock.now()
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
            self._body = ErrorAnswer(self, status, headers, self._source)
        elif (value_of(headers, b"content-type") or b"")[:17].lower() == b"text/event-stream":
            dialect = self._question.operation.dialect
            self._body = stream = EventStream(self, dialect, self._recorder is not None, self._hide_usage, self._source)
            self._scanner = stream.scanner
        elif self._question.stream:
            self._body = InsteadOfStream(self, self._source)
        else:
            question = self._question
            answers = question.operation.answers if question.method == "POST" else ""
            if answers and question.value.get("deferred"):
                # xAI answers with an id under which the completion will be found.
                answers = "json"
            self._body = WholeAnswer(self, headers, question.operation.generates, answers, self._source)

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
            self._watch.progress_at = clock.now()

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
        self.record.first_content_at = now = clock.now()
        streamed = isinstance(self._body, EventStream)
        self._stop_timer()
        self._look_again(self._watch.begin_answer(now, streamed) - now)
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
        self._watch.progress_at = clock.now()
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
            self._timer = self._loop.call_later(DRAIN_AFTER_DONE, call.cancel)

    def send(self, body: bytes, value: dict[str, Any] | None) -> None:
        if self._owner.claim(self):
            question = self._question
            if question.method == "POST":
                # To read an answer that was stored costs nothing more, though it tells what it once used.
                self.record.tokens = counts.of_answer(
                    value, len(body), question.prompt_tokens, question.operation.dialect, question.uses_tokens
                )
            self.record.first_content_at = clock.now()
            self._exchange.bytes_out += len(body)
            self._client.send(self.record.status, self._answer_headers(), body)
            self._settle(Whole())

    def refuse_or_fail(self, verdict: Failed | Refused, words: bytes = b"") -> None:
        if self._hide_usage and isinstance(verdict, Refused) and verdict.status in (400, 422):
            self.option_refused = is_named(words or verdict.body)
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
        if self._committed:
            self.record.tokens = self._tokens()
            if isinstance(self._body, EventStream):
                self._exchange.events += self._body.events
        # It points back here; without this only the garbage collector could free the two, and what they hold.
        self._body = None
        self._owner.ended(self, verdict)

    def _stop(self) -> None:
        self._stop_timer()
        call, self.call = self.call, None
        if call is not None:
            # No more than a goodbye when the answer was read to its end: the connection is back in its pool.
            call.cancel()

    def _tokens(self) -> Tokens | None:
        """What the answer used of which something has reached the client."""
        if not self._committed or (isinstance(self._client, Splice) and not self._client.begun):
            return None
        question, body = self._question, self._body
        if question.method != "POST":
            return None
        if isinstance(body, EventStream):
            return counts.of_stream(body.scanner, question.prompt_tokens, question.uses_tokens)
        if not isinstance(body, WholeAnswer):
            return None
        told = {"usage": body.usage}
        size = body.size if body.json else 0
        return counts.of_answer(told, size, question.prompt_tokens, question.operation.dialect, question.uses_tokens)

    # The clocks: one timer, set again only when it fires.

    def _tick(self) -> None:
        self._timer = None
        now, watch = clock.now(), self._watch
        overdue = watch.overdue(now, self._client.paused, self._owner.has_alternative)
        if overdue:
            self.broke("upstream_timeout", overdue)
            return
        if watch.loses_patience(now):
            self._owner.impatient(self)
        self._look_again(max(0.001, watch.next_look(now, self._client.paused) - now))

    def _look_again(self, seconds: float) -> None:
        self._timer = self._loop.call_at(self._loop.time() + seconds, self._tick)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
