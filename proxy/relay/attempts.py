"""
The attempts of one exchange that are under way at the same time: usually one, two when the first stays silent.

The first to have content wins and the others are cancelled. Whatever becomes of an attempt, everything it took (a
permit, a place, a key's turn) is given back here, exactly once. Which target comes next is decided in `plan`.
"""

import asyncio
import logging
import random
from collections.abc import Mapping

from proxy.core import clock, tasks
from proxy.core.exchange import AttemptRecord, Exchange
from proxy.core.peek import model_edit, usage_edit
from proxy.core.places import Edit, edited
from proxy.core.traceparent import header_lines, new_span_id
from proxy.providers.breaker import Judgement
from proxy.providers.last_error import LastError
from proxy.providers.latency import PeakEwma
from proxy.providers.provider import Provider
from proxy.providers.target import Target
from proxy.relay import steps_told, transitions, usage_option
from proxy.relay.attempt import Attempt
from proxy.relay.blame import blames_the_request, is_of_the_provider, judgement
from proxy.relay.client import Client
from proxy.relay.clocks import Clocks
from proxy.relay.entrant import Entrant
from proxy.relay.lesson import learn
from proxy.relay.plan import Plan
from proxy.relay.question import Question, Upload
from proxy.relay.resume import Recorder, Splice
from proxy.relay.step import Try
from proxy.relay.verdict import Cut, Failed, Verdict
from proxy.upstream.endpoint import Endpoint

_log = logging.getLogger("hapax")


