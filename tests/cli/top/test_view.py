"""What keys do, and which rows they leave: without a terminal and without a clock."""

import pytest

from proxy.cli.top.model import Picture
from proxy.cli.top.view import View
from tests.cli.top.told import NOON, failed, picture, told

PICTURE = picture(
    told(NOON - 1, request_id="new", latency_ms=10.0, time_to_first_token_ms=9.0, cost_micro_usd=5),
    told(
        NOON - 2, request_id="slow", latency_ms=900.0, time_to_first_token_ms=20.0, cost_micro_usd=7, principal="cron"
    ),
    failed(NOON - 3, request_id="bad", latency_ms=30.0),
)


def press(view: View, *keys: str, shown: Picture = PICTURE) -> None:
    for key in keys:
        view.press(key, shown)


def ids(view: View, shown: Picture = PICTURE) -> list[str]:
    return [call.id for call in view.rows(shown)]


def test_calls_are_sorted_in_turn_and_back() -> None:
    view = View()
    orders = []
    for _ in range(5):
        orders.append((view.order, ids(view)))
        press(view, "s")
    assert orders == [
        ("newest first", ["new", "slow", "bad"]),
        ("slowest first", ["slow", "bad", "new"]),
        ("slowest first token first", ["slow", "new", "bad"]),
        ("most tokens first", ["new", "slow", "bad"]),
        ("dearest first", ["slow", "new", "bad"]),
    ]
    assert view.order == "newest first"
    press(view, "S")
    assert view.order == "dearest first"


def test_a_filter_holds_while_it_is_typed_and_when_it_is_kept() -> None:
    view = View()
    press(view, "/", "C", "r")
    assert (view.typing, ids(view)) == (True, ["slow"])
    press(view, "enter")
    assert (view.typing, ids(view)) == (False, ["slow"])
    # A letter is a command again.
    press(view, "s")
    assert view.order == "slowest first"


def test_letters_of_a_filter_are_no_commands_and_can_be_taken_back() -> None:
    view = View()
    press(view, "/", "q", "s", "backspace", "backspace", "up")
    assert (view.ended, view.order, view.words) == (False, "newest first", "")
    press(view, *("x" * 300))
    assert len(view.words) == 100
    press(view, "escape")
    assert (view.typing, view.words) == (False, "")


def test_failing_calls_alone_and_all_of_them_again() -> None:
    view = View()
    press(view, "f")
    assert ids(view) == ["bad"]
    press(view, "f")
    assert len(ids(view)) == 3
    press(view, "f", "escape")
    assert len(ids(view)) == 3


@pytest.mark.parametrize("key", ["p", " "])
def test_a_pause_keeps_what_is_shown_until_it_goes_on(key: str) -> None:
    view = View()
    press(view, key)
    assert view.frozen is PICTURE
    press(view, "s")
    assert ids(view) == ["slow", "bad", "new"]
    press(view, key)
    assert view.frozen is None


def test_a_call_is_chosen_and_stays_so_when_others_come() -> None:
    view = View()
    press(view, "down", "down")
    assert view.chosen is not None
    assert view.chosen.id == "slow"
    later = picture(told(NOON, request_id="later"), *(told(NOON - n, request_id=str(n)) for n in (1, 2)))
    assert view.chosen.id == "slow"
    # It is gone there: the choice begins anew.
    press(view, "down", shown=later)
    assert view.chosen.id == "later"


def test_the_choice_ends_at_the_first_and_the_last_call() -> None:
    view = View()
    for keys, chosen in (
        (("up",), "bad"),
        (("down", "j", "page down"), "bad"),
        (("k", "home", "up"), "new"),
        (("end",), "bad"),
    ):
        press(view, *keys)
        assert view.chosen is not None
        assert view.chosen.id == chosen
    press(view, "escape")
    assert view.chosen is None


def test_nothing_is_chosen_of_nothing() -> None:
    view = View()
    press(view, "down", "enter", shown=picture())
    assert (view.chosen, view.trail) == (None, None)


def test_enter_opens_the_trail_of_the_chosen_call() -> None:
    view = View()
    press(view, "down")
    wanted = view.press("enter", PICTURE)
    assert wanted is not None
    assert (wanted.id, view.trail is not None) == ("new", True)


@pytest.mark.parametrize("key", ["escape", "q", "enter", "left"])
def test_a_trail_is_left_for_the_calls(key: str) -> None:
    view = View()
    press(view, "down", "enter", "down", "down", "up")
    assert view.trail is not None
    assert view.trail.top == 1
    press(view, key)
    assert (view.trail, view.ended) == (None, False)


def test_tab_goes_round_the_sections() -> None:
    view = View()
    seen = []
    for _ in range(4):
        seen.append(view.section)
        press(view, "tab")
    assert (seen, view.section) == (["all", "calls", "providers", "keys"], "all")
    press(view, "shift tab")
    assert view.section == "keys"


def test_providers_are_scrolled_where_they_have_the_screen() -> None:
    view = View()
    press(view, "tab", "tab", "down", "down", "up", "enter")
    assert (view.top, view.chosen, view.trail) == (1, None, None)
    press(view, "page up")
    assert view.top == 0


@pytest.mark.parametrize("key", ["s", "S", "f", "/"])
def test_what_is_about_calls_shows_them(key: str) -> None:
    view = View()
    press(view, "tab", "tab", key)
    assert view.section == "all"


def test_q_ends_it() -> None:
    view = View()
    press(view, "x", "left")
    assert not view.ended
    press(view, "q")
    assert view.ended
