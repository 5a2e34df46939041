"""
Calls that have ended, as `hapax top` keeps them: the latest, the failing and the slowest, so many of each and no more.

What they amount to is counted in `minute`, and which are shown in which order is `view`'s matter.
"""

import heapq
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from typing import Any

LATEST = 2000
"""Calls that are kept whatever they came to: about 2 MB."""
FAILING = 500
"""Calls that did not end well, which are kept when many good ones have come since."""
SLOWEST = 100
"""Calls that took longest, for as long as `RECENT`."""
RECENT = 600.0
"""Seconds for which one of the slowest is kept."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call, by what the gateway's feed tells of it (docs/logs.md, "The line of an exchange")."""

    id: str
    ended: float
    """Seconds since 1970, by the gateway's clock."""
    route: str
    status: int
    outcome: str
    error: str
    """The code of the error it ended with; empty for none."""
    key: str
    model: str
    answered: str
    """The model that answered, where it is another than the one that was asked for."""
    provider: str
    attempts: tuple[tuple[str, str], ...]
    """The provider of each, and how it failed; empty where it did not."""
    first_ms: float | None
    took_ms: float
    prompt: int | None
    completion: int | None
    cost: int | None
    """Millionths of a dollar; None where no price is known."""

    @property
    def well(self) -> bool:
        """Whether it ended as it should."""
        return self.outcome == "ok"

    @property
    def tokens(self) -> int | None:
        """Those of its question and its answer together; None where they are not known."""
        return None if self.prompt is None or self.completion is None else self.prompt + self.completion

    def fits(self, words: str) -> bool:
        """Whether each of *words*, which are in small letters, stands in one of its texts."""
        texts = (self.id, self.route, self.outcome, self.error, self.key, self.model, self.answered, self.provider)
        whole = "\n".join(texts).lower()
        return all(word in whole for word in words.split())


def call_of(told: Mapping[str, Any]) -> Call:
    """The call that an event of the feed, or a line of `/admin/calls`, tells of. Raises ValueError for no date."""
    tokens = told.get("tokens") or {}
    answered = str(told.get("answered_model") or "")
    model = str(told.get("model") or "")
    took = float(told.get("latency_ms") or 0.0)
    return Call(
        id=str(told.get("request_id") or ""),
        ended=datetime.fromisoformat(str(told.get("start_time"))).timestamp() + took / 1000,
        route=str(told.get("operation") or ""),
        status=int(told.get("status") or 0),
        outcome=str(told.get("outcome") or ""),
        error=str(told.get("error_code") or ""),
        key=str(told.get("principal") or ""),
        model=model,
        answered="" if answered == model else answered,
        provider=str(told.get("provider") or ""),
        attempts=tuple((str(each["provider"]), str(each["failure"])) for each in told.get("attempts") or ()),
        first_ms=told.get("time_to_first_token_ms"),
        took_ms=took,
        prompt=tokens.get("prompt"),
        completion=tokens.get("completion"),
        cost=told.get("cost_micro_usd"),
    )


class Calls:
    """Those that are kept."""

    def __init__(self) -> None:
        self._latest: deque[Call] = deque()
        self._known: set[Call] = set()
        """The same, to be found: one may be told both as it ends and as one that has ended before."""
        self._failing: deque[Call] = deque(maxlen=FAILING)
        self._slowest: list[tuple[float, int, Call]] = []
        """A heap, the fastest of them first; each with its number, so that no two calls are compared."""
        self._number = count()

    def add(self, call: Call) -> bool:
        """Keep it; False where it was known."""
        if call in self._known:
            return False
        self._known.add(call)
        self._latest.append(call)
        if len(self._latest) > LATEST:
            self._known.discard(self._latest.popleft())
        if not call.well:
            self._failing.append(call)
        heapq.heappush(self._slowest, (call.took_ms, next(self._number), call))
        if len(self._slowest) > SLOWEST:
            heapq.heappop(self._slowest)
        return True

    def every(self, now: float) -> tuple[Call, ...]:
        """All that are kept at *now*, in seconds since 1970, the newest first."""
        self._slowest = [each for each in self._slowest if each[2].ended > now - RECENT]
        heapq.heapify(self._slowest)
        kept = dict.fromkeys([*self._latest, *self._failing, *(call for _, _, call in self._slowest)])
        return tuple(sorted(kept, key=lambda call: call.ended, reverse=True))
