"""Token buckets, on a clock that is only a number."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.limits.bucket import Bucket

UNITS = st.integers(1, 10**9)
RATES = st.floats(1e-3, 1e9)
STEPS = st.lists(st.tuples(st.floats(0, 3600), st.floats(0, 1)), max_size=20)
"""Pauses in seconds, and the part of the capacity taken after each."""


def played(capacity: int, rate: float, began: float, steps: list[tuple[float, float]]) -> tuple[Bucket, float]:
    """A bucket with a past that left it empty or in debt, and the moment its past ends."""
    bucket, now = Bucket(capacity, rate, began), began
    for pause, part in steps:
        now += pause
        bucket.change(part * capacity, now)
    bucket.change(max(0.0, bucket.level(now)), now)
    return bucket, now


def test_a_new_bucket_is_full() -> None:
    bucket = Bucket(60, 1.0, 100.0)
    assert (bucket.level(100.0), bucket.wait(60, 100.0), bucket.reset(100.0)) == (60, 0.0, 0.0)


def test_what_is_taken_comes_back_continuously() -> None:
    bucket = Bucket(60, 2.0, 100.0)
    bucket.change(30, 100.0)
    assert [bucket.level(100.0 + seconds) for seconds in (0, 0.25, 0.5, 5, 14.5)] == [30, 30.5, 31, 40, 59]


def test_a_bucket_never_holds_more_than_its_capacity() -> None:
    bucket = Bucket(60, 2.0, 100.0)
    bucket.change(30, 100.0)
    assert bucket.level(1e9) == 60
    bucket.change(-1, 1e9)
    assert bucket.level(1e9) == 60


def test_a_bucket_in_debt_is_paid_off_before_anything_can_be_taken() -> None:
    bucket = Bucket(60, 2.0, 100.0)
    bucket.change(100, 100.0)
    assert (bucket.level(100.0), bucket.wait(1, 100.0), bucket.reset(100.0)) == (-40, 20.5, 50)
    assert (bucket.level(120.0), bucket.wait(1, 120.0), bucket.reset(120.0)) == (0, 0.5, 30)


def test_a_refund_shortens_the_wait() -> None:
    bucket = Bucket(60, 2.0, 100.0)
    bucket.change(60, 100.0)
    assert bucket.wait(10, 100.0) == 5.0
    bucket.change(-6, 100.0)
    assert bucket.wait(10, 100.0) == 2.0


def test_nothing_can_be_waited_for_that_is_there_already() -> None:
    bucket = Bucket(60, 2.0, 100.0)
    bucket.change(50, 100.0)
    assert [bucket.wait(amount, 100.0) for amount in (0, 9, 10, 11)] == [0.0, 0.0, 0.0, 0.5]


def test_a_clock_that_goes_back_refills_nothing_and_takes_nothing() -> None:
    bucket = Bucket(60, 2.0, 100.0)
    bucket.change(30, 100.0)
    assert bucket.level(40.0) == 30
    # The time it has been through already is not counted a second time.
    assert [bucket.level(100.0), bucket.level(101.0)] == [30, 32]


def test_a_larger_bucket_begins_with_what_was_left_and_fills_at_the_new_rate() -> None:
    bucket = Bucket(60, 2.0, 100.0)
    bucket.change(30, 100.0)
    bucket.resize(600, 10.0, 105.0)
    assert [bucket.level(105.0), bucket.level(106.0), bucket.level(1000.0)] == [40, 50, 600]


def test_a_smaller_bucket_keeps_as_much_as_fits() -> None:
    bucket = Bucket(60, 2.0, 100.0)
    bucket.change(10, 100.0)
    bucket.resize(20, 1.0, 100.0)
    assert (bucket.level(100.0), bucket.reset(100.0)) == (20, 0)


def test_a_new_size_forgives_no_debt() -> None:
    bucket = Bucket(60, 2.0, 100.0)
    bucket.change(100, 100.0)
    bucket.resize(6000, 1.0, 100.0)
    assert bucket.level(100.0) == -40


def test_it_says_how_it_stands() -> None:
    bucket = Bucket(60, 2.0, 100.0)
    bucket.change(0.5, 100.25)
    assert repr(bucket) == "<Bucket 59.5 of 60 at 100.250, 2/s>"


@settings(deadline=None)
@given(UNITS, RATES, st.floats(0, 1e7), STEPS, st.floats(0.001, 1))
def test_after_the_wait_it_tells_there_is_enough_and_after_nine_tenths_of_it_there_is_not(
    capacity: int, rate: float, began: float, steps: list[tuple[float, float]], part: float
) -> None:
    amount = part * capacity
    bucket, now = played(capacity, rate, began, steps)
    wait = bucket.wait(amount, now)
    if wait < 1e-5 + 1e-4 / rate:
        return  # The moments are closer than floats tell apart.
    assert bucket.wait(amount, now + 0.9 * wait) == pytest.approx(0.1 * wait, rel=0.01)
    assert bucket.wait(amount, now + wait) < 1e-7 + 1e-6 / rate


@settings(deadline=None)
@given(UNITS, RATES, st.floats(0, 1e7), STEPS)
def test_after_its_reset_it_is_full_and_not_before(
    capacity: int, rate: float, began: float, steps: list[tuple[float, float]]
) -> None:
    bucket, now = played(capacity, rate, began, steps)
    reset = bucket.reset(now)
    if reset < 1e-5 + 1e-4 / rate:
        return
    assert bucket.level(now + 0.9 * reset) < capacity
    assert bucket.level(now + reset) == pytest.approx(capacity, abs=1e-6 + rate * 1e-7)


@settings(deadline=None)
@given(UNITS, RATES, st.floats(0, 1e7), STEPS)
def test_no_schedule_of_looks_makes_it_refill_faster(
    capacity: int, rate: float, began: float, steps: list[tuple[float, float]]
) -> None:
    looked_at, untouched = Bucket(capacity, rate, began), Bucket(capacity, rate, began)
    looked_at.change(2 * capacity, began)
    untouched.change(2 * capacity, began)
    now = began
    for pause, _ in steps:
        now += pause
        looked_at.level(now)
    assert looked_at.level(now) == pytest.approx(untouched.level(now), rel=1e-9, abs=1e-6 + rate * 1e-7)
