"""
The circuit breaker of one target: whether a call may go there, judged by how earlier calls ended.

Everything that moves its state stands in this file, and `MOVES` is the whole of it. It decides about calls, not about
health checks: a provider that answers a check and fails every call stays shut out. It knows no other target, so
whether the last usable one may be shut out is its owner's to say.
"""

import math
import random
from collections import deque
from dataclasses import dataclass
from enum import Enum, StrEnum

MIN_VERDICTS = 20
"""Verdicts a window must hold before its failure rate means anything; few enough for the LLM traffic of one user."""
MAX_FAILURE_RATE = 0.5
"""A higher share of failures opens the breaker."""
MAX_WAIT = 10.0
"""
Seconds the wait before the next probe grows to; a longer configured timeout is kept as it is. Together with
`SLOW_START` it keeps the promise that traffic is back 15 seconds after an outage has ended.
"""
JITTER = 0.2
"""A wait is up to this share shorter at random, so that workers do not probe in step."""
PROBE_TIME = 10.0
"""
Seconds a probe holds up the next one. One that was sent into an outage may hang for minutes, and what it says then is
old: it must not hide that the target is back.
"""
SLOW_START = 4.0
"""Seconds until a target that came back has its full share again; until then a trip counts as a failed recovery."""
FIRST_SHARE = 0.1
"""Share of its traffic a target gets right after closing."""


