"""
The series that dashboards read, each named here once, and the PromQL that is made of them.

What a series means is told in docs/metrics.md. A metric that is renamed is renamed here.
"""

ALERTS = "ALERTS"
PROCESS_START = "process_start_time_seconds"
CPU = "process_cpu_seconds_total"
RESIDENT = "process_resident_memory_bytes"
HEAP = "llm_router_process_heap_bytes"
MEMORY_LIMIT = "hapax_memory_limit_bytes"
BUILD = "hapax_build_info"
READY = "hapax_ready"
CERTIFICATE_ENDS = "hapax_certificate_expiry_timestamp_seconds"
WORKERS = "hapax_workers"
WORKER_RESTARTS = "hapax_worker_restarts_total"
UPTIME = "hapax_uptime_seconds"
LAG = "hapax_event_loop_lag_max_seconds"
OVERHEAD = "hapax_overhead_seconds"

REQUESTS = "llm_router_http_requests_total"
UNDER_WAY = "hapax_http_active_requests"
ENDS = "hapax_exchanges_total"
ERRORS = "hapax_errors_total"
ERRORS_BY_FAULT = "llm_router_errors_total"
INFERENCES = "llm_router_inference_total"
INFERENCE_SECONDS = "llm_router_inference_duration_seconds"
FIRST_TOKEN_SECONDS = "hapax_time_to_first_token_seconds"
WHOLE_ANSWER_SECONDS = "hapax_whole_answer_seconds"
TOKENS = "hapax_tokens_total"
TOKENS_BY_MODEL = "llm_router_tokens_generated_total"
TOKENS_PER_SECOND = "llm_router_tokens_per_second"
COST = "hapax_cost_usd_total"
UNPRICED = "hapax_unpriced_total"
FALLBACKS = "hapax_fallbacks_total"
HEDGES = "hapax_hedges_total"
EXTRA_ATTEMPTS_REFUSED = "hapax_extra_attempts_refused_total"
RESUMES = "hapax_resumes_total"
SHARED = "hapax_deduplicated_requests_total"

KEY_CALLS = "hapax_key_calls_total"
KEY_TOKENS = "hapax_key_tokens_total"
KEY_COST = "hapax_key_cost_usd_total"
BUDGET_SPENT = "hapax_key_budget_spent_ratio"
LIMIT_HITS = "hapax_rate_limit_hits_total"

ATTEMPTS = "hapax_provider_requests_total"
FAILED_ATTEMPTS = "hapax_provider_errors_total"
FAILURES = "hapax_provider_failures_total"
RETRIES = "hapax_retries_total"
TIMEOUTS = "hapax_timeouts_total"
LATENCY = "hapax_request_latency_seconds"
IN_FLIGHT = "hapax_provider_in_flight"
HEALTHY = "hapax_provider_healthy"
DRAINED = "hapax_provider_drained"
KEYS_PARKED = "hapax_provider_keys_parked"
KEYS_SPENT = "hapax_provider_keys_spent"
BREAKERS = "circuit_breaker_state"
BREAKER_FAILURES = "circuit_breaker_failures_total"
TRIPS = "circuit_breaker_trips_total"
MODELS = "llm_router_models_loaded"
MODEL_LISTS = "llm_router_model_load_duration_seconds"
ADAPTERS = "hapax_adapter_creation_seconds"
PROBES = "hapax_health_check_duration_seconds"
FAILED_PROBES = "hapax_health_check_errors_total"
UPSTREAM = "hapax_upstream_connections"
UPSTREAM_OPENED = "hapax_upstream_connections_opened_total"

CONNECTIONS = "llm_router_active_connections"
CONNECTED = "llm_router_connection_duration_seconds"
TURNED_AWAY = "hapax_connections_turned_away_total"
QUEUE_WAITING = "hapax_queue_waiting"
QUEUE_RUNNING = "hapax_queue_running"
QUEUE_SIZE = "hapax_queue_size"
QUEUE_SECONDS = "hapax_queue_wait_seconds"
QUEUE_FULL = "hapax_queue_full_total"
QUEUE_TIMEOUTS = "hapax_queue_timeouts_total"

CACHE_HITS = "llm_router_cache_hits_total"
CACHE_MISSES = "llm_router_cache_misses_total"
CACHE_BYTES = "llm_router_cache_size_bytes"
STORE_SECONDS = "hapax_store_seconds"
STORE_ERRORS = "hapax_store_errors_total"
STORE_THERE = "hapax_store_available"
STATE_THERE = "hapax_state_available"
STATE_FALLBACKS = "hapax_state_fallbacks_total"
LEDGER_WAITING = "hapax_ledger_buffered"
LEDGER_ROWS = "hapax_ledger_rows_total"
LEDGER_LOST = "hapax_ledger_dropped_total"
OBJECTS_LOST = "hapax_objects_dropped_total"
LINES_LOST = "hapax_log_dropped_total"
SPANS_LOST = "hapax_spans_dropped_total"
RELOADS = "hapax_config_reloads_total"
RELOAD_OK = "hapax_config_last_reload_successful"
RELOADED_AT = "hapax_config_last_reload_success_timestamp_seconds"

_CHOSEN = {
    "client": 'client=~"$key"',
    "model": 'model=~"$model"',
    "name": 'name=~"$provider/.*"',
    "provider": 'provider=~"$provider"',
    "team": 'team=~"$team"',
}
"""What a variable of the dashboards chooses of a label. A breaker's `name` begins with its provider's."""


def chosen(name: str, *labels: str, **fixed: str) -> str:
    """*name* of the chosen instances, and of what is chosen for *labels*; *fixed*: labels with one value."""
    matchers = ['job="hapax"', 'instance=~"$instance"', *(_CHOSEN[label] for label in labels)]
    matchers += [f'{label}="{value}"' for label, value in fixed.items()]
    return f"{name}{{{','.join(matchers)}}}"


def total(series: str, *by: str) -> str:
    """A gauge added up."""
    return f"sum{_by(by)}({series})"


def rate(series: str, *by: str) -> str:
    """A counter, a second."""
    return f"sum{_by(by)}(rate({series}[$__rate_interval]))"


def added(series: str, *by: str, over: str = "$__range") -> str:
    """What a counter rose by, in the time that is shown."""
    return f"sum{_by(by)}(increase({series}[{over}]))"


def share(part: str, whole: str) -> str:
    """*part* of *whole*, from 0 to 1; nothing while *whole* is 0."""
    return f"{part} / ({whole} > 0)"


def quantile(q: float, series: str, *by: str) -> str:
    """Of a histogram, whose name *series* begins with; *by* labels."""
    name, brace, rest = series.partition("{")
    return f"histogram_quantile({q}, sum{_by(('le', *by))}(rate({name}_bucket{brace}{rest}[$__rate_interval])))"


def _by(labels: tuple[str, ...]) -> str:
    return f" by ({', '.join(labels)}) " if labels else ""
