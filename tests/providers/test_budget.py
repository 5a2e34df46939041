"""The retry budget: extra attempts never cost more than their share."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.providers.budget import RetryBudget


def withdrawals(budget: RetryBudget, now: float, wanted: int = 1000) -> int:
    return sum(budget.withdraw(now) for _ in range(wanted))


@pytest.mark.parametrize(
    ("ratio", "requests", "granted"),
    [(0.2, 0, 0), (0.2, 4, 0), (0.2, 5, 1), (0.2, 100, 20), (0.05, 19, 0), (0.05, 20, 1), (0.1, 10, 1), (1.0, 7, 7)],
)
def test_requests_pay_for_their_share_of_retries(ratio: float, requests: int, granted: int) -> None:
    budget = RetryBudget(ratio, reserve=0.0, trickle=0.0)
    for _ in range(requests):
        budget.note_request(1.0)
    assert withdrawals(budget, 1.0) == granted


def test_a_fresh_budget_has_its_reserve() -> None:
    assert withdrawals(RetryBudget(0.2), 1.0) == 20


def test_an_empty_budget_gets_one_token_a_second() -> None:
    budget = RetryBudget(0.2)
    withdrawals(budget, 100.0)
    assert [withdrawals(budget, now) for now in (100.9, 101.0, 101.5, 102.0, 105.0)] == [0, 1, 0, 1, 3]


def test_a_quiet_hour_saves_up_no_more_than_the_cap() -> None:
    budget = RetryBudget(0.2, cap=100.0)
    budget.note_request(0.0)
    assert withdrawals(budget, 3600.0) == 100


def test_when_everything_fails_the_providers_see_a_fifth_more_and_not_three_times_as_much() -> None:
    budget = RetryBudget(0.2)
    sent = 0
    for number in range(60_000):  # a minute at 1000 a second, each answered 503 and willing to retry twice
        now = number / 1000
        budget.note_request(now)
        sent += 1
        for _ in range(2):
            if not budget.withdraw(now):
                break
            sent += 1
    assert sent <= 60_000 * 1.2 + 20 + 60
    assert sent >= 60_000 * 1.2


def test_it_counts_what_it_granted_and_refused() -> None:
    budget = RetryBudget(0.2, reserve=2.0)
    assert [budget.withdraw(1.0) for _ in range(5)] == [True, True, False, False, False]
    assert (budget.granted_total, budget.refused_total) == (2, 3)
    assert budget.tokens(1.5) == 0.5
    assert repr(budget) == "<RetryBudget 0.5 tokens [2 granted, 3 refused]>"


SCHEDULES = st.lists(st.tuples(st.sampled_from([0.0, 0.001, 0.3, 5.0, 1000.0]), st.booleans()), max_size=300)


@given(
    ratio=st.floats(0, 1),
    reserve=st.floats(0, 50),
    trickle=st.floats(0, 5),
    cap=st.floats(0, 100),
    schedule=SCHEDULES,
)
def test_no_schedule_is_granted_more_than_reserve_and_trickle_and_share(
    ratio: float, reserve: float, trickle: float, cap: float, schedule: list[tuple[float, bool]]
) -> None:
    budget = RetryBudget(ratio, reserve, trickle, cap)
    now = start = 50.0
    requests = granted = 0
    for pause, is_request in schedule:
        now += pause
        if is_request:
            requests += 1
            budget.note_request(now)
        else:
            granted += budget.withdraw(now)
        if requests or granted:
            assert granted <= reserve + trickle * (now - start) + ratio * requests + 1e-6
        assert 0 <= budget.tokens(now) <= cap