class Attempts:
    """The attempts of one exchange."""

    def __init__(
        self,
        exchange: Exchange,
        question: Question,
        client: Client,
        plan: Plan[Target],
        endpoints: Mapping[Provider, Endpoint],
        clocks: Mapping[Provider, Clocks],
        rng: random.Random,
    ) -> None:
        # Asked for once: each time it is, the system is asked for the process's id.
        self._loop = asyncio.get_running_loop()
        self._exchange = exchange
        self._question = question
        self._client = client
        self._plan = plan
        self._endpoints = endpoints
        self._clocks = clocks
        self._rng = rng
        # The mutable state: which attempts run, which has won, and what the relay waits for.
        self._running: dict[Attempt, Entrant] = {}
        self._continuing = False
        self._winner: Attempt | None = None
        self._outcome: tuple[Target, Verdict] | None = None
        """What one of two said while the other was still being waited for, if that blames the request."""
        self.key: int | None = None
        """The key every attempt goes with; None: whichever's turn it is."""
        self.first_key = False
        """Every attempt goes with the first of its provider's keys that may be used, whichever's turn it is."""
        self.searching = False
        """The call looks for an object of which it is not known whose it is."""
        self.recorder: Recorder | None = None
        """Remembers what the client is told, where that may be continued elsewhere."""
        self._ended: asyncio.Future[tuple[Target, Verdict]] = self._loop.create_future()
        self._pausing: asyncio.Future[None] | None = None

    async def run(self, step: Try[Target]) -> tuple[Target, Verdict]:
        """Take *step*; returns when the client has its answer, or no target that was asked can give one."""
        if self._ended.done():
            self._ended = self._loop.create_future()
        self._outcome = None
        self._start(step)
        return await self._ended

    def continue_as(self, question: Question, client: Splice) -> None:
        """From now on ask *question*, and answer towards *client*: what is left of the answer."""
        self._question = question
        self._client = client
        client.spent = self._exchange.tokens
        # Whether an answer continues or begins anew depends on its target: no other may be asked the same.
        self._continuing = True

    async def pause(self, delay: float) -> bool:
        """Let *delay* seconds pass with no attempt running; False when the gateway stops meanwhile."""
        self._pausing = self._loop.create_future()
        stopped, _ = await asyncio.wait((self._pausing,), timeout=delay)
        return not stopped

    def cancel(self) -> None:
        """The client is gone: no answer is wanted."""
        for attempt in list(self._running):
            self._withdraw(attempt)

    def cut(self, code: str, reason: str) -> None:
        """The gateway stops: end what has begun as broken off, and fail what has not."""
        for attempt in list(self._running):
            attempt.broke(code, reason)
        if self._pausing is not None and not self._pausing.done():
            self._pausing.set_result(None)

    def _start(self, step: Try[Target], again: bool = False) -> None:
        """Take *step*; *again*: this time without the usage option."""
        now = clock.now()
        target, question, exchange = step.target, self._question, self._exchange
        provider = target.provider
        permit, key = target.begin(now, target.keys.first(now) if self.first_key else self.key)
        record = AttemptRecord(provider.name, target.model or "", now)
        record.account = provider.accounts[key]
        record.began_beside = bool(self._running)
        exchange.attempts.append(record)
        clocks = self._clocks[provider].within(self._plan.deadline - now)
        asks_usage = provider.asks_usage and not again and usage_option.is_missing(question)
        endpoint = self._endpoints[provider]
        attempt = Attempt(
            self,
            exchange,
            record,
            question,
            self._client,
            clocks,
            self._loop,
            endpoint.source,
            asks_usage,
            self.recorder,
        )
        entrant = self._running[attempt] = Entrant(step, permit, key, again, clocks.total)
        if _log.isEnabledFor(logging.DEBUG):
            steps_told.begun(exchange, record, target, again)
        headers, body = question.headers, question.body
        if exchange.span_id:
            record.span_id = new_span_id()
            headers += header_lines(exchange.trace_id, record.span_id, exchange.trace_flags, exchange.trace_state)
        if isinstance(body, Upload):
            self._start_upload(attempt, entrant, endpoint, headers, body)
            return
        if body is not None:
            edits: list[Edit] = []
            if target.model is not None and target.model != question.model:
                edits.append(model_edit(body, target.model, question.places))
            if asks_usage:
                edits.append(usage_edit(body, question.value, question.places))
            if edits:
                body = edited(body, edits)
        attempt.call = endpoint.send(
            question.method, question.path, headers, exchange.id, body, key, attempt, question.repeatable
        )

    def _start_upload(
        self, attempt: Attempt, entrant: Entrant, endpoint: Endpoint, headers: bytes, body: Upload
    ) -> None:
        question, model = self._question, entrant.step.target.model
        name = body.model_for(model, question.model)
        attempt.call = call = endpoint.send_streamed(
            question.method, question.path, headers, self._exchange.id, body.length_with(name), entrant.key, attempt
        )
        entrant.pump = tasks.start(body.pump(name, call), "upload")
        entrant.pump.add_done_callback(self._pumped)

    def _pumped(self, pump: asyncio.Task[None]) -> None:
        if pump.cancelled() or (error := pump.exception()) is None or isinstance(error, ConnectionError):
            # A provider that stopped listening has an answer, or a loss, of its own to tell.
            return
        self.cancel()
        if not self._ended.done():
            self._ended.set_exception(error)

    # What attempts tell their owner.

    def claim(self, attempt: Attempt) -> bool:
        if self._winner is not None and self._winner is not attempt:
            return False
        self._winner = attempt
        for other in list(self._running):
            if other is not attempt:
                self._withdraw(other)
        entrant = self._running[attempt]
        now = clock.now()
        self._exchange.answered_model = entrant.step.model or ""
        target = entrant.step.target
        target.answered()
        if entrant.permit is not None and entrant.permit.probe:
            # How slow it was while it was out is no measure of what it is now.
            target.latency = PeakEwma()
        target.latency.observe(now - attempt.record.started, now)
        if entrant.again and target.provider.unlearn_usage():
            _log.info(
                "provider %s: refuses stream_options, is not asked for usage any more",
                target.provider.name,
                extra={"fields": {"event": "usage_unlearned", "stage": "attempt", "provider": target.provider.name}},
            )
        if entrant.permit is not None and entrant.permit.probe:
            # A long stream must not keep the breaker half-open: it has shown what was asked.
            target.breaker.record(entrant.permit, now, Judgement.SUCCESS, self._rng)
            entrant.permit = target.breaker.allow(now)
            transitions.tell(target)
        return True

    def ended(self, attempt: Attempt, verdict: Verdict) -> None:
        entrant = self._running.pop(attempt)
        target, now = entrant.step.target, clock.now()
        if entrant.pump is not None:
            entrant.pump.cancel()
        # Neither says anything of the target: the time was another's, the question partly our own.
        attempt.record.out_of_time = self._ran_out_of_time(entrant, attempt, verdict, now)
        excused = attempt.option_refused or attempt.record.out_of_time
        blamed = Judgement.EXCLUDED if excused else judgement(verdict, self.searching)
        target.end(entrant.permit, blamed, now, self._rng)
        transitions.tell(target)
        if not excused and is_of_the_provider(verdict):
            target.provider.last_error = LastError.of(attempt.record, clock.iso(clock.wall()))
        if _log.isEnabledFor(logging.DEBUG):
            steps_told.ended(self._exchange, attempt.record, target)
        if isinstance(verdict, Failed) and not excused:
            learn(target, entrant.key, verdict, now, self._plan.rules.rests)
        if attempt.option_refused:
            # Perhaps it was only what we added: the client's own question decides, and this one never happened.
            self._exchange.attempts.remove(attempt.record)
            self._start(entrant.step, again=True)
            return
        if self._winner is attempt:
            self._winner = None
        elif self._running:
            # Another attempt is still being waited for.
            if blames_the_request(verdict):
                self._outcome = target, verdict
            elif isinstance(verdict, Failed):
                self._plan.note(target, verdict)
            return
        if self._outcome is not None and isinstance(verdict, Failed) and verdict.code != "shutting_down":
            # An attempt that found the request itself at fault has said more than this one.
            self._plan.note(target, verdict)
            target, verdict = self._outcome
        if not self._ended.done():
            self._ended.set_result((target, verdict))

    def impatient(self, attempt: Attempt) -> None:
        """*attempt* has been silent for long: ask another target beside it, if there is one."""
        if len(self._running) > 1 or self._winner is not None or not self._question.repeatable:
            return
        if self._outcome is not None or self._continuing or isinstance(self._question.body, Upload):
            return
        step = self._plan.beside(clock.now())
        if step is not None:
            self._exchange.hedged = True
            self._start(step)

    def has_alternative(self) -> bool:
        """Whether the call would not be lost if one more attempt failed now."""
        return len(self._running) > 1 or self._plan.has_alternative(clock.now())

    def _withdraw(self, attempt: Attempt) -> None:
        entrant = self._running.pop(attempt)
        attempt.cancel()
        if entrant.pump is not None:
            entrant.pump.cancel()
        entrant.step.target.end(entrant.permit, Judgement.EXCLUDED, clock.now(), self._rng)
        transitions.tell(entrant.step.target)
        if _log.isEnabledFor(logging.DEBUG):
            steps_told.ended(self._exchange, attempt.record, entrant.step.target)

    def _ran_out_of_time(self, entrant: Entrant, attempt: Attempt, verdict: Verdict, now: float) -> bool:
        """
        The call's own time ran out, set by its client or its path, before the target had what it is given to begin:
        that says nothing of the target, and must not take it from other calls.
        """
        if not isinstance(verdict, Failed | Cut) or verdict.code != "upstream_timeout":
            return False
        full = self._clocks[entrant.step.target.provider]
        return entrant.total <= now - attempt.record.started < min(full.first_token, full.total)
