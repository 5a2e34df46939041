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


_second = (-1, "")
_FRACTIONS = [f"{milliseconds:03d}Z" for milliseconds in range(1000)]


def iso_of(seconds: float) -> str:
    """Like `iso`, of seconds since 1970; cheap for moments of the same second, of which a log has thousands."""
    global _second
    milliseconds = int(seconds * 1000)
    whole = milliseconds // 1000
    known, text = _second
    if known != whole:
        text = datetime.datetime.fromtimestamp(whole, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.")
        _second = (whole, text)
    return text + _FRACTIONS[milliseconds - whole * 1000]


def epoch() -> float:
    """The date at which the monotonic clock was 0, in seconds since 1970."""
    return time.time() - now()


def span(seconds: float) -> str:
    """A duration for people: `840 ms`, `1.24 s`, `2 min 5 s`."""
    if seconds < 0.0095:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.995:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"
