"""
One try of one target: send the request, watch the clocks, and once there is an answer, copy it to the client.

Until the first content reaches the client everything is held and a failure leaves no trace; from then on the answer
belongs to this target. It does not choose targets, does not try again, and leaves an answer that broke off to
`attempts`. What an answer amounts to is judged by its kind, which `arrival` chooses.
"""

import asyncio
from typing import Any

from proxy.core import clock
from proxy.core.exchange import AttemptRecord, Exchange
from proxy.core.headers import Header, value_of
from proxy.core.usage import Tokens
from proxy.relay import counts
from proxy.relay.arrival import NOTHING, SAID, Arrival
from proxy.relay.client import Client
from proxy.relay.clocks import Clocks
from proxy.relay.event_stream import EventStream
from proxy.relay.question import Question
from proxy.relay.resume import Recorder, Splice
from proxy.relay.runner import Runner
from proxy.relay.summary import headers_of
from proxy.relay.timer import Timer
from proxy.relay.usage_option import is_named
from proxy.relay.verdict import Cut, Failed, Reach, Refused, Verdict, Whole, judge
from proxy.relay.watch import Watch
from proxy.upstream.decoding import Decoder, DecodingError, coding_of
from proxy.upstream.source import Source
from proxy.upstream.wire import Call, Loss

DRAIN_AFTER_DONE = 1.0
"""Seconds a provider gets to end its answer after `[DONE]`, so that the connection can serve again."""
_ABOUT_THE_ACCOUNT = (401, 402, 429)
"""Statuses that speak of no field, whatever is named beside."""


