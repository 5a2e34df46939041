"""
The words of this package: a limit, a claim on it, what is held while a call runs, and why a call is refused.

`Limits` is the interface of the two places where levels are kept: this process's memory, and Redis. Values only.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple, Protocol


class What(StrEnum):
    """What a limit counts."""

    REQUESTS = "requests"
    TOKENS = "tokens"
    CONCURRENT = "concurrent"
    BUDGET = "budget"


NOTHING: Mapping[What, int] = {What.REQUESTS: 0, What.TOKENS: 0, What.BUDGET: 0}
"""What a call has used that never ran."""
SLACK = 1e-6
"""Units forgiven, for the rounding of their own arithmetic."""
GRAIN = 1e-7
"""Seconds of refill forgiven, for the rounding of the clock: its doubles are that coarse after years of uptime."""


UNKNOWN_WAIT = 1.0
"""Seconds until it is worth asking again for what could not be known."""


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit of one holder."""

    id: str
    """Unique: the holder, what it is restricted to, and what is counted."""
    what: What
    capacity: int
    """Requests or tokens in a full bucket, calls at once, or a budget's amount (micro-USD or tokens)."""
    rate: float = 0.0
    """Units that return per second; only requests and tokens do."""
    per: str = ""
    """The period of a budget, in UTC: hour, day, week (from Monday) or month."""
    unit: str = ""
    """What a budget is in: `usd` (micro-USD) or `tokens`."""
    holder: str = ""
    """Whose budget it is."""
    forgiven: float = field(init=False, default=0.0, compare=False, repr=False)
    """Units no call is refused for: what a client that waited as long as it was told lacks by rounding."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "forgiven", SLACK + self.rate * GRAIN)


Claim = tuple[Limit, int]
"""What a call asks of a limit: 1 request, so many tokens, 1 place, so much money."""


@dataclass(slots=True)
class Reservation:
    """What an admitted call holds until it is settled, once."""

    claims: Sequence[Claim]
    """Amounts as they were taken, perhaps less than asked: no call can hold more tokens than the bucket has."""
    local: bool = True
    """Taken from this process's memory, not from the shared state."""
    settled: bool = field(init=False, default=False)
    about: Any = None
    """The state's own note, for settling."""
    standings: "Sequence[tuple[Limit, int, float]]" = ()
    """What is left now of the limits on requests and tokens, as in `Standing`, where that was at hand."""
    left: bool = field(init=False, default=False)
    """Its places have been given back."""


@dataclass(slots=True)
class Refusal:
    """Which limit is in the way, and for how long."""

    limit: Limit
    wait: float | None
    """Seconds after which the same call is admitted, if no other call takes what returns; None: not known."""
    never: bool = False
    """The call asks for more than the limit ever allows."""
    unknown: bool = False
    """What is left of the limit cannot be known now: neither the state nor the ledger can be asked."""


class Standing(NamedTuple):
    """A limit's present state, as the headers tell it."""

    limit: Limit
    remaining: int
    reset: float
    """Seconds until it is whole again."""


Spent = Callable[[str, str, datetime], Awaitable[int | None]]
"""What a holder has spent, in a unit, since a moment in UTC; None when that cannot be known now."""


class Limits(Protocol):
    """Where levels are kept. Decisions are all or nothing: a refused call leaves every level as it was."""

    @property
    def available(self) -> bool:
        """The shared state, where there is one, answers now."""

    @property
    def failures_total(self) -> int:
        """Times it did not."""

    @property
    def fallbacks_total(self) -> int:
        """Decisions made from a local share because it did not."""

    @property
    def round_trips_total(self) -> int:
        """Questions asked."""

    def reserve_now(self, claims: Sequence[Claim], now: float) -> Reservation | Refusal | None:
        """Decide at once; None where Redis or the ledger has to be asked, see `reserve`. *now* in monotonic seconds."""

    async def reserve(self, claims: Sequence[Claim]) -> Reservation | Refusal:
        """
        Decide, asking what has to be asked: a shared state for 100 ms at most, the ledger, once for each budget, for
        as long as that takes. Cancelling it leaves nothing held.
        """

    def obstacle(self, claims: Sequence[Claim], now: float) -> Refusal | None:
        """What stands in the way of *claims* now; nothing is taken. None where nothing does, or it cannot be known."""

    def leave(self, reservation: Reservation, now: float) -> None:
        """The call is over: give back its places at once, for `settle` may come a little later."""

    def settle(self, reservation: Reservation, used: Mapping[What, int], now: float) -> None:
        """
        The call is over: give back its places if it has any, and correct what was reserved to what was *used*. What
        *used* does not mention stays as reserved. A second call does nothing.
        """

    def standing(self, limit: Limit, now: float) -> Standing:
        """What is left of *limit*, as far as this process knows."""

    def spent(self, budget: Limit) -> int | None:
        """What was spent of *budget* in its period, with what calls under way hold; None while that is not known."""

    async def start(self) -> None:
        """Begin background work."""

    async def stop(self) -> None:
        """Tell what is still to be told, and end background work."""
