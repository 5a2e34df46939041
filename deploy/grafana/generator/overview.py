"""The first page: whether callers are served well, what fails, and what the gateway did about it."""

from deploy.grafana.generator.looks import NO_CALL, board, figure, lines, listing
from deploy.grafana.generator.series import (
    ALERTS,
    BREAKERS,
    CACHE_HITS,
    CACHE_MISSES,
    COST,
    ENDS,
    ERRORS,
    EXTRA_ATTEMPTS_REFUSED,
    FAILURES,
    FALLBACKS,
    FIRST_TOKEN_SECONDS,
    HEDGES,
    INFERENCE_SECONDS,
    INFERENCES,
    LIMIT_HITS,
    MODELS,
    QUEUE_FULL,
    QUEUE_RUNNING,
    QUEUE_SECONDS,
    QUEUE_SIZE,
    QUEUE_TIMEOUTS,
    QUEUE_WAITING,
    REQUESTS,
    RESUMES,
    RETRIES,
    SHARED,
    TOKENS_BY_MODEL,
    TRIPS,
    UNDER_WAY,
    WHOLE_ANSWER_SECONDS,
    added,
    chosen,
    quantile,
    rate,
    share,
    total,
)

_inferences = chosen(INFERENCES, "model")
_succeeded = chosen(INFERENCES, "model", status="success")
_seconds = chosen(INFERENCE_SECONDS, "model")
_first = chosen(FIRST_TOKEN_SECONDS, "provider", "model")
_whole = chosen(WHOLE_ANSWER_SECONDS, "provider", "model")
_hits, _misses = rate(chosen(CACHE_HITS)), rate(chosen(CACHE_MISSES))
NO_QUEUE = "There is no queue: queue.enabled is false."

NOW = [
    figure(
        "Request rate",
        "reqps",
        rate(chosen(REQUESTS)),
        about="Everything that is asked of the gateway, probes and pages included.",
        steps=[(None, "blue")],
    ),
    figure(
        "Inference success rate",
        "percentunit",
        share(rate(_succeeded), rate(_inferences)),
        about="Of the calls for which a provider was asked or an answer was stored, those that ended well.",
        steps=[(None, "red"), (0.9, "yellow"), (0.95, "green")],
        empty=NO_CALL,
    ),
    figure(
        "Response time, p95",
        "s",
        quantile(0.95, _seconds),
        about="Nineteen calls of twenty ended within this; a stream ends with its last byte.",
        steps=[(None, "green"), (5, "yellow"), (15, "red")],
        empty=NO_CALL,
    ),
    figure(
        "Models known",
        "short",
        total(chosen(MODELS)),
        about="Models that can be asked for.",
        steps=[(None, "red"), (1, "green")],
    ),
    figure(
        "Requests under way",
        "short",
        total(chosen(UNDER_WAY)),
        about="Requests that have not ended yet, streams among them.",
        steps=[(None, "blue")],
    ),
    figure(
        "Cost of the last hour",
        "currencyUSD",
        added(chosen(COST, "provider", "model"), over="1h"),
        about="What answers cost, of models whose price is known.",
        steps=[(None, "blue")],
        empty="No answer of a model whose price is known: store.prices.",
    ),
    listing(
        "Alerts that fire",
        {
            "alertname": "Alert",
            "severity": "Severity",
            "instance": "Instance",
            "provider": "Provider",
            "name": "Breaker",
        },
        [("Firing", "none", f'{ALERTS}{{alertstate="firing",service="hapax"}}')],
        about="What is wrong now; the name of an alert leads to what to do about it.",
        empty="No alert fires.",
        link="${runbook}#:~:text=${__value.text}",
        width=24,
    ),
]

TRAFFIC = [
    lines(
        "Request volume",
        "reqps",
        (rate(chosen(REQUESTS), "method", "route"), "{{method}} {{route}}"),
        about="Everything that is asked of the gateway, by the template of its path.",
        stacked=True,
    ),
    lines(
        "How calls end",
        "reqps",
        (rate(chosen(ENDS), "outcome"), "{{outcome}}"),
        about="ok; refused by the gateway or a provider; failed at every target; cut after it began; client gone.",
        stacked=True,
    ),
    lines(
        "Inference duration",
        "s",
        *((quantile(q, _seconds), f"p{q * 100:.0f}") for q in (0.5, 0.95, 0.99)),
        about="From a call's head to the end of its answer. Dots are recorded calls, and lead to their trace.",
        exemplars=True,
        empty=NO_CALL,
    ),
    lines(
        "Time to first token",
        "s",
        *((quantile(q, _first), f"p{q * 100:.0f}") for q in (0.5, 0.95, 0.99)),
        about="From a call's head to the first content. Dots are calls whose trace is recorded, and lead to it.",
        exemplars=True,
        empty=NO_CALL,
    ),
    lines(
        "Whole answers",
        "s",
        *((quantile(q, _whole), f"p{q * 100:.0f}") for q in (0.5, 0.95, 0.99)),
        about="From a call's head to the end of an answer that was no stream.",
        empty=NO_CALL,
    ),
    lines(
        "Tokens generated",
        "short",
        (rate(chosen(TOKENS_BY_MODEL, "model"), "model"), "{{model}}"),
        about="Tokens of answers a second.",
        stacked=True,
        empty=NO_CALL,
    ),
    lines(
        "Cache hit rate",
        "percentunit",
        (share(_hits, f"({_hits} + {_misses})"), "hits"),
        about="Of the questions that are looked up, those for which an answer was stored.",
        empty="Nothing was looked up: cache.enabled is false, or no call may have a stored answer.",
    ),
]

