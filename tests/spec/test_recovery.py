"""
After an outage has ended, traffic is back within fifteen seconds, however it looked and whatever takes the calls.

The real pool, breakers and balance with the default settings, on a clock that is only a number.
"""

import heapq
import itertools
import random
from collections.abc import Sequence

import pytest

from proxy.providers.breaker import MAX_WAIT, PROBE_TIME, SLOW_START, Breaker, BreakerState, Judgement, Permit
from proxy.providers.checks import pause
from proxy.providers.pool import Entry, Pool
from proxy.providers.provider import Provider
from proxy.providers.target import UNWELL, Rests, Target
from proxy.settings.models import BalancePolicy
from proxy.settings.providers import Timeouts
from proxy.settings.traffic import CircuitBreaker, Failover, HealthCheck

BOUND = 15.0
"""Seconds."""
FAILING = {
    "it answers 500 at once": 0.01,
    "it refuses connections": 0.001,
    "it is out of reach until a connection has timed out": Timeouts().connect,
    "its front answers 504 after half a minute": 30.0,
    "it accepts calls and stays silent": Timeouts().first_token,
}
"""How long a call takes to fail."""


def breaker() -> Breaker:
    rules = CircuitBreaker()
    return Breaker(rules.max_requests, rules.interval, rules.timeout, rules.failure_threshold)


class Outage:
    """One model of two targets: the first is out from the start until *ends*, and fails after *lasting* seconds."""

    def __init__(self, entries: dict[str, Entry], lasting: float, ends: float, seed: int) -> None:
        self.rng = random.Random(seed)
        providers = [Provider(name, ["*"]) for name in ("first", "second")]
        self.pool = Pool(providers, entries, breaker, self.rng)
        self.lasting, self.ends = lasting, ends
        self.asked: list[float] = []
        """When the first target was asked during the outage."""
        self.went_elsewhere = 0.0
        """When a call last went to the second target without asking the first."""
        self._number = itertools.count()
        self._running: list[tuple[float, int, Target, Permit | None, Judgement]] = []

    def _end_calls(self, now: float) -> None:
        while self._running and self._running[0][0] <= now:
            at, _, target, permit, verdict = heapq.heappop(self._running)
            target.end(permit, verdict, at, self.rng)
            if verdict is Judgement.SUCCESS:
                target.latency.observe(0.2, at)
            else:
                target.latency.penalise(at)

    def call(self, now: float, fallbacks: Sequence[str] = ()) -> None:
        self._end_calls(now)
        choice = self.pool.choose("m", now, fallbacks=fallbacks)
        available = [*choice.available]
        for name in fallbacks:
            available += self.pool.choose(name, now).available
        for target in available:
            permit, _ = target.begin(now)
            out = target.provider.name == "first" and now < self.ends
            verdict = Judgement.FAILURE if out else Judgement.SUCCESS
            took = self.lasting if out else 0.2
            heapq.heappush(self._running, (now + took, next(self._number), target, permit, verdict))
            if target.provider.name == "first":
                self.asked.append(now)
            else:
                self.went_elsewhere = now
            if not out:
                break
            if took > 1.0:
                # The client is still waiting; who comes next is of no interest here.
                break

    def run(self, every: float, until: float, fallbacks: Sequence[str] = ()) -> "Outage":
        now = 0.0
        while now < until:
            self.call(now, fallbacks)
            now += every
        return self


@pytest.mark.parametrize("every", [0.5, 3.0])
@pytest.mark.parametrize("lasting", FAILING.values(), ids=FAILING)
def test_every_call_goes_to_the_preferred_target_again(lasting: float, every: float) -> None:
    for seed in range(12):
        ends = 260.0 + 7.0 * seed
        outage = Outage({}, lasting, ends, seed).run(every, ends + 200.0)
        assert outage.went_elsewhere <= ends + BOUND, seed
        assert outage.went_elsewhere > 0.0


