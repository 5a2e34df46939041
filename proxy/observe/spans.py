"""
An exchange as OpenTelemetry spans: one for itself, one for each attempt.

Names follow the conventions for HTTP and for generative AI, whose constants are written here because no library keeps
them still; what they have no name for is called `hapax.*`. Never content, keys, addresses of clients or raw paths. It
keeps no span and sends none.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from urllib.parse import urlsplit

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans, Span, Status

from proxy import __version__
from proxy.core.exchange import AttemptRecord, Exchange, Outcome
from proxy.core.headers import PSEUDONYM
from proxy.observe.families import METHODS, OPERATIONS
from proxy.settings import Provider

Value = str | bool | int | float
Providers = Callable[[], Mapping[str, Provider]]
"""The providers as they are configured now, by name."""

SYSTEMS = {
    "openai": "openai",
    "anthropic": "anthropic",
    "azure": "azure.ai.openai",
    "gemini": "gcp.gemini",
    "deepseek": "deepseek",
    "xai": "x_ai",
}
"""`gen_ai.provider.name` by provider type; the others go by their name in the settings."""

_LOCAL, _REMOTE = 0x100, 0x300
"""OTLP's flags: the parent is known to be in this process, or known to be in another."""
_REMEMBERED = 4096
"""Attributes kept for the next spans."""


def new_request(attributes: Mapping[str, str]) -> tuple[ExportTraceServiceRequest, ScopeSpans]:
    """A post of the process with these *attributes*, and where in it the spans go: each is copied but once."""
    resource = Resource(attributes=[_key_value(name, value) for name, value in attributes.items()])
    request = ExportTraceServiceRequest()
    resource_spans = request.resource_spans.add(resource=resource)
    return request, resource_spans.scope_spans.add(scope=InstrumentationScope(name=PSEUDONYM, version=__version__))


def rejected(answer: bytes) -> int:
    """How many spans of a post its receiver says it did not take; 0 for an answer that cannot be decoded."""
    try:
        return int(ExportTraceServiceResponse.FromString(answer).partial_success.rejected_spans)
    except Exception:
        # Its status has said that it took them; that its words make no sense changes nothing.
        return 0


class Spans:
    """Turns exchanges into spans."""

    def __init__(self, providers: Providers) -> None:
        self._providers = providers

    def of(self, exchange: Exchange, offset: int) -> list[Span]:
        """Its spans; *offset*: nanoseconds between the monotonic clock and the epoch."""
        operation = OPERATIONS.get(exchange.route)
        spans = [_server_span(exchange, operation, offset)]
        for number, attempt in enumerate(exchange.attempts, 1):
            provider = self._providers().get(attempt.provider)
            spans.append(_client_span(exchange, attempt, number, operation, provider, offset))
        return spans


def _server_span(exchange: Exchange, operation: str | None, offset: int) -> Span:
    status = exchange.status
    # Any other is `_OTHER`, as the conventions have it.
    known = exchange.method in METHODS
    attributes = [
        _common("http.request.method", exchange.method if known else "_OTHER"),
        _common("http.route", exchange.route),
        _common("hapax.outcome", exchange.outcome.value),
        _key_value("hapax.request_id", exchange.id),
    ]
    add = attributes.append
    if status:
        add(_common("http.response.status_code", status))
    if operation is not None:
        add(_common("gen_ai.operation.name", operation))
    if exchange.model:
        add(_common("gen_ai.request.model", exchange.model))
        add(_common("gen_ai.request.stream", exchange.stream))
    if exchange.answered_model:
        add(_common("gen_ai.response.model", exchange.answered_model))
    if exchange.correlation_id != exchange.id:
        add(_key_value("hapax.correlation_id", exchange.correlation_id))
    if exchange.principal:
        add(_common("hapax.principal", exchange.principal))
    if exchange.error_code:
        add(_common("hapax.error_code", exchange.error_code))
    if exchange.upstream_request_id:
        add(_key_value("hapax.upstream_request_id", exchange.upstream_request_id))
    if exchange.queued:
        add(_key_value("hapax.queued", exchange.queued))
    if exchange.cached:
        add(_common("hapax.cached", True))
    if exchange.cost is not None:
        add(_key_value("hapax.cost_micro_usd", exchange.cost))
    failed = status >= 500 or exchange.outcome is Outcome.CUT
    if failed:
        add(_common("error.type", exchange.error_code or str(status)))
    return Span(
        trace_id=bytes.fromhex(exchange.trace_id),
        span_id=bytes.fromhex(exchange.span_id),
        parent_span_id=bytes.fromhex(exchange.parent_span_id),
        trace_state=exchange.trace_state,
        flags=exchange.trace_flags | (_REMOTE if exchange.parent_span_id else _LOCAL),
        name=f"{exchange.method if known else 'HTTP'} {exchange.route}",
        kind=Span.SPAN_KIND_SERVER,
        start_time_unix_nano=_nanoseconds(exchange.started, offset),
        end_time_unix_nano=_nanoseconds(exchange.ended, offset),
        attributes=attributes,
        events=_steps_of(exchange, offset),
        status=_ERROR if failed else None,
    )