FAILURES_ROW = [
    listing(
        "Why attempts fail",
        {"provider": "Provider", "type": "Error"},
        [("Attempts", "short", f"{added(chosen(FAILURES, 'provider'), 'provider', 'type')} > 0")],
        about="Attempts that failed in the time shown, by the error they came to; docs/errors.md tells of each.",
        empty="No attempt failed.",
    ),
    listing(
        "Errors told to callers",
        {"type": "Error"},
        [("Errors", "short", f"{added(chosen(ERRORS), 'type')} > 0")],
        about="What callers were told in the time shown: docs/errors.md tells what each means.",
        empty="No caller was told of an error.",
    ),
    lines(
        "Errors over time",
        "reqps",
        (rate(chosen(ERRORS), "type"), "{{type}}"),
        about="Errors that callers were told.",
        stacked=True,
        empty="No caller was told of an error.",
    ),
    lines(
        "Breaker trips",
        "short",
        (f"{added(chosen(TRIPS, 'name'), 'name', over='$__rate_interval')}", "{{name}}"),
        about=f"Times that a target's breaker opened. Its state is {BREAKERS}.",
        empty=NO_CALL,
    ),
]

REMEDIES = [
    lines(
        "Retries",
        "reqps",
        (rate(chosen(RETRIES, "provider"), "provider"), "{{provider}}"),
        about="Attempts after the first of a call, at the provider that was asked again or next.",
        empty=NO_CALL,
    ),
    lines(
        "Fallbacks",
        "reqps",
        (rate(chosen(FALLBACKS, "model"), "model"), "{{model}}"),
        about="Calls that another model answered, by the model that was asked for.",
        empty="No call was answered by another model.",
    ),
    lines(
        "Hedges and resumes",
        "reqps",
        (rate(chosen(HEDGES)), "hedges"),
        (rate(chosen(RESUMES)), "resumes"),
        about="Hedges: a second target was asked beside a silent one. Resumes: a broken answer went on at another one.",
    ),
    lines(
        "Further attempts refused",
        "reqps",
        (rate(chosen(EXTRA_ATTEMPTS_REFUSED), "kind"), "{{kind}}"),
        about="Retries and hedges that were not made, since too many were: failover.budget.",
    ),
    lines(
        "Answers shared",
        "reqps",
        (rate(chosen(SHARED)), "single flight"),
        (_hits, "stored"),
        about="Calls that got the answer of an identical one: under way at the time, or stored.",
    ),
]

WAITING = [
    lines(
        "Queue",
        "short",
        (total(chosen(QUEUE_WAITING)), "waiting"),
        (total(chosen(QUEUE_RUNNING)), "running"),
        (total(chosen(QUEUE_SIZE)), "may wait"),
        about="Calls that wait for a place, and those that have one.",
        empty=NO_QUEUE,
    ),
    lines(
        "Wait for a place",
        "s",
        *((quantile(q, chosen(QUEUE_SECONDS)), f"p{q * 100:.0f}") for q in (0.5, 0.95)),
        about="How long calls waited that had to.",
        empty="No call had to wait.",
    ),
    lines(
        "Turned away by the queue",
        "reqps",
        (rate(chosen(QUEUE_FULL)), "it was full"),
        (rate(chosen(QUEUE_TIMEOUTS)), "waited in vain"),
        about="Calls that never ran.",
        empty=NO_QUEUE,
    ),
    lines(
        "Refused by a limit",
        "reqps",
        (rate(chosen(LIMIT_HITS, "client"), "client"), "{{client}}"),
        about="Calls beyond a limit of their key, by key.",
        empty="No call was beyond a limit.",
    ),
]

BOARD = board(
    "hapax-overview",
    "LLM Router Overview",
    "Whether callers are served well, what fails, and what the gateway did about it.",
    [
        ("Now", NOW),
        ("Traffic", TRAFFIC),
        ("What fails, and why", FAILURES_ROW),
        ("What the gateway did about it", REMEDIES),
        ("Waiting and limits", WAITING),
    ],
)
