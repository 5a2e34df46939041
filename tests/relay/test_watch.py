"""The watch over an attempt: what is due when, by clocks that are only numbers."""

import math
import random

import pytest

from proxy.relay.clocks import Clocks
from proxy.relay.upstreams import Upstreams
from proxy.relay.watch import STREAM_OVER, Watch
from proxy.settings import Settings
from proxy.upstream.control_plane import ControlPlane

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


@pytest.mark.parametrize(("is_stream", "ends", "why"), [(True, 28.0, STREAM_OVER), (False, 60.0, "stalled")])
def test_an_answer_ends_at_the_limit_it_has(is_stream: bool, ends: float, why: str) -> None:
    one = watch(is_stream, Clocks(first_token=10.0, idle=5.0, total=60.0, stream=20.0))
    one.begin_answer(START + 8.0, is_stream)
    one.progress_at = one.said_at = math.inf
    assert overdue(one, ends - 0.1) == ""
    assert overdue(one, ends) == why
    assert one.next_look(START + 9.0, paused=False) == START + ends


def test_a_stream_without_a_limit_goes_on_for_as_long_as_it_is_alive() -> None:
    one = watch()
    one.begin_answer(START + 8.0, is_stream=True)
    one.progress_at = one.said_at = START + 1_000_000.0
    assert overdue(one, 1_000_004.9) == ""
    assert overdue(one, 1_000_005.0) == "stalled"


def test_a_short_limit_of_a_stream_is_looked_at_in_time() -> None:
    one = watch(clocks=Clocks(first_token=10.0, idle=5.0, total=60.0, stream=2.0))
    assert one.begin_answer(START + 8.0, is_stream=True) == START + 10.0


# Signs of life: the head, an event without content, a comment.


def test_a_sign_of_life_postpones_the_clock_for_the_first_content() -> None:
    one = watch(clocks=Clocks(first_token=10.0, idle=5.0, total=60.0))
    one.progress_at = START + 9.0
    assert overdue(one, 10.0) == ""
    assert one.next_look(START + 10.0, paused=False) == START + 19.0
    assert overdue(one, 18.9) == ""
    assert overdue(one, 19.0) == "no content in time"


def test_no_sign_of_life_leads_beyond_the_total() -> None:
    one = watch()
    for second in range(1, 60):
        one.progress_at = START + second
        assert overdue(one, second + 0.5) == ""
        assert one.next_look(START + second, paused=False) <= START + 60.0
    one.progress_at = START + 60.0
    assert overdue(one, 60.0) == "no content in time"


def test_no_sign_of_life_postpones_the_second_target_of_those_who_want_one() -> None:
    one = watch()
    one.progress_at = START + 2.9
    assert one.next_look(START + 2.9, paused=False) == START + 3.0
    assert one.loses_patience(START + 3.0)


def test_a_sign_of_life_does_not_make_up_for_content_that_is_owed_without_a_stream() -> None:
    one = watch(streamed=False)
    one.progress_at = START + 59.0
    assert overdue(one, 60.0) == "no content in time"


def test_by_default_a_target_may_think_for_two_minutes_and_for_longer_while_it_says_that_it_is_alive() -> None:
    settings = Settings.model_validate({"providers": {"a": {"type": "compatible", "base_url": "http://a/v1"}}})
    one = watch(clocks=Upstreams(settings, random.Random(1), ControlPlane())._clocks("a"))
    assert not one.loses_patience(START + 1e9)
    for second in range(5, 50, 5):
        assert overdue(one, second) == ""
    assert overdue(one, 119.9) == ""
    assert overdue(one, 120.0) == "no content in time"
    for second in range(5, 600, 5):
        one.progress_at = START + second
        assert overdue(one, second + 4.9) == ""
    assert overdue(one, 600.0, alternative=False) == "no content in time"
