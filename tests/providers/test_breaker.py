"""The circuit breaker, on a clock that is only a number."""

import itertools
import random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from proxy.providers.breaker import MOVES, PROBE_TIME, Breaker, BreakerState, Cause, Judgement, Permit

SUCCESS, FAILURE, EXCLUDED = Judgement.SUCCESS, Judgement.FAILURE, Judgement.EXCLUDED


class NoJitter(random.Random):
    """Draws the upper end of every range, so that tables may hold round numbers."""

    def uniform(self, a: float, b: float) -> float:
        return b


RNG = NoJitter()


def make(max_requests: int = 100, interval: float = 30.0, timeout: float = 10.0, failure_threshold: int = 5) -> Breaker:
    return Breaker(max_requests, interval, timeout, failure_threshold)


def call(breaker: Breaker, now: float, verdict: Judgement, lasting: float = 0.0) -> None:
    """A call that is let in at *now* and ends *lasting* seconds later."""
    permit = breaker.allow(now)
    assert permit is not None
    breaker.record(permit, now + lasting, verdict, RNG)


def tripped(now: float = 0.0, **limits: float) -> Breaker:
    """A breaker that opened at *now*."""
    breaker = make(**limits)  # type: ignore[arg-type]
    while breaker.state(now) is BreakerState.CLOSED:
        call(breaker, now, FAILURE)
    breaker.take_transitions()
    return breaker


@pytest.mark.parametrize(
    ("calls", "state"),
    [
        ("FFFF", BreakerState.CLOSED),
        ("FFFFF", BreakerState.OPEN),
        ("FFFFSFFFF", BreakerState.CLOSED),
        ("FFFFSFFFFF", BreakerState.OPEN),
        # What says nothing about the target neither adds to the row nor breaks it.
        ("FFFFXXXX", BreakerState.CLOSED),
        ("FXFXFXFXF", BreakerState.OPEN),
        # More than half of at least twenty, never five in a row: 13 of 19, 14 of 20, 10 of 20, 11 of 21.
        ("FFS" * 6 + "F", BreakerState.CLOSED),
        ("FFS" * 6 + "FF", BreakerState.OPEN),
        ("SF" * 10, BreakerState.CLOSED),
        ("SF" * 10 + "F", BreakerState.OPEN),
        # Nineteen verdicts and a thousand that are none.
        ("FFS" * 6 + "F" + "X" * 1000, BreakerState.CLOSED),
        # A target that has just answered is not shut out.
        ("SFFF" * 4 + "SSFS", BreakerState.CLOSED),
    ],
)
def test_it_opens_after_five_failures_in_a_row_or_more_than_half_of_twenty(calls: str, state: BreakerState) -> None:
    breaker = make()
    for letter in calls:
        call(breaker, 1.0, {"S": SUCCESS, "F": FAILURE, "X": EXCLUDED}[letter])
    assert breaker.state(1.0) is state


@pytest.mark.parametrize("threshold", [1, 2, 3, 7])
def test_it_opens_after_exactly_the_configured_number_of_failures(threshold: int) -> None:
    breaker = make(failure_threshold=threshold)
    for _ in range(threshold - 1):
        call(breaker, 1.0, FAILURE)
        assert breaker.state(1.0) is BreakerState.CLOSED
    call(breaker, 1.0, FAILURE)
    assert breaker.state(1.0) is BreakerState.OPEN
    assert breaker.allow(1.0) is None
    assert breaker.trips_total == 1
    assert breaker.failures_total == threshold


def test_one_failure_of_one_call_does_not_trip_the_rate_rule() -> None:
    breaker = make()
    call(breaker, 1.0, FAILURE)
    assert breaker.state(1.0) is BreakerState.CLOSED


@pytest.mark.parametrize(
    ("moments", "state"),
    [
        ([0, 1, 2, 3, 30], BreakerState.OPEN),
        ([0, 1, 2, 3, 31], BreakerState.CLOSED),
        ([0, 10, 20, 30, 40], BreakerState.CLOSED),
        ([0, 7.5, 15, 22.5, 30], BreakerState.OPEN),
        ([0, 31, 62, 93, 124, 155], BreakerState.CLOSED),
    ],
)
def test_failures_spread_beyond_the_interval_do_not_open_it(moments: list[float], state: BreakerState) -> None:
    breaker = make(interval=30.0)
    for moment in moments:
        call(breaker, 100 + moment, FAILURE)
    assert breaker.state(100 + moments[-1]) is state


