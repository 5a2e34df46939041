"""Keys and usage as other programs read them."""

import csv
import io
from datetime import UTC, datetime, timedelta

import pytest

from proxy.accounts.asked import usage_question
from proxy.accounts.keys import KeyRecord
from proxy.accounts.shown import file_key_fields, inert, key_fields, status, usage_csv, usage_fields, usd
from proxy.accounts.usage import UsageLine
from proxy.settings import Budget, ClientKey, KeyLimits

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def record(
    expires: datetime | None = None, revoked: datetime | None = None, previous_expires: datetime | None = None
) -> KeyRecord:
    limits = KeyLimits.model_validate({"concurrent": 3})
    budget = Budget.model_validate({"tokens": 5, "per": "month"})
    return KeyRecord(
        "web",
        "shop",
        "hpx_abcdef",
        ("*",),
        ("*",),
        limits,
        budget,
        NOW - HOUR,
        expires,
        revoked,
        previous_expires,
        b"digest-bytes",
        None,
        7,
    )


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (record(), "active"),
        (record(expires=NOW + HOUR), "active"),
        (record(expires=NOW), "expired"),
        (record(revoked=NOW, expires=NOW - HOUR), "revoked"),
        (record(previous_expires=NOW + HOUR), "rotating"),
        (record(previous_expires=NOW), "active"),
    ],
)
def test_the_status_of_a_key_is_what_counts_now(key: KeyRecord, expected: str) -> None:
    assert status(key, NOW) == expected


def test_a_key_is_shown_without_digest_and_number() -> None:
    fields = key_fields(record(expires=NOW + HOUR), NOW, NOW)
    assert fields["limits"] == {"requests_per_minute": None, "tokens_per_minute": None, "concurrent": 3}
    assert fields["budget"] == {"tokens": 5, "per": "month"}
    assert (fields["created"], fields["expires"]) == ("2026-11-25T11:00:00.000Z", "2026-11-25T13:00:00.000Z")
    assert "digest" not in repr(fields)


def test_keys_of_file_and_store_are_shown_in_one_form() -> None:
    of_file = file_key_fields(ClientKey.model_validate({"name": "x", "key": "hunter2"}), None)
    assert of_file.keys() == key_fields(record(), NOW, None).keys()
    assert "hunter2" not in repr(of_file)


def test_money_is_written_exactly() -> None:
    assert [usd(micro) for micro in (0, 1, 1_250_000, 10**15 + 1)] == [
        "0.000000",
        "0.000001",
        "1.250000",
        "1000000000.000001",
    ]


def test_a_report_is_the_same_as_json_and_as_csv() -> None:
    line = UsageLine("web", requests=3, ok=2, failed=1, prompt_tokens=10, completion_tokens=5, cost=1_500_000)
    fields = usage_fields(usage_question({"since": "1d"}, NOW), [line], line)
    (shown,) = fields["lines"]
    assert (fields["since"], fields["until"]) == ("2026-11-24T12:00:00.000Z", None)
    assert shown == {"group": "web", **fields["total"]}
    (read,) = csv.DictReader(io.StringIO(usage_csv("key", [line])))
    assert read.pop("key") == "web"
    assert read == {name: str(value) for name, value in fields["total"].items()}


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", " =1", "\t=1", "\r1", "\n1", "\uff1d1+1"])
def test_a_name_is_no_formula_to_a_spreadsheet(text: str) -> None:
    assert inert(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "gpt-4o", "a=b", "web app"])
def test_other_names_are_left_alone(text: str) -> None:
    assert inert(text) == text
