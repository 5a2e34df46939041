"""The health of a provider, from the results of its checks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.providers.health import ActiveHealth


def test_an_unchecked_provider_counts_as_healthy() -> None:
    health = ActiveHealth(failure_threshold=2)
    assert health.healthy
    assert health.last_check is None
    assert (health.consecutive_fails, health.latency_ms) == (0, 0)


@pytest.mark.parametrize(
    ("threshold", "checks", "healthy"),
    [
        (2, "-", True),
        (2, "--", False),
        (2, "-+-", True),
        (2, "--+", True),
        (2, "--+-", True),
        (1, "-", False),
        (1, "-+", True),
        (3, "--", True),
        (3, "---", False),
    ],
)
def test_it_is_unhealthy_after_the_threshold_and_healthy_after_the_first_success(
    threshold: int, checks: str, healthy: bool
) -> None:
    health = ActiveHealth(threshold)
    for check in checks:
        health.record(check == "+", 1.0, 0.1)
    assert health.healthy is healthy


def test_the_numbers_of_the_health_page_follow_the_checks() -> None:
    health = ActiveHealth(failure_threshold=2)
    rows = []
    for now, ok, latency in [(15.0, False, 5.0), (30.0, False, 0.0123), (45.0, True, 0.2), (60.0, False, 0.0006)]:
        health.record(ok, now, latency)
        rows.append((health.last_check, health.consecutive_fails, health.latency_ms))
    assert rows == [(15.0, 1, 5000), (30.0, 2, 12), (45.0, 0, 200), (60.0, 1, 1)]


def test_each_change_is_told_once() -> None:
    health = ActiveHealth(failure_threshold=2)
    checks = [False] * 99 + [True, True]
    changed = {at: health.healthy for at, ok in enumerate(checks, 1) if health.record(ok, float(at), 0.1)}
    assert changed == {2: False, 100: True}


def test_it_reads_like_a_line_of_a_dashboard() -> None:
    health = ActiveHealth(failure_threshold=2)
    assert repr(health) == "<ActiveHealth unknown>"
    health.record(False, 1.0, 0.25)
    assert repr(health) == "<ActiveHealth healthy [1 failed in a row, 250 ms]>"
    health.record(False, 2.0, 0.25)
    assert repr(health) == "<ActiveHealth unhealthy [2 failed in a row, 250 ms]>"


@given(failures=st.integers(1, 4), checks=st.lists(st.booleans(), max_size=60))
def test_it_changes_only_after_a_whole_run_of_bad_checks_or_one_good_one(failures: int, checks: list[bool]) -> None:
    health = ActiveHealth(failures)
    healthy = True
    for number, ok in enumerate(checks, 1):
        changed = health.record(ok, float(number), 0.1)
        needed = failures if healthy else 1
        run = checks[max(0, number - needed) : number]
        expected = len(run) == needed and all(result is not healthy for result in run)
        assert changed is expected
        healthy ^= expected
        assert health.healthy is healthy
