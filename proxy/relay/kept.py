"""
A call that is kept to the accounts that may hold what it names: to one that is known, or to each in turn.

An account is a provider's key. Where the one that holds the object cannot be asked, the client is told so, and reads no
other account's word on it. Which account that is, `owners` knows.
"""

import random
from collections.abc import Callable, Mapping, Sequence

from proxy.core import clock
from proxy.core.errors import ProxyError
from proxy.core.exchange import Exchange
from proxy.providers.budget import RetryBudget
from proxy.providers.choice import Choice
from proxy.providers.pool import Pool
from proxy.providers.provider import Provider
from proxy.providers.target import Target
from proxy.relay.absence import (
    AGAIN,
    LONGEST_WAIT,
    again,
    condition_of,
    condition_while,
    has_no_endpoint,
    lives_at,
    says_no_such,
    speaks_of,
    unavailable,
)
from proxy.relay.attempts import Attempts
from proxy.relay.candidates import Account
from proxy.relay.client import Client
from proxy.relay.clocks import Clocks
from proxy.relay.owners import Pin
from proxy.relay.plan import OF_A_KEY, Plan
from proxy.relay.question import Question, Upload
from proxy.relay.step import Rules
from proxy.relay.verdict import Failed, Refused, Verdict
from proxy.upstream.endpoint import Endpoint

MOST_HELD = 16 * 1024 * 1024
"""Bytes of an upload that are held so that a second account can be asked, where it is not known which is the one."""

_TOLD_AS_THEY_ARE = frozenset(("shutting_down", "overloaded", "rate_limit_exceeded"))
"""Failures that clients know what to do about, and that are over soon."""
_TOO_LARGE = "It is not known which provider holds this object, and an upload of this size is put to one only."
_NOT_AGAIN = (("x-should-retry", "false"),)


class Unasked:
    """An account gave no answer."""

    def __init__(self, provider: str, code: str, condition: str, wait: float, unsafe: bool = False) -> None:
        self.provider = provider
        self.code = code
        """Of the last failure, or of what kept the account from being asked."""
        self.condition = condition
        """Of the provider, as the end of a sentence."""
        self.wait = wait
        """Seconds after which it may be asked again, as far as is known."""
        self.unsafe = unsafe
        """It may have done what it was asked for."""


