"""How many tokens a call used: what providers report, and what is supposed where a provider says nothing."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.core.usage import MOST, TOKENS_PER_ATTACHMENT, Tokens, estimate, expected_prompt, most_completion, read_usage


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        # Chat completions, and what speaks like them.
        ({"prompt_tokens": 12, "completion_tokens": 34, "total_tokens": 46}, Tokens(12, 34)),
        (
            {
                "prompt_tokens": 1200,
                "completion_tokens": 340,
                "total_tokens": 1540,
                "prompt_tokens_details": {"cached_tokens": 1024, "audio_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": 256, "accepted_prediction_tokens": 0},
            },
            Tokens(1200, 340, cached=1024, reasoning=256),
        ),
        ({"prompt_tokens": 12, "completion_tokens": 34, "prompt_tokens_details": None}, Tokens(12, 34)),
        ({"prompt_tokens": 12, "completion_tokens": 34, "prompt_tokens_details": []}, Tokens(12, 34)),
        ({"prompt_tokens": 12, "completion_tokens": 34, "completion_tokens_details": {}}, Tokens(12, 34)),
        ({"prompt_tokens": 8, "total_tokens": 8}, Tokens(8)),
        ({"prompt_tokens": 8, "completion_tokens": None, "total_tokens": 8}, Tokens(8)),
        # Nothing but a sum: reranking and the like.
        ({"total_tokens": 99}, Tokens(99)),
        # The Responses API.
        (
            {
                "input_tokens": 36,
                "input_tokens_details": {"cached_tokens": 30},
                "output_tokens": 87,
                "output_tokens_details": {"reasoning_tokens": 80},
                "total_tokens": 123,
            },
            Tokens(36, 87, cached=30, reasoning=80),
        ),
        ({"input_tokens": 36, "output_tokens": 87, "output_tokens_details": None, "total_tokens": 123}, Tokens(36, 87)),
        # Pictures and transcriptions.
        (
            {
                "total_tokens": 4174,
                "input_tokens": 14,
                "output_tokens": 4160,
                "input_tokens_details": {"text_tokens": 14, "image_tokens": 0},
            },
            Tokens(14, 4160),
        ),
        # The Messages API counts its cache beside the input.
        ({"input_tokens": 10, "output_tokens": 20}, Tokens(10, 20)),
        (
            {
                "input_tokens": 10,
                "cache_creation_input_tokens": 200,
                "cache_read_input_tokens": 3000,
                "output_tokens": 40,
            },
            Tokens(3210, 40, cached=3000, written=200),
        ),
        (
            {"input_tokens": 10, "cache_creation_input_tokens": None, "cache_read_input_tokens": 0, "output_tokens": 1},
            Tokens(10, 1),
        ),
        ({"output_tokens": 40}, Tokens(0, 40)),
    ],
)
def test_usage_is_read_from_every_form_it_comes_in(usage: dict[str, Any], tokens: Tokens | None) -> None:
    assert read_usage(usage) == tokens


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
        {"prompt_tokens": 0, "completion_tokens": 0},
        {"total_tokens": 0},
        {"input_tokens": 0, "output_tokens": 0},
    ],
)
def test_an_explicit_0_stays_0_and_is_no_estimate(usage: dict[str, Any]) -> None:
    assert read_usage(usage) == Tokens(0, 0, estimated=False)


@pytest.mark.parametrize("usage", [{}, {"cost": 3}, {"cached_tokens": 4}, {"prompt_tokens_details": {}}])
def test_an_object_without_counts_says_nothing(usage: dict[str, Any]) -> None:
    assert read_usage(usage) is None


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ({"prompt_tokens": -1, "completion_tokens": 34}, Tokens(0, 34, estimated=True)),
        ({"prompt_tokens": 12, "completion_tokens": -34}, Tokens(12, 0, estimated=True)),
        ({"prompt_tokens": 2**63, "completion_tokens": 1}, Tokens(MOST, 1, estimated=True)),
        ({"prompt_tokens": 10**400, "completion_tokens": 1}, Tokens(MOST, 1, estimated=True)),
        ({"prompt_tokens": MOST, "completion_tokens": 1}, Tokens(MOST, 1)),
        ({"prompt_tokens": True, "completion_tokens": 1}, Tokens(0, 1, estimated=True)),
        ({"prompt_tokens": 1.5, "completion_tokens": 1}, Tokens(0, 1, estimated=True)),
        ({"prompt_tokens": "12", "completion_tokens": 1}, Tokens(0, 1, estimated=True)),
        ({"prompt_tokens": [12], "completion_tokens": 1}, Tokens(0, 1, estimated=True)),
        (
            {"prompt_tokens": 5, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": -7}},
            Tokens(5, 1, estimated=True),
        ),
        ({"input_tokens": 5, "output_tokens": -1}, Tokens(5, 0, estimated=True)),
        ({"input_tokens": 5, "cache_read_input_tokens": -9, "output_tokens": 1}, Tokens(5, 1, estimated=True)),
        ({"total_tokens": -9}, Tokens(0, 0, estimated=True)),
    ],
)
def test_nonsense_is_brought_into_range_and_marked(usage: dict[str, Any], tokens: Tokens) -> None:
    assert read_usage(usage) == tokens


def test_a_part_is_never_more_than_the_whole() -> None:
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 20,
        "prompt_tokens_details": {"cached_tokens": 11, "cache_write_tokens": 5, "audio_tokens": 3},
        "completion_tokens_details": {"audio_tokens": 21},
    }
    assert read_usage(usage) == Tokens(10, 20, cached=10, audio_output=20)


def test_reasoning_that_is_more_than_the_completion_stands_beside_it() -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 20, "completion_tokens_details": {"reasoning_tokens": 21}}
    assert read_usage(usage) == Tokens(10, 41, reasoning=21)
    # A total is the provider's own sum, and reasoning is told as it is.
    assert read_usage({**usage, "total_tokens": 30}) == Tokens(10, 20, reasoning=21)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
NAMES = [
    f"{what}_tokens{part}" for what in ("prompt", "completion", "total", "input", "output") for part in ("", "_details")
]


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(NAMES), JSON, max_size=6))
def test_whatever_a_provider_reports_the_counts_are_in_range(usage: dict[str, Any]) -> None:
    tokens = read_usage(usage)
    if tokens is not None:
        assert 0 <= tokens.cached <= tokens.prompt <= 3 * MOST
        assert 0 <= tokens.reasoning <= tokens.completion <= MOST


def test_several_answers_are_added_up_and_one_estimate_makes_the_sum_one() -> None:
    first, second = Tokens(1, 20, 300, 4000), Tokens(5, 60, 700, 8000, estimated=True)
    assert first + second == Tokens(6, 80, 1000, 12_000, estimated=True)
    assert (first + first).estimated is False
    assert (first + second).total == 86


@pytest.mark.parametrize(("size", "tokens"), [(0, 0), (1, 1), (4, 1), (5, 2), (4000, 1000), (4001, 1001)])
def test_four_bytes_are_taken_for_a_token_and_rounded_up(size: int, tokens: int) -> None:
    assert estimate(size) == tokens


def question(*content: Any) -> dict[str, Any]:
    return {"model": "gpt-4o", "messages": [{"role": "user", "content": list(content)}]}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def prompt(value: dict[str, Any]) -> tuple[int, int]:
    """The tokens expected, and the bytes of the body."""
    body = json.dumps(value, ensure_ascii=False).encode()
    return expected_prompt(body, value), len(body)


PICTURE = base64.b64encode(bytes(range(256)) * 4000).decode()
"""A megabyte, as it travels."""


@pytest.mark.parametrize(
    "words",
    [
        "Say hello.",
        "the quick brown fox jumps over the lazy dog " * 10_000,
        # Talking about base64 attaches nothing.
        'base64 is an encoding; its "data" may be long. ' * 1000,
        # Some scripts have no spaces.
        "base64は、すべてのバイト列を印字可能な文字で表す。" * 1000,
    ],
    ids=["short", "long", "about base64", "without spaces"],
)
def test_prose_is_counted_by_its_bytes(words: str) -> None:
    tokens, size = prompt(question(text(words)))
    assert tokens == -(-size // 4)


@pytest.mark.parametrize(
    "attachment",
    [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + PICTURE}},
        {"type": "input_image", "image_url": "data:image/jpeg;base64," + PICTURE},
        {"type": "input_audio", "input_audio": {"data": PICTURE, "format": "wav"}},
        {"type": "file", "file": {"file_data": PICTURE, "filename": "report.pdf"}},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PICTURE}},
    ],
    ids=["chat", "responses", "audio", "file", "messages"],
)
def test_an_attachment_is_counted_by_the_piece_and_not_by_its_bytes(attachment: dict[str, Any]) -> None:
    words = "What is this? " * 100
    tokens, size = prompt(question(text(words), attachment))
    assert size > 1_000_000
    assert TOKENS_PER_ATTACHMENT + len(words) // 4 <= tokens <= TOKENS_PER_ATTACHMENT + len(words) // 4 + 100
    twice, _ = prompt(question(text(words), attachment, attachment))
    assert TOKENS_PER_ATTACHMENT <= twice - tokens <= TOKENS_PER_ATTACHMENT + 100


def test_prose_beside_an_attachment_is_counted_in_full() -> None:
    words = "the quick brown fox " * 10_000
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + PICTURE}}
    tokens, _ = prompt(question(text(words), picture))
    assert tokens == pytest.approx(len(words) / 4 + TOKENS_PER_ATTACHMENT, abs=100)


def test_a_small_picture_is_counted_by_its_bytes_like_everything_small() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + PICTURE[:2000]}}
    tokens, size = prompt(question(picture))
    assert tokens == -(-size // 4)


def test_a_prompt_nested_as_deep_as_json_goes_is_walked_through() -> None:
    inner: Any = PICTURE
    for _ in range(100_000):
        inner = [inner]
    body = b"base64" + b"[" * 100_000 + PICTURE.encode() + b"]" * 100_000
    assert expected_prompt(body, {"input": inner}) == 50_002 + TOKENS_PER_ATTACHMENT


@pytest.mark.parametrize(
    ("value", "most"),
    [
        ({}, None),
        ({"max_tokens": 100}, 100),
        ({"max_completion_tokens": 100}, 100),
        ({"max_output_tokens": 100}, 100),
        # The newer name goes before the older one.
        ({"max_tokens": 100, "max_completion_tokens": 50}, 50),
        ({"max_tokens": 100, "max_completion_tokens": None}, 100),
        ({"max_tokens": None}, None),
        ({"max_tokens": 0}, None),
        ({"max_tokens": -5}, None),
        ({"max_tokens": True}, None),
        ({"max_tokens": "100"}, None),
        ({"max_tokens": 100.0}, None),
        ({"max_tokens": 10**30}, MOST),
        # Every choice may be as long.
        ({"max_tokens": 100, "n": 3}, 300),
        ({"max_tokens": 100, "n": 128}, 12_800),
        ({"max_tokens": 10**30, "n": 128}, MOST * 128),
        # What the provider will refuse is not guessed at.
        ({"max_tokens": 100, "n": 129}, 100),
        ({"max_tokens": 100, "n": 10**30}, 100),
        ({"max_tokens": 100, "n": 0}, 100),
        ({"max_tokens": 100, "n": -2}, 100),
        ({"max_tokens": 100, "n": True}, 100),
        ({"max_tokens": 100, "n": None}, 100),
        ({"max_tokens": 100, "n": "3"}, 100),
        ({"n": 3}, None),
    ],
)
def test_the_longest_answer_a_question_allows(value: dict[str, Any], most: int | None) -> None:
    assert most_completion(value) == most
