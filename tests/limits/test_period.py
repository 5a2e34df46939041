"""The periods of budgets, in UTC."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.limits import period

PERIODS = ("hour", "day", "week", "month")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("per", "now", "began", "ends"),
    [
        ("hour", "2026-11-25 14:35:59.999999", "2026-11-25 14:00", "2026-11-25 15:00"),
        ("hour", "2026-12-31 23:00:00", "2026-12-31 23:00", "2027-01-01 00:00"),
        ("day", "2026-11-25 14:35", "2026-11-25 00:00", "2026-11-26 00:00"),
        ("day", "2026-11-25 00:00", "2026-11-25 00:00", "2026-11-26 00:00"),
        ("day", "2024-02-28 12:00", "2024-02-28 00:00", "2024-02-29 00:00"),
        ("day", "2024-02-29 23:59:59", "2024-02-29 00:00", "2024-03-01 00:00"),
        ("day", "2026-12-31 23:59:59", "2026-12-31 00:00", "2027-01-01 00:00"),
        # Clocks go forward in Berlin and New York on these days; here they have 24 hours like all others.
        ("day", "2026-03-29 12:00", "2026-03-29 00:00", "2026-03-30 00:00"),
        ("day", "2026-03-08 12:00", "2026-03-08 00:00", "2026-03-09 00:00"),
        # 2026-11-23 is a Monday.
        ("week", "2026-11-25 14:35", "2026-11-23 00:00", "2026-11-30 00:00"),
        ("week", "2026-11-23 00:00", "2026-11-23 00:00", "2026-11-30 00:00"),
        ("week", "2026-11-22 23:59:59.999999", "2026-11-16 00:00", "2026-11-23 00:00"),
        ("week", "2027-01-01 12:00", "2026-12-28 00:00", "2027-01-04 00:00"),
        ("month", "2026-11-25 14:35", "2026-11-01 00:00", "2026-12-01 00:00"),
        ("month", "2026-01-31 23:59", "2026-01-01 00:00", "2026-02-01 00:00"),
        ("month", "2026-02-28 23:59", "2026-02-01 00:00", "2026-03-01 00:00"),
        ("month", "2024-02-29 23:59", "2024-02-01 00:00", "2024-03-01 00:00"),
        ("month", "2026-12-31 23:59", "2026-12-01 00:00", "2027-01-01 00:00"),
    ],
)
def test_a_period_begins_and_ends(per: str, now: str, began: str, ends: str) -> None:
    assert period.began(per, at(now)) == at(began)
    assert period.ends(per, at(now)) == at(ends)


@settings(deadline=None)
@given(st.sampled_from(PERIODS), st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1)))
def test_every_moment_is_in_one_period_and_the_next_begins_where_it_ends(per: str, naive: datetime) -> None:
    now = naive.replace(tzinfo=UTC)
    began, ends = period.began(per, now), period.ends(per, now)
    assert began <= now < ends
    assert period.began(per, began) == began
    assert period.began(per, ends - timedelta(microseconds=1)) == began
    assert period.began(per, ends) == ends