class Attempt:
    """The sink of one request to one provider."""

    def __init__(
        self,
        runner: "Runner[Attempt]",
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
        self.call: Call | None = None
        """The request, for as long as it is under way; set by what runs it."""
        self.option_refused = False
        """The provider refused the request, perhaps only for the usage option we added."""
        self.record = record
        self._runner = runner
        self._exchange = exchange
        self._question = question
        self._client = client
        self._source = source
        self._hide_usage = hide_usage
        self._recorder = recorder
        self._headers: list[Header] = []
        self._arrival: Arrival | None = None
        """The answer, once its head has come."""
        self._decoder: Decoder | None = None
        self._committed = False
        self._over = False
        self._watch = Watch(clocks, record.started, question.stream)
        self._timer = Timer(loop)
        self._timer.set(self._watch.next_look(record.started, paused=False) - record.started, self._tick)

    def cancel(self) -> None:
        """Its answer is not wanted any more: close the provider's connection at once."""
        if not self._over:
            self._over = True
            self._stop()
            self.record.ended = clock.now()
            self.record.tokens = self._tokens()
            self._arrival = None

    @property
    def _stream(self) -> EventStream | None:
        return self._arrival.stream if self._arrival is not None else None

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
        coding = coding_of(value_of(headers, b"content-encoding"))
        if coding:
            try:
                self._decoder = Decoder(coding)
            except DecodingError as error:
                if status >= 400:
                    # It says by its status what it is, whatever its words are.
                    self.refuse_or_fail(judge(status, headers, b"", self._source))
                else:
                    self.broke("upstream_protocol_error", str(error))
                return
        withhold_errors, started = self._recorder is not None, self.record.started
        self._arrival = arrival = Arrival(
            self, self._question, status, headers, self._source, started, withhold_errors, self._hide_usage
        )
        arrival.begin()

    def data(self, chunk: bytes) -> None:
        arrival = self._arrival
        if self._over or arrival is None:
            return
        if self._decoder is not None:
            try:
                chunk = self._decoder.feed(chunk)
            except DecodingError as error:
                self.broke("upstream_protocol_error", str(error))
                return
        now = clock.now()
        # What a coding holds back is progress of an answer that counts bytes, and none of one that counts events.
        step = arrival.data(chunk, now) if chunk else NOTHING if arrival.body is None else SAID
        if step != NOTHING:
            self._watch.progress_at = now
        if step == SAID:
            self._watch.said_at = now

    def ended(self, delimited: bool) -> None:
        if self._over:
            self._timer.stop()
        elif self._decoder is not None and not self._decoder.whole:
            self.broke("upstream_truncated", "content coding broke off")
        elif self._arrival is not None:
            self._arrival.ended(delimited, clock.now())

    def lost(self, loss: Loss) -> None:
        if self._over:
            self._timer.stop()
        elif (stream := self._stream) is not None and stream.saved():
            # Its own last word had been said; only the goodbye is missing.
            stream.ended(delimited=False)
        elif self._committed:
            self.broke(loss.code, loss.reason)
        else:
            # What we lack ourselves comes back as soon as other calls end.
            wait = 1.0 if loss.code == "overloaded" else None
            self._settle(Failed(loss.code, Reach.UNANSWERED if loss.sent else Reach.NEVER_SENT, loss.reason, wait))

    # What the answer turns out to be.

    def commit(self) -> bool:
        if not self._runner.claim(self):
            return False
        self._committed = True
        self.record.first_content_at = now = clock.now()
        streamed = self.record.streamed = self._stream is not None
        self._timer.stop()
        self._timer.set(self._watch.begin_answer(now, streamed) - now, self._tick)
        length = None
        if self._decoder is None and not streamed:
            declared = value_of(self._headers, b"content-length")
            length = int(declared) if declared is not None and declared.isdigit() else None
        self._client.start(self.record.status, self._client_headers(), length, streamed)
        call = self.call
        if call is not None:
            self._client.on_pause, self._client.on_resume = call.pause, self._client_reads_on
            if self._client.paused:
                call.pause()
        return True

    def _client_reads_on(self) -> None:
        # While the client did not read, the provider could make no progress.
        self._watch.progress_at = self._watch.said_at = clock.now()
        if self.call is not None:
            self.call.resume()

    def named(self, name: str) -> None:
        # What continues an answer has a name of its own, which the client never sees.
        self._exchange.response_id = self._exchange.response_id or name

    def pass_on(self, chunk: bytes) -> None:
        if self._over:
            return
        self._exchange.bytes_out += len(chunk)
        self._client.push(chunk)
        stream = self._stream
        if stream is not None and (emitted := stream.emitted()) and self._shown:
            self._exchange.emitted += emitted
            self.record.first_token_at = self.record.first_token_at or clock.now()
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
            self._timer.set(DRAIN_AFTER_DONE, call.cancel)

    def send(self, body: bytes, value: dict[str, Any] | None) -> None:
        if self._runner.claim(self):
            question = self._question
            if question.counted:
                self.record.tokens = counts.of_answer(
                    value, len(body), question.prompt_tokens, question.operation.dialect, question.uses_tokens
                )
            self.record.first_content_at = clock.now()
            self._exchange.bytes_out += len(body)
            self._client.send(self.record.status, self._client_headers(), body)
            self._settle(Whole())

    def refuse_or_fail(self, verdict: Failed | Refused, words: bytes = b"") -> None:
        if self._hide_usage and verdict.status not in _ABOUT_THE_ACCOUNT:
            # Old servers answer 500 where they do not know a field, and relays 404 where no provider takes it.
            told = verdict.body if isinstance(verdict, Refused) else verdict.words.encode("utf-8", "replace")
            self.option_refused = is_named(words or told)
        self._settle(verdict)

    def broke(self, code: str, reason: str) -> None:
        """The answer will not become whole."""
        if self._over:
            return
        if not self._committed:
            self._settle(Failed(code, Reach.UNANSWERED if self.record.sent_at else Reach.NEVER_SENT, reason))
        elif (stream := self._stream) is None:
            self._settle(Cut(code, reason))
        else:
            self._settle(Cut(code, reason, streamed=True, announced=stream.announced, split=stream.commit.split))

    def _client_headers(self) -> list[Header]:
        return headers_of(self.record.provider, self._exchange, self._headers, self._stream is not None)

    # The end.

    def _settle(self, verdict: Verdict) -> None:
        self._over = True
        self._stop()
        self.record.ended = clock.now()
        if isinstance(verdict, Failed | Cut):
            self.record.failure, self.record.reason = verdict.code, verdict.reason
            self.record.reach = verdict.reach.value if isinstance(verdict, Failed) else "committed"
        if self._committed:
            self._client.on_pause = self._client.on_resume = None
            self.record.tokens = self._tokens()
        # It points back here; without this only the garbage collector could free the two, and what they hold.
        self._arrival = None
        self._runner.ended(self, verdict)

    def _stop(self) -> None:
        self._timer.stop()
        call, self.call = self.call, None
        if call is not None:
            # No more than a goodbye when the answer was read to its end: the connection is back in its pool.
            call.cancel()

    def _tokens(self) -> Tokens | None:
        """What the answer used of which something has reached the client."""
        return self._arrival.tokens() if self._committed and self._shown and self._arrival is not None else None

    @property
    def _shown(self) -> bool:
        """Something of it has reached the client; of a continuation, what follows on the delivered text."""
        return not isinstance(self._client, Splice) or self._client.begun

    # The clocks: one timer, set again only when it fires.

    def _tick(self) -> None:
        now, watch = clock.now(), self._watch
        if overdue := watch.overdue(now, self._client.paused, self._runner.has_alternative):
            self.broke("upstream_timeout", overdue)
            return
        if watch.loses_patience(now):
            self._runner.impatient(self)
        self._timer.set(max(0.001, watch.next_look(now, self._client.paused) - now), self._tick)
