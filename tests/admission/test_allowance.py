"""What a caller is told of its limits."""

import math
import re
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.admission.allowance import header_lines, openai_duration, refusal
from proxy.limits.limit import Limit, Refusal, Standing, What

REQUESTS = Limit("alice||requests", What.REQUESTS, 60, 1.0)
TOKENS = Limit("alice||tokens", What.TOKENS, 90_000, 1500.0)
PLACES = Limit("alice||concurrent", What.CONCURRENT, 5)
MONEY = Limit("alice||budget/usd/month", What.BUDGET, 1_000_000, per="month", unit="usd", holder="alice")


def test_without_limits_nothing_is_told() -> None:
    assert header_lines([]) == b""


def test_a_limit_of_requests_is_told_twice_in_seconds_and_as_openai_does() -> None:
    assert header_lines([Standing(REQUESTS, 59, 1.0)]) == (
        b"X-RateLimit-Limit: 60\r\n"
        b"X-RateLimit-Remaining: 59\r\n"
        b"X-RateLimit-Reset: 1\r\n"
        b"x-ratelimit-limit-requests: 60\r\n"
        b"x-ratelimit-remaining-requests: 59\r\n"
        b"x-ratelimit-reset-requests: 1s\r\n"
    )


def test_where_only_tokens_are_limited_the_plain_headers_speak_of_tokens() -> None:
    assert header_lines([Standing(TOKENS, 45_000, 30.2)]) == (
        b"X-RateLimit-Limit: 90000\r\n"
        b"X-RateLimit-Remaining: 45000\r\n"
        b"X-RateLimit-Reset: 31\r\n"
        b"x-ratelimit-limit-tokens: 90000\r\n"
        b"x-ratelimit-remaining-tokens: 45000\r\n"
        b"x-ratelimit-reset-tokens: 30.2s\r\n"
    )


def test_where_both_are_limited_the_plain_headers_speak_of_requests() -> None:
    expected = (
        b"X-RateLimit-Limit: 60\r\n"
        b"X-RateLimit-Remaining: 59\r\n"
        b"X-RateLimit-Reset: 1\r\n"
        b"x-ratelimit-limit-requests: 60\r\n"
        b"x-ratelimit-remaining-requests: 59\r\n"
        b"x-ratelimit-reset-requests: 1s\r\n"
        b"x-ratelimit-limit-tokens: 90000\r\n"
        b"x-ratelimit-remaining-tokens: 89984\r\n"
        b"x-ratelimit-reset-tokens: 11ms\r\n"
    )
    standings = [Standing(REQUESTS, 59, 1.0), Standing(TOKENS, 89_984, 16 / 1500)]
    assert header_lines(standings) == header_lines(reversed(standings)) == expected


def test_places_and_budgets_have_no_headers() -> None:
    assert header_lines([Standing(PLACES, 4, 0.0), Standing(MONEY, 10, 100.0)]) == b""


def test_of_several_limits_of_a_kind_the_one_with_least_left_is_told() -> None:
    wide, narrow = Limit("a", What.REQUESTS, 600, 10.0), Limit("b", What.REQUESTS, 10, 1 / 6)
    big, small = Limit("c", What.TOKENS, 10**6, 1.0), Limit("d", What.TOKENS, 1000, 1.0)
    standings = [Standing(wide, 500, 10.0), Standing(narrow, 3, 42.0), Standing(small, 999, 1.0), Standing(big, 7, 2.0)]
    for order in (standings, standings[::-1]):
        lines = header_lines(order).split(b"\r\n")
        assert lines[:3] == [b"X-RateLimit-Limit: 10", b"X-RateLimit-Remaining: 3", b"X-RateLimit-Reset: 42"]
        assert b"x-ratelimit-limit-requests: 10" in lines
        assert b"x-ratelimit-remaining-tokens: 7" in lines
        assert b"x-ratelimit-limit-tokens: 1000000" in lines


def test_a_debt_is_told_as_nothing_left_and_its_time_counts() -> None:
    assert header_lines([Standing(TOKENS, -45_000, 90.0)]) == (
        b"X-RateLimit-Limit: 90000\r\n"
        b"X-RateLimit-Remaining: 0\r\n"
        b"X-RateLimit-Reset: 90\r\n"
        b"x-ratelimit-limit-tokens: 90000\r\n"
        b"x-ratelimit-remaining-tokens: 0\r\n"
        b"x-ratelimit-reset-tokens: 1m30s\r\n"
    )


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, b"0s"),
        (0.0001, b"1ms"),
        (0.001, b"1ms"),
        (0.012, b"12ms"),
        (0.1, b"100ms"),
        (0.999, b"999ms"),
        (0.9991, b"1s"),
        (1, b"1s"),
        (1.001, b"1.001s"),
        (1.5, b"1.5s"),
        (8.64, b"8.64s"),
        (10, b"10s"),
        (20, b"20s"),
        (59.999, b"59.999s"),
        (59.9999, b"1m0s"),
        (60, b"1m0s"),
        (60.5, b"1m0.5s"),
        (70, b"1m10s"),
        (90.25, b"1m30.25s"),
        (360, b"6m0s"),
        (600, b"10m0s"),
        (3599.9, b"59m59.9s"),
        (3600, b"1h0m0s"),
        (3661.5, b"1h1m1.5s"),
        (86_400, b"24h0m0s"),
    ],
)
def test_durations_are_written_as_openai_writes_them(seconds: float, said: bytes) -> None:
    assert openai_duration(seconds) == said


