"""
What the log tells at `debug` of a call's way: the plan, the targets that are passed over and why, and each attempt.

Who calls these asks first whether the log is told so much: otherwise nothing of this is worked out. It decides nothing.
"""

import logging

from proxy.core.exchange import AttemptRecord, Exchange
from proxy.providers.choice import Choice
from proxy.providers.target import Target

_log = logging.getLogger("hapax")


def planned(exchange: Exchange, model: str | None, choice: Choice, before: Choice | None) -> None:
    """
    The targets for *model* and their order, and each that is passed over; only what is otherwise than at the last look,
    which was *before*, is told.
    """
    order = [str(target) for target in choice.available]
    if before is None or order != [str(target) for target in before.available]:
        told = {
            **_about(exchange, "plan", "plan"),
            "model": model or "",
            "targets": order,
            "waits_for": [str(target) for target, _ in choice.resting],
            "although_unwell": choice.despite,
        }
        _log.debug("plan for %s: %s", exchange.id, ", ".join(order) or "no target", extra={"fields": told})
    known = dict(before.skipped) if before is not None else {}
    for target, reason in choice.skipped:
        if known.get(target) != reason:
            told = {**_about(exchange, "skip", "plan"), **_at(target), "reason": reason}
            _log.debug("%s passed over: %s", target, reason, extra={"fields": told})


def begun(exchange: Exchange, record: AttemptRecord, target: Target, again: bool = False) -> None:
    """An attempt goes out; *again*: without what the gateway had added to it."""
    told = {
        **_about(exchange, "attempt_start", "attempt"),
        **_at(target),
        "attempt": len(exchange.attempts),
        "beside": record.began_beside,
        "again": again,
    }
    _log.debug("attempt %d at %s", len(exchange.attempts), target, extra={"fields": told})


def ended(exchange: Exchange, record: AttemptRecord, target: Target) -> None:
    """What became of an attempt."""
    told = {
        **_about(exchange, "attempt_end", "attempt"),
        **_at(target),
        "status": record.status,
        "error_code": record.failure,
        "reason": record.reason,
        "class": record.reach,
        "latency_ms": round((record.ended - record.started) * 1000, 3),
        "response_id": exchange.response_id,
    }
    _log.debug("attempt at %s: %s", target, record.failure or record.status or "withdrawn", extra={"fields": told})


def _about(exchange: Exchange, event: str, stage: str) -> dict[str, object]:
    return {
        "event": event,
        "stage": stage,
        "request_id": exchange.id,
        "correlation_id": exchange.correlation_id,
        "trace_id": exchange.trace_id,
    }


def _at(target: Target) -> dict[str, object]:
    return {"provider": target.provider.name, "model": target.model or ""}
