"""Where members of an object stand, how deep and how odd it may be, and that edits change nothing else."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.core import peek
from proxy.core.places import edited, find, moved, place
from tests.core.test_peek import texts, values


@settings(deadline=None, max_examples=200)
@given(st.dictionaries(texts, values, max_size=6), st.booleans(), st.none() | st.integers(0, 2))
def test_each_member_is_found_where_it_stands(value: dict[str, Any], escaped: bool, indent: int | None) -> None:
    body = json.dumps(value, ensure_ascii=escaped, indent=indent).encode()
    found = find(body, value)
    assert found.keys() == value.keys()
    for name, (key, start, end) in found.items():
        assert json.loads(body[start:end]) == value[name]
        assert json.loads(body[key:start].rstrip(b": ")) == name


@pytest.mark.parametrize("depth", [1, 100, 127, 128, 129, 130, 300, 900])
@pytest.mark.parametrize("brackets", [(b"[", b"]"), (b'{"a":', b"}")], ids=["arrays", "objects"])
def test_it_may_be_as_deep_as_a_lenient_reader_takes_it(depth: int, brackets: tuple[bytes, bytes]) -> None:
    opening, closing = brackets
    deep = opening * depth + b'"]}"' + closing * depth
    many = b"[" + b",".join([deep] * 3) + b"]"
    body = b'{"a":' + many + b', "b" : 1 }'
    assert place(body, "b") == (len(many) + 7, len(many) + 13, len(many) + 14)
    assert body[slice(*place(body, "a")[1:])] == many


@settings(deadline=None, max_examples=200)
@given(
    st.permutations(["model", "messages", "stream_options", "other"]),
    st.sampled_from([None, {}, {"x": 1}, {"include_usage": False}, {"include_usage": None, "x": [{}]}]),
    st.none() | st.integers(0, 2),
    texts.filter(bool),
)
def test_edits_by_known_places_are_those_by_looking(
    names: list[str], options: dict[str, Any] | None, indent: int | None, model: str
) -> None:
    whole = {"model": "a", "messages": [{"role": "user"}], "stream_options": options, "other": {"model": 1}}
    value = {name: whole[name] for name in names}
    body = json.dumps(value, indent=indent).encode()
    places = peek.places_of(body, value)
    message = peek.message_edit(body, {"role": "assistant"}, places)
    assert message == peek.message_edit(body, {"role": "assistant"})
    body, places = edited(body, [message]), moved(places, message)
    edits = [peek.usage_edit(body, peek.outline(value), places), peek.model_edit(body, model, places)]
    assert edits == [peek.usage_edit(body, value), peek.model_edit(body, model)]
    asked = json.loads(edited(body, edits))
    assert list(asked) == names
    assert asked["model"] == model
    assert asked["messages"] == [{"role": "user"}, {"role": "assistant"}]
    assert asked["stream_options"] == {**(options or {}), "include_usage": True}
    assert asked["other"] == {"model": 1}


def test_of_a_name_that_stands_twice_the_first_is_taken() -> None:
    assert place(b'{"a":1,"a":2}', "a") == (1, 5, 6)
