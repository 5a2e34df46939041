"""Why calls fail, as the error log is told: each cause once a minute, with the number of calls."""

from typing import Any

import pytest

from proxy.core.exchange import AttemptRecord, Exchange, Outcome
from proxy.observe.failing import PERIOD, Failing, is_fault


def call(
    code: str = "upstream_connect_error", provider: str = "a", outcome: Outcome = Outcome.FAILED, name: str = "one"
) -> Exchange:
    exchange = Exchange(name, "POST", 0.0)
    exchange.outcome, exchange.error_code, exchange.model = outcome, code, "m"
    if provider:
        exchange.attempts.append(AttemptRecord(provider, "m", 0.0))
    return exchange


def test_the_first_call_of_a_cause_is_told_at_once_and_those_after_it_once_a_minute_with_their_number() -> None:
    failing = Failing()
    told = failing.note(call(), 100.0)
    assert told is not None
    assert (told.count, told.seconds, told.message) == (1, 0.0, "a call failed at a: upstream_connect_error")
    assert [failing.note(call(), 100.0 + second) for second in range(1, 60)] == [None] * 59
    assert failing.due(159.9) == []
    again = failing.note(call(name="last"), 160.0)
    assert again is not None
    assert (again.count, again.seconds, again.last.id) == (60, 60.0, "last")
    assert again.message == "60 calls failed at a: upstream_connect_error"
    assert failing.waiting == 0


def test_what_failed_before_the_calls_ceased_is_told_when_its_minute_is_over() -> None:
    failing = Failing()
    failing.note(call(), 0.0)
    failing.note(call(name="two"), 5.0)
    assert failing.waiting == 1
    (told,) = failing.due(PERIOD)
    assert (told.count, told.last.id, failing.waiting) == (1, "two", 0)
    assert failing.due(10 * PERIOD) == []


def test_a_cause_that_comes_back_after_a_while_is_told_at_once() -> None:
    failing = Failing()
    failing.note(call(), 0.0)
    back = failing.note(call(), 3600.0)
    assert back is not None
    assert (back.count, back.seconds) == (1, 0.0)
    assert failing.note(call(), 3601.0) is None


def test_causes_are_told_apart_by_code_and_by_provider() -> None:
    failing = Failing()
    calls = [call(), call(provider="b"), call("upstream_timeout"), call("queue_full", provider="")]
    assert all(failing.note(each, 0.0) is not None for each in calls)
    assert [failing.note(each, 1.0) for each in calls] == [None] * 4
    assert [told.count for told in failing.rest(2.0)] == [1, 1, 1, 1]


def test_a_call_that_was_given_too_little_time_is_no_fault() -> None:
    late = call("upstream_timeout")
    assert is_fault(late)
    late.attempts[-1].out_of_time = True
    assert not is_fault(late)


def test_of_calls_that_shared_an_answer_the_one_that_paid_for_it_counts() -> None:
    failing, follower = Failing(), call(provider="")
    follower.shared = "one"
    assert failing.note(follower, 0.0) is None
    assert failing.note(call(), 0.0) is not None
    assert failing.waiting == 0


def test_a_line_says_what_a_machine_sorts_by_and_which_call_was_the_last() -> None:
    told = Failing().note(call(), 0.0)
    assert told is not None
    wanted: dict[str, Any] = {
        "event": "calls_failed",
        "stage": "finalize",
        "error_code": "upstream_connect_error",
        "provider": "a",
        "model": "m",
        "count": 1,
        "request_id": "one",
        "ended_by": "upstream",
    }
    assert wanted.items() <= told.fields().items()


@pytest.mark.parametrize(
    ("code", "outcome", "fault"),
    [
        ("upstream_connect_error", Outcome.FAILED, True),
        ("upstream_truncated", Outcome.CUT, True),
        ("rate_limit_exceeded", Outcome.FAILED, True),
        # That has a line of its own already.
        ("internal_error", Outcome.FAILED, False),
        ("queue_full", Outcome.FAILED, True),
        ("invalid_json", Outcome.REFUSED, False),
        ("rate_limit_exceeded", Outcome.REFUSED, False),
        ("", Outcome.CLIENT_GONE, False),
        ("", Outcome.OK, False),
        ("loop_detected", Outcome.FAILED, False),
        ("http_version_not_supported", Outcome.FAILED, False),
        ("shutting_down", Outcome.CUT, False),
    ],
)
def test_a_fault_is_the_gateways_or_a_providers_and_no_clients(code: str, outcome: Outcome, fault: bool) -> None:
    assert is_fault(call(code, outcome=outcome)) is fault
