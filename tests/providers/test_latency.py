"""The latency signal: quick to believe the worse, slow to believe the better."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.providers.latency import MAX_PENALTY, PENALTY, PeakEwma


def test_a_worse_sample_counts_at_once() -> None:
    latency = PeakEwma()
    latency.observe(0.3, 0.0)
    latency.observe(2.0, 0.001)
    assert latency.score(0.001, 0) == 2.0


def test_better_samples_bring_it_down_with_time_and_not_with_their_number() -> None:
    latency = PeakEwma(decay=10.0)
    latency.observe(2.0, 0.0)
    for _ in range(1000):
        latency.observe(0.5, 0.0)
    assert latency.score(0.0, 0) == 2.0
    latency.observe(0.5, 10.0)
    assert latency.score(10.0, 0) == pytest.approx(0.5 + 1.5 / math.e)
    for tenth in range(1000):
        latency.observe(0.5, 10.0 + tenth / 10)
    assert latency.score(109.9, 0) == pytest.approx(0.5, abs=0.001)


@pytest.mark.parametrize(("in_flight", "score"), [(0, 0.5), (1, 1.0), (9, 5.0)])
def test_what_is_in_flight_comes_on_top(in_flight: int, score: float) -> None:
    latency = PeakEwma()
    latency.observe(0.5, 3.0)
    assert latency.score(3.0, in_flight) == score


def test_in_silence_a_bad_value_fades_so_that_the_target_is_asked_again() -> None:
    latency = PeakEwma(decay=10.0)
    latency.observe(30.0, 0.0)
    assert latency.score(10.0, 0) == pytest.approx(30 / math.e)
    assert latency.score(100.0, 0) < 0.002


def test_only_one_call_goes_out_to_find_out() -> None:
    slow, good = PeakEwma(), PeakEwma()
    slow.observe(30.0, 0.0)
    good.observe(0.3, 50.0)
    assert slow.score(50.0, in_flight=0) < good.score(50.0, in_flight=0)
    assert slow.score(50.0, in_flight=1) > good.score(50.0, in_flight=20)


def test_a_target_never_heard_of_is_tried_once_and_then_has_to_answer() -> None:
    unknown, known = PeakEwma(), PeakEwma()
    known.observe(0.5, 1.0)
    assert unknown.score(1.0, in_flight=0) < known.score(1.0, in_flight=0)
    assert unknown.score(1.0, in_flight=1) > known.score(1.0, in_flight=5)


def test_a_refusal_in_two_milliseconds_looks_slower_than_an_answer_in_eight_hundred() -> None:
    refusing, answering = PeakEwma(), PeakEwma()
    refusing.observe(0.1, 0.0)
    refusing.penalise(0.002)
    answering.observe(0.8, 0.8)
    assert refusing.score(0.8, 0) > answering.score(0.8, 4)


def test_refusals_that_go_on_weigh_more_each_time() -> None:
    latency = PeakEwma()
    scores = []
    for _ in range(6):
        latency.penalise(1.0)
        scores.append(latency.score(1.0, 0))
    assert scores == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0]


def test_a_refusal_never_makes_a_slow_target_look_better() -> None:
    latency = PeakEwma()
    latency.observe(200.0, 1.0)
    latency.penalise(1.0)
    assert latency.score(1.0, 0) == 200.0


def test_it_reads_like_a_line_of_a_dashboard() -> None:
    latency = PeakEwma()
    assert repr(latency) == "<PeakEwma unknown>"
    latency.observe(0.8, 1.0)
    assert repr(latency) == "<PeakEwma 800 ms>"


@given(st.lists(st.tuples(st.floats(0, 100), st.one_of(st.none(), st.floats(0, 100))), min_size=1, max_size=50))
def test_the_score_lies_between_the_last_sample_and_the_worst(steps: list[tuple[float, float | None]]) -> None:
    latency = PeakEwma()
    now = 0.0
    worst = 0.0
    for pause, seconds in steps:
        now += pause
        if seconds is None:
            latency.penalise(now)
            worst = max(worst, min(MAX_PENALTY, max(PENALTY, 2 * worst)))
            assert latency.score(now, 0) >= PENALTY
        else:
            latency.observe(seconds, now)
            worst = max(worst, seconds)
            assert latency.score(now, 0) >= seconds * (1 - 1e-9)
        assert latency.score(now, 0) <= worst * (1 + 1e-9)
        # More in flight is never better, and silence never makes it worse.
        assert latency.score(now, 1) >= latency.score(now, 0)
        assert latency.score(now + 1, 0) <= latency.score(now, 0)
