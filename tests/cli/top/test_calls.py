"""The calls that are kept: a bounded number of each kind, however many come."""

import pytest

from proxy.cli.top import calls
from proxy.cli.top.calls import Calls, call_of
from tests.cli.top.told import NOON, call, failed, refused, told


def test_a_call_is_read_from_its_event() -> None:
    found = call_of(told(answered_model="gpt-4o-mini"))
    assert (found.id, found.key, found.model, found.answered) == ("req-1", "web", "gpt-4o", "gpt-4o-mini")
    assert found.ended == pytest.approx(NOON, abs=0.002)
    assert (found.took_ms, found.first_ms, found.tokens, found.cost) == (250.0, 120.0, 30, 1500)
    assert found.attempts == (("openai", ""),)
    assert found.well


def test_what_is_not_known_of_a_call_is_none() -> None:
    found = call_of(refused())
    assert (found.first_ms, found.tokens, found.cost, found.attempts) == (None, None, None, ())
    assert not found.well


def test_the_model_that_answered_is_told_only_where_it_is_another() -> None:
    assert call(answered_model="gpt-4o").answered == ""


@pytest.mark.parametrize(
    ("words", "fits"),
    [("", True), ("web", True), ("gpt openai", True), ("gpt azure", False), ("req-1", True), ("web\n", True)],
)
def test_a_call_fits_when_each_word_stands_in_it(words: str, fits: bool) -> None:
    assert call().fits(words) is fits


def test_a_call_that_is_told_twice_is_kept_once() -> None:
    kept = Calls()
    assert [kept.add(call()), kept.add(call()), kept.add(call(request_id="req-2"))] == [True, False, True]
    assert len(kept.every(NOON)) == 2


def test_calls_are_told_newest_first_whenever_they_came() -> None:
    kept = Calls()
    for seconds in (2, 5, 1):
        kept.add(call(NOON - seconds, request_id=str(seconds)))
    assert [each.id for each in kept.every(NOON)] == ["1", "2", "5"]


def test_of_many_calls_the_latest_the_failing_and_the_slowest_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, most in (("LATEST", 10), ("SLOWEST", 2)):
        monkeypatch.setattr(calls, name, most)
    kept = Calls()
    kept.add(call_of(failed(NOON, request_id="failed", latency_ms=1.0)))
    kept.add(call(NOON, request_id="slow", latency_ms=9000.0))
    for number in range(10_000):
        kept.add(call(NOON + number / 1000, request_id=str(number)))
    found = [each.id for each in kept.every(NOON + 11)]
    assert len(found) <= 10 + 1 + 2
    assert {"failed", "slow", "9999"} <= set(found)
    assert "100" not in found
    assert len(kept._known) == len(kept._latest) == 10


def test_a_slow_call_is_forgotten_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "LATEST", 1)
    kept = Calls()
    kept.add(call(NOON, request_id="slow", latency_ms=9000.0))
    kept.add(call(NOON + 1, request_id="next"))
    assert [each.id for each in kept.every(NOON + 2)] == ["next", "slow"]
    assert [each.id for each in kept.every(NOON + 601)] == ["next"]
