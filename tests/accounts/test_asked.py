"""What may be asked of keys and usage, in text that came from outside."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.accounts.asked import AskedWrongly, moment, new_key, rotation, usage_question

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("7d", NOW - timedelta(days=7)),
        ("1h30m", NOW - timedelta(minutes=90)),
        ("2026-11-01", datetime(2026, 11, 1, tzinfo=UTC)),
        ("2026-11-01T12:30:00Z", datetime(2026, 11, 1, 12, 30, tzinfo=UTC)),
        ("2026-11-01T12:30", datetime(2026, 11, 1, 12, 30, tzinfo=UTC)),
        ("2026-11-01T12:30:00+02:00", datetime(2026, 11, 1, 10, 30, tzinfo=UTC)),
        ("2026-11-01T12:30:00 02:00", datetime(2026, 11, 1, 10, 30, tzinfo=UTC)),
    ],
)
def test_a_moment_is_a_duration_a_date_or_a_time(text: str, named: datetime) -> None:
    assert moment(text, NOW) == named
    assert moment(text, NOW).tzinfo is UTC


def test_a_duration_may_be_meant_ahead() -> None:
    assert moment("90d", NOW, ahead=True) == NOW + timedelta(days=90)


@pytest.mark.parametrize(
    "text", ["", "soon", "7", "7 d", "1969-12-31", "2200-01-01", "9999-12-31T23:59:59-23:59", "٣d"]
)
def test_anything_else_is_no_moment(text: str) -> None:
    with pytest.raises(ValueError, match="must be a duration such as 7d"):
        moment(text, NOW)


@given(st.text(max_size=30))
def test_no_text_does_more_than_be_refused(text: str) -> None:
    try:
        named = moment(text, NOW)
    except ValueError:
        return
    assert 1970 <= named.year < 2200


def test_a_key_needs_a_name_and_nothing_else() -> None:
    new = new_key({"name": "web"}, NOW)
    assert (new.name, new.team, new.models, new.routes, new.budget, new.expires) == (
        "web",
        "",
        ("*",),
        ("*",),
        None,
        None,
    )
    assert not new.limits.any


def test_the_expiry_of_a_key_lies_ahead() -> None:
    assert new_key({"name": "web", "expires": "1d"}, NOW).expires == NOW + timedelta(days=1)
    assert new_key({"name": "web", "expires": None}, NOW).expires is None
    with pytest.raises(AskedWrongly, match="must be in the future"):
        new_key({"name": "web", "expires": "2026-11-25"}, NOW)


def test_a_rotation_overlaps_only_when_asked_to() -> None:
    assert rotation({}, NOW).overlap == 0
    assert rotation({"overlap": "90m"}, NOW).overlap == 5400
    with pytest.raises(AskedWrongly) as caught:
        rotation({"overlap": "soon"}, NOW)
    assert caught.value.param == "overlap"


def test_usage_is_of_the_last_thirty_days_by_key_unless_asked_otherwise() -> None:
    question = usage_question({}, NOW)
    assert (question.by, question.since, question.until) == ("key", NOW - timedelta(days=30), None)
    asked = {"by": "day", "since": "2026-11-01", "until": "2026-11-02", "key": "web", "team": ""}
    question = usage_question(asked, NOW)
    assert (question.by, question.key, question.team) == ("day", "web", "")
    assert question.until == datetime(2026, 11, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"by": "colour"}, "by"),
        ({"since": "soon"}, "since"),
        ({"since": "1d", "until": "2d"}, "until"),
        ({"key": ""}, "key"),
        ({"key": "a\x00b"}, "key"),
        ({"team": "x" * 257}, "team"),
        ({"what": "1"}, "what"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused_with_its_place(asked: dict[str, Any], param: str) -> None:
    with pytest.raises(AskedWrongly) as caught:
        usage_question(asked, NOW)
    assert caught.value.param == param


@pytest.mark.parametrize("field", ["name", "team", "models", "expires", "hunter2"])
def test_no_refusal_repeats_what_was_sent(field: str) -> None:
    with pytest.raises(AskedWrongly) as caught:
        new_key({"name": "web", field: "hunter2\n" * 50}, NOW)
    assert "hunter2" not in str(caught.value)


def test_half_a_letter_is_refused_as_any_other_text() -> None:
    with pytest.raises(AskedWrongly):
        new_key({"name": "\ud800"}, NOW)
