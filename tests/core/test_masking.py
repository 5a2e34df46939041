"""Keys in texts that providers write."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.masking import mask, mask_bytes

KEY = "sk-field-a1-Jm4Zr8TqWv2K"


@pytest.mark.parametrize(
    ("said", "left"),
    [
        (f"Incorrect API key provided: {KEY}.", "Incorrect API key provided: ***."),
        ("Incorrect API key provided: sk-field*****Wv2K.", "Incorrect API key provided: ***."),
        ("Incorrect API key provided: sk***2K. You", "Incorrect API key provided: ***. You"),
        # https://api-docs.deepseek.com/quick_start/error_codes
        ("Your api key: ****Wv2K is invalid", "Your api key: *** is invalid"),
        ("Key sk-f...Wv2K", "Key ***"),
        ("Key ...Wv2K", "Key ***"),
        ("Key sk-field\u2026Wv2K", "Key ***"),
        ("Key sk-\u2022\u2022\u2022\u2022Wv2K", "Key ***"),
        ("Key sk-field\\u2026Wv2K", "Key ***"),
        ("The key ending in 'Wv2K' has expired", "The key ending in '***' has expired"),
        ("The key starting with sk-f is unknown", "The key starting with *** is unknown"),
        ("Only sk-field-a1-Jm4 is shown", "Only *** is shown"),
        ("Only r8TqWv2K is shown", "Only *** is shown"),
        ("Authorization: Bearer abcdef123456", "Authorization: Bearer ***"),
        # Keys that are no key of ours, as the vendors' documents show them.
        ("sk-ant-api03-AbCdEfGh1234", "***"),
        ("sk-proj-AbCdEfGh1234_x", "***"),
        ("Consumer 'api_key:AIzaSyB9IojgeZfield' is suspended", "Consumer 'api_key:***' is suspended"),
        ("gsk_AbCdEfGh12345678", "***"),
        ("xai-AbCdEfGh12345678", "***"),
        ("hf_AbCdEfGh12345678", "***"),
        ("r8_AbCdEfGh12345678", "***"),
        ("pplx-0123456789abcdef", "***"),
        ("nvapi-AbCdEfGh12345678", "***"),
        ("AKIAIOSFODNN7EXAMPLE", "***"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc", "***"),
    ],
)
def test_a_key_or_a_hint_of_one_is_taken_out(said: str, left: str) -> None:
    assert mask(said, [KEY]) == left
    assert mask_bytes(said.encode(), [KEY]) == left.encode()


@pytest.mark.parametrize(
    "said",
    [
        "This model's maximum context length is 8192 tokens... However, you asked for more.",
        "Wait... no, the model `gpt-4o-2024-08-06` is not **bold** enough.",
        "Project `proj_FieldFake0001` does not have access to model `barred`",
        "You must choose between task-management-2 and disk-usage-3.",
        "see https://platform.openai.com/docs/guides/error-codes",
        "'n' must be at least 1 (got 0) in request req_011CSHoEeqs5C35K2UUqR7Fy",
        "the key of the object",
        "a monkey ending",
    ],
)
def test_what_is_no_key_stays(said: str) -> None:
    assert mask(said, [KEY, "none", "ollama"]) == said


@given(st.text(), st.text(max_size=5), st.text(max_size=5))
def test_whatever_stands_around_it_the_key_does_not_pass(text: str, before: str, after: str) -> None:
    assert KEY not in mask(f"{text}{before}{KEY}{after}{text}", [KEY])


@given(st.binary())
def test_bytes_that_are_no_utf_8_stay_what_they_are(data: bytes) -> None:
    if not any(each in data for each in (b"*", b".", b"\xe2", b"-", b"_", b"y", b"A", b"B")):
        assert mask_bytes(data, [KEY]) == data
    mask_bytes(data, [KEY])