def _steps_of(exchange: Exchange, offset: int) -> list[Span.Event]:
    """The turns an exchange took: its first content, and each attempt after the first."""
    events = []
    told = 0.0
    before: AttemptRecord | None = None
    for attempt in exchange.attempts:
        if before is not None:
            turn = [_common("hapax.from", before.provider), _common("hapax.to", attempt.provider)]
            if before.failure:
                turn.append(_common("error.type", before.failure))
            events.append(_event(_name_of_turn(before, attempt, told), attempt.started, offset, turn))
        if attempt.first_content_at and not told:
            told = attempt.first_content_at
            if attempt.first_token_at:
                events.append(_event("gen_ai.first_token", attempt.first_token_at, offset))
        before = attempt
    events.sort(key=lambda event: event.time_unix_nano)
    return events


def _name_of_turn(before: AttemptRecord, attempt: AttemptRecord, told: float) -> str:
    if attempt.began_beside:
        return "hapax.hedge"
    if told:
        return "hapax.resume"
    same = attempt.provider == before.provider and attempt.model == before.model
    return "hapax.retry" if same else "hapax.failover"


def _client_span(
    exchange: Exchange,
    attempt: AttemptRecord,
    number: int,
    operation: str | None,
    provider: Provider | None,
    offset: int,
) -> Span:
    system, host, port = _whereabouts(provider.type, provider.base_url) if provider is not None else (None, None, None)
    attributes = [
        _common("gen_ai.provider.name", system or attempt.provider),
        _common("hapax.provider", attempt.provider),
        _common("hapax.attempt", number),
        _common("http.request.method", "POST" if exchange.route == "/v1/completion" else exchange.method),
    ]
    add = attributes.append
    if operation is not None:
        add(_common("gen_ai.operation.name", operation))
    if attempt.model:
        add(_common("gen_ai.request.model", attempt.model))
        add(_common("gen_ai.request.stream", exchange.stream))
    if host is not None:
        add(_common("server.address", host))
    if port is not None:
        add(_common("server.port", port))
    if attempt.status:
        add(_common("http.response.status_code", attempt.status))
    if attempt.first_token_at:
        add(_key_value("gen_ai.response.time_to_first_chunk", attempt.first_token_at - attempt.started))
    tokens = attempt.tokens
    if tokens is not None:
        add(_key_value("gen_ai.usage.input_tokens", tokens.prompt))
        add(_key_value("gen_ai.usage.output_tokens", tokens.completion))
        if tokens.cached:
            add(_key_value("gen_ai.usage.cache_read.input_tokens", tokens.cached))
        if tokens.written:
            add(_key_value("gen_ai.usage.cache_creation.input_tokens", tokens.written))
        if tokens.reasoning:
            add(_key_value("gen_ai.usage.reasoning.output_tokens", tokens.reasoning))
        if tokens.estimated:
            add(_common("hapax.usage.estimated", True))
    if attempt.began_beside:
        add(_common("hapax.hedge", True))
    if not attempt.failure and not attempt.first_content_at and attempt.status < 400:
        # Its answer was not wanted any more: another one won, or the client left.
        add(_common("hapax.withdrawn", True))
    fault = attempt.failure or (str(attempt.status) if attempt.status >= 400 else "")
    if fault:
        add(_common("error.type", fault))
        if attempt.reason:
            add(_key_value("hapax.reason", attempt.reason))
        if attempt.reach:
            add(_common("hapax.reach", attempt.reach))
    events = [
        _event(name, at, offset)
        for name, at in (
            ("hapax.request_sent", attempt.sent_at),
            ("hapax.response_head", attempt.head_at),
            ("gen_ai.first_token", attempt.first_token_at),
        )
        if at
    ]
    what = operation or exchange.method
    return Span(
        trace_id=bytes.fromhex(exchange.trace_id),
        span_id=bytes.fromhex(attempt.span_id),
        parent_span_id=bytes.fromhex(exchange.span_id),
        trace_state=exchange.trace_state,
        flags=exchange.trace_flags | _LOCAL,
        name=f"{what} {attempt.model}" if attempt.model else what,
        kind=Span.SPAN_KIND_CLIENT,
        start_time_unix_nano=_nanoseconds(attempt.started, offset),
        # The one attempt whose end was not noted is cut off together with its exchange.
        end_time_unix_nano=_nanoseconds(attempt.ended or exchange.ended, offset),
        attributes=attributes,
        events=events,
        status=_ERROR if fault else None,
    )


_ERROR = Status(code=Status.STATUS_CODE_ERROR)


def _nanoseconds(moment: float, offset: int) -> int:
    return offset + int(moment * 1e9)


def _event(name: str, moment: float, offset: int, attributes: Iterable[KeyValue] = ()) -> Span.Event:
    return Span.Event(name=name, time_unix_nano=_nanoseconds(moment, offset), attributes=attributes)


def _key_value(name: str, value: Value) -> KeyValue:
    if isinstance(value, str):
        return KeyValue(key=name, value=AnyValue(string_value=value))
    if isinstance(value, bool):
        return KeyValue(key=name, value=AnyValue(bool_value=value))
    if isinstance(value, int):
        return KeyValue(key=name, value=AnyValue(int_value=value))
    return KeyValue(key=name, value=AnyValue(double_value=value))


_common = lru_cache(_REMEMBERED, typed=True)(_key_value)
"""For values that come again and again: making the message anew costs four times what looking it up does."""


@lru_cache(_REMEMBERED)
def _whereabouts(kind: str, base_url: str) -> tuple[str | None, str | None, int | None]:
    """What the conventions call a provider of that type, and host and port of its address."""
    parts = urlsplit(base_url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return SYSTEMS.get(kind), parts.hostname, port