def test_calls_that_hang_longer_than_the_interval_still_open_it() -> None:
    breaker = make(interval=30.0)
    for number in range(5):
        assert breaker.state(number * 120.0) is BreakerState.CLOSED
        call(breaker, number * 120.0, FAILURE, lasting=120.0)
    assert breaker.state(600.0) is BreakerState.OPEN


def test_the_failure_rate_forgets_each_interval() -> None:
    breaker = make(interval=30.0)
    for _ in range(6):  # 12 of 18 in the first window, 4 of 6 in the second
        for verdict in (FAILURE, FAILURE, SUCCESS):
            call(breaker, 0.0, verdict)
    for _ in range(2):
        for verdict in (FAILURE, FAILURE, SUCCESS):
            call(breaker, 30.1, verdict)
    assert breaker.state(30.1) is BreakerState.CLOSED


def test_without_an_interval_nothing_is_forgotten() -> None:
    breaker = make(interval=0.0)
    for day in range(5):
        call(breaker, day * 86400.0, FAILURE)
    assert breaker.state(4 * 86400.0) is BreakerState.OPEN


def test_ten_thousand_cancels_bad_requests_and_rate_limits_keep_it_closed() -> None:
    breaker = make()
    for number in range(10_000):
        call(breaker, number * 0.001, EXCLUDED)
    assert breaker.state(10.0) is BreakerState.CLOSED
    assert breaker.failures_total == 0
    assert breaker.take_transitions() == []


def test_half_open_lets_one_call_of_five_hundred_through() -> None:
    breaker = tripped()
    assert breaker.allow(9.9) is None
    permits = [breaker.allow(10.0) for _ in range(500)]
    assert [permit is not None for permit in permits] == [True] + [False] * 499
    assert permits[0] is not None
    assert permits[0].probe


def test_one_good_probe_closes_it() -> None:
    breaker = tripped()
    call(breaker, 10.0, SUCCESS, lasting=1.0)
    assert breaker.state(11.0) is BreakerState.CLOSED
    assert all(breaker.allow(11.0) for _ in range(500))


@pytest.mark.parametrize("before", ["FFFFF", "FFS" * 6 + "FF"])
def test_a_recovered_target_begins_with_a_clean_sheet(before: str) -> None:
    breaker = make(timeout=1.0)
    for letter in before:
        call(breaker, 0.0, FAILURE if letter == "F" else SUCCESS)
    call(breaker, 1.0, SUCCESS)
    for _ in range(4):
        call(breaker, 1.0, FAILURE)
    assert breaker.state(1.0) is BreakerState.CLOSED
    call(breaker, 1.0, FAILURE)
    assert breaker.state(1.0) is BreakerState.OPEN


def test_a_failed_probe_doubles_the_wait_up_to_ten_seconds() -> None:
    breaker = tripped(timeout=2.0)
    now = 0.0
    for wait in (2, 4, 8, 10, 10, 10):
        assert breaker.allow(now + wait - 0.1) is None
        assert breaker.state(now + wait - 0.1) is BreakerState.OPEN
        now += wait
        assert breaker.state(now) is BreakerState.HALF_OPEN
        call(breaker, now, FAILURE)
        assert breaker.state(now) is BreakerState.OPEN
    assert breaker.trips_total == 1
    assert breaker.failures_total == 5 + 6


def test_a_timeout_above_ten_seconds_is_kept() -> None:
    breaker = tripped(timeout=90.0)
    call(breaker, 90.0, FAILURE)
    assert not breaker.available(90.0 + 89.9)
    assert breaker.available(90.0 + 90.0)


def test_the_wait_is_up_to_a_fifth_shorter() -> None:
    waits = []
    for seed in range(300):
        breaker = make(failure_threshold=1, timeout=10.0)
        permit = breaker.allow(0.0)
        assert permit is not None
        breaker.record(permit, 0.0, FAILURE, random.Random(seed))
        waits.append(next(tenth / 10 for tenth in range(200) if breaker.available(tenth / 10)))
    assert 8.0 <= min(waits) < 8.3
    assert 9.8 < max(waits) <= 10.0