class Kept:
    """One call on its way to the accounts it is kept to."""

    def __init__(
        self,
        exchange: Exchange,
        question: Question,
        client: Client,
        pool: Pool,
        endpoints: Mapping[Provider, Endpoint],
        clocks: Mapping[Provider, Clocks],
        rules: Rules,
        budgets: tuple[RetryBudget, RetryBudget],
        running: dict[Attempts, None],
        may_repeat: Callable[[Failed], bool],
        deadline: float,
        rng: random.Random,
    ) -> None:
        """*budgets*: of retries and of hedges. *running*: those under way, for who ends them all."""
        self._exchange = exchange
        self._question = question
        self._client = client
        self._pool = pool
        self._endpoints = endpoints
        self._clocks = clocks
        self._rules = rules
        self._budgets = budgets
        self._running = running
        self._may_repeat = may_repeat
        self._deadline = deadline
        self._rng = rng

    async def ask(self, accounts: Sequence[Account], pin: Pin) -> Verdict:
        """
        How the call ended; a refusal is not told to the client yet. *accounts*: the one that holds the object, or those
        that may. Raises `ProxyError` when there was no answer.
        """
        exchange, question = self._exchange, self._question
        first = accounts[0]
        if len(accounts) == 1 and first.target.provider.accounts[first.key] == pin.account:
            exchange.kept_to = first.target.provider.name
            answer = await self._ask_one(first, alone=True)
            if isinstance(answer, Unasked):
                raise self._told([answer], lives_at(answer.provider, answer.condition))
            return answer
        await self._hold()
        absent: Refused | None = None
        refused: Refused | None = None
        quoted: Refused | None = None
        unasked: list[Unasked] = []
        for account in accounts:
            answer = await self._ask_one(account, alone=False)
            if isinstance(answer, Unasked):
                if answer.unsafe:
                    raise ProxyError(answer.code, headers=() if answer.code == "shutting_down" else _NOT_AGAIN)
                unasked.append(answer)
            elif isinstance(answer, Failed):
                # There is nothing at this path, and nothing has been done.
                pass
            elif not isinstance(answer, Refused):
                exchange.kept_to = account.target.provider.name
                return answer
            elif says_no_such(answer):
                absent = absent or answer
            elif speaks_of(answer, pin.ids):
                quoted = quoted or answer
            elif question.method == "POST" and answer.status not in (401, 403, 405):
                # It has found nothing wrong with what the call names.
                return answer
            else:
                refused = refused or answer
            if account is not accounts[-1] and isinstance(question.body, Upload) and question.body.begun:
                raise unavailable(_TOO_LARGE, LONGEST_WAIT, unsafe=True)
        if unasked:
            names = {each.provider: each.condition for each in unasked}
            told = "; ".join(f"'{name}' {condition}" for name, condition in names.items())
            raise self._told(
                unasked, f"No provider that could be asked holds this object, and some could not be: {told}."
            )
        if pin.provider:
            # It was made with a key that is not among the provider's any more, and none of the others opens it.
            raise unavailable(lives_at(pin.provider, "is no longer configured with its key"), LONGEST_WAIT)
        found = quoted or absent or refused
        if found is None:
            raise ProxyError("object_not_found", param="id")
        return found

    async def _ask_one(self, account: Account, alone: bool) -> Verdict | Unasked:
        """
        What *account* says; with others to ask besides, it is asked once and not waited for, and a failure says that
        it has no such endpoint.
        """
        rules, target, question = self._rules, account.target, self._question
        if not alone:
            rules = Rules(0, rules.initial_delay, rules.max_delay, rules.multiplier)
        plan: Plan[Target] = Plan(
            question.model,
            (),
            (),
            lambda model, now: self._choice(account, now, waits=alone),
            rules,
            self._may_repeat,
            self._deadline,
            self._budgets[0],
            self._budgets[1],
            self._rng,
        )
        attempts = Attempts(self._exchange, question, self._client, plan, self._endpoints, self._clocks, self._rng)
        attempts.key = account.key
        attempts.searching = not alone
        self._running[attempts] = None
        try:
            step = plan.first(clock.now())
            while step is not None:
                if step.delay:
                    if not await attempts.pause(step.delay):
                        raise ProxyError("shutting_down")
                    step = plan.still(step, clock.now())
                    continue
                _, verdict = await attempts.run(step)
                if not isinstance(verdict, Failed):
                    return verdict
                if (word := _final_word(verdict)) is not None:
                    return word
                if not alone and has_no_endpoint(verdict):
                    return verdict
                step = plan.after(target, verdict, clock.now())
        except BaseException:
            attempts.cancel()
            raise
        finally:
            del self._running[attempts]
        name, now, failures = target.provider.name, clock.now(), plan.failures
        wait = max(target.keys.free_at(account.key), target.back_at(now)) - now
        if failures:
            failed = failures[-1]
            return Unasked(name, failed.code, condition_of(failed.code), wait or AGAIN, not self._may_repeat(failed))
        why = self._why_not(account, now)
        code = "rate_limit_exceeded" if why == "resting" else "upstream_unavailable"
        return Unasked(name, code, condition_while(why), wait or AGAIN)

    def _choice(self, account: Account, now: float, waits: bool) -> Choice:
        target, why = account.target, self._why_not(account, now)
        if not why:
            return Choice((target,))
        self._exchange.skipped[str(target)] = why
        until = target.keys.free_at(account.key)
        resting = ((target, until),) if waits and why == "resting" else ()
        return Choice((), resting, ((target, why),))

    def _why_not(self, account: Account, now: float) -> str:
        """Why *account* cannot be asked now, in a word; empty when it can."""
        target = account.target
        if target.provider.drained:
            return "drained"
        if target.keys.free_at(account.key) > now:
            return "parked" if target.provider.parked_until[account.key] > now else "resting"
        if target.full:
            return "full"
        if target.healthy(now) or target in self._pool.choose(account.model, now, new_call=False).available:
            # The pool does not believe its verdicts while most of them are bad.
            return ""
        return target.blocked_by(now)

    async def _hold(self) -> None:
        """Read an upload to its end, within bounds, so that more than one account can be sent it."""
        body = self._question.body
        if not isinstance(body, Upload) or body.kept is not None or (body.length or 0) > MOST_HELD:
            return
        parts, size, ended = [body.start], len(body.start), False
        while size <= MOST_HELD and not ended:
            part = await body.read()
            ended = not part
            parts.append(part)
            size += len(part)
        body.start = b"".join(parts)
        if ended:
            body.read = _nothing

    def _told(self, unasked: Sequence[Unasked], message: str) -> ProxyError:
        """What the client is told when the account that holds the object gave no answer."""
        wait = min(each.wait for each in unasked)
        first = unasked[0]
        if first.code == "shutting_down":
            return ProxyError("shutting_down")
        if len(unasked) == 1 and first.code in _TOLD_AS_THEY_ARE:
            return ProxyError(first.code, headers=again(wait))
        # Where a provider may have done what it was asked for, a client must not just ask again.
        return unavailable(message, wait, first.unsafe)


def _final_word(failed: Failed) -> Refused | None:
    """What a provider said of the call itself: another target might mend that, but an account has no other one."""
    refusal = failed.refusal
    if refusal is None or not 400 <= refusal.status < 500 or failed.code in OF_A_KEY:
        return None
    return refusal


async def _nothing() -> bytes:
    return b""
