"""Numbers as people read them."""

import pytest

from proxy.cli.top import shown


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0, "0"),
        (0.4, "0.4"),
        (8.0, "8"),
        (12.6, "13"),
        (1204, "1,204"),
        (38_400, "38k"),
        (1_250_000, "1.2M"),
        (3e9, "3.0G"),
    ],
)
def test_a_count(value: float | None, text: str) -> None:
    assert shown.count(value) == text


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (None, "-"),
        (0.04, "0.0ms"),
        (9.96, "10ms"),
        (840, "840ms"),
        (999.6, "1.00s"),
        (1240, "1.24s"),
        (9999, "10.0s"),
        (59_960, "1m00s"),
        (125_000, "2m05s"),
    ],
)
def test_a_duration(milliseconds: float | None, text: str) -> None:
    assert shown.duration(milliseconds) == text


@pytest.mark.parametrize(
    ("micro", "text"),
    [
        (None, "-"),
        (0, "$0"),
        (12, "$0.000012"),
        (1500, "$0.0015"),
        (250_000, "$0.2500"),
        (1_234_567_890, "$1,234.57"),
    ],
)
def test_a_sum_of_money(micro: int | None, text: str) -> None:
    assert shown.money(micro) == text


@pytest.mark.parametrize(
    ("part", "whole", "text"), [(0, 0, "-"), (0, 9, "0%"), (1, 80, "1.2%"), (2, 5, "40%"), (9, 9, "100%")]
)
def test_a_share(part: float, whole: float, text: str) -> None:
    assert shown.share(part, whole) == text


def test_small_bars_show_what_is_not_nothing() -> None:
    assert shown.spark([0, 1, 50, 100], 10) == " ▁▄█"
    assert shown.spark([9, 9, 0, 4], 2) == " █"
    assert shown.spark([0, 0], 2) == shown.spark([], 2) == ""


@pytest.mark.parametrize(("part", "shown_as"), [(0, "░░░░"), (0.01, "█░░░"), (0.5, "██░░"), (1, "████"), (7, "████")])
def test_a_bar(part: float, shown_as: str) -> None:
    assert shown.bar(part, 4) == shown_as
