"""
What a failure means for the next calls: a key is parked, a target rests, its speed counts for less.

It changes the state of one target and nothing else; what becomes of the call that failed is decided elsewhere.
"""

import logging

from proxy.providers.target import DEFAULT_RESTS, Rests, Target
from proxy.relay.blame import is_of_this_call
from proxy.relay.verdict import Failed, Reach

_log = logging.getLogger("hapax")

PARK_REFUSED = 300.0
"""Seconds a key is parked that its provider refused, by a 401 or in words; then it may prove itself again."""
PARK_SPENT = 600.0
"""Seconds a key is parked whose money is gone."""


def learn(target: Target, key: int, failed: Failed, now: float, rests: Rests = DEFAULT_RESTS) -> None:
    """*target* failed a call with its *key* at *now* (monotonic seconds); *rests*: how long a 429 without a time is."""
    if failed.code == "upstream_auth_error" or failed.code == "insufficient_quota":
        spent = failed.code == "insufficient_quota"
        if target.provider.parked_until[key] <= now:
            _log.error(
                "provider %s: key %d %s; parked",
                target.provider.name,
                key + 1,
                "has no money left" if spent else f"was refused ({failed.reason})",
                extra={
                    "fields": {
                        "event": "key_parked",
                        "stage": "attempt",
                        "provider": target.provider.name,
                        "model": target.model or "",
                        "error_code": failed.code,
                    }
                },
            )
        target.provider.park(key, now + (PARK_SPENT if spent else PARK_REFUSED), spent)
    elif failed.code == "rate_limit_exceeded" or (failed.reach is Reach.REFUSED and failed.retry_after is not None):
        target.limited = failed.code == "rate_limit_exceeded"
        target.rest(key, failed.retry_after, now, rests)
    if failed.reach is not Reach.TOO_LONG and not is_of_this_call(failed):
        # A refusal is fast; it must not look like speed.
        target.latency.penalise(now)