class BreakerState(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Judgement(Enum):
    """What a call says about its target."""

    SUCCESS = "success"
    FAILURE = "failure"
    """No connection, a timeout, a 5xx, a broken protocol, a stream that died."""
    EXCLUDED = "excluded"
    """Nothing: the client left or was slow, a 4xx, a 429, our own shedding."""


class Cause(StrEnum):
    """Why a breaker changed its state."""

    IN_A_ROW = "failures in a row"
    RATE = "failure rate"
    TIME_UP = "wait is over"
    PROBE_SUCCEEDED = "probe succeeded"
    PROBE_FAILED = "probe failed"
    PROBES_SPENT = "no probe gave a verdict"
    RESET = "reset by an operator"


MOVES = {
    BreakerState.CLOSED: {Cause.IN_A_ROW: BreakerState.OPEN, Cause.RATE: BreakerState.OPEN},
    BreakerState.OPEN: {Cause.TIME_UP: BreakerState.HALF_OPEN, Cause.RESET: BreakerState.CLOSED},
    BreakerState.HALF_OPEN: {
        Cause.PROBE_SUCCEEDED: BreakerState.CLOSED,
        Cause.PROBE_FAILED: BreakerState.OPEN,
        Cause.PROBES_SPENT: BreakerState.OPEN,
        Cause.RESET: BreakerState.CLOSED,
    },
}


@dataclass(slots=True)
class Permit:
    """
    Leave to send one call, to be recorded exactly once however it ends. A stream that begins well and dies is a
    failure, so that is at its end; a probe may be recorded at its first content, lest a long answer hold up the rest.
    """

    generation: int
    """The breaker's when the call began: what is recorded after the next change of state is ignored."""
    probe: bool
    at: float
    """When the call began, in monotonic seconds."""


@dataclass(frozen=True, slots=True)
class Transition:
    """One change of state."""

    old: BreakerState
    new: BreakerState
    cause: Cause
    at: float
    """Monotonic seconds."""
    detail: str
    """The counters behind it, in words for the log."""


class Breaker:
    """Closed: all may pass. Open: none. Half-open: one probe at a time, unless it hangs, and its end decides."""

    def __init__(self, max_requests: int, interval: float, timeout: float, failure_threshold: int) -> None:
        """
        *failure_threshold* failures in a row open it for *timeout* seconds; what is older than *interval* seconds is
        forgotten, never if 0. After *max_requests* probes without a verdict it waits again.
        """
        self._max_requests = max_requests
        self._interval = interval or math.inf
        self._timeout = timeout
        self._threshold = failure_threshold
        self.failures_total = 0
        """Failures judged; those ignored as stale are not among them."""
        self.trips_total = 0
        """Times it left closed for open."""
        self._state = BreakerState.CLOSED
        self._generation = 0
        self._transitions: list[Transition] = []
        # While closed: the window of the failure rate, and the failures in a row, each as the quiet time before it.
        self._window_ends = -math.inf
        self._verdicts = 0
        self._failures = 0
        self._row: deque[float] = deque(maxlen=failure_threshold)
        self._quiet = 0.0
        self._failed_at = math.inf
        self._closed_at = -math.inf
        self._succeeded_at = -math.inf
        # While open or half-open: the wait, doubled and without jitter, its two ends, and the probes of this phase.
        self._wait = timeout
        self._opened_at = 0.0
        self._open_until = 0.0
        self._probe: Permit | None = None
        self._probes = 0

    def __repr__(self) -> str:
        if self._state is BreakerState.CLOSED:
            facts = f"{len(self._row)} failures in a row, {self._failures} of {self._verdicts} failed"
        elif self._state is BreakerState.OPEN:
            facts = f"until {self._open_until:.1f}, wait {self._wait:g} s"
        else:
            facts = f"{self._probes} of {self._max_requests} probes, {'one' if self._probe else 'none'} in flight"
        return f"<Breaker {self._state} [{facts}]>"

    def state(self, now: float) -> BreakerState:
        """The state as an observer should see it: an open breaker whose time is up is half-open."""
        if self._state is BreakerState.OPEN and now >= self._open_until:
            return BreakerState.HALF_OPEN
        return self._state

    def available(self, now: float) -> bool:
        """Whether `allow` would say yes; for choosing among targets, changes nothing."""
        return self._state is BreakerState.CLOSED or now >= self.available_at(now)

    def available_at(self, now: float) -> float:
        """The moment from which `allow` says yes, as far as is known now; *now* when it does already."""
        if self._state is BreakerState.OPEN:
            return max(now, self._open_until)
        if self._state is BreakerState.HALF_OPEN and self._probe is not None:
            return max(now, self._probe.at + PROBE_TIME)
        return now

    def awaits_probe(self, now: float) -> bool:
        """It is not closed, and the next call would be the probe that decides."""
        return self._state is not BreakerState.CLOSED and self.available(now)

    def share(self, now: float) -> float:
        """
        How much of its usual traffic to send here, above 0 and at most 1. It ramps up after closing and is 1
        otherwise: while half-open `allow` is the limit.
        """
        if self._state is not BreakerState.CLOSED:
            return 1.0
        return min(1.0, FIRST_SHARE + (1.0 - FIRST_SHARE) * max(0.0, now - self._closed_at) / SLOW_START)

    def allow(self, now: float) -> Permit | None:
        """Leave for one call, or None; an open breaker whose time is up makes it the probe."""
        if self._state is BreakerState.CLOSED:
            return Permit(self._generation, False, now)
        if not self.available(now):
            return None
        if self._state is BreakerState.OPEN:
            self._move(Cause.TIME_UP, now, f"open for {now - self._opened_at:.1f} s")
            self._probes = 0
        if self._probe is None:
            # One in the place of another that hangs is no more.
            self._probes += 1
        self._probe = Permit(self._generation, True, now)
        return self._probe

    def record(self, permit: Permit, now: float, verdict: Judgement, rng: random.Random) -> None:
        """Say how the call of *permit* ended; *rng* draws the jitter of a wait that may begin now."""
        if permit.generation != self._generation:
            return
        if self._state is BreakerState.HALF_OPEN:
            hung = permit is not self._probe and permit.at < (now if self._probe is None else self._probe.at)
            # One that hung while another was sent may still come through; if it fails, that says nothing of today.
            if permit is self._probe or (hung and verdict is Judgement.SUCCESS):
                self._probe = None
                self._judge_probe(permit, now, verdict, rng)
        elif verdict is not Judgement.EXCLUDED:
            self._judge(permit, now, verdict, rng)

    def reset(self, now: float) -> None:
        """Close, with all its traffic at once and nothing remembered against it: an operator says that it is well."""
        if self._state is not BreakerState.CLOSED:
            self._move(Cause.RESET, now, "by hand")
        self._closed_at = -math.inf
        self._probe = None
        self._forget()

    def take_transitions(self) -> list[Transition]:
        """The changes of state since the last time this was asked, each told once."""
        taken, self._transitions = self._transitions, []
        return taken

    def _judge_probe(self, permit: Permit, now: float, verdict: Judgement, rng: random.Random) -> None:
        if verdict is Judgement.SUCCESS:
            self._move(Cause.PROBE_SUCCEEDED, now, f"probe {self._probes}")
            self._closed_at = now
            self._forget()
        elif verdict is Judgement.FAILURE:
            self.failures_total += 1
            # From its beginning: what it took to fail has been a wait already.
            self._open(Cause.PROBE_FAILED, now, f"probe {self._probes}", self._doubled(), rng, permit.at)
        elif self._probes >= self._max_requests:
            # Nothing failed, so the wait does not grow.
            self._open(Cause.PROBES_SPENT, now, f"{self._probes} probes", self._wait, rng)

    def _forget(self) -> None:
        """Begin anew with what calls say of it."""
        self._window_ends = -math.inf
        self._verdicts = self._failures = 0
        self._row.clear()

    def _judge(self, permit: Permit, now: float, verdict: Judgement, rng: random.Random) -> None:
        if now > self._window_ends:
            self._window_ends = now + self._interval
            self._verdicts = self._failures = 0
        self._verdicts += 1
        if verdict is Judgement.SUCCESS:
            self._row.clear()
            self._succeeded_at = max(self._succeeded_at, permit.at)
            return
        self.failures_total += 1
        self._failures += 1
        # Where one that began later has succeeded, calls that hung through an outage and fail together when it is over
        # are no row.
        if permit.at >= self._succeeded_at:
            # Failures age only while no failing call is under way: five that hang for a minute each, one after the
            # other, are five in a row, whatever the interval.
            self._quiet += max(0.0, permit.at - self._failed_at)
            self._failed_at = now
            self._row.append(self._quiet)
            while self._quiet - self._row[0] > self._interval:
                self._row.popleft()
        if len(self._row) >= self._threshold:
            self._trip(Cause.IN_A_ROW, now, f"{len(self._row)} failures in a row", rng)
        elif self._verdicts >= MIN_VERDICTS and self._failures > MAX_FAILURE_RATE * self._verdicts:
            self._trip(Cause.RATE, now, f"{self._failures} of {self._verdicts} calls failed", rng)

    def _trip(self, cause: Cause, now: float, detail: str, rng: random.Random) -> None:
        self.trips_total += 1
        recovered = now >= self._closed_at + SLOW_START
        self._open(cause, now, detail, self._timeout if recovered else self._doubled(), rng)

    def _open(
        self, cause: Cause, now: float, detail: str, wait: float, rng: random.Random, since: float = math.inf
    ) -> None:
        self._wait = wait
        jittered = wait * rng.uniform(1.0 - JITTER, 1.0)
        self._opened_at = now
        self._open_until = max(now, min(now, since) + jittered)
        self._move(cause, now, f"{detail}, next probe in {self._open_until - now:.1f} s")

    def _move(self, cause: Cause, now: float, detail: str) -> None:
        old, self._state = self._state, MOVES[self._state][cause]
        self._generation += 1
        self._transitions.append(Transition(old, self._state, cause, now, detail))

    def _doubled(self) -> float:
        return min(2 * self._wait, max(MAX_WAIT, self._timeout))
