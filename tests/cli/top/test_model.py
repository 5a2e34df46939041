"""What is known of a gateway, told by literal events and pages, at moments that are given."""

import pytest

from proxy.cli.top.model import Hour, Model
from tests.cli.top.told import NOON, failed, key, model, picture, provider, told


def test_a_call_that_ends_is_in_the_next_picture() -> None:
    made = model()
    before = made.picture(NOON)
    made.happened("call", told(), NOON)
    after = made.picture(NOON)
    assert (len(before.calls), before.figures.calls) == (0, 0)
    assert (len(after.calls), after.figures.calls) == (1, 1)


def test_a_call_that_is_told_twice_is_counted_once() -> None:
    made = model(told())
    made.recalled({"calls": [told()], "next": None}, 1000, NOON)
    assert made.picture(NOON).figures.calls == 1


def test_the_figures_are_of_a_minute_when_every_call_of_it_is_known() -> None:
    made = Model()
    made.recalled({"calls": [told(NOON - 1), told(NOON - 2)], "next": None}, 1000, NOON)
    assert (made.picture(NOON).span, made.picture(NOON).per_minute) == (60.0, 1.0)


def test_the_figures_are_of_less_when_older_calls_were_forgotten() -> None:
    made = Model()
    calls = [told(NOON - seconds, request_id=str(seconds)) for seconds in (1, 5, 10)]
    made.recalled({"calls": calls, "next": None}, 3, NOON)
    assert made.picture(NOON).span == pytest.approx(10, abs=0.01)
    assert made.picture(NOON + 20).span == pytest.approx(30, abs=0.01)
    assert made.picture(NOON + 100).span == 60.0


def test_providers_are_shown_with_their_figures() -> None:
    [(its, figures)] = picture(told(), failed()).providers
    assert (its.name, figures.attempts, figures.lost) == ("openai", 2, 1)


def test_workers_are_counted() -> None:
    made = model()
    assert made.picture(NOON).workers == 1
    worker = {"pid": 1, "providers": {"openai": provider()}}
    made.providers_told({"providers": worker["providers"], "workers": [worker, worker]})
    assert made.picture(NOON).workers == 2


def test_changes_are_told_newest_first_and_a_bounded_number_of_them() -> None:
    made = model()
    made.happened("breaker", {"name": "openai/gpt-4o", "state": "open", "was": "closed"}, NOON)
    made.happened("action", {"name": "openai", "action": "drain", "by": "operator"}, NOON + 1)
    drained, opened = made.picture(NOON).changes
    assert (drained.about, drained.state, drained.good) == ("openai", "drain by operator", True)
    assert (opened.about, opened.state, opened.good) == ("breaker openai/gpt-4o", "open", False)
    for _ in range(1000):
        made.happened("provider", {"name": "openai", "state": "healthy", "was": "unhealthy"}, NOON)
    assert len(made.picture(NOON).changes) == 20


def test_missed_events_are_added_up_and_unknown_ones_passed_over() -> None:
    made = model()
    for kind, about in (("missed", {"events": 3}), ("missed", {"events": 4}), ("weather", {"rain": True})):
        made.happened(kind, about, NOON)
    assert made.picture(NOON).missed == 7


def test_the_last_hour_is_that_of_the_series() -> None:
    errors = {"refused": [9, 9], "failed": [1, 0], "cut": [0, 2], "client_gone": [9, 9]}
    made = model()
    made.hour_told({"series": [{"name": None, "calls": [5, 6], "errors": errors}]})
    assert made.picture(NOON).hour == Hour((5, 6), (1, 2))
    made.hour_told({"series": []})
    assert made.picture(NOON).hour == Hour()


def test_keys_are_shown_with_what_they_used() -> None:
    made = model(told(), told(request_id="2"))
    made.budgets.keys = [key(limits={"requests_per_minute": 4})]
    [use] = made.picture(NOON).uses
    assert (use.key, use.used, use.share) == ("web", 2.0, 0.5)


def test_a_picture_does_not_change() -> None:
    made = model(told())
    before = made.picture(NOON)
    made.happened("call", told(request_id="2"), NOON)
    assert (len(before.calls), before.figures.calls) == (1, 1)
