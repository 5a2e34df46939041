"""The watch over an attempt: what is due when, by clocks that are only numbers."""

import math

import pytest

from proxy.relay.clocks import Clocks
from proxy.relay.watch import STREAM_LIFE, Watch

START = 1000.0
CLOCKS = Clocks(first_token=10.0, idle=5.0, total=60.0, patience=3.0)


def watch(streamed: bool = True, clocks: Clocks = CLOCKS) -> Watch:
    return Watch(clocks, START, streamed)


def overdue(one: Watch, after: float, alternative: bool = True, paused: bool = False) -> str:
    return one.overdue(START + after, paused, lambda: alternative)


def test_a_stream_without_content_is_given_up_for_another_target_or_for_its_total() -> None:
    assert overdue(watch(), 9.9) == ""
    assert overdue(watch(), 10.0) == "no content in time"
    assert overdue(watch(), 59.9, alternative=False) == ""
    assert overdue(watch(), 60.0, alternative=False) == "no content in time"
    strict = Clocks(first_token=10.0, idle=5.0, total=60.0, strict=True)
    assert overdue(watch(clocks=strict), 10.0, alternative=False) == "no content in time"


def test_an_answer_that_is_not_streamed_has_all_its_total() -> None:
    assert overdue(watch(streamed=False), 59.9) == ""
    assert overdue(watch(streamed=False), 60.0) == "no content in time"


@pytest.mark.parametrize(("streamed", "patience"), [(True, 3.0), (False, 10.0)])
def test_patience_is_lost_once(streamed: bool, patience: float) -> None:
    one = watch(streamed)
    assert one.next_look(START, paused=False) == START + patience
    assert not one.loses_patience(START + patience - 0.1)
    assert one.loses_patience(START + patience)
    assert not one.loses_patience(START + patience)
    assert one.next_look(START + patience, paused=False) > START + patience


def test_it_looks_again_for_an_alternative_until_the_total() -> None:
    one = watch(clocks=Clocks(first_token=10.0, idle=5.0, total=25.0))
    looks = [START]
    while looks[-1] < START + 25.0:
        looks.append(one.next_look(looks[-1], paused=False))
    assert looks == [START, START + 10.0, START + 20.0, START + 25.0]


def test_an_answer_that_has_begun_has_to_go_on() -> None:
    one = watch()
    assert one.begin_answer(START + 8.0, is_stream=True) == START + 13.0
    one.progress_at = START + 12.0
    assert overdue(one, 16.9) == ""
    assert overdue(one, 17.0) == "stalled"
    assert one.next_look(START + 13.0, paused=False) == START + 17.0
    assert not one.loses_patience(START + 16.0)


def test_nothing_can_come_while_the_client_does_not_read() -> None:
    one = watch()
    one.begin_answer(START + 8.0, is_stream=True)
    one.progress_at = START + 8.0
    assert overdue(one, 100.0, paused=True) == ""
    assert one.next_look(START + 100.0, paused=True) == START + 105.0


@pytest.mark.parametrize(("is_stream", "ends"), [(True, 8.0 + STREAM_LIFE), (False, 60.0)])
def test_no_answer_goes_on_for_ever(is_stream: bool, ends: float) -> None:
    one = watch(streamed=is_stream)
    one.begin_answer(START + 8.0, is_stream)
    one.progress_at = math.inf
    assert overdue(one, ends - 0.1) == ""
    assert overdue(one, ends) == "stalled"