@settings(deadline=None)
@given(st.floats(0, 1e6))
def test_a_duration_read_back_is_the_one_written_rounded_up_to_milliseconds(seconds: float) -> None:
    said = openai_duration(seconds).decode()
    units = {"h": 3600, "m": 60, "s": 1, "ms": Decimal("0.001")}
    parts = re.findall(r"([0-9.]+)(ms|h|m|s)", said)
    assert "".join(number + unit for number, unit in parts) == said
    assert sum(Decimal(number) * units[unit] for number, unit in parts) == Decimal(math.ceil(seconds * 1000)) / 1000


@pytest.mark.parametrize(
    ("limit", "message", "kind"),
    [
        (REQUESTS, "This key's limit of 60 requests per minute is reached.", "requests"),
        (TOKENS, "This key's limit of 90000 tokens per minute is reached.", "tokens"),
        (PLACES, "This key's limit of 5 requests at once is reached.", "concurrent"),
    ],
)
def test_a_refusal_says_which_limit_is_reached_and_when_to_come_back(limit: Limit, message: str, kind: str) -> None:
    error = refusal(Refusal(limit, 2.5))
    assert (error.status, error.code, error.message) == (429, "rate_limit_exceeded", message)
    assert error.details == {"limit": kind}
    assert error.headers == (("Retry-After", "3"), ("retry-after-ms", "2500"))


@pytest.mark.parametrize(
    ("wait", "seconds", "milliseconds"),
    [
        (0.0, "1", "1"),
        (0.0000001, "1", "1"),
        (0.25, "1", "250"),
        (0.2501, "1", "251"),
        (1.0, "1", "1000"),
        (1.0001, "2", "1001"),
        (59.01, "60", "59010"),
        # The gateway cannot say: a place is free as soon as one of the caller's own calls ends.
        (None, "1", "1000"),
    ],
)
def test_waits_are_rounded_up_so_that_no_client_is_refused_twice(
    wait: float | None, seconds: str, milliseconds: str
) -> None:
    assert refusal(Refusal(PLACES, wait)).headers == (("Retry-After", seconds), ("retry-after-ms", milliseconds))


def test_a_call_that_can_never_be_is_not_worth_another_try() -> None:
    error = refusal(Refusal(TOKENS, None, never=True))
    assert error.message == "This key's limit of 90000 tokens per minute is less than the request alone needs."
    assert (error.status, error.code, error.details) == (429, "rate_limit_exceeded", {"limit": "tokens"})
    assert error.headers == (("x-should-retry", "false"),)


@pytest.mark.parametrize("never", [False, True])
def test_a_budget_that_is_used_up_returns_with_its_period_and_not_sooner(never: bool) -> None:
    error = refusal(Refusal(MONEY, 86_400.5, never=never))
    assert (error.status, error.code) == (429, "insufficient_quota")
    assert error.message == (
        "This key's budget for the month is used up, or the request alone exceeds what is left of it."
    )
    assert error.details == {"limit": "budget", "per": "month"}
    assert error.headers == (("Retry-After", "86401"), ("retry-after-ms", "86400500"), ("x-should-retry", "false"))


def test_a_budget_that_cannot_be_looked_up_is_our_fault_and_may_be_tried_again() -> None:
    error = refusal(Refusal(MONEY, 1.0, unknown=True))
    assert (error.status, error.code) == (503, "store_unavailable")
    assert error.message == "This key's budget cannot be looked up now; try again."
    assert error.headers == (("Retry-After", "1"), ("retry-after-ms", "1000"))


def test_it_says_whose_limit_it_is_and_does_not_name_the_key() -> None:
    error = refusal(Refusal(REQUESTS, 1.0), "This address's")
    assert error.message == "This address's limit of 60 requests per minute is reached."
    assert b"alice" not in refusal(Refusal(MONEY, 1.0)).body("id") + refusal(Refusal(REQUESTS, 1.0)).body("id")
