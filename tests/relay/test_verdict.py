"""What a provider's refusal means: a table of judgements."""

import email.utils
import math
import time
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.errors import KINDS
from proxy.relay.verdict import (
    MAX_RETRY_AFTER,
    Reach,
    judge_error_event,
    judge,
    object_of,
    retry_after,
)


def judged(status: int, error: Any = None) -> tuple[str, Reach] | None:
    failed = judge_status(status, [], orjson.dumps({"error": error}))
    return None if failed is None else (failed.code, failed.reach)


@pytest.mark.parametrize("status", [400, 404, 405, 406, 410, 411, 413, 414, 415, 416, 418, 422, 431, 451, 499])
def test_what_the_client_can_mend_is_told_to_the_client(status: int) -> None:
    assert judged(status) is None


@pytest.mark.parametrize(
    ("status", "code", "reach"),
    [
        (300, "upstream_redirect", Reach.UNANSWERED),
        (302, "upstream_redirect", Reach.UNANSWERED),
        (307, "upstream_redirect", Reach.UNANSWERED),
        (401, "upstream_auth_error", Reach.REFUSED),
        (402, "insufficient_quota", Reach.REFUSED),
        (403, "upstream_auth_error", Reach.REFUSED),
        (408, "upstream_unavailable", Reach.REFUSED),
        (409, "upstream_unavailable", Reach.REFUSED),
        (425, "upstream_unavailable", Reach.REFUSED),
        (429, "rate_limit_exceeded", Reach.REFUSED),
        (500, "upstream_error", Reach.UNANSWERED),
        (501, "upstream_error", Reach.UNANSWERED),
        (502, "upstream_error", Reach.UNANSWERED),
        (503, "upstream_unavailable", Reach.REFUSED),
        (504, "upstream_timeout", Reach.UNANSWERED),
        (520, "upstream_error", Reach.UNANSWERED),
        (529, "upstream_unavailable", Reach.REFUSED),
        (599, "upstream_error", Reach.UNANSWERED),
    ],
)
def test_every_other_status_is_a_failure_of_its_own_kind(status: int, code: str, reach: Reach) -> None:
    assert judged(status) == (code, reach)
    assert code in KINDS


@pytest.mark.parametrize("word", ["insufficient_quota", "credit_balance_exhausted", "billing_hard_limit_reached"])
@pytest.mark.parametrize("field", ["code", "type"])
def test_money_that_is_gone_is_not_a_pace_that_is_too_high(field: str, word: str) -> None:
    assert judged(429, {field: word}) == ("insufficient_quota", Reach.REFUSED)


@pytest.mark.parametrize("error", [None, "text", [], 7, {}, {"code": 429}, {"code": ["x"]}, {"code": {}, "type": None}])
def test_a_strange_error_body_changes_no_judgement(error: Any) -> None:
    assert judged(429, error) == ("rate_limit_exceeded", Reach.REFUSED)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null", b"\xff", b'{"error"', b"[" * 10_000])
def test_a_body_that_is_no_json_object_is_no_object(body: bytes) -> None:
    assert object_of(body) is None
    failed = judge_status(429, [], body)
    assert failed is not None
    assert failed.code == "rate_limit_exceeded"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ({"type": "invalid_request_error", "code": None}, None),
        ({"code": "context_length_exceeded"}, None),
        ({"type": "rate_limit_error"}, "rate_limit_exceeded"),
        ({"code": 429}, "rate_limit_exceeded"),
        ({"code": "rate_limit_exceeded"}, "rate_limit_exceeded"),
        ({"type": "insufficient_quota"}, "insufficient_quota"),
        ({"type": "overloaded_error"}, "upstream_unavailable"),
        ({"code": 503}, "upstream_unavailable"),
        ({"code": "server_is_overloaded"}, "upstream_unavailable"),
        ({"type": "authentication_error"}, "upstream_auth_error"),
        ({"type": "permission_error"}, "upstream_auth_error"),
        ({"type": "server_error"}, "upstream_error"),
        ({}, "upstream_error"),
        ({"type": ["x"], "code": {}}, "upstream_error"),
    ],
)
def test_an_error_event_means_what_its_words_say(error: dict[str, Any], code: str | None) -> None:
    failed = judge_error_event(error)
    assert (failed.code if failed else None) == code


@pytest.mark.parametrize(
    ("name", "value", "seconds"),
    [
        (b"retry-after", b"7", 7.0),
        (b"retry-after", b" 7 ", 7.0),
        (b"retry-after", b"0", 0.0),
        (b"retry-after", b"1.5", 1.5),
        (b"retry-after", b"999999999", MAX_RETRY_AFTER),
        (b"retry-after", b"Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        (b"retry-after-ms", b"250", 0.25),
        (b"retry-after-ms", b"999999999999", MAX_RETRY_AFTER),
        (b"retry-after", b"-1", None),
        (b"retry-after", b"", None),
        (b"retry-after", b"soon", None),
        (b"retry-after", b"nan", None),
        (b"retry-after", b"inf", None),
        (b"retry-after", b"1e999", None),
        (b"retry-after", b"\xb2", None),
        (b"retry-after", b"Wed, 99 Oct 99999999999999 07:28:00 GMT", None),
        (b"retry-after-ms", b"Wed, 21 Oct 2015 07:28:00 GMT", None),
        (b"x-other", b"7", None),
    ],
)
def test_retry_after_is_seconds_or_nothing(name: bytes, value: bytes, seconds: float | None) -> None:
    assert retry_after([(b"date", b"x"), (name, value)]) == seconds


def test_retry_after_may_be_a_date() -> None:
    wait = retry_after([(b"retry-after", email.utils.formatdate(time.time() + 100, usegmt=True).encode())])
    assert wait is not None
    assert 90 < wait <= 100


def test_milliseconds_win_over_seconds_unless_they_are_nonsense() -> None:
    assert retry_after([(b"retry-after", b"9"), (b"retry-after-ms", b"1500")]) == 1.5
    assert retry_after([(b"retry-after", b"9"), (b"retry-after-ms", b"x")]) == 9.0


dates = st.builds(
    "{}, {} {} {} {}:{}:{} {}".format,
    st.sampled_from(["Mon", "Sun", ""]),
    st.integers(-1, 40),
    st.sampled_from(["Jan", "Dec", "Foo"]),
    st.integers(-1, 10**20),
    *[st.integers(-1, 10**6)] * 3,
    st.sampled_from(["GMT", "+0000", "-9999", "+99999999999999999999", ""]),
).map(str.encode)
numbers = (st.floats().map(repr) | st.integers().map(str)).map(str.encode)


@given(st.sampled_from([b"retry-after", b"retry-after-ms"]), st.binary(max_size=40) | dates | numbers)
@example(b"retry-after", b"1_0")
@example(b"retry-after", b"9" * 5000)
def test_any_retry_after_is_a_wait_that_ends_or_none(name: bytes, value: bytes) -> None:
    wait = retry_after([(name, value)])
    assert wait is None or (math.isfinite(wait) and 0 <= wait <= MAX_RETRY_AFTER)
