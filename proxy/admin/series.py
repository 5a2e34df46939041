"""
What the calls of the last day amount to, minute by minute: by model, provider and key, and all together; an observer.

In memory only, and bounded: so many names of each dimension, the rest counted as `other`; of times to first token a
histogram of fixed buckets, which may be added up over minutes and workers. Pages of it are made in `series_page`.
"""

from array import array
from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import accumulate
from operator import add

from proxy.core import clock
from proxy.core.exchange import Exchange, Outcome
from proxy.core.housekeeping import is_call
from proxy.providers.pool import Pool

MINUTES = 1440
"""Minutes that are remembered, the present one among them."""
MOST_NAMES = 32
"""Names of each dimension that are told apart; one that no call had for a day makes room for another."""
OTHER = "other"
"""The name all others are counted under, models that a client made up among them."""
DIMENSIONS = ("model", "provider", "key")

OUTCOMES = tuple(Outcome)
PROMPT = len(OUTCOMES)
COMPLETION, COST, FIRST_TOKEN = PROMPT + 1, PROMPT + 2, PROMPT + 3
"""Where in a cell what is: calls by outcome, tokens, micro-USD, and the calls of each bucket of `EDGES`."""
RATIO = 1.5
"""Of each bucket's ends, so that a percentile is at most so much off."""
EDGES = tuple(0.01 * RATIO**power for power in range(23))
"""Seconds to the first token: upper ends of the buckets, 10 ms to 75 s; one more bucket is for longer times."""
CELL = FIRST_TOKEN + len(EDGES) + 1
"""Numbers in a cell."""

Cell = list[int]
"""What the calls of one name amount to."""

_OK = Outcome.OK
_INDEX = {outcome: index for index, outcome in enumerate(OUTCOMES)}
_LATE = 60
"""Minutes by which what is too old may be too old before it goes, so that not every minute moves the rest."""
_MOST_PENDING = 256
"""Combinations of model, provider and key that wait to be added up."""
_MOST_NUMBER = 2**32 - 1
"""Of a minute and a name; in micro-USD that is 6 million US dollars a day."""


class _Past:
    """The minutes that are over and had calls of one name, the oldest first."""

    def __init__(self) -> None:
        self.minutes = array("I")
        self.cells = array("I")
        """One behind the other."""

    def put(self, minute: int, cell: Cell) -> None:
        while self.minutes and self.minutes[-1] >= minute:
            # The clock was set back.
            self._drop(len(self.minutes) - 1, len(self.minutes))
        self.minutes.append(minute)
        self.cells.extend([min(number, _MOST_NUMBER) for number in cell])
        old = bisect_left(self.minutes, minute - MINUTES + 1)
        if old and self.minutes[0] < minute - MINUTES - _LATE:
            self._drop(0, old)

    def cells_between(self, first: int, last: int, step: int) -> dict[int, Cell]:
        """Those from minute *first* to minute *last*, added up by *step* of them."""
        found: dict[int, Cell] = {}
        at, end = (bisect_left(self.minutes, minute) for minute in (first, last + 1))
        while at < end:
            number = (self.minutes[at] - first) // step
            until = bisect_left(self.minutes, first + (number + 1) * step, at, end)
            rows = [self.cells[place * CELL : (place + 1) * CELL].tolist() for place in range(at, until)]
            found[number] = rows[0] if len(rows) == 1 else [sum(numbers) for numbers in zip(*rows, strict=True)]
            at = until
        return found

    def _drop(self, start: int, end: int) -> None:
        del self.minutes[start:end]
        del self.cells[start * CELL : end * CELL]


