"""
One line per exchange, and the same shape for everything else that is logged.

JSON for machines, text for people. Never a body, a key or a query; files and redaction of content come later.
"""

import logging
import sys
from collections.abc import Sequence
from typing import Any

import orjson

from proxy import clock
from proxy.exchange import Exchange, Outcome

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}

_exchanges = logging.getLogger("hapax.access")


class JsonFormatter(logging.Formatter):
    """A record as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "timestamp": clock.iso(clock.wall()),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[0] is not None:
            fields["error"] = _where(record.exc_info[0], record.exc_info[2])
        return orjson.dumps(fields, default=str).decode()


class TextFormatter(logging.Formatter):
    """A record as a line for people."""

    def format(self, record: logging.LogRecord) -> str:
        line = f"{clock.iso(clock.wall())} {record.levelname.lower():7} {record.getMessage()}"
        fields = getattr(record, "fields", {})
        if fields:
            line += " " + " ".join(f"{name}={value}" for name, value in fields.items() if value not in ("", None))
        if record.exc_info and record.exc_info[0] is not None:
            line += f" error={_where(record.exc_info[0], record.exc_info[2])}"
        return line


class AccessLog:
    """Writes the line of each exchange; an observer."""

    def ended(self, exchanges: Sequence[Exchange]) -> None:
        """Log them."""
        for exchange in exchanges:
            self._log(exchange)

    def _log(self, exchange: Exchange) -> None:
        level = logging.INFO if exchange.outcome in (Outcome.OK, Outcome.REFUSED) else logging.WARNING
        if _exchanges.isEnabledFor(level):
            # Made by hand: looking for the calling line, as `log` does, costs more than the rest of it.
            record = logging.LogRecord(_exchanges.name, level, "", 0, "%s %s", (exchange.method, exchange.route), None)
            record.fields = _fields(exchange)
            _exchanges.handle(record)


def configure(level: str, form: str) -> None:
    """Send what `hapax` logs from *level* up to standard error, as `json` or `text`; of libraries, what is wrong."""
    # Facts no line of ours shows, and which cost a look-up each.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    root = logging.getLogger()
    # A library's line without a handler would be written in Python's own form, with a traceback.
    root.handlers = [handler]
    root.setLevel(max(LEVELS[level], logging.WARNING))
    logging.getLogger("hapax").setLevel(LEVELS[level])
    # How a connection to the store was let go is no news: the store says itself when it cannot be used.
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)


def _fields(exchange: Exchange) -> dict[str, Any]:
    first = next((attempt for attempt in exchange.attempts if attempt.first_content_at), None)
    tokens = exchange.tokens
    fields: dict[str, Any] = {
        "request_id": exchange.id,
        "correlation_id": exchange.correlation_id,
        "status": exchange.status,
        "outcome": exchange.outcome.value,
        "error_code": exchange.error_code,
        "latency_ms": round(exchange.duration * 1000, 3),
        "time_to_first_token_ms": round((first.first_content_at - exchange.started) * 1000, 3) if first else None,
        "principal": exchange.principal,
        "client_ip": exchange.client_ip,
        "model": exchange.model,
        "stream": exchange.stream,
        "answered_model": exchange.answered_model,
        "provider": exchange.provider,
        "attempts": [
            {"provider": attempt.provider, "status": attempt.status, "failure": attempt.failure}
            for attempt in exchange.attempts
        ],
        "retry_attempts": max(0, len(exchange.attempts) - 1),
        "skipped": exchange.skipped,
        "resumed": exchange.resumed,
        "prompt_tokens": tokens.prompt if tokens else None,
        "completion_tokens": tokens.completion if tokens else None,
        "cached_tokens": tokens.cached if tokens else None,
        "reasoning_tokens": tokens.reasoning if tokens else None,
        "tokens_estimated": tokens.estimated if tokens else None,
        "cost_micro_usd": exchange.cost,
        "queued_ms": round(exchange.queued * 1000, 3),
        "queue_position": exchange.position,
        "bytes_in": exchange.bytes_in,
        "bytes_out": exchange.bytes_out,
        "emitted_count": exchange.events,
        "upstream_request_id": exchange.upstream_request_id,
    }
    return fields


def _where(kind: type[BaseException], traceback: Any) -> str:
    """The type of an exception and where it was raised; its text may quote a request, so it stays out."""
    frames = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        frames.append(f"{code.co_filename.rpartition('/')[2]}:{traceback.tb_lineno} {code.co_name}")
        traceback = traceback.tb_next
    return f"{kind.__name__} at {' < '.join(reversed(frames[-6:]))}"
