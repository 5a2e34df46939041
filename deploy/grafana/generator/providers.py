"""How each provider does: its health, its breakers, what is tried there and what fails."""

from deploy.grafana.generator.looks import BREAKER, DRAIN, HEALTH, NO_CALL, board, lines, listing, timeline
from deploy.grafana.generator.series import (
    ATTEMPTS,
    BREAKER_FAILURES,
    BREAKERS,
    DRAINED,
    FAILED_ATTEMPTS,
    FAILED_PROBES,
    FAILURES,
    HEALTHY,
    IN_FLIGHT,
    KEYS_PARKED,
    KEYS_SPENT,
    LATENCY,
    PROBES,
    RETRIES,
    TIMEOUTS,
    TRIPS,
    UPSTREAM,
    UPSTREAM_OPENED,
    added,
    chosen,
    quantile,
    rate,
    share,
    total,
)

_attempts = rate(chosen(ATTEMPTS, "provider"), "provider")
_latency = chosen(LATENCY, "provider")

STATES = [
    timeline(
        "Health",
        HEALTH,
        (f"min by (provider) ({chosen(HEALTHY, 'provider')})", "{{provider}}"),
        about="Unhealthy while its probes fail: it is asked only when no other is left.",
    ),
    timeline(
        "Breakers",
        BREAKER,
        (f"max by (name) ({chosen(BREAKERS, 'name')})", "{{name}}"),
        about="Open: the target is not asked. Half-open: a few calls try it.",
        empty=NO_CALL,
    ),
    timeline(
        "Drained by an operator",
        DRAIN,
        (f"max by (provider) ({chosen(DRAINED, 'provider')})", "{{provider}}"),
        about="A drained provider takes no new call: POST /admin/providers/NAME/enable lets it again.",
    ),
    lines(
        "Keys parked",
        "short",
        (f"max by (provider) ({chosen(KEYS_PARKED, 'provider')})", "{{provider}}"),
        (f"max by (provider) ({chosen(KEYS_SPENT, 'provider')})", "{{provider}}, money or quota gone"),
        about="Keys of ours that the provider refused, or whose money is gone; `hapax doctor --online` asks with each.",
    ),
]

CALLS = [
    lines(
        "Attempts by provider",
        "reqps",
        (_attempts, "{{provider}}"),
        about="What is tried at each provider, retries and hedges included.",
        stacked=True,
        empty=NO_CALL,
    ),
    lines(
        "Error rate by provider",
        "percentunit",
        (share(rate(chosen(FAILED_ATTEMPTS, "provider"), "provider"), _attempts), "{{provider}}"),
        about="Of the attempts at a provider, those that failed, whatever the reason.",
        empty=NO_CALL,
    ),
    lines(
        "Latency by provider",
        "s",
        *((quantile(q, _latency, "provider"), f"{{{{provider}}}} p{q * 100:.0f}") for q in (0.5, 0.95, 0.99)),
        about="From the start of an attempt to the first content of its answer.",
        empty=NO_CALL,
    ),
    lines(
        "Retry rate by provider",
        "percentunit",
        (share(rate(chosen(RETRIES, "provider"), "provider"), _attempts), "{{provider}}"),
        about="Of the attempts at a provider, those that came after another one of the same call.",
        empty=NO_CALL,
    ),
]

WRONG = [
    listing(
        "Why attempts fail",
        {"provider": "Provider", "type": "Error"},
        [("Attempts", "short", f"{added(chosen(FAILURES, 'provider'), 'provider', 'type')} > 0")],
        about="Attempts that failed in the time shown, by the error they came to; docs/errors.md tells of each.",
        empty="No attempt failed.",
    ),
    lines(
        "Timeouts by provider",
        "reqps",
        (rate(chosen(TIMEOUTS, "provider"), "provider"), "{{provider}}"),
        about="Attempts that took longer than providers.NAME.timeouts allow.",
        empty=NO_CALL,
    ),
    lines(
        "Failures that breakers count",
        "reqps",
        (rate(chosen(BREAKER_FAILURES, "name"), "name"), "{{name}}"),
        about="Failures that speak against the target; a client's own mistakes do not.",
        empty=NO_CALL,
    ),
    lines(
        "Breaker trips",
        "short",
        (added(chosen(TRIPS, "name"), "name", over="$__rate_interval"), "{{name}}"),
        about="Times that a breaker opened after it had been closed.",
        empty=NO_CALL,
    ),
]

UNDER_WAY = [
    lines(
        "Attempts under way",
        "short",
        (total(chosen(IN_FLIGHT, "provider"), "provider"), "{{provider}}"),
        about="Attempts that have not ended yet; providers.NAME.max_concurrency bounds them.",
    ),
    lines(
        "Connections to providers",
        "short",
        (total(chosen(UPSTREAM, "provider"), "provider", "state"), "{{provider}} {{state}}"),
        about="Connections for calls: busy with one, or idle and kept for the next.",
        stacked=True,
    ),
    lines(
        "Connections opened",
        "ops",
        (rate(chosen(UPSTREAM_OPENED, "provider"), "provider"), "{{provider}}"),
        about="New connections a second: many of them beside few calls mean that the provider closes them.",
    ),
    lines(
        "Probes",
        "s",
        (quantile(0.95, chosen(PROBES, "provider"), "provider"), "{{provider}} p95"),
        about="How long a probe takes.",
    ),
    lines(
        "Probes that fail",
        "ops",
        (rate(chosen(FAILED_PROBES, "provider"), "provider"), "{{provider}}"),
        about="Probes that failed, a second.",
        empty="No probe has failed.",
    ),
]

BOARD = board(
    "hapax-providers",
    "Provider Health",
    "How each provider does: its health, its breakers, what is tried there and what fails.",
    [("State", STATES), ("Calls", CALLS), ("What fails, and why", WRONG), ("Under way, and probes", UNDER_WAY)],
)