@pytest.mark.parametrize(
    ("second_trip", "wait"),
    [
        (3.9, 8.0),  # still in slow start: the recovery has failed
        (4.0, 2.0),
        (500.0, 2.0),
    ],
)
def test_the_wait_is_short_again_once_a_recovery_has_lasted(second_trip: float, wait: float) -> None:
    breaker = tripped(timeout=2.0)
    call(breaker, 2.0, FAILURE)  # the next wait is 4 s
    call(breaker, 30.0, SUCCESS)
    for _ in range(5):
        call(breaker, 30.0 + second_trip, FAILURE)
    assert not breaker.available(30.0 + second_trip + wait - 0.1)
    assert breaker.available(30.0 + second_trip + wait)
    assert breaker.trips_total == 2


def test_a_probe_whose_client_leaves_frees_the_slot_and_judges_nothing() -> None:
    breaker = tripped()
    for _ in range(99):
        call(breaker, 10.0, EXCLUDED)
        assert breaker.state(10.0) is BreakerState.HALF_OPEN
    call(breaker, 10.0, SUCCESS)
    assert breaker.state(10.0) is BreakerState.CLOSED


def test_after_max_requests_probes_without_a_verdict_it_waits_once_more_and_no_longer() -> None:
    breaker = tripped(max_requests=3, timeout=10.0)
    for phase in (10.0, 20.0, 30.0):
        for _ in range(3):
            call(breaker, phase, EXCLUDED)
        assert breaker.state(phase) is BreakerState.OPEN
        assert breaker.allow(phase + 9.9) is None
    call(breaker, 40.0, SUCCESS)
    assert breaker.state(40.0) is BreakerState.CLOSED


def test_slow_successes_that_land_after_the_trip_do_not_close_it() -> None:
    breaker = make()
    slow = [breaker.allow(0.0) for _ in range(50)]
    for _ in range(5):
        call(breaker, 1.0, FAILURE)
    for permit in slow:
        assert permit is not None
        breaker.record(permit, 2.0, SUCCESS, RNG)
    assert breaker.state(2.0) is BreakerState.OPEN
    assert not breaker.available(2.0)


def test_slow_failures_that_land_after_the_recovery_do_not_open_it_again() -> None:
    breaker = make()
    slow = [breaker.allow(0.0) for _ in range(50)]
    for _ in range(5):
        call(breaker, 1.0, FAILURE)
    call(breaker, 11.0, SUCCESS)
    for permit in slow:
        assert permit is not None
        breaker.record(permit, 12.0, FAILURE, RNG)
    assert breaker.state(12.0) is BreakerState.CLOSED
    assert breaker.failures_total == 5


def test_a_probe_recorded_twice_does_not_free_the_slot_of_another() -> None:
    breaker = tripped()
    first = breaker.allow(10.0)
    assert first is not None
    breaker.record(first, 10.0, EXCLUDED, RNG)
    second = breaker.allow(10.0)
    assert second is not None
    breaker.record(first, 10.0, EXCLUDED, RNG)
    assert breaker.allow(10.0) is None
    breaker.record(first, 10.0, SUCCESS, RNG)
    assert breaker.state(10.0) is BreakerState.HALF_OPEN


def test_a_probe_that_hangs_holds_up_the_next_one_for_ten_seconds() -> None:
    breaker = tripped()
    hanging = breaker.allow(10.0)
    assert hanging is not None
    assert (breaker.allow(19.9), breaker.available_at(19.9)) == (None, 20.0)
    second = breaker.allow(20.0)
    assert second is not None
    assert second.probe
    assert breaker.allow(20.0) is None
    # What the first one says at last is old, unless it is good.
    breaker.record(hanging, 25.0, FAILURE, RNG)
    assert breaker.state(25.0) is BreakerState.HALF_OPEN
    breaker.record(second, 25.0, SUCCESS, RNG)
    assert breaker.state(25.0) is BreakerState.CLOSED


def test_a_probe_that_hung_and_comes_through_closes_it() -> None:
    breaker = tripped()
    hanging, second = breaker.allow(10.0), breaker.allow(20.0)
    assert hanging is not None
    assert second is not None
    breaker.record(hanging, 25.0, SUCCESS, RNG)
    assert breaker.state(25.0) is BreakerState.CLOSED
    breaker.record(second, 26.0, FAILURE, RNG)
    assert breaker.state(26.0) is BreakerState.CLOSED


