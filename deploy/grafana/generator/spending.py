"""Who spends what, and who is held back by a limit: by provider, model, key and team."""

from deploy.grafana.generator.looks import board, figure, lines, listing
from deploy.grafana.generator.series import (
    BUDGET_SPENT,
    COST,
    KEY_CALLS,
    KEY_COST,
    KEY_TOKENS,
    LIMIT_HITS,
    TOKENS,
    UNPRICED,
    added,
    chosen,
    rate,
    share,
)

NO_PRICE = "No answer of a model whose price is known: store.prices."
NO_KEY = "No call with a key: none is configured, or none was used."

_cost = chosen(COST, "provider", "model")
_keys_cost, _keys_calls = chosen(KEY_COST, "client", "team"), chosen(KEY_CALLS, "client", "team")
_keys_tokens = chosen(KEY_TOKENS, "client", "team")
_served = chosen(KEY_CALLS, "client", "team", outcome="ok")

MONEY = [
    figure(
        "Cost of the last hour",
        "currencyUSD",
        added(_cost, over="1h"),
        about="What answers cost, of models whose price is known.",
        steps=[(None, "blue")],
        empty=NO_PRICE,
    ),
    figure(
        "Cost of the last day",
        "currencyUSD",
        added(_cost, over="1d"),
        about="The same of a whole day.",
        steps=[(None, "blue")],
        empty=NO_PRICE,
    ),
    figure(
        "Answers without a price",
        "short",
        added(chosen(UNPRICED)),
        about="Answers in the time shown of models that store.prices does not know: they cost something all the same.",
        steps=[(None, "green"), (1, "yellow")],
    ),
    lines(
        "Tokens",
        "short",
        (rate(chosen(TOKENS), "kind"), "{{kind}}"),
        about="Tokens a second, of questions and of answers.",
        stacked=True,
    ),
    lines(
        "Cost by provider",
        "currencyUSD",
        (f"{rate(_cost, 'provider')} * 3600", "{{provider}}"),
        about="An hour at the rate of the moment.",
        stacked=True,
        empty=NO_PRICE,
    ),
    lines(
        "Cost by model",
        "currencyUSD",
        (f"{rate(_cost, 'model')} * 3600", "{{model}}"),
        about="An hour at the rate of the moment.",
        stacked=True,
        empty=NO_PRICE,
    ),
]

WHO = [
    listing(
        "Who spends",
        {"client": "Key", "team": "Team"},
        [
            ("Cost", "currencyUSD", added(_keys_cost, "client", "team")),
            ("Tokens", "short", added(_keys_tokens, "client", "team")),
            ("Calls", "short", added(_keys_calls, "client", "team")),
        ],
        about="What each key has used in the time shown. The ledger knows it to the call: `hapax usage`.",
        empty=NO_KEY,
        width=24,
    ),
    lines(
        "Cost by key",
        "currencyUSD",
        (f"{rate(_keys_cost, 'client')} * 3600", "{{client}}"),
        about="An hour at the rate of the moment.",
        stacked=True,
        empty=NO_KEY,
    ),
    lines(
        "Cost by team",
        "currencyUSD",
        (f"{rate(_keys_cost, 'team')} * 3600", "{{team}}"),
        about="An hour at the rate of the moment; keys without a team are one.",
        stacked=True,
        empty=NO_KEY,
    ),
    lines(
        "Tokens by key",
        "short",
        (rate(_keys_tokens, "client"), "{{client}}"),
        about="Tokens a second, of questions and of answers.",
        stacked=True,
        empty=NO_KEY,
    ),
    lines(
        "Success by key",
        "percentunit",
        (share(rate(_served, "client"), rate(_keys_calls, "client")), "{{client}}"),
        about="Of a key's calls for which a provider was asked, those that ended well.",
        empty=NO_KEY,
    ),
]

HELD_BACK = [
    listing(
        "Who is limited",
        {"client": "Key"},
        [("Refused calls", "short", f"{added(chosen(LIMIT_HITS, 'client'), 'client')} > 0")],
        about="Calls beyond a limit of their key, in the time shown.",
        empty="No call was beyond a limit.",
    ),
    lines(
        "Budgets spent",
        "percentunit",
        (f"max by (client) ({chosen(BUDGET_SPENT, 'client')})", "{{client}}"),
        about="The share of each key's budget that is spent in its period, or held by calls under way.",
        empty="No key with a budget has called.",
    ),
    lines(
        "Calls refused by a limit",
        "reqps",
        (rate(chosen(LIMIT_HITS, "client"), "client"), "{{client}}"),
        about="Calls beyond a limit of their key, a second.",
        stacked=True,
        empty="No call was beyond a limit.",
    ),
]

BOARD = board(
    "hapax-cost",
    "LLM Cost",
    "Who spends what, and who is held back by a limit.",
    [("Money", MONEY), ("Who spends", WHO), ("Who is limited", HELD_BACK)],
)
