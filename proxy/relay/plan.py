"""
The attempt loop as decisions: which target comes next, after what delay, and when to give up.

A synchronous function of what has happened and the time. It sends nothing and reads no clock, so that ten thousand
interleavings can be played in a second; `attempts` does what it says.
"""

import random
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

from proxy.relay.step import Budget, Offer, Rules, Try
from proxy.relay.verdict import Failed, Reach

SHORT_WAIT = 5.0
"""Seconds a rate-limited target is waited for before the call leaves for a fallback model, whose answer differs."""
OF_A_KEY = ("rate_limit_exceeded", "insufficient_quota", "upstream_auth_error")
"""Failures of a provider's key: with another one the same target can answer."""
LONGEST_WAIT = 60.0
"""Seconds it is waited for when there is nowhere else to go; beyond that the client is told when to come back."""

SILENCE = Failed("upstream_timeout", Reach.UNANSWERED, "no content in time")
"""What an attempt fails with that is given up for being slow."""

T = TypeVar("T", bound=Hashable)


class Plan(Generic[T]):
    """The plan of one exchange. (A dataclass with a type parameter could not be compiled.)"""

    def __init__(
        self,
        model: str | None,
        fallbacks: Sequence[str],
        context_fallbacks: Sequence[str],
        choose: Callable[[str | None, float], Offer[T]],
        rules: Rules,
        may_repeat: Callable[[Failed], bool],
        deadline: float,
        retry_budget: Budget,
        hedge_budget: Budget,
        rng: random.Random,
    ) -> None:
        """
        *choose* tells the targets of a model now, *may_repeat* whether another attempt is allowed at all after this
        failure.
        """
        self.model = model
        """The model being asked for now; changes when a fallback takes over."""
        self.failures: list[Failed] = []
        self._fallbacks = fallbacks
        self._context_fallbacks = context_fallbacks
        self._choose = choose
        self.rules = rules
        self._may_repeat = may_repeat
        self.deadline = deadline
        """Nothing is started after this moment."""
        self._retry_budget = retry_budget
        self._hedge_budget = hedge_budget
        self._rng = rng
        self._tries: dict[T, int] = {}
        self._attempts = 0
        """Attempts for the present model."""
        self._waited: frozenset[T] = frozenset()
        self._spent: frozenset[T] = frozenset()
        """Targets that would answer this call no better the next time."""
        self._models: set[str] = set()
        self.despite = False
        """Its targets were asked first though all of them were known to be down."""
        self._continues = False
        """An answer that has begun is being continued."""
        self._left: list[str] = []

    def first(self, now: float) -> Try[T] | None:
        """The first step, or None when no target can take the call."""
        if self.model is not None:
            self._models.add(self.model)
        self._left = [name for name in self._fallbacks if name != self.model]
        if now >= self.deadline:
            return None
        step = self._next(self._look(self.model, now), now)
        return self._take(step) if step is not None else None

    def after(self, target: T, failed: Failed, now: float) -> Try[T] | None:
        """The step after an attempt failed, or None to give up."""
        self.note(target, failed)
        if now >= self.deadline or not self._may_repeat(failed):
            return None
        if failed.reach is Reach.TOO_LONG:
            # A longer context is the only thing that helps, and other targets of this model have none.
            self._left = [name for name in self._context_fallbacks or self._fallbacks if name not in self._models]
            step = self._enter_next_model(now)
        else:
            choice = self._look(self.model, now)
            step = None
            # The last try there is belongs to a target that has not failed yet, if there is one.
            room = self.rules.retries - self._attempts + (0 if self._fresh(choice) else 1)
            if failed.status == 500 and self._tries[target] == 1 and room > 0:
                step = self._again(target, choice, now)
            step = step or self._next(choice, now, target, failed)
        if step is None or not self._retry_budget.withdraw(now):
            return None
        return self._take(step)

    def go_on(self, deadline: float) -> None:
        """An answer that has begun is to be continued until *deadline*."""
        self.deadline = deadline
        self._continues = True

    def still(self, step: Try[T], now: float) -> Try[T] | None:
        """
        What to do after the delay of *step*: still that, unless its target was told to rest, filled up or broke down
        meanwhile, by what became of other calls.
        """
        if now >= self.deadline:
            return None
        choice = self._look(self.model, now)
        if step.target in choice.available:
            return Try(step.target, step.model)
        # It was not asked after all.
        self._attempts -= 1
        self._tries[step.target] -= 1
        if not self._tries[step.target]:
            del self._tries[step.target]
        instead = self._next(choice, now)
        return self._take(instead) if instead is not None else None

    def note(self, target: T, failed: Failed) -> None:
        """An attempt failed, perhaps while another one still runs: by itself nothing follows from it."""
        self.failures.append(failed)
        elsewhere = failed.reach is Reach.ELSEWHERE and failed.code not in OF_A_KEY
        if failed.lasting or failed.reach is Reach.TOO_LONG or elsewhere:
            self._spent |= {target}
        if failed.code == "rate_limit_exceeded" and failed.retry_after is None:
            # Its rest was a guess, and may have been too short: it is waited for once more, and longer.
            self._waited -= {target}

    def beside(self, now: float) -> Try[T] | None:
        """A target to ask beside one that has not produced anything for a while, within the hedge budget."""
        if now >= self.deadline:
            return None
        fresh = self._fresh(self._look(self.model, now))
        if not fresh or not self._hedge_budget.withdraw(now):
            return None
        return self._take(Try(fresh[0], self.model))

    def has_alternative(self, now: float) -> bool:
        """Whether another target could still be asked."""
        if not self._may_repeat(SILENCE) or self._retry_budget.tokens(now) < 1.0:
            return False
        if self._fresh(self._look(self.model, now)):
            return True
        left = [name for name in self._left if name not in self._models]
        return any(target not in self._tries for name in left for target in self._look(name, now).available)

    def _look(self, model: str | None, now: float) -> Offer[T]:
        choice = self._choose(model, now)
        if choice.despite and not self._tries:
            self.despite = True
        return choice

    def _next(
        self, choice: Offer[T], now: float, failed_target: T | None = None, failed: Failed | None = None
    ) -> Try[T] | None:
        fresh = self._fresh(choice)
        if fresh:
            return Try(fresh[0], self.model)
        step = None
        if failed_target is not None and failed is not None:
            step = self._same_again(failed_target, failed, choice, now)
        return step or self._wait(choice, now) or self._enter_next_model(now)

    def _fresh(self, choice: Offer[T]) -> list[T]:
        if self._attempts > self.rules.retries:
            return []
        return [target for target in choice.available if target not in self._tries]

    def _same_again(self, target: T, failed: Failed, choice: Offer[T], now: float) -> Try[T] | None:
        """The only target once more, if it failed fast; before a fallback once, otherwise as often as retries go."""
        if failed.code in OF_A_KEY and self._attempts <= self.rules.retries and target in choice.available:
            # It rests or is parked by now, unless it has another key.
            return Try(target, self.model)
        refused = failed.reach is Reach.REFUSED and failed.code != "upstream_unavailable"
        if failed.lasting or refused or failed.reach is Reach.ELSEWHERE or self._attempts > self.rules.retries:
            return None
        # What broke off goes on elsewhere, as it does where the model has other targets.
        if self._left and (self._tries[target] > 1 or self._continues):
            return None
        return self._again(target, choice, now)

    def _again(self, target: T, choice: Offer[T], now: float) -> Try[T] | None:
        if target not in choice.available:
            return None
        # Full jitter: clients that failed together must not come back together.
        ceiling = self.rules.initial_delay * self.rules.multiplier ** (self._tries[target] - 1)
        delay = self._rng.uniform(0.0, min(ceiling, self.rules.max_delay))
        return Try(target, self.model, delay) if now + delay < self.deadline else None

    def _wait(self, choice: Offer[T], now: float) -> Try[T] | None:
        """The resting target that returns first, each waited for once and as an attempt like the others."""
        if self._attempts > self.rules.retries:
            return None
        spent = self._waited | self._spent
        waiting = [(until, target) for target, until in choice.resting if target not in spent]
        if not waiting:
            return None
        until, target = min(waiting, key=lambda pair: pair[0])
        delay = max(0.0, until - now)
        if now + delay >= self.deadline or delay > (SHORT_WAIT if self._left else LONGEST_WAIT):
            return None
        # Those who wait for the same moment must not all arrive in it.
        delay += self._rng.uniform(0.0, min(0.1 * delay, 0.25, 0.5 * (self.deadline - now - delay)))
        self._waited |= {target}
        return Try(target, self.model, delay)

    def _enter_next_model(self, now: float) -> Try[T] | None:
        while self._left:
            self.model = self._left.pop(0)
            if self.model in self._models:
                continue
            self._models.add(self.model)
            self._attempts = 0
            choice = self._look(self.model, now)
            fresh = [target for target in choice.available if target not in self._tries]
            if fresh:
                return Try(fresh[0], self.model)
            waited = self._wait(choice, now)
            if waited is not None:
                return waited
        return None

    def _take(self, step: Try[T]) -> Try[T]:
        self._attempts += 1
        self._tries[step.target] = self._tries.get(step.target, 0) + 1
        return step