def test_the_time_a_probe_took_to_fail_is_part_of_the_wait() -> None:
    for lasting, opens in ((0.0, 20.0), (5.0, 20.0), (9.0, 20.0), (60.0, 70.0)):
        breaker = tripped()
        call(breaker, 10.0, FAILURE, lasting=lasting)
        assert breaker.available_at(10.0 + lasting) == opens


def test_it_tells_when_it_lets_the_next_call_through() -> None:
    breaker = make()
    assert (breaker.available_at(3.0), breaker.awaits_probe(3.0)) == (3.0, False)
    breaker = tripped()
    assert (breaker.available_at(3.0), breaker.awaits_probe(3.0)) == (10.0, False)
    assert (breaker.available_at(12.0), breaker.awaits_probe(12.0)) == (12.0, True)
    breaker.allow(12.0)
    assert (breaker.available_at(13.0), breaker.awaits_probe(13.0)) == (22.0, False)


def test_a_recovered_target_gets_its_share_back_over_four_seconds() -> None:
    breaker = make()
    assert breaker.share(0.0) == 1.0
    breaker = tripped()
    call(breaker, 10.0, SUCCESS, lasting=2.0)
    shares = [breaker.share(12.0 + seconds) for seconds in (0, 1, 2, 4, 1000)]
    assert shares == pytest.approx([0.1, 0.325, 0.55, 1.0, 1.0])


def test_asking_changes_nothing() -> None:
    breaker = tripped()
    before = repr(breaker)
    assert breaker.available(10.0)
    assert breaker.state(10.0) is BreakerState.HALF_OPEN
    assert breaker.share(10.0) == 1.0
    assert repr(breaker) == before
    assert breaker.take_transitions() == []


def test_each_change_of_state_is_told_once_with_its_cause() -> None:
    breaker = make(failure_threshold=2)
    call(breaker, 1.0, FAILURE)
    call(breaker, 1.5, FAILURE)
    for _ in range(10_000):
        assert breaker.allow(2.0) is None
    call(breaker, 11.5, FAILURE)
    call(breaker, 21.5, SUCCESS)
    told = breaker.take_transitions()
    assert [(change.old, change.new, change.cause, change.at) for change in told] == [
        (BreakerState.CLOSED, BreakerState.OPEN, Cause.IN_A_ROW, 1.5),
        (BreakerState.OPEN, BreakerState.HALF_OPEN, Cause.TIME_UP, 11.5),
        (BreakerState.HALF_OPEN, BreakerState.OPEN, Cause.PROBE_FAILED, 11.5),
        (BreakerState.OPEN, BreakerState.HALF_OPEN, Cause.TIME_UP, 21.5),
        (BreakerState.HALF_OPEN, BreakerState.CLOSED, Cause.PROBE_SUCCEEDED, 21.5),
    ]
    assert told[0].detail == "2 failures in a row, next probe in 10.0 s"
    assert told[1].detail == "open for 10.0 s"
    assert breaker.take_transitions() == []


def test_it_reads_like_a_line_of_a_dashboard() -> None:
    breaker = make()
    call(breaker, 1.0, SUCCESS)
    call(breaker, 1.0, FAILURE)
    assert repr(breaker) == "<Breaker closed [1 failures in a row, 1 of 2 failed]>"
    breaker = tripped(5.0)
    assert repr(breaker) == "<Breaker open [until 15.0, wait 10 s]>"
    breaker.allow(15.0)
    assert repr(breaker) == "<Breaker half-open [1 of 100 probes, one in flight]>"


def test_a_reset_closes_an_open_breaker_and_what_was_begun_before_says_nothing_of_it() -> None:
    breaker = make(failure_threshold=2)
    hanging = breaker.allow(0.0)
    assert hanging is not None
    for _ in range(2):
        call(breaker, 1.0, FAILURE)
    assert breaker.state(2.0) is BreakerState.OPEN
    breaker.reset(2.0)
    assert (breaker.state(2.0), breaker.share(2.0)) == (BreakerState.CLOSED, 1.0)
    breaker.record(hanging, 3.0, FAILURE, RNG)
    call(breaker, 3.0, FAILURE)
    assert breaker.state(3.0) is BreakerState.CLOSED
    call(breaker, 3.0, FAILURE)
    assert breaker.state(3.0) is BreakerState.OPEN
    assert [change.cause for change in breaker.take_transitions()] == [Cause.IN_A_ROW, Cause.RESET, Cause.IN_A_ROW]


