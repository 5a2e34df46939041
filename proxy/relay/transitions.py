"""
What the log tells of a breaker that has changed its state.

It decides nothing: a breaker learns of each attempt as it ends, and `tell` is to be called after that.
"""

import logging

from proxy.providers.breaker import BreakerState
from proxy.providers.target import Target

_log = logging.getLogger("hapax")


def tell(target: Target) -> None:
    """One line for each change of a breaker, however many calls it then refuses; an error where it opens anew."""
    for change in target.breaker.take_transitions():
        level = logging.INFO
        if change.new is BreakerState.OPEN:
            # From half-open it only stays what it was.
            level = logging.ERROR if change.old is BreakerState.CLOSED else logging.WARNING
        told = {
            "event": "breaker",
            "stage": "attempt",
            "provider": target.provider.name,
            "model": target.model or "",
            "was": change.old.value,
            "state": change.new.value,
            "cause": change.cause.value,
        }
        message = "breaker %s: %s -> %s, %s"
        _log.log(level, message, target, change.old, change.new, change.detail, extra={"fields": told})
