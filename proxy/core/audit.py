"""
A line of the audit log: what was changed, by whom, how it was before and how it is now.

Where such lines go is decided in `observe.log`. No secret may be in what is told: a key is known by its name and by the
part of it that may be seen.
"""

import logging
from collections.abc import Mapping
from typing import Any

_audit = logging.getLogger("hapax.audit")


def audit(event: str, message: str, who: Mapping[str, Any], before: Any, after: Any, **more: Any) -> None:
    """
    *event* in one word and as a *message* for people. *who*: `by`, the name of a key or of what caused it, and where it
    was a program at the other end of a connection, its `client_ip` and the `request_id`. *before* and *after*: plain
    JSON; None for what was not there, or is there no more.
    """
    _audit.info(message, extra={"fields": entry(event, who, before, after, **more)})


def entry(event: str, who: Mapping[str, Any], before: Any, after: Any, **more: Any) -> dict[str, Any]:
    """The fields of such a line."""
    return {"event": event, "stage": "change", **who, **more, "before": before, "after": after}
