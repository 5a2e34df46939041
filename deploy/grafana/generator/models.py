"""How each model does: how much it is used, how fast it is, and what it costs."""

from deploy.grafana.generator.looks import NO_CALL, board, heat, lines, listing, pie
from deploy.grafana.generator.series import (
    COST,
    FALLBACKS,
    FIRST_TOKEN_SECONDS,
    INFERENCE_SECONDS,
    INFERENCES,
    MODEL_LISTS,
    TOKENS_BY_MODEL,
    TOKENS_PER_SECOND,
    added,
    chosen,
    quantile,
    rate,
    share,
)

_calls = chosen(INFERENCES, "model")
_seconds = chosen(INFERENCE_SECONDS, "model")
_first = chosen(FIRST_TOKEN_SECONDS, "provider", "model")
_lists = chosen(MODEL_LISTS)

USE = [
    pie(
        "Model usage",
        added(_calls, "model"),
        "{{model}}",
        about="Calls for each model in the time shown, by the name callers ask for.",
        empty=NO_CALL,
    ),
    lines(
        "Tokens by model",
        "short",
        (rate(chosen(TOKENS_BY_MODEL, "model"), "model"), "{{model}}"),
        about="Tokens of answers a second.",
        stacked=True,
        empty=NO_CALL,
    ),
    lines(
        "Cost by model",
        "currencyUSD",
        (f"{rate(chosen(COST, 'provider', 'model'), 'model')} * 3600", "{{model}}"),
        about="What answers cost an hour at the rate of the moment, of models whose price is known.",
        stacked=True,
        empty="No answer of a model whose price is known: store.prices.",
    ),
    lines(
        "Success by model",
        "percentunit",
        (share(rate(chosen(INFERENCES, "model", status="success"), "model"), rate(_calls, "model")), "{{model}}"),
        about="Of the calls for a model, those that ended well.",
        empty=NO_CALL,
    ),
]

SPEED = [
    listing(
        "Slowest models",
        {"model": "Model"},
        [
            ("Duration, p95", "s", f"{quantile(0.95, _seconds, 'model')} >= 0"),
            ("First token, p95", "s", f"{quantile(0.95, _first, 'model')} >= 0"),
            ("Calls", "short", f"{added(_calls, 'model')} > 0"),
        ],
        about="By how long nineteen calls of twenty took at most, lately.",
        empty=NO_CALL,
        width=24,
    ),
    lines(
        "Time to first token by model, p95",
        "s",
        (quantile(0.95, _first, "model"), "{{model}}"),
        about="From a call's head to the first content. Dots are calls whose trace is recorded, and lead to it.",
        exemplars=True,
        empty=NO_CALL,
    ),
    lines(
        "Duration by model, p95",
        "s",
        (quantile(0.95, _seconds, "model"), "{{model}}"),
        about="From a call's head to the end of its answer. Dots are calls whose trace is recorded, and lead to it.",
        exemplars=True,
        empty=NO_CALL,
    ),
    lines(
        "Tokens per second by model, p95",
        "short",
        (quantile(0.95, chosen(TOKENS_PER_SECOND, "model"), "model"), "{{model}}"),
        about="Tokens of one answer by the seconds of its call.",
        empty=NO_CALL,
    ),
    heat(
        "Time to fetch the model lists",
        "s",
        f"sum by (le) (increase({_lists.replace('{', '_bucket{', 1)}[$__rate_interval]))",
        about="All there is to loading a model here: its provider is asked for its list.",
    ),
]

INSTEAD = [
    lines(
        "Fallbacks",
        "reqps",
        (rate(chosen(FALLBACKS, "model"), "model"), "{{model}}"),
        about="Calls that another model answered, by the model that was asked for.",
        empty="No call was answered by another model.",
    ),
    lines(
        "Stored answers by model",
        "reqps",
        (rate(chosen(INFERENCES, "model", cached="true"), "model"), "{{model}}"),
        about="Calls that got a stored answer; no provider was asked.",
        empty="No call got a stored answer: cache.enabled is false, or nothing was asked twice.",
    ),
]

BOARD = board(
    "hapax-models",
    "LLM Model Performance",
    "How each model does: how much it is used, how fast it is, and what it costs.",
    [("Use", USE), ("Speed", SPEED), ("Answered otherwise", INSTEAD)],
)