@pytest.mark.parametrize("every", [0.5, 3.0])
@pytest.mark.parametrize("lasting", FAILING.values(), ids=FAILING)
def test_so_it_does_where_the_other_target_is_a_fallbacks(lasting: float, every: float) -> None:
    entries = {"m": Entry(["first/m"], fallbacks=["other"]), "other": Entry(["second/other"])}
    for seed in range(12):
        ends = 260.0 + 7.0 * seed
        outage = Outage(entries, lasting, ends, seed).run(every, ends + 200.0, ["other"])
        assert outage.went_elsewhere <= ends + BOUND, seed
        assert outage.went_elsewhere > 0.0


@pytest.mark.parametrize("balance", ["round_robin", "weighted", "least_requests", "fastest"])
def test_so_do_calls_under_every_other_policy(balance: BalancePolicy) -> None:
    for seed in range(10):
        outage = Outage({"m": Entry(["first/m", "second/m"], balance)}, 0.01, 60.0, seed).run(0.2, 90.0)
        back = [at for at in outage.asked if at >= 60.0]
        assert back, seed
        assert back[0] <= 60.0 + BOUND, seed


@pytest.mark.parametrize("seconds", [30.0, 60.0, 300.0])
def test_an_outage_is_met_by_few_calls_whether_the_other_target_is_of_this_model_or_of_a_fallback(
    seconds: float,
) -> None:
    fallback = {"m": Entry(["first/m"], fallbacks=["other"]), "other": Entry(["second/other"])}
    for entries, fallbacks in (({}, []), (fallback, ["other"])):
        outage = Outage(entries, 0.01, seconds, 1).run(1.0, seconds, fallbacks)
        shortest = 0.8 * MAX_WAIT
        assert len(outage.asked) <= CircuitBreaker().failure_threshold + seconds / shortest


def test_a_probe_sent_into_the_last_moment_of_an_outage_does_not_hide_its_end() -> None:
    one, rng = breaker(), random.Random(1)
    for _ in range(5):
        permit = one.allow(0.0)
        assert permit is not None
        one.record(permit, 0.0, Judgement.FAILURE, rng)
    hanging = one.allow(12.0)
    assert hanging is not None
    # The outage ends at 12.1, and the probe will never be answered.
    assert one.allow(12.0 + PROBE_TIME - 0.1) is None
    probe = one.allow(12.0 + PROBE_TIME)
    assert probe is not None
    one.record(probe, 22.5, Judgement.SUCCESS, rng)
    assert one.state(22.5) is BreakerState.CLOSED
    assert one.share(12.1 + BOUND) == 1.0


def test_calls_that_hung_through_an_outage_and_fail_when_it_is_over_do_not_shut_out_what_is_back() -> None:
    one, rng = breaker(), random.Random(1)
    hung = [one.allow(float(second)) for second in range(8)]
    good = one.allow(60.0)
    assert good is not None
    one.record(good, 60.2, Judgement.SUCCESS, rng)
    for permit in hung:
        assert permit is not None
        one.record(permit, 120.0, Judgement.FAILURE, rng)
    assert one.state(120.0) is BreakerState.CLOSED


def test_the_defaults_keep_the_bound_by_traffic_and_by_probes() -> None:
    rules, health = CircuitBreaker(), HealthCheck()
    assert max(rules.timeout, MAX_WAIT, PROBE_TIME) + SLOW_START < BOUND
    # A probe begun in the outage's last moment, the pause after it, and the way back to a full share.
    assert health.timeout + UNWELL + SLOW_START < BOUND


def test_an_unhealthy_provider_is_looked_at_every_few_seconds_and_a_healthy_one_as_configured() -> None:
    rng = random.Random(1)
    interval = HealthCheck().interval
    assert all(4.5 <= pause(interval, False, rng) <= UNWELL for _ in range(100))
    assert all(13.5 <= pause(interval, True, rng) <= 16.5 for _ in range(100))
    # A shorter interval is kept.
    assert all(0.9 <= pause(1.0, False, rng) <= 1.1 for _ in range(100))


def test_a_rest_of_no_told_length_is_over_within_seconds_however_often_it_was_refused() -> None:
    rules = Failover()
    rests = Rests(max(0.5, rules.initial_delay), rules.multiplier, rules.max_delay)
    assert max(rests.after(times) for times in range(1, 10_000)) <= rules.max_delay < BOUND
