"""
The core: one exchange from its targets to its end.

What comes next is decided in `plan` and done in `attempts`; what an answer amounts to is judged in `event_stream`,
`whole_answer` and `no_answer`. Here they meet, and the client learns the end of it.
"""

import logging
import random
from collections.abc import Mapping, Sequence
from functools import partial

from proxy.core import clock
from proxy.core.errors import ProxyError
from proxy.core.exchange import Exchange, Outcome
from proxy.providers.budget import RetryBudget
from proxy.providers.choice import Choice
from proxy.providers.pool import Pool
from proxy.providers.provider import Provider
from proxy.providers.target import Target
from proxy.relay import steps_told
from proxy.relay.attempts import Attempts
from proxy.relay.candidates import Account, accounts_for
from proxy.relay.client import Client
from proxy.relay.clocks import Clocks
from proxy.relay.cut import end_cut
from proxy.relay.kept import Kept
from proxy.relay.owners import Pin
from proxy.relay.plan import OF_A_KEY, Plan
from proxy.relay.question import Question, Upload
from proxy.relay.resume import MAX_RESUMES, MISMATCH, Recorder, Splice, continuing, recorder_for
from proxy.relay.step import Rules, Try
from proxy.relay.summary import UNREACHED, answer_headers, back_in, none_asked, refusal_in, sum_up
from proxy.relay.verdict import Cut, Failed, Reach, Refused, Verdict, Whole
from proxy.relay.watch import STREAM_OVER
from proxy.upstream.endpoint import Endpoint

_log = logging.getLogger("hapax")

HEDGE_SHARE = 0.05
"""Hedges as a share of all calls (The Tail at Scale: a few percent buy most of the tail)."""


