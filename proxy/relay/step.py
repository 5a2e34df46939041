"""
What the attempt loop is made of: its rules, the targets it sees, the steps it takes, and the budget it is given.

Plain values and interfaces; `plan` decides with them.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from proxy.providers.budget import RetryBudget
from proxy.providers.target import Rests
from proxy.settings import Failover

FIRST_REST = 0.5
"""
Seconds a target rests at least after a 429 that named no time, however short the pauses between other attempts are: it
is what OpenAI's SDKs begin with (INITIAL_RETRY_DELAY in openai-python's _constants.py).
"""

T = TypeVar("T", bound=Hashable)
T_co = TypeVar("T_co", bound=Hashable, covariant=True)


class Budget(Protocol):
    """Limits what is done beyond one attempt per call."""

    def withdraw(self, now: float) -> bool:
        """Whether one more is granted now."""

    def tokens(self, now: float) -> float:
        """How many would be granted now."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How often and how fast to try again; delays in seconds."""

    retries: int
    initial_delay: float
    max_delay: float
    multiplier: float

    @property
    def rests(self) -> Rests:
        """How long a target rests after a 429 that named no time."""
        return Rests(max(FIRST_REST, self.initial_delay), self.multiplier, max(FIRST_REST, self.max_delay))


def retrying(rules: Failover) -> tuple[Rules, RetryBudget]:
    """When a call is tried again, and how often all calls together."""
    budget = RetryBudget(rules.budget) if rules.budget else RetryBudget(0.0, reserve=0.0, trickle=0.0)
    return Rules(rules.retries, rules.initial_delay, rules.max_delay, rules.multiplier), budget


class Offer(Protocol[T_co]):
    """What a model's targets look like at one moment."""

    @property
    def available(self) -> Sequence[T_co]:
        """In the order to try them."""

    @property
    def resting(self) -> Sequence[tuple[T_co, float]]:
        """Those that may be waited for, and until when."""

    @property
    def despite(self) -> bool:
        """Whether all of them are known to be down, and are offered nevertheless."""


class Try(Generic[T]):
    """Ask *target* for *model* after *delay* seconds. (Every call makes one; a named tuple's is made by Python.)"""

    def __init__(self, target: T, model: str | None, delay: float = 0.0) -> None:
        self.target = target
        self.model = model
        self.delay = delay

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Try):
            return NotImplemented
        return (self.target, self.model, self.delay) == (other.target, other.model, other.delay)

    def __repr__(self) -> str:
        return f"Try({self.target!r}, {self.model!r}, {self.delay!r})"