def test_a_reset_of_a_closed_breaker_forgets_the_failures_there_were() -> None:
    breaker = make(failure_threshold=2)
    call(breaker, 1.0, FAILURE)
    breaker.reset(1.0)
    call(breaker, 1.0, FAILURE)
    assert breaker.state(1.0) is BreakerState.CLOSED
    assert breaker.take_transitions() == []


class BreakerMachine(RuleBasedStateMachine):
    """Calls begin, end in any order or never, and time passes."""

    @initialize(
        max_requests=st.integers(1, 4),
        interval=st.sampled_from([0.0, 5.0, 30.0]),
        timeout=st.sampled_from([1.0, 10.0, 90.0]),
        threshold=st.integers(1, 6),
        seed=st.integers(0, 2**32),
    )
    def begin(self, max_requests: int, interval: float, timeout: float, threshold: int, seed: int) -> None:
        self.breaker = Breaker(max_requests, interval, timeout, threshold)
        self.max_requests = max_requests
        self.rng = random.Random(seed)
        self.now = 1000.0
        self.last = BreakerState.CLOSED
        self.running: list[Permit] = []

    @rule(seconds=st.sampled_from([0.0, 0.5, 4.0, 11.0, 35.0, 110.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(count=st.integers(1, 8))
    def calls_begin(self, count: int) -> None:
        for _ in range(count):
            expected = self.breaker.available(self.now)
            permit = self.breaker.allow(self.now)
            assert (permit is not None) is expected
            if permit is not None:
                assert permit.probe is (self.breaker.state(self.now) is BreakerState.HALF_OPEN)
                self.running.append(permit)

    @precondition(lambda self: self.running)
    @rule(pick=st.integers(0, 10_000), verdict=st.sampled_from(Judgement))
    def a_call_ends(self, pick: int, verdict: Judgement) -> None:
        permit = self.running.pop(pick % len(self.running))
        before, shown = self.breaker.state(self.now), repr(self.breaker)
        stale = permit.generation != self.breaker._generation
        self.breaker.record(permit, self.now, verdict, self.rng)
        if stale:
            assert (self.breaker.state(self.now), repr(self.breaker)) == (before, shown)
        elif permit.probe and verdict is SUCCESS:
            assert self.breaker.state(self.now) is BreakerState.CLOSED
        elif permit.probe and verdict is FAILURE:
            # That of one which hung while another was sent is nothing new; a wait may be over as soon as it begins.
            hung = any(other.probe and other.at > permit.at for other in self.running)
            assert hung or self.breaker._state is BreakerState.OPEN
        elif verdict is not FAILURE and not permit.probe:
            assert self.breaker.state(self.now) is before

    @rule(verdict=st.sampled_from(Judgement))
    def all_calls_end(self, verdict: Judgement) -> None:
        while self.running:
            self.a_call_ends(0, verdict)

    @rule()
    def an_operator_resets_it(self) -> None:
        self.breaker.reset(self.now)
        assert self.breaker.state(self.now) is BreakerState.CLOSED
        assert self.breaker.share(self.now) == 1

    @invariant()
    def a_second_probe_is_sent_only_while_the_first_hangs(self) -> None:
        sent = sorted(permit.at for permit in self.running if permit.probe)
        assert all(second - first >= PROBE_TIME for first, second in itertools.pairwise(sent))

    @invariant()
    def no_more_probes_in_a_phase_than_allowed(self) -> None:
        assert self.breaker._probes <= self.max_requests

    @invariant()
    def the_share_is_above_nothing_and_at_most_all(self) -> None:
        assert 0 < self.breaker.share(self.now) <= 1

    @invariant()
    def every_change_is_in_the_table_and_follows_the_last(self) -> None:
        for change in self.breaker.take_transitions():
            assert change.old is self.last
            assert change.new is MOVES[change.old][change.cause]
            self.last = change.new

    def teardown(self) -> None:
        """Whatever has happened: once its calls are gone and time has passed, it can probe, and close."""
        if not hasattr(self, "breaker"):
            return
        while self.running:
            self.breaker.record(self.running.pop(), self.now, EXCLUDED, self.rng)
        self.now += 2 * 90.0
        permit = self.breaker.allow(self.now)
        assert permit is not None
        self.breaker.record(permit, self.now, SUCCESS, self.rng)
        assert self.breaker.state(self.now) is BreakerState.CLOSED


BreakerMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


TestAnySequenceOfCalls = BreakerMachine.TestCase
