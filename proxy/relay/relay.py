"""
The core: one exchange from its targets to its end.

What comes next is decided in `course` and done in `race`; what an answer amounts to is judged in `event_stream`,
`whole_answer` and `no_answer`. Here they meet, and the client learns the end of it.
"""

import math
import random
from collections.abc import Mapping
from functools import partial

from proxy import clock
from proxy.errors import ProxyError
from proxy.exchange import Exchange, Outcome
from proxy.headers import Header
from proxy.providers.budget import RetryBudget
from proxy.providers.pool import Choice, Pool
from proxy.providers.provider import Provider
from proxy.providers.target import Target
from proxy.relay.client import Client
from proxy.relay.clocks import Clocks
from proxy.relay.course import Course, Rules, Try
from proxy.relay.cut import end_cut
from proxy.relay.question import Question, Upload
from proxy.relay.race import Race
from proxy.relay.resume import MAX_RESUMES, MISMATCH, Recorder, Splice, continuing, is_resumable
from proxy.relay.verdict import Cut, Failed, Reach, Refused, Verdict, Whole
from proxy.upstream.endpoint import Endpoint

LONGEST_WAIT = 60.0
"""Seconds; a client told to wait longer is told not to try again by itself (reliability.md R13)."""
HEDGE_SHARE = 0.05
"""Hedges as a share of all calls (The Tail at Scale: a few percent buy most of the tail)."""
MARGIN = 0.05
"""Part of the time a client says it will wait that is kept for telling it the outcome; at most a second."""


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
        self._races: dict[Race, None] = {}

    async def relay(self, exchange: Exchange, question: Question, client: Client) -> None:
        """
        Answer *question* towards *client*; on return the client has a whole answer, a refusal by the provider, or an
        answer that was visibly cut. Raises `ProxyError` when there was none, with the client untouched.
        """
        now = clock.now()
        targets = self._pool.targets(question.model)
        if not targets:
            raise ProxyError("model_not_found" if question.model else "upstream_unavailable", param="model")
        self._retry_budget.note_request(now)
        self._hedge_budget.note_request(now)
        course = self._course(exchange, question, self._clocks[targets[0].provider].total)
        race = Race(exchange, question, client, course, self._endpoints, self._clocks, self._rng)
        if self._pool.entry(question.model).resume and is_resumable(question):
            race.recorder = Recorder()
        self._races[race] = None
        try:
            step = course.first(now)
            while step is not None:
                if step.delay:
                    if not await race.pause(step.delay):
                        raise ProxyError("shutting_down")
                    step = course.still(step, clock.now())
                    continue
                target, verdict = await race.run(step)
                if isinstance(verdict, Cut) and race.recorder is not None:
                    verdict = await self._resume(exchange, question, client, course, race, target, verdict)
                if not isinstance(verdict, Failed):
                    self._finish(exchange, question, client, verdict)
                    return
                step = course.after(target, verdict, clock.now())
        except BaseException:
            race.cancel()
            raise
        finally:
            del self._races[race]
        self._give_up(exchange, question, client, course)

    async def _resume(
        self,
        exchange: Exchange,
        question: Question,
        client: Client,
        course: Course[Target],
        race: Race,
        target: Target,
        cut: Cut,
    ) -> Verdict:
        """Try to continue the answer that was cut; returns how it ended after all."""
        assert race.recorder is not None
        told = race.recorder.transcript()
        if told is None or cut.split or cut.code == "shutting_down":
            return cut
        race.recorder = Recorder()
        # What was cut had its time; what continues it gets its own.
        course.go_on(clock.now() + self._clocks[target.provider].total)
        step = course.after(target, Failed(cut.code, Reach.UNANSWERED, cut.reason), clock.now())
        resumes = 0
        while step is not None and resumes < MAX_RESUMES:
            if step.delay:
                if not await race.pause(step.delay):
                    return cut
                step = course.still(step, clock.now())
                continue
            prefill = step.target.prefills
            splice = Splice(client, told, step.target.provider.name, restarted=not prefill)
            splice.on_mismatch = partial(race.cut, cut.code, MISMATCH)
            race.continue_as(continuing(question, told) if prefill else question, splice)
            target, verdict = await race.run(step)
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
                resumes += 1
                exchange.resumed += 1
                verdict = Failed(verdict.code, Reach.UNANSWERED, verdict.reason)
            step = course.after(target, verdict, now)
        return cut

    def obey(self, rules: Rules, retry_budget: RetryBudget) -> None:
        """Other rules for the calls that come from now on."""
        self._rules, self._retry_budget = rules, retry_budget

    def cut_all(self, code: str, reason: str) -> None:
        """End every exchange under way: those that have begun with an error event, the others with an error."""
        for race in list(self._races):
            race.cut(code, reason)

    def _course(self, exchange: Exchange, question: Question, total: float) -> Course[Target]:
        entry = self._pool.entry(question.model)
        if question.patience is not None:
            # The client's clock runs while its call waits for a place; the provider's does not.
            total = min(total, question.patience - min(1.0, question.patience * MARGIN) - exchange.queued)

        if question.timeout is not None:
            total = min(total, question.timeout - exchange.queued)

        def choose(model: str | None, now: float) -> Choice:
            choice = self._pool.choose(model, now, new_call=not exchange.attempts)
            for target, reason in choice.skipped:
                exchange.skipped[str(target)] = reason
            return choice

        def may_repeat(failed: Failed) -> bool:
            return _may_repeat(failed, question)

        return Course(
            question.model,
            [name for name in entry.fallbacks if question.may_use(name)],
            [name for name in entry.context_fallbacks if question.may_use(name)],
            choose,
            self._rules,
            may_repeat,
            exchange.started + exchange.queued + total,
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

    def _give_up(self, exchange: Exchange, question: Question, client: Client, course: Course[Target]) -> None:
        refusal = _refusal_among(course.failures)
        if refusal is not None:
            self._finish(exchange, question, client, refusal)
            return
        failures = course.failures
        if not failures:
            failures = [self._nobody(question, clock.now())]
        raise _sum_up(failures, exchange)

    def _nobody(self, question: Question, now: float) -> Failed:
        """Why no target could even be asked."""
        skipped = self._pool.choose(question.model, now).skipped
        returns = [target.returns_at(now) for target, reason in skipped if reason == "resting"]
        if returns:
            return Failed("rate_limit_exceeded", Reach.REFUSED, "every target rests", min(returns) - now)
        if skipped and all(reason == "parked" for _, reason in skipped):
            returns = [target.returns_at(now) for target, _ in skipped]
            return Failed("upstream_unavailable", Reach.REFUSED, "every key is parked", min(returns) - now)
        return Failed("upstream_unavailable", Reach.REFUSED, "no target is available", 1.0)


_PASSING = frozenset(("rate_limit_exceeded", "upstream_unavailable", "overloaded"))
"""What may be over after a wait."""


def answer_headers(exchange: Exchange) -> list[Header]:
    """Which provider answers, and after how many attempts."""
    if not exchange.attempts:
        return [(b"X-Hapax-Attempts", b"0")]
    return [
        (b"X-Hapax-Provider", exchange.provider.encode("latin-1", "replace")),
        (b"X-Hapax-Attempts", b"%d" % len(exchange.attempts)),
    ]


def _may_repeat(failed: Failed, question: Question) -> bool:
    """Whether another attempt is allowed after this failure."""
    if failed.code == "shutting_down":
        return False
    if isinstance(question.body, Upload) and question.body.begun:
        return False
    if failed.reach is Reach.UNANSWERED:
        return question.repeatable
    return True


def _refusal_among(failures: list[Failed]) -> Refused | None:
    """
    The refusal that tells most: that the request is too long for what was asked, else why the targets do not serve it,
    where every one of them said so. A target that failed otherwise might have served it.
    """
    too_long = next((failed.refusal for failed in failures if failed.reach is Reach.TOO_LONG), None)
    if too_long is not None or not all(failed.reach is Reach.ELSEWHERE for failed in failures):
        return too_long
    # That a model is missing says less than why it may not be used.
    refusals = [failed.refusal for failed in failures if failed.code != "model_not_found"]
    return next((refusal for refusal in refusals if refusal is not None), failures[0].refusal if failures else None)


def _sum_up(failures: list[Failed], exchange: Exchange) -> ProxyError:
    """The one error for the client: the first that is not a rate limit, or the rate limit if there is nothing else."""
    # A target that does not serve the call says nothing of whether those would that failed.
    failures = [failed for failed in failures if failed.reach is not Reach.ELSEWHERE] or failures
    chosen = next((failed for failed in failures if failed.reach is not Reach.REFUSED), failures[0])
    told = next((failed for failed in reversed(failures) if failed.code == chosen.code and failed.words), chosen)
    headers = [(name.decode(), value.decode("latin-1")) for name, value in answer_headers(exchange)]
    if any(failed.code == "shutting_down" for failed in failures):
        # Another instance will answer: this is the one failure a client does well to repeat at once.
        return ProxyError("shutting_down", headers=tuple(headers))
    waits = [failed.retry_after for failed in failures if failed.retry_after is not None]
    wait = min(waits) if waits and chosen.code in _PASSING else None
    if wait is not None:
        headers.append(("Retry-After", str(max(1, math.ceil(wait)))))
        headers.append(("retry-after-ms", str(max(1, math.ceil(wait * 1000)))))
    if wait is None or wait > LONGEST_WAIT:
        # Our own tries are spent: a client that repeats them at once only multiplies the load.
        headers.append(("x-should-retry", "false"))
    # What a provider cannot do at all is told as such; every other fault of its own is a bad gateway to the client.
    status = 501 if told.status == 501 else None
    return ProxyError(chosen.code, told.words or None, status=status, headers=tuple(headers))
