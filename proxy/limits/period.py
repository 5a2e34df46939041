"""
The periods of budgets: when the present one began, and when the next one begins.

In UTC, so that no daylight saving time makes a day of 23 hours; weeks begin on Monday. It reads no clock.
"""

from datetime import datetime, timedelta


def began(per: str, now: datetime) -> datetime:
    """The beginning of the period that *now* (in UTC) is in; *per* is hour, day, week or month."""
    hour = now.replace(minute=0, second=0, microsecond=0)
    if per == "hour":
        return hour
    day = hour.replace(hour=0)
    if per == "day":
        return day
    if per == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1)


def ends(per: str, now: datetime) -> datetime:
    """The first moment after that period."""
    start = began(per, now)
    if per == "hour":
        return start + timedelta(hours=1)
    if per == "day":
        return start + timedelta(days=1)
    if per == "week":
        return start + timedelta(days=7)
    return start.replace(year=start.year + 1, month=1) if start.month == 12 else start.replace(month=start.month + 1)
