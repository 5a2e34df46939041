"""
The line of each exchange, and what else the log tells of calls: audit, metrics and, where asked for, their content.

Read from the ended record, many at a time. Never a raw path, a query, a key or, by default, a body.
"""

import logging
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any

from proxy.core import clock
from proxy.core.exchange import Exchange, Outcome
from proxy.observe.content import readable, spoken
from proxy.observe.ending import ending
from proxy.observe.failing import Failing, Told
from proxy.observe.lines import CALLS
from proxy.observe.log import Logs
from proxy.observe.redaction import without_pii, without_secrets

_log = logging.getLogger("hapax")
_exchanges = logging.getLogger(CALLS)
_FINE = (Outcome.OK, Outcome.REFUSED)
_AS_USUAL = (Outcome.OK, Outcome.CLIENT_GONE)
"""How a page of operators mostly ends: one that follows what happens is left."""
_WORDS = {logging.DEBUG: "debug", logging.INFO: "info", logging.WARNING: "warning"}
LONGEST = 200
"""Characters logged of what a client says of itself."""


class AccessLog:
    """Writes the lines of exchanges; an observer."""

    def __init__(self, logs: Logs | None = None) -> None:
        """*logs*: None where the embedding program owns this process's logging, and gets records."""
        self._logs = logs
        self._failing = Failing()

    def ended(self, exchanges: Sequence[Exchange]) -> None:
        """Log them."""
        logs = self._logs
        if self._failing.waiting:
            self._tell(self._failing.due(clock.now()))
        if logs is None:
            for exchange in exchanges:
                level = self._level(exchange)
                if exchange.logged and _exchanges.isEnabledFor(level):
                    told = {"fields": fields(exchange, None)}
                    _exchanges.log(level, "%s %s", exchange.method, exchange.route, extra=told)
            return
        began = clock.epoch()
        lines: list[bytes] = []
        for exchange in exchanges:
            level = self._level(exchange)
            if not exchange.logged or level < logs.tells_exchanges_from:
                continue
            lines.append(
                logs.form.line(
                    clock.iso_of(exchange.ended + began),
                    _WORDS[level],
                    CALLS,
                    f"{exchange.method} {exchange.route}",
                    fields(exchange, began),
                )
            )
        if lines:
            logs.put("access", b"".join(lines), len(lines))
        if logs.audits_calls or logs.tells_metrics or logs.tells_content:
            for exchange in exchanges:
                self._more(logs, exchange, began)

    def stop(self) -> None:
        """Tell of the calls that failed and of which nothing was told yet."""
        self._tell(self._failing.rest(clock.now()))

    def _level(self, exchange: Exchange) -> int:
        """That of its line. Of a call that failed by a fault of ours or of a provider's, the error log is told here."""
        outcome = exchange.outcome
        if exchange.call:
            if outcome in _FINE:
                return logging.INFO
            told = self._failing.note(exchange, exchange.ended)
            if told is not None:
                self._tell([told])
            return logging.WARNING
        if outcome in _AS_USUAL:
            return logging.DEBUG
        # A caller that was turned away from an operator's page is worth a line.
        return logging.INFO if outcome is Outcome.REFUSED else logging.WARNING

    def _tell(self, causes: Sequence[Told]) -> None:
        for told in causes:
            _log.error("%s", told.message, extra={"fields": told.fields()})

    def _more(self, logs: Logs, exchange: Exchange, epoch: float) -> None:
        if (exchange.attempts or exchange.cached) and logs.audits_calls:
            known: dict[str, str | bool] = {
                "stage": "finalize",
                "request_id": exchange.id,
                "correlation_id": exchange.correlation_id,
                "provider": exchange.provider,
                "model": exchange.model,
                "principal": exchange.principal,
                "client_ip": exchange.client_ip,
                "cached": exchange.cached,
            }
            end = "inference_complete" if exchange.outcome is Outcome.OK else "inference_error"
            for event, at in (("inference_start", exchange.started), (end, exchange.ended)):
                logs.tell("audit", f"Audit: {event}", {"event": event, **known}, clock.iso_of(at + epoch))
        if exchange.attempts and logs.tells_metrics:
            ended = clock.iso_of(exchange.ended + epoch)
            labels = {"model": exchange.model, "provider": exchange.provider}
            tokens = exchange.tokens
            figures = {
                "inference_latency": round(exchange.duration, 6),
                "tokens_generated": tokens and tokens.completion,
            }
            for name, value in figures.items():
                if value is not None:
                    metric = {"name": name, "value": value, "labels": labels}
                    logs.tell("metrics", name, {"event": "metric", "stage": "finalize", "metric": metric}, ended)
        if logs.tells_content and exchange.content is not None and _has_content(exchange):
            mask = without_pii if logs.redacts_pii else str
            question, answer = exchange.content
            asked, answered = (mask(without_secrets(text)) for text in (readable(question), spoken(answer)))
            content = {
                "event": "content",
                "stage": "finalize",
                "request_id": exchange.id,
                "correlation_id": exchange.correlation_id,
                "provider": exchange.provider,
                "model": exchange.model,
                "response_id": exchange.response_id,
                "request": asked,
                "response": answered,
            }
            logs.tell("application", "content", content, clock.iso_of(exchange.ended + epoch))


