"""Providers and keys, made of literal pages."""

from datetime import UTC, datetime
from typing import Any

import pytest

from proxy.cli.top.minute import Figures
from proxy.cli.top.standing import Use, period_began, providers_in, uses
from tests.cli.top.told import NOON, key, provider, target


def test_a_provider_stands_as_its_page_says() -> None:
    page = {
        "providers": {"openai": provider(in_flight=3), "azure": provider(healthy=False), "old": provider(drained=True)}
    }
    found = providers_in(page)
    assert [(each.name, each.state, each.under_way) for each in found] == [
        ("openai", "healthy", 3),
        ("azure", "unhealthy", 0),
        ("old", "drained", 0),
    ]


def test_of_several_workers_counts_are_added_and_the_worst_is_believed() -> None:
    one = provider(in_flight=2, targets={"openai/a": target(in_flight=2)})
    two = provider(
        healthy=False,
        in_flight=1,
        parked_keys=[2],
        targets={"openai/a": target(breaker="open", blocked_by="breaker open", in_flight=1), "openai/b": target()},
    )
    workers = [{"pid": 1, "providers": {"openai": one}}, {"pid": 2, "providers": {"openai": two}}]
    [found] = providers_in({"providers": {"openai": one}, "workers": workers})
    assert (found.state, found.under_way, found.parked, found.breaker) == ("unhealthy", 3, (2,), "1 open")
    assert [(each.name, each.under_way) for each in found.targets] == [("openai/a", 3), ("openai/b", 0)]


@pytest.mark.parametrize(
    ("breakers", "shown"),
    [
        ((), ""),
        (("closed", "closed"), "closed"),
        (("closed", "half-open"), "1 half-open"),
        (("open", "half-open", "open"), "2 open"),
    ],
)
def test_the_worst_breaker_of_a_provider_is_shown(breakers: tuple[str, ...], shown: str) -> None:
    targets = {f"p/{number}": target(breaker=each) for number, each in enumerate(breakers)}
    [found] = providers_in({"providers": {"p": provider(targets=targets)}})
    assert found.breaker == shown


def used(*keys: dict[str, Any], **more: Any) -> tuple[Use, ...]:
    figures = {"web": Figures(calls=50, refused=10, limited=5, prompt=300, completion=600)}
    return uses(
        keys,
        more.get("defaults", {}),
        more.get("spent", {}),
        lambda name: figures.get(name, Figures()),
        more.get("span", 60.0),
    )


def test_a_rate_is_used_by_the_calls_of_the_last_minute_that_were_not_refused() -> None:
    assert used(key(limits={"requests_per_minute": 50, "tokens_per_minute": 1000})) == (
        Use("web", "tokens/min", 900, 1000, 5),
        Use("web", "calls/min", 40, 50, 5),
    )


def test_where_less_than_a_minute_is_known_a_rate_is_what_a_minute_would_have() -> None:
    [found] = used(key(limits={"requests_per_minute": 100}), span=30.0)
    assert (found.used, found.share) == (80.0, 0.8)


def test_the_default_limit_is_that_of_a_key_without_its_own_and_zero_is_none() -> None:
    own = key("cron", limits={"requests_per_minute": 0})
    assert [each.key for each in used(key(), own, defaults={"requests_per_minute": 100})] == ["web"]


def test_a_budget_is_used_by_what_was_spent_in_its_period() -> None:
    keys = (
        key("cron", budget={"tokens": 1000, "per": "hour"}),
        key("web", budget={"usd": 2.5, "per": "day"}),
        key("none", budget={"usd": 1.0, "per": "month"}),
    )
    spent = {
        "day": {"web": {"cost_micro_usd": 2_000_000}},
        "hour": {"cron": {"prompt_tokens": 100, "completion_tokens": 150}},
    }
    # Of the third one it is not known what was spent.
    assert used(*keys, spent=spent) == (
        Use("web", "usd/day", 2.0, 2.5, 5),
        Use("cron", "tokens/hour", 250, 1000, 0),
    )


def test_keys_that_are_revoked_have_no_limits() -> None:
    assert used(key(status="revoked", limits={"requests_per_minute": 1})) == ()


@pytest.mark.parametrize(
    ("per", "began"),
    [
        ("hour", datetime(2026, 11, 30, 12, tzinfo=UTC)),
        ("day", datetime(2026, 11, 30, tzinfo=UTC)),
        ("week", datetime(2026, 11, 30, tzinfo=UTC)),
        ("month", datetime(2026, 11, 1, tzinfo=UTC)),
    ],
)
def test_periods_begin_in_utc_and_weeks_on_monday(per: str, began: datetime) -> None:
    assert period_began(per, NOON + 125) == began