class Series:
    """The minutes, and the calls of the present one."""

    def __init__(self, pool: Pool, epoch: Callable[[], float] = clock.epoch) -> None:
        """*pool* knows which models there are. *epoch*: the date at which the monotonic clock was 0, see `clock`."""
        self._pool = pool
        self._epoch = epoch
        self._pending: dict[tuple[str, str, str], Cell] = {}
        """By model, provider and key; what a call costs here is one look into it."""
        self._cells: dict[int, Cell] = {}
        """Those of the present minute, by slot."""
        self._past: dict[int, _Past] = {}
        """By slot."""
        self._minute = 0
        """The present one, in minutes since 1970."""
        self._minute_ends = 0.0
        """Monotonic seconds."""
        self._slots: list[dict[str, int]] = [{} for _ in DIMENSIONS]
        self._used = [0] * (1 + len(DIMENSIONS) * (1 + MOST_NAMES))
        """By slot, the last minute in which it had calls. The first one is that of all calls."""
        self._known: frozenset[str] = frozenset()

    def ended(self, exchanges: Sequence[Exchange]) -> None:
        """Count them."""
        pending = self._pending
        for exchange in exchanges:
            if exchange.ended >= self._minute_ends:
                self._turn_to(exchange.ended)
            attempts = exchange.attempts
            if len(attempts) == 1:
                attempt = attempts[0]
                provider, first, tokens = attempt.provider, attempt.first_content_at, attempt.tokens
            elif attempts or is_call(exchange):
                provider, tokens = exchange.provider, exchange.tokens
                first = next((each.first_content_at for each in attempts if each.first_content_at), 0.0)
            else:
                continue
            key = (exchange.model, provider, exchange.principal)
            cell = pending.get(key)
            if cell is None:
                if len(pending) >= _MOST_PENDING:
                    self._add_up()
                cell = pending[key] = [0] * CELL
            outcome = exchange.outcome
            cell[0 if outcome is _OK else _INDEX[outcome]] += 1
            if first:
                cell[FIRST_TOKEN + bisect_left(EDGES, first - exchange.started)] += 1
            if tokens is not None:
                cell[PROMPT] += tokens.prompt
                cell[COMPLETION] += tokens.completion
            if exchange.cost:
                cell[COST] += exchange.cost

    def told(self, by: str | None, name: str | None, first: int, last: int, step: int) -> dict[str, dict[int, Cell]]:
        """
        The calls from minute *first* to minute *last*, both included and in minutes since 1970: by name and by number
        of the bucket of *step* minutes, one without calls left out. *by*: one of `DIMENSIONS`, perhaps for a *name*
        alone; None: all calls, under the name "".
        """
        self._add_up()
        found: dict[str, dict[int, Cell]] = {}
        for slot, each in self._names(by, name).items():
            past, present = self._past.get(slot), self._cells.get(slot)
            cells = {} if past is None else past.cells_between(first, last, step)
            if present is not None and first <= self._minute <= last:
                number = (self._minute - first) // step
                known = cells.get(number)
                cells[number] = list(present) if known is None else list(map(add, known, present))
            if cells:
                found[each] = cells
        return found

    def _names(self, by: str | None, name: str | None) -> dict[int, str]:
        """The slots that are asked for, and the name of each."""
        if by is None:
            return {0: ""}
        dimension = DIMENSIONS.index(by)
        slots = {slot: each for each, slot in self._slots[dimension].items()} | {_other(dimension): OTHER}
        return {slot: each for slot, each in slots.items() if name is None or each == name}

    def _turn_to(self, now: float) -> None:
        """The present minute is over: put it by, and begin that of the moment *now*."""
        self._add_up()
        for slot, cell in self._cells.items():
            self._past.setdefault(slot, _Past()).put(self._minute, cell)
        self._cells.clear()
        epoch = self._epoch()
        self._minute = int((now + epoch) // 60)
        self._minute_ends = (self._minute + 1) * 60 - epoch
        self._known = frozenset(entry["id"] for entry in self._pool.listing())

    def _add_up(self) -> None:
        """Put what is pending into the cells of the present minute."""
        for (model, *names), cell in self._pending.items():
            self._put(0, cell)
            for dimension, name in enumerate((self._label(model), *names)):
                # A call may be refused before its key, its model or a provider is known.
                if name:
                    self._put(self._slot(dimension, name), cell)
        self._pending.clear()

    def _put(self, slot: int, cell: Cell) -> None:
        known = self._cells.get(slot)
        self._cells[slot] = list(cell) if known is None else list(map(add, known, cell))
        self._used[slot] = self._minute

    def _slot(self, dimension: int, name: str) -> int:
        slots, other = self._slots[dimension], _other(dimension)
        slot = slots.get(name)
        if slot is not None or name == OTHER:
            return other if slot is None else slot
        if len(slots) < MOST_NAMES:
            slot = slots[name] = other + 1 + len(slots)
            return slot
        for old, slot in slots.items():
            if self._used[slot] <= self._minute - MINUTES:
                del slots[old]
                self._past.pop(slot, None)
                slots[name] = slot
                return slot
        return other

    def _label(self, model: str) -> str:
        """The name, or the pattern it is configured under; `other` for one that a client made up."""
        return model if not model or model in self._known else self._pool.pattern(model) or OTHER


def _other(dimension: int) -> int:
    """The slot for all names of a dimension that have none; theirs lie behind it."""
    return 1 + dimension * (1 + MOST_NAMES)


def quantile(share: float, cell: Sequence[int]) -> float | None:
    """
    Seconds within which *share* of the calls of *cell* had their first token, as finely as the buckets tell; None where
    none had one.
    """
    counts = cell[FIRST_TOKEN:]
    rank = share * sum(counts)
    if not rank:
        return None
    index = bisect_left(list(accumulate(counts)), rank)
    if index == len(EDGES):
        return EDGES[-1]
    # Within a bucket they lie evenly on its exponential scale.
    within = (rank - sum(counts[:index])) / counts[index]
    return float(EDGES[index] * RATIO ** (within - 1))
