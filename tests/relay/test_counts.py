"""How many tokens an answer used: what its provider says, and what was counted where it says nothing or nonsense."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.sse import Dialect, Scanner
from proxy.core.usage import Tokens
from proxy.relay.counts import TAIL, of_answer, of_stream, usage_in

PROMPT = 50
"""What the question was estimated at."""


def stream(dialect: Dialect, *values: dict[str, Any]) -> Scanner:
    scanner = Scanner(dialect)
    for value in values:
        scanner.feed(b"data: " + orjson.dumps(value) + b"\n\n")
    return scanner


def word(text: str) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text}}]}


def usage(prompt: Any, completion: Any) -> dict[str, Any]:
    return {"choices": [], "usage": {"prompt_tokens": prompt, "completion_tokens": completion}}


@pytest.mark.parametrize(
    ("values", "tokens"),
    [
        ([word("a"), usage(3, 1)], Tokens(3, 1)),
        ([word("a"), usage(0, 0)], Tokens(0, 0)),
        ([word("a"), usage(3, 1), word("b"), usage(3, 2)], Tokens(3, 2)),
        ([word("a"), word("b")], Tokens(PROMPT, 2, estimated=True)),
        ([word("x" * 100)], Tokens(PROMPT, 25, estimated=True)),
        ([word("x" * 16), word("y" * 16)], Tokens(PROMPT, 2, estimated=True)),
        ([word("a"), usage(-3, 1)], Tokens(PROMPT, 1, estimated=True)),
        ([word("a"), usage("3", "1")], Tokens(PROMPT, 1, estimated=True)),
        ([word("a"), usage(10**18, 10**18)], Tokens(PROMPT, 1, estimated=True)),
        ([word("a"), {"choices": [], "usage": {}}], Tokens(PROMPT, 1, estimated=True)),
        ([word("a"), {"choices": [], "usage": None}], Tokens(PROMPT, 1, estimated=True)),
    ],
)
def test_a_chat_stream_used_what_its_last_usage_says_or_what_was_counted(
    values: list[dict[str, Any]], tokens: Tokens
) -> None:
    assert of_stream(stream(Dialect.CHAT, *values), PROMPT, uses_tokens=True) == tokens


def test_a_message_that_broke_off_used_the_prompt_it_told_and_what_came() -> None:
    told = {"input_tokens": 9, "cache_read_input_tokens": 4, "output_tokens": 1}
    start = {"type": "message_start", "message": {"usage": told}}
    delta = {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "a"}}
    scanner = stream(Dialect.MESSAGES, start, delta, delta)
    assert of_stream(scanner, PROMPT, uses_tokens=True) == Tokens(13, 2, cached=4, estimated=True)
    scanner = stream(Dialect.MESSAGES, start, delta, {"type": "message_delta", "usage": {"output_tokens": 7}})
    assert of_stream(scanner, PROMPT, uses_tokens=True) == Tokens(13, 7, cached=4)


def test_a_stream_of_no_model_used_nothing_unless_it_says_so() -> None:
    assert of_stream(stream(Dialect.OTHER, {"a": 1}), PROMPT, uses_tokens=False) is None
    told = stream(Dialect.OTHER, {"usage": {"input_tokens": 2, "output_tokens": 3}})
    assert of_stream(told, PROMPT, uses_tokens=False) == Tokens(2, 3)


def chat(**message: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": {"role": "assistant", **message}}]}


CALL = {"id": "call_1", "type": "function", "function": {"name": "func", "arguments": '{"a":1}'}}


@pytest.mark.parametrize(
    ("dialect", "value", "completion"),
    [
        (Dialect.CHAT, chat(content="x" * 40), 10),
        (Dialect.CHAT, chat(content="x" * 40, reasoning_content="y" * 40), 20),
        (Dialect.CHAT, chat(content=[{"type": "text", "text": "x" * 8}]), 2),
        (Dialect.CHAT, chat(content=None, tool_calls=[CALL]), 3),
        (Dialect.CHAT, {"choices": [{"message": {"content": "x" * 8}}, {"message": {"content": "x" * 8}}]}, 4),
        (Dialect.CHAT, {"choices": "none"}, 25),
        (Dialect.COMPLETIONS, {"choices": [{"text": "x" * 8}]}, 2),
        (Dialect.RESPONSES, {"output": [{"content": [{"type": "output_text", "text": "x" * 8}]}]}, 2),
        (Dialect.RESPONSES, {"output": [{"type": "function_call", "arguments": "x" * 8}]}, 2),
        (Dialect.MESSAGES, {"content": [{"type": "text", "text": "x" * 8}]}, 2),
        (Dialect.MESSAGES, {"content": [{"type": "tool_use", "input": {"a": "b"}}]}, 3),
        (Dialect.OTHER, {"text": "x" * 8}, 2),
        (Dialect.OTHER, {"data": [{"embedding": [0.5] * 100}]}, 0),
        (Dialect.OTHER, None, 0),
    ],
)
def test_a_whole_answer_that_tells_no_usage_is_counted_by_its_text(
    dialect: Dialect, value: dict[str, Any] | None, completion: int
) -> None:
    assert of_answer(value, 100, PROMPT, dialect, uses_tokens=True) == Tokens(PROMPT, completion, estimated=True)
    assert of_answer(value, 100, PROMPT, dialect, uses_tokens=False) is None


def test_a_whole_answer_used_what_it_says() -> None:
    value = {**chat(content="abc"), "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}}
    assert of_answer(value, 100, PROMPT, Dialect.CHAT, uses_tokens=True) == Tokens(0, 0)
    assert of_answer(value, 100, PROMPT, Dialect.CHAT, uses_tokens=False) == Tokens(0, 0)
    value["usage"]["completion_tokens"] = -1
    assert of_answer(value, 100, PROMPT, Dialect.CHAT, uses_tokens=True) == Tokens(PROMPT, 1, estimated=True)


@pytest.mark.parametrize(
    ("tail", "found"),
    [
        (b'0.5]}],"model":"m","usage":{"prompt_tokens":8,"total_tokens":8}}', {"prompt_tokens": 8, "total_tokens": 8}),
        (b'x"}],"usage" : {"prompt_tokens":8,"d":{"cached":"}"}} }\n', {"prompt_tokens": 8, "d": {"cached": "}"}}),
        (b'"usage":{"a":1},"b":{"usage":{"a":2}}}', {"a": 2}),
        (b'"text":"\\"usage\\":{\\"a\\":1}"}', None),
        (b'"usage":null}', None),
        (b'"usage":{"a":1', None),
        (b"", None),
    ],
)
def test_usage_is_found_at_the_end_of_an_answer_too_long_to_be_held(tail: bytes, found: dict[str, Any] | None) -> None:
    assert usage_in(tail) == found


@given(st.binary(max_size=200), st.integers(0, 3))
def test_no_answer_upsets_the_count(noise: bytes, names: int) -> None:
    tail = noise + b'"usage":{' * names + noise
    assert len(tail) < TAIL
    usage_in(tail)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=3),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["choices", "message", "content", "text", "output", "input", "usage", "tool_calls"]),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_no_object_upsets_the_count(value: Any) -> None:
    tokens = of_answer(value if type(value) is dict else None, 10, PROMPT, Dialect.CHAT, uses_tokens=True)
    assert tokens is not None
    assert tokens.completion >= 0
