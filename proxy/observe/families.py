"""
Families of Prometheus made of rows of exchanges: those that need nothing but the rows.

It counts nothing; `metrics` does.
"""

from collections.abc import Iterator, Mapping

from prometheus_client.metrics_core import Metric

from proxy.observe.rows import AnswersRow, AttemptsRow, RequestsRow
from proxy.observe.tally import counter, histogram

OTHER = "other"
"""The label of every model neither configured nor in a provider's list, and of every other operation and method."""

METHODS = frozenset(("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"))
"""Methods told by their name (RFC 9110 and RFC 5789); clients must not choose what series and spans there are."""

OPERATIONS = {
    "/v1/chat/completions": "chat",
    "/v1/completions": "text_completion",
    "/v1/completion": "chat",
    "/api/generate": "chat",
    "/v1/embeddings": "embeddings",
    "/v1/responses": "chat",
    "/v1/messages": "chat",
}
"""`gen_ai.operation.name` by route; the conventions name no others of those we relay."""


def of_requests(requests: Mapping[tuple[str, str, int], RequestsRow]) -> Iterator[Metric]:
    """Counts and durations; *requests* by method, route and status."""
    rows = [((method, route, str(status)), row) for (method, route, status), row in requests.items()]
    yield counter(
        "hapax_http_requests",
        "Requests, calls and housekeeping, by route and status.",
        ("endpoint", "status"),
        # Both exist before the first request, so that a dashboard is not empty.
        [(("/health", "200"), 0), (("/metrics", "200"), 0), *((labels[1:], row.count) for labels, row in rows)],
    )
    yield histogram(
        "hapax_http_request_duration_seconds",
        "Seconds from a request's head to the end of its answer.",
        ("endpoint",),
        ((labels[1:2], row.seconds) for labels, row in rows),
    )
    names = ("method", "route", "status_code")
    yield counter(
        "llm_router_http_requests",
        "The same with the method.",
        names,
        ((labels, row.count) for labels, row in rows),
    )
    yield histogram(
        "llm_router_http_request_duration_seconds",
        "The same with method and status.",
        names,
        ((labels, row.seconds) for labels, row in rows),
    )


def of_genai(answers: Mapping[tuple[str, str, str], AnswersRow]) -> Iterator[Metric]:
    """The families of OpenTelemetry's GenAI conventions; *answers* by route, model and provider."""
    names = ("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model")
    rows = [((OPERATIONS.get(route, OTHER), provider, model), row) for (route, model, provider), row in answers.items()]
    yield histogram(
        "gen_ai_client_operation_duration_seconds",
        "Seconds a call took, by the GenAI conventions.",
        names,
        ((labels, row.genai) for labels, row in rows),
    )
    yield histogram(
        "gen_ai_client_token_usage",
        "Tokens of a call, by the GenAI conventions.",
        (*names, "gen_ai_token_type"),
        (
            ((*labels, kind), buckets)
            for labels, row in rows
            for kind, buckets in (("input", row.input), ("output", row.output))
        ),
    )


def of_providers(attempts: Mapping[str, AttemptsRow]) -> Iterator[Metric]:
    """What attempts came to, by provider."""
    rows = [((provider,), row) for provider, row in attempts.items()]
    every = [(labels, row, row.ok + row.failed + row.abandoned) for labels, row in rows]
    by = ("provider",)
    yield counter("hapax_provider_requests", "Attempts.", by, ((labels, whole) for labels, _, whole in every))
    yield counter("hapax_provider_errors", "Attempts that failed.", by, ((key, row.failed) for key, row in rows))
    yield counter(
        "hapax_provider_attempts",
        "Attempts, by how they ended.",
        ("provider", "outcome"),
        (
            ((*labels, outcome), getattr(row, outcome))
            for labels, row in rows
            for outcome in ("ok", "failed", "abandoned")
        ),
    )
    yield counter("hapax_retries", "Attempts after a failed one.", by, ((key, row.retries) for key, row in rows))
    yield counter("hapax_timeouts", "Attempts that took too long.", by, ((key, row.timeouts) for key, row in rows))
    yield counter(
        "hapax_emitted_events", "Pieces of content of streams.", by, ((key, row.emitted) for key, row in rows)
    )
    yield histogram(
        "hapax_request_latency_seconds",
        "Seconds from an attempt's start to the first content of its stream, or to all of a whole answer.",
        by,
        ((labels, row.latency) for labels, row in rows),
    )
