"""
What calls amount to since the start, in a few numbers: in all, by provider and by model.

It adds up families that are counted elsewhere and counts nothing itself. Single minutes, keys and teams are told by the
series and the ledger.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from prometheus_client.metrics_core import Metric

SECONDS = "gen_ai_client_operation_duration_seconds"
TOKENS = "gen_ai_client_token_usage"
COST = "hapax_cost_usd"
INFERENCES = "llm_router_inference"
ATTEMPTS = "hapax_provider_requests"
FAILED_ATTEMPTS = "hapax_provider_errors"
"""The families it reads."""
PROVIDER, MODEL = "gen_ai_provider_name", "gen_ai_request_model"


class _Source(NamedTuple):
    """Where one number comes from."""

    sample: str
    label: str
    """Which names what it is of."""
    only: tuple[str, str] | None = None
    """A label, and the one value of it that counts."""


def _alike(label: str, of_costs: str) -> dict[str, _Source]:
    """What is told of providers and of models alike."""
    return {
        "calls": _Source(f"{SECONDS}_count", label),
        "seconds": _Source(f"{SECONDS}_sum", label),
        "prompt_tokens": _Source(f"{TOKENS}_sum", label, ("gen_ai_token_type", "input")),
        "completion_tokens": _Source(f"{TOKENS}_sum", label, ("gen_ai_token_type", "output")),
        "cost_usd": _Source(f"{COST}_total", of_costs),
    }


_OF_PROVIDERS = {
    **_alike(PROVIDER, "provider"),
    "attempts": _Source(f"{ATTEMPTS}_total", "provider"),
    "failed_attempts": _Source(f"{FAILED_ATTEMPTS}_total", "provider"),
}
_OF_MODELS = {
    **_alike(MODEL, "model"),
    "failed": _Source(f"{INFERENCES}_total", "model", ("status", "error")),
    "cached": _Source(f"{INFERENCES}_total", "model", ("cached", "true")),
}


def summary(families: Iterable[Metric]) -> dict[str, Any]:
    """
    `total`: calls for which a provider was asked. `by_provider`: by who answered, with what was tried there.
    `by_model`: by the name clients ask for. `seconds` are the calls' times added up; `cost_usd` is in US dollars.
    """
    kept = list(families)
    counts = (sample.value for family in kept for sample in family.samples if sample.name == f"{SECONDS}_count")
    return {
        "total": int(sum(counts)),
        "by_provider": _lines(kept, "provider", _OF_PROVIDERS),
        "by_model": _lines(kept, "model", _OF_MODELS),
    }


def _lines(families: Sequence[Metric], named: str, sources: dict[str, _Source]) -> list[dict[str, Any]]:
    """A line for each name, the one with most calls first."""
    lines: defaultdict[str, dict[str, float]] = defaultdict(lambda: dict.fromkeys(sources, 0.0))
    for family in families:
        for sample in family.samples:
            for column, source in sources.items():
                if sample.name != source.sample or (
                    source.only and sample.labels.get(source.only[0]) != source.only[1]
                ):
                    continue
                # Without a name: no provider answered, or no model was named.
                if name := sample.labels.get(source.label, ""):
                    lines[name][column] += sample.value
    told = [
        {
            named: name,
            **{
                column: round(value, 6) if column in ("seconds", "cost_usd") else int(value)
                for column, value in line.items()
            },
        }
        for name, line in lines.items()
    ]
    return sorted(told, key=lambda line: (-line["calls"], line[named]))
