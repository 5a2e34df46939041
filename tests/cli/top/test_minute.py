"""The figures of the last minute, second by second."""

from collections import Counter

import pytest

from proxy.cli.top.calls import call_of
from proxy.cli.top.minute import ALL, Figures, Minute, quantile, rounded
from tests.cli.top.told import NOON, call, failed, refused, told


def test_calls_are_counted_for_all_and_for_their_provider_and_key() -> None:
    minute = Minute()
    minute.add(call(), NOON)
    minute.add(call(NOON - 3, principal="cron"), NOON)
    assert [minute.of(owner).calls for owner in (ALL, ("key", "web"), ("provider", "openai"))] == [2, 1, 2]
    whole = minute.of(ALL)
    assert (whole.prompt, whole.completion, whole.cost, whole.first) == (20, 40, 3000, Counter({120.0: 2}))


def test_how_calls_ended_is_told_apart() -> None:
    minute = Minute()
    ends = (refused(), refused(error_code="invalid_json"), failed(), told(outcome="cut"), told(outcome="client_gone"))
    for each in ends:
        minute.add(call_of(each), NOON)
    whole = minute.of(ALL)
    assert (whole.calls, whole.refused, whole.limited, whole.failed, whole.gone) == (5, 2, 1, 2, 1)


def test_a_provider_that_lost_an_attempt_is_charged_with_it_and_not_the_one_that_answered() -> None:
    minute = Minute()
    tries = [{"provider": "openai", "failure": "upstream_timeout"}, {"provider": "azure", "failure": ""}]
    minute.add(call(attempts=tries, provider="azure"), NOON)
    openai, azure = minute.of(("provider", "openai")), minute.of(("provider", "azure"))
    assert (openai.attempts, openai.lost, openai.calls) == (1, 1, 0)
    assert (azure.attempts, azure.lost, azure.calls) == (1, 0, 1)


def test_a_minute_later_nothing_is_left() -> None:
    minute = Minute()
    minute.add(call(), NOON)
    minute.add(call(NOON + 30), NOON + 30)
    minute.forget(NOON + 59)
    assert minute.of(ALL).calls == 2
    minute.forget(NOON + 61)
    assert (minute.of(ALL).calls, minute.of(ALL).first) == (1, Counter({120.0: 1}))
    minute.forget(NOON + 100)
    assert (minute.of(ALL), minute._sums, minute._seconds) == (Figures(), {}, {})


def test_what_ended_before_the_minute_is_not_counted_and_what_ended_in_the_future_is_counted_now() -> None:
    minute = Minute()
    minute.add(call(NOON - 61), NOON)
    assert minute.of(ALL).calls == 0
    minute.add(call(NOON + 5), NOON)
    minute.forget(NOON + 59)
    assert minute.of(ALL).calls == 1
    minute.forget(NOON + 60)
    assert minute.of(ALL).calls == 0


def test_figures_that_were_read_do_not_change_any_more() -> None:
    minute = Minute()
    minute.add(call(), NOON)
    before = minute.of(ALL)
    minute.add(call(request_id="2"), NOON)
    assert (before.calls, before.first.total(), minute.of(ALL).calls) == (1, 1, 2)


def test_ten_thousand_calls_take_no_more_room_than_their_different_times() -> None:
    minute = Minute()
    for number in range(10_000):
        minute.add(call(NOON + number % 60, latency_ms=1.0 + number, principal=f"key{number % 5}"), NOON + 60)
    assert len(minute.of(ALL).took) <= 4 * 90
    assert len(minute._seconds) <= 60
    assert len(minute._sums) == 1 + 5 + 1


@pytest.mark.parametrize(
    ("times", "share", "found"),
    [
        ({}, 0.5, None),
        ({7.0: 1}, 0.99, 7.0),
        ({10.0: 50, 20.0: 50}, 0.5, 10.0),
        ({10.0: 50, 20.0: 45, 900.0: 5}, 0.95, 20.0),
        ({10.0: 50, 20.0: 45, 900.0: 5}, 0.99, 900.0),
    ],
)
def test_a_percentile_is_the_time_within_which_that_share_lies(
    times: dict[float, int], share: float, found: float | None
) -> None:
    assert quantile(Counter(times), share) == found


def test_times_are_kept_to_two_digits() -> None:
    assert [rounded(each) for each in (0.0, 1.26, 123.4, 98765.0)] == [0.0, 1.3, 120.0, 99000.0]