def _has_content(exchange: Exchange) -> bool:
    """It is a call with a prompt, or an answer of a provider's; a list of models is neither."""
    return exchange.call and bool((exchange.content and exchange.content[0]) or exchange.attempts)


def fields(exchange: Exchange, epoch: float | None) -> dict[str, Any]:
    """What is told of an exchange. *epoch*: the date at which the monotonic clock was 0; None leaves the dates out."""
    attempts = exchange.attempts
    first = None
    for attempt in attempts:
        if attempt.first_token_at:
            first = attempt.first_token_at
            break
    tokens = exchange.tokens
    ended_by, phase = ending(exchange)
    told: dict[str, Any] = {
        "request_id": exchange.id,
        "correlation_id": exchange.correlation_id,
        "trace_id": exchange.trace_id,
        "event": "call" if exchange.call else "housekeeping",
        "stage": "finalize",
        "operation": exchange.route,
        "method": exchange.method,
        "protocol": exchange.protocol,
        "status": exchange.status,
        "outcome": exchange.outcome._value_,  # `value` is a property written in Python
        "error_code": "cancelled" if exchange.outcome is Outcome.CLIENT_GONE else exchange.error_code,
        "ended_by": ended_by,
        "phase": phase,
        "latency_ms": _milliseconds(exchange.ended - exchange.started),
        "time_to_first_token_ms": None if first is None else _milliseconds(first - exchange.started),
        "principal": exchange.principal,
        "client_ip": exchange.client_ip,
        "user_agent": _agent(exchange.user_agent),
        "referer": exchange.referer and _page(exchange.referer),
        "model": exchange.model,
        "stream": exchange.stream,
        "answered_model": exchange.answered_model,
        "fallback_used": (len(attempts) > 1 and attempts[0].provider != attempts[-1].provider)
        or bool(exchange.answered_model and exchange.answered_model != exchange.model),
        "provider": exchange.provider,
        "attempts": [
            {"provider": attempt.provider, "status": attempt.status, "failure": attempt.failure} for attempt in attempts
        ],
        "retry_attempts": len(attempts) - 1 if attempts else 0,
        "skipped": exchange.skipped,
        "resumed": exchange.resumed,
        "shared_with": exchange.shared,
        "cached": exchange.cached,
        "tokens": None
        if tokens is None
        else {"prompt": tokens.prompt, "completion": tokens.completion, "total": tokens.prompt + tokens.completion},
        "cached_tokens": tokens and tokens.cached,
        "reasoning_tokens": tokens and tokens.reasoning,
        "tokens_estimated": tokens and tokens.estimated,
        "cost_micro_usd": exchange.cost,
        "saved_micro_usd": exchange.saved,
        "queued_ms": _milliseconds(exchange.queued),
        "queue_position": exchange.position,
        "bytes_in": exchange.bytes_in,
        "bytes_out": exchange.bytes_out,
        "emitted": exchange.emitted > 0,
        "emitted_count": exchange.emitted,
        "upstream_request_id": exchange.upstream_request_id,
        "response_id": exchange.response_id,
    }
    if epoch is not None:
        told["start_time"] = clock.iso_of(exchange.started + epoch)
    return told


def _milliseconds(seconds: float) -> float:
    """To the microsecond. `round` would write the number in decimal and read it again."""
    return int(seconds * 1e6 + 0.5) / 1000


@lru_cache(256)
def _agent(said: str) -> str:
    """What a client calls itself, which is few different things many times; its user may have put a key there."""
    return without_secrets(_text(said))[:LONGEST]


@lru_cache(256)
def _page(said: str) -> str:
    """The page a call came from, without its query, which is where applications keep private data."""
    return without_secrets(_text(said.partition("?")[0].partition("#")[0]))[:LONGEST]


def _text(value: str) -> str:
    """
    A header's value, which is read as Latin-1, as the text it was meant to be: most clients write UTF-8. Controls of
    Latin-1, by which a terminal can be told things, are left out.
    """
    if value.isascii():
        return value
    with suppress(UnicodeDecodeError):
        value = value.encode("latin-1").decode()
    return "".join(char for char in value if char.isprintable())
