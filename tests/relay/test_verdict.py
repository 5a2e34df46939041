"""What a provider's refusal means: a table of judgements."""

import email.utils
import math
import time
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.core.errors import KINDS
from proxy.relay.verdict import MAX_RETRY_AFTER, Failed, Reach, Refused, judge, retry_after, told_in_200
from proxy.upstream.source import Source

KEY = "sk-of-tests-1234567890abcd"
HERS = Source("compatible", (KEY,))


def judged(status: int, error: Any = None) -> tuple[str, Reach] | None:
    """The failure it is; None for a refusal that is the caller's."""
    verdict = judge(status, [], orjson.dumps({"error": error}), HERS)
    return (verdict.code, verdict.reach) if isinstance(verdict, Failed) else None


@pytest.mark.parametrize(
    "status",
    [400, 403, 405, 406, 407, 408, 409, 410, 411, 413, 414, 415, 416, 418, 422, 423, 425, 426, 431, 451, 499],
)
def test_what_the_client_can_mend_is_told_to_the_client(status: int) -> None:
    assert judged(status) is None


def test_a_404_that_names_nothing_is_of_the_path_and_one_with_words_of_the_call() -> None:
    assert judged(404) == ("upstream_refused", Reach.ELSEWHERE)
    assert judged(404, {"message": "No such File object: file-1"}) is None


@pytest.mark.parametrize(
    ("status", "code", "reach"),
    [
        (300, "upstream_redirect", Reach.UNANSWERED),
        (302, "upstream_redirect", Reach.UNANSWERED),
        (307, "upstream_redirect", Reach.UNANSWERED),
        (401, "upstream_auth_error", Reach.REFUSED),
        (402, "insufficient_quota", Reach.REFUSED),
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


@pytest.mark.parametrize("word", ["insufficient_quota", "credit_balance_exhausted", "billing_not_active"])
@pytest.mark.parametrize("field", ["code", "type"])
@pytest.mark.parametrize("status", [400, 402, 403, 429])
def test_money_that_is_gone_is_not_a_pace_that_is_too_high(status: int, field: str, word: str) -> None:
    assert judged(status, {field: word}) == ("insufficient_quota", Reach.REFUSED)


@pytest.mark.parametrize("error", [None, "text", [], 7, {}, {"code": 429}, {"code": ["x"]}, {"code": {}, "type": None}])
def test_a_strange_error_body_changes_no_judgement(error: Any) -> None:
    assert judged(429, error) == ("rate_limit_exceeded", Reach.REFUSED)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null", b'{"error"', b"[" * 10_000])
def test_a_body_that_is_no_json_object_is_judged_by_its_status(body: bytes) -> None:
    failed = judge(429, [], body)
    assert isinstance(failed, Failed)
    assert failed.code == "rate_limit_exceeded"


PAGE = b"<!DOCTYPE html><html><head><title>Attention Required! | Cloudflare</title></head></html>"


@pytest.mark.parametrize("status", [403, 404, 503])
@pytest.mark.parametrize("body", [PAGE, b"error code: 1020", b"404 page not found\n"])
def test_a_page_or_a_text_is_something_before_the_provider_and_no_keys_fault(status: int, body: bytes) -> None:
    failed = judge(status, [], body)
    assert isinstance(failed, Failed)
    assert (failed.code, failed.words) == ("upstream_unavailable", "")
    assert failed.lasting == (status < 500)


@pytest.mark.parametrize("body", [PAGE, b"", b"{", b"\xff"])
def test_of_a_refusal_without_any_words_the_status_is_told(body: bytes) -> None:
    refused = judge(413, [(b"content-type", b"text/html")], body)
    assert isinstance(refused, Refused)
    assert (refused.status, refused.headers) == (413, [(b"Content-Type", b"application/json")])
    assert orjson.loads(refused.body)["error"]["type"] == "invalid_request_error"
    assert b"Cloudflare" not in refused.body


def test_a_plain_text_is_the_message() -> None:
    # axum, as text-generation-inference and others are built on it.
    words = b"Failed to deserialize the JSON body into the target type: missing field `messages` at line 1 column 13"
    refused = judge(422, [(b"content-type", b"text/plain")], words)
    assert isinstance(refused, Refused)
    assert orjson.loads(refused.body)["error"]["message"] == words.decode()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ({"type": "invalid_request_error", "code": None}, None),
        ({"code": "context_length_exceeded"}, "context_length_exceeded"),
        ({"type": "rate_limit_error"}, "rate_limit_exceeded"),
        ({"code": 429}, "rate_limit_exceeded"),
        ({"code": "429"}, "rate_limit_exceeded"),
        ({"code": {"code": 429}}, "rate_limit_exceeded"),
        ({"code": "rate_limit_exceeded"}, "rate_limit_exceeded"),
        ({"type": "insufficient_quota"}, "insufficient_quota"),
        ({"type": "overloaded_error"}, "upstream_unavailable"),
        ({"code": 503}, "upstream_unavailable"),
        ({"code": "server_is_overloaded"}, "upstream_unavailable"),
        ({"type": "authentication_error"}, "upstream_auth_error"),
        ({"type": "permission_error"}, None),
        ({"code": 403, "message": "flagged"}, None),
        ({"code": 404, "message": "No such file"}, None),
        ({"type": "server_error"}, "upstream_error"),
        ({"code": 504}, "upstream_timeout"),
        ({"message": "model runner has unexpectedly stopped"}, "upstream_error"),
        ({}, "upstream_error"),
        ({"type": ["x"], "code": {}}, "upstream_error"),
    ],
)
def test_an_error_in_a_200_is_judged_as_the_same_error_with_its_status(error: dict[str, Any], code: str | None) -> None:
    verdict = told_in_200(error)
    assert (verdict.code if isinstance(verdict, Failed) else None) == code


@given(st.sampled_from([*range(400, 430), 451, *range(500, 530)]), st.text(max_size=60), st.text(max_size=20))
def test_an_error_means_the_same_by_its_status_and_told_in_a_200(status: int, message: str, code: str) -> None:
    error = {"message": message, "type": code, "param": None, "code": status}
    one, other = judge(status, [], orjson.dumps({"error": error})), told_in_200(error)
    assert type(one) is type(other)
    assert one.code == other.code


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-999, 999) | st.text(max_size=30),
        lambda x: (
            st.lists(x)
            | st.dictionaries(
                st.sampled_from(
                    ["error", "message", "code", "type", "detail", "errors", "status", "metadata", "param"]
                ),
                x,
            )
        ),
    )
)
def test_no_error_without_a_word_about_the_key_parks_one(value: Any) -> None:
    for status in (400, 403, 404, 409, 422, 451, 500, 503):
        verdict = judge(status, [], orjson.dumps(value), HERS)
        assert verdict.code not in ("upstream_auth_error", "insufficient_quota") or _speaks_of_the_key(value)