class Relay:
    """Carries exchanges to the providers of a pool."""

    def __init__(
        self,
        pool: Pool,
        endpoints: Mapping[Provider, Endpoint],
        clocks: Mapping[Provider, Clocks],
        rules: Rules,
        retry_budget: RetryBudget,
        rng: random.Random,
    ) -> None:
        """*endpoints* and *clocks*: those of every provider that may be asked."""
        self._pool = pool
        self._endpoints = endpoints
        self._clocks = clocks
        self._rules = rules
        self._retry_budget = retry_budget
        self._hedge_budget = RetryBudget(HEDGE_SHARE, reserve=5.0, trickle=0.2)
        self._rng = rng
        self._running: dict[Attempts, None] = {}

    async def relay(self, exchange: Exchange, question: Question, client: Client) -> None:
        """
        Answer *question* towards *client*; on return the client has a whole answer, a refusal by the provider, or an
        answer that was visibly cut. Raises `ProxyError` when there was none, with the client untouched.
        """
        now = clock.now()
        pin = question.pin
        if pin is not None:
            accounts = accounts_for(self._pool, question, pin)
            if len(accounts) > 1 or pin.provider:
                await self._keep(exchange, question, pin, client, accounts)
                return
        targets = self._pool.targets(question.model)
        if not targets:
            raise ProxyError("model_not_found" if question.model else "upstream_unavailable", param="model")
        self._retry_budget.note_request(now)
        self._hedge_budget.note_request(now)
        plan = self._plan(exchange, question, self._clocks[targets[0].provider].total)
        attempts = Attempts(exchange, question, client, plan, self._endpoints, self._clocks, self._rng)
        attempts.first_key = question.lists
        recorder = recorder_for(question) if self._pool.entry(question.model).resume else None
        attempts.recorder = recorder
        self._running[attempts] = None
        try:
            step = plan.first(now)
            while step is not None:
                if step.delay:
                    if not await attempts.pause(step.delay):
                        raise ProxyError("shutting_down")
                    step = plan.still(step, clock.now())
                    continue
                target, verdict = await attempts.run(step)
                if isinstance(verdict, Cut) and recorder is not None:
                    verdict = await self._resume(exchange, question, client, plan, attempts, recorder, target, verdict)
                if not isinstance(verdict, Failed):
                    self._finish(exchange, question, client, verdict)
                    return
                step = plan.after(target, verdict, clock.now())
        except BaseException:
            attempts.cancel()
            raise
        finally:
            del self._running[attempts]
        self._give_up(exchange, question, client, plan)

    async def _keep(
        self, exchange: Exchange, question: Question, pin: Pin, client: Client, accounts: Sequence[Account]
    ) -> None:
        """Put the call to *accounts* and no other."""
        now, total = clock.now(), self._clocks[accounts[0].target.provider].total
        self._retry_budget.note_request(now)
        self._hedge_budget.note_request(now)
        kept = Kept(
            exchange,
            question,
            client,
            self._pool,
            self._endpoints,
            self._clocks,
            self._rules,
            (self._retry_budget, self._hedge_budget),
            self._running,
            lambda failed: _may_repeat(failed, question),
            exchange.started + exchange.queued + question.allowed(total, exchange.queued),
            self._rng,
        )
        try:
            verdict = await kept.ask(accounts, pin)
        except ProxyError as error:
            about = [(name.decode(), value.decode("latin-1")) for name, value in answer_headers(exchange)]
            error.headers = (*error.headers, *about)
            raise
        self._finish(exchange, question, client, verdict)

    async def _resume(
        self,
        exchange: Exchange,
        question: Question,
        client: Client,
        plan: Plan[Target],
        attempts: Attempts,
        recorder: Recorder,
        target: Target,
        cut: Cut,
    ) -> Verdict:
        """Try to continue the answer that was cut, as *recorder* has it; returns how it ended after all."""
        told = recorder.transcript()
        if told is None or cut.split or cut.code == "shutting_down" or cut.reason == STREAM_OVER:
            return cut
        attempts.recorder = Recorder(recorder.asked)
        # What was cut had its time; what continues it gets its own.
        plan.go_on(clock.now() + self._clocks[target.provider].total)
        step = plan.after(target, Failed(cut.code, Reach.UNANSWERED, cut.reason), clock.now())
        resumes = 0
        while step is not None and resumes < MAX_RESUMES:
            if step.delay:
                if not await attempts.pause(step.delay):
                    return cut
                step = plan.still(step, clock.now())
                continue
            prefill = step.target.prefills
            splice = Splice(client, told, step.target.provider.name, restarted=not prefill)
            splice.on_mismatch = partial(attempts.cut, cut.code, MISMATCH)
            attempts.continue_as(continuing(question, recorder.asked, told) if prefill else question, splice)
            target, verdict = await attempts.run(step)
            now = clock.now()
            if isinstance(verdict, Whole):
                exchange.resumed += 1
                return verdict
            if isinstance(verdict, Refused):
                # It does not take what it is asked to continue: unlearned, never shown, and asked to begin anew.
                if not prefill:
                    return cut
                step.target.prefills = False
                step = Try(step.target, step.model)
                continue
            if isinstance(verdict, Cut):
                if splice.mismatched:
                    return cut
                if verdict.reason == STREAM_OVER:
                    return verdict
                resumes += 1
                exchange.resumed += 1
                verdict = Failed(verdict.code, Reach.UNANSWERED, verdict.reason)
            step = plan.after(target, verdict, now)
        return cut

    def obey(self, rules: Rules, retry_budget: RetryBudget) -> None:
        """Other rules for the calls that come from now on."""
        self._rules, self._retry_budget = rules, retry_budget

    def refused(self) -> dict[str, int]:
        """Attempts beyond a call's first that were not made because their budget was spent, by kind."""
        return {"retry": self._retry_budget.refused_total, "hedge": self._hedge_budget.refused_total}

    def cut_all(self, code: str, reason: str) -> None:
        """End every exchange under way: those that have begun with an error event, the others with an error."""
        for attempts in list(self._running):
            attempts.cut(code, reason)

    def _plan(self, exchange: Exchange, question: Question, total: float) -> Plan[Target]:
        entry = self._pool.entry(question.model)

        fallbacks = [name for name in entry.fallbacks if question.may_use(name)]
        rules = self._rules
        told: list[Choice] = []

        def choose(model: str | None, now: float) -> Choice:
            # A fallback goes on to those named after it.
            after = fallbacks[fallbacks.index(model) + 1 :] if model in fallbacks else fallbacks
            choice = self._pool.choose(model, now, not exchange.attempts, after, wait_untold=rules.retries > 0)
            for target, reason in choice.skipped:
                exchange.skipped[str(target)] = reason
            if _log.isEnabledFor(logging.DEBUG):
                steps_told.planned(exchange, model, choice, told[-1] if told else None)
                told.append(choice)
            return choice

        def may_repeat(failed: Failed) -> bool:
            return _may_repeat(failed, question)

        return Plan(
            question.model,
            fallbacks,
            [name for name in entry.context_fallbacks if question.may_use(name)],
            choose,
            rules,
            may_repeat,
            exchange.started + exchange.queued + question.allowed(total, exchange.queued),
            self._retry_budget,
            self._hedge_budget,
            self._rng,
        )

    def _finish(self, exchange: Exchange, question: Question, client: Client, verdict: Verdict) -> None:
        if isinstance(verdict, Cut):
            exchange.outcome = Outcome.CUT
            exchange.error_code = verdict.code
            end_cut(client, verdict, question.operation.dialect, exchange.id)
        elif isinstance(verdict, Refused):
            exchange.outcome = Outcome.REFUSED
            exchange.error_code = verdict.code
            exchange.bytes_out += len(verdict.body)
            client.send(verdict.status, [*answer_headers(exchange), *verdict.headers], verdict.body)

    def _give_up(self, exchange: Exchange, question: Question, client: Client, plan: Plan[Target]) -> None:
        failures, now = plan.failures, clock.now()
        refusal = refusal_in(failures)
        if refusal is not None:
            self._finish(exchange, question, client, refusal)
            return
        if not failures:
            failures = [none_asked(self._pool, question.model, now)]
        elif plan.despite and all(failed.code in UNREACHED for failed in failures):
            failures = [Failed("upstream_unavailable", Reach.NEVER_SENT, "every target is down")]
        # A client that repeats by itself what may have been done already would have it done twice.
        repeatable = all(_may_repeat(failed, question) for failed in plan.failures)
        names = [name for name in self._pool.entry(question.model).fallbacks if question.may_use(name)]
        raise sum_up(failures, exchange, back_in(self._pool, (question.model, *names), now), repeatable)


def _may_repeat(failed: Failed, question: Question) -> bool:
    """
    Whether another attempt is allowed after this failure. What changes something at the provider is asked again only
    where it cannot have begun: the request was never sent, or it was turned away at the door (RFC 6585 section
    4 for 429, RFC 9110 section 15.5 for 401 to 404). A 5xx is no such word, a 503 with its `Retry-After` neither: any
    proxy on the way says it of a server that may have been at work (RFC 9110 section 9.2.2).
    """
    if failed.code == "shutting_down":
        return False
    if isinstance(question.body, Upload) and question.body.begun:
        return False
    if question.repeatable or failed.reach is Reach.NEVER_SENT or failed.code in OF_A_KEY:
        return True
    return failed.reach is Reach.ELSEWHERE or failed.reach is Reach.TOO_LONG
