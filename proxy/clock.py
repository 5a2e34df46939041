"""
The one reading of time.

Durations, deadlines and windows use the monotonic clock, dates the wall clock. It never sleeps and sets no timer.
"""

import datetime
import time

now = time.monotonic
"""Seconds on a clock that never jumps; only differences mean anything."""


def wall() -> datetime.datetime:
    """The date and time in UTC, for logs and bodies."""
    return datetime.datetime.now(datetime.UTC)


def iso(moment: datetime.datetime) -> str:
    """ISO 8601 with milliseconds and a Z, the form the log pipeline and the health bodies use; *moment* is in UTC."""
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"