def _speaks_of_the_key(value: Any) -> bool:
    return any(word in repr(value).lower() for word in ("key", "auth", "token", "account", "quota", "bill", "balance"))


@pytest.mark.parametrize(
    "message",
    [
        'Your input was flagged: "Incorrect API key provided. Your credit balance is too low."',
        "Invalid 'messages[0].content': 'API key not valid. Please pass a valid API key.'",
        "`This organization has been disabled.` is not one of the choices",
        "Could not parse: my friend says insufficient balance means invalid_api_key",
        "openai/m requires moderation. No credits were charged.",
    ],
)
@pytest.mark.parametrize("status", [400, 403, 422])
def test_words_of_a_prompt_that_an_error_repeats_park_no_key(status: int, message: str) -> None:
    error = {"message": message, "code": None, "metadata": {"flagged_input": "invalid_api_key insufficient_quota"}}
    assert judged(status, error) is None


def test_a_refusal_in_openais_shape_passes_byte_for_byte() -> None:
    body = b'{ "error" : {"message":"No.", "type":"invalid_request_error","param":null,"code":"nope" } , "more":1e0}'
    refused = judge(400, [(b"content-type", b"application/json; charset=utf-8"), (b"etag", b"x")], body, HERS)
    assert isinstance(refused, Refused)
    assert refused.body == body
    assert (b"Content-Type", b"application/json; charset=utf-8") in refused.headers


def test_anthropics_own_errors_have_no_code_and_pass_as_they_are() -> None:
    body = (
        b'{"type":"error","error":{"type":"invalid_request_error","message":"max_tokens: Field required"},'
        b'"request_id":"req_1"}'
    )
    refused = judge(400, [], body, HERS)
    assert isinstance(refused, Refused)
    assert refused.body == body


def test_of_an_error_object_only_what_is_missing_is_added() -> None:
    refused = judge(
        403, [], b'{"error":{"message":"Flagged.","code":403,"metadata":{"reasons":["violence"]}},"user_id":"u"}'
    )
    assert isinstance(refused, Refused)
    assert orjson.loads(refused.body) == {
        "error": {
            "message": "Flagged.",
            "type": "permission_error",
            "param": None,
            "code": 403,
            "metadata": {"reasons": ["violence"]},
        },
        "user_id": "u",
    }


def test_no_part_of_a_key_is_shown_and_the_rest_of_the_bytes_is() -> None:
    body = b'{"error":{"message":"Key sk-of*****abcd may not set top_k","type":"x","param":null,"code":"y"}}'
    refused = judge(400, [], body, HERS)
    assert isinstance(refused, Refused)
    assert refused.body == body.replace(b"sk-of*****abcd", b"***")


@pytest.mark.parametrize(("status", "shown"), [(401, 403), (403, 403), (402, 402), (500, 403)])
def test_a_refusal_of_this_accounts_scope_is_never_the_clients_own_401(status: int, shown: int) -> None:
    failed = judge(status, [], b'{"error":{"message":"No.","type":"t","param":null,"code":"missing_scope"}}')
    assert isinstance(failed, Failed)
    assert failed.reach is Reach.ELSEWHERE
    assert failed.refusal is not None
    assert failed.refusal.status == shown


@pytest.mark.parametrize("status", [500, 502, 501, 503, 504, 429])
def test_the_words_of_a_failure_are_kept_for_the_client_without_the_key(status: int) -> None:
    failed = judge(status, [], b'{"error":{"message":"Disk full, said %b"}}' % KEY.encode(), HERS)
    assert isinstance(failed, Failed)
    assert failed.words == "Disk full, said ***"


@pytest.mark.parametrize("status", [401, 402])
def test_the_words_about_a_key_or_its_money_are_for_no_client(status: int) -> None:
    failed = judge(status, [], b'{"error":{"message":"Bad key"}}', HERS)
    assert isinstance(failed, Failed)
    assert (failed.words, failed.refusal) == ("", None)


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
