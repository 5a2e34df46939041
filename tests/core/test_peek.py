"""What is read of a request's body, what is refused, and that a changed model changes nothing else."""

import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from proxy.core import peek
from proxy.core.errors import ProxyError
from proxy.core.peek import DESTINATIONS, MAX_DEPTH, Peek, peek_json, read_json, with_model

texts = st.text(max_size=12) | st.sampled_from(["model", 'mo"del', "\\", '\\"', '"', "{", "]", ":", ",", "é", "\x00"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


def refused(body: bytes) -> str:
    with pytest.raises(ProxyError) as caught:
        peek_json(read_json(body))
    assert caught.value.status == 400
    return caught.value.code


def test_the_outline_of_a_long_body_has_every_name_and_nothing_large() -> None:
    value = {
        "model": "m",
        "messages": [{"role": "user", "content": "x" * 100_000}],
        "tools": [],
        "prompt": "y" * 100_000,
        "stream_options": {"include_usage": True},
        "n": 1,
        "store": None,
    }
    assert peek.outline(value) == {
        "model": "m",
        "messages": [None],
        "tools": [],
        "prompt": "y" * 257,
        "stream_options": {"include_usage": True},
        "n": 1,
        "store": None,
    }


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":1,"a":2}',
        b'{"a":1,"a":1}',
        b'{"model":"cheap","messages":[],"model":"dear"}',
        b'{"model":"cheap","mod\\u0065l":"dear"}',
        b'{"x":{"a":1,"a":2}}',
        b'{"x":[[{"y":{"a":1,"b":2,"a":3}}]]}',
        b'{"":1,"":2}',
        b'{"\xc3\xa9":1,"\\u00e9":2}',
        b'{"a":{"b":1},"a":[]}',
        # An escaped quote makes up for the quotes the dropped key took along.
        b'{"a":"","a":"\\u0022\\u0022\\u0022\\u0022"}',
        b'{"a":1,"a":2,"b":"\\u0022\\u0022"}',
        b'{"a":1,"\\u0061":2,"b":"\\u0022\\u0022"}',
        b'{"\\u0022":1,"\\"":2}',
        b'{"\\u0022":1,"\\u0022":2}',
    ],
)
def test_a_repeated_key_is_refused_at_any_depth(body: bytes) -> None:
    assert refused(body) == "invalid_json"


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":"\\u0022"}',
        b'{"a\\u0022":1,"a":2}',
        b'{"a":"\\\\u0022","b":"\\""}',
        b'{"a":{"a":{"a":1}},"b":[{"a":1},{"a":1}]}',
        b'{"\\"":1,"\\\\":2}',
    ],
)
def test_what_only_looks_like_a_repeated_key_is_read(body: bytes) -> None:
    assert read_json(body) == json.loads(body)


@st.composite
def objects_with_a_repeated_key(draw: st.DrawFn) -> bytes:
    """JSON in which one object, somewhere, has a key twice, spelled one way or another."""
    pairs = list(draw(st.dictionaries(texts, values, min_size=1, max_size=4)).items())
    name, _ = draw(st.sampled_from(pairs))
    pairs.insert(draw(st.integers(0, len(pairs))), (name, draw(values)))

    def spell(value: Any) -> str:
        written = json.dumps(value, ensure_ascii=draw(st.booleans()))
        return written.replace('\\"', "\\u0022") if draw(st.booleans()) else written

    whole = "{" + ",".join(f"{spell(key)}:{spell(value)}" for key, value in pairs) + "}"
    for _ in range(draw(st.integers(0, 3))):
        whole = draw(st.sampled_from(['{"x":%s}', '{"x":[1,%s]}', '{"y":"\\"","x":{"z":%s,"w":""}}'])).replace(
            "%s", whole
        )
    return whole.encode()


@settings(deadline=None, max_examples=200)
@given(objects_with_a_repeated_key())
def test_no_spelling_hides_a_repeated_key(body: bytes) -> None:
    assert refused(body) == "invalid_json"


@settings(deadline=None, max_examples=150)
@given(st.dictionaries(texts, values, max_size=5), st.booleans(), st.none() | st.integers(0, 3))
def test_every_object_without_one_is_read(value: dict[str, Any], escaped: bool, indent: int | None) -> None:
    body = json.dumps(value, ensure_ascii=escaped, indent=indent).encode()
    assert read_json(body).keys() == value.keys()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'"text"',
        b"null",
        b"{",
        b"{} {}",
        b"{'a':1}",
        b'{"a":1,}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":-Infinity}',
        b'{"a":1e999}',
        b'{"a":' + b"9" * 400 + b"}",
        b'{"a":01}',
        b'{"a":"\\ud800"}',
        b'{"a":"\\udc00\\ud800"}',
        b'{"\\ud800":1}',
        b'{"a":"\xff"}',
        b'{"a":"\xed\xa0\x80"}',
        b'{"a":"\x00"}',
        b'{"a":1}\x00',
        b'{"a":1}//',
        b'\xef\xbb\xbf{"a":1}',
        '{"model":"a"}'.encode("utf-16"),
        '{"model":"a"}'.encode("utf-16-le"),
        '{"model":"a"}'.encode("utf-32"),
        b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"a":' * 300 + b"1" + b"}" * 300,
    ],
)
def test_json_that_two_readers_could_take_differently_is_refused(body: bytes) -> None:
    assert refused(body) == "invalid_json"


def test_depth_is_counted_by_nesting_and_not_by_brackets() -> None:
    def nested(depth: int) -> bytes:
        return b'{"a":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"

    assert read_json(nested(MAX_DEPTH))
    assert refused(nested(MAX_DEPTH + 1)) == "invalid_json"
    assert read_json(b'{"a":[' + b",".join([b"{}"] * 10_000) + b"]}")
    assert read_json(b'{"a":"' + b"[" * 10_000 + b'"}')


@pytest.mark.parametrize(
    "number", [b"18446744073709551616", b"-9223372036854775809", b"1e308", b"0.1e-400", b"1" * 300]
)
def test_big_numbers_pass_because_they_are_not_rewritten(number: bytes) -> None:
    body = b'{"seed":' + number + b',"model":"a"}'
    read_json(body)
    assert with_model(body, "b") == body.replace(b'"a"', b'"b"')


@settings(deadline=None, max_examples=150)
@given(st.binary(max_size=60) | texts.map(str.encode))
@example(b'{"a":' + b"1" * 5000 + b"}")
@example(b'{"a":"\\u0022","b":' + b"0." + b"0" * 5000 + b"1}")
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    with suppress(ProxyError):
        assert type(read_json(body)) is dict


# model and stream


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ({}, Peek(None, False)),
        ({"model": None, "stream": None}, Peek(None, False)),
        ({"model": "a", "stream": True}, Peek("a", True)),
        ({"model": "a", "stream": False}, Peek("a", False)),
        ({"nested": {"model": "b", "stream": True}}, Peek(None, False)),
    ],
)
def test_only_the_top_level_model_and_stream_are_read(value: dict[str, Any], found: Peek) -> None:
    assert peek_json(value) == found


@pytest.mark.parametrize("model", ["", 0, 1, True, [], ["a"], {}, {"a": 1}])
def test_a_model_that_is_no_name_is_refused(model: Any) -> None:
    assert refused(orjson.dumps({"model": model})) == "invalid_type"


@pytest.mark.parametrize("stream", ["true", 0, 1, [], {}, ""])
def test_a_stream_that_is_no_boolean_is_refused(stream: Any) -> None:
    assert refused(orjson.dumps({"model": "a", "stream": stream})) == "invalid_type"


@pytest.mark.parametrize("name", sorted(DESTINATIONS))
def test_a_body_cannot_say_where_it_goes(name: str) -> None:
    assert refused(orjson.dumps({"model": "a", name: None})) == "unsupported_parameter"
    assert peek_json({"model": "a", "inner": {name: 1}}) == Peek("a", False)


# A changed model


@pytest.mark.parametrize(
    ("body", "changed"),
    [
        (b'{"model":"a"}', b'{"model":"new"}'),
        (b' {\n"model"\t:\r "a" } ', b' {\n"model"\t:\r "new" } '),
        (b'{"mod\\u0065l":"a"}', b'{"mod\\u0065l":"new"}'),
        (b'{"\\u006d\\u006f\\u0064\\u0065\\u006c":"a"}', b'{"\\u006d\\u006f\\u0064\\u0065\\u006c":"new"}'),
        (b'{"a":"model","model":"a"}', b'{"a":"model","model":"new"}'),
        (b'{"a":{"model":"x"},"b":["model",{"model":"y"}],"model":"a"}', None),
        (b'{"a":"\\"model\\":\\"x\\"","model":"a"}', b'{"a":"\\"model\\":\\"x\\"","model":"new"}'),
        (b'{"a":"\\\\","model":"a"}', b'{"a":"\\\\","model":"new"}'),
        (b'{"a":null,"b":[],"model":"a","c":{}}', b'{"a":null,"b":[],"model":"new","c":{}}'),
        (
            b'{"model ":"x"," model":"y","Model":"z","model":"a"}',
            b'{"model ":"x"," model":"y","Model":"z","model":"new"}',
        ),
        (b'{"model":"\\"},{\\u007d"}', b'{"model":"new"}'),
    ],
)
def test_only_the_value_of_the_top_level_model_changes(body: bytes, changed: bytes | None) -> None:
    assert with_model(body, "new") == (changed or body.replace(b'"model":"a"', b'"model":"new"'))


def test_the_new_name_is_written_as_json() -> None:
    assert with_model(b'{"model":"a"}', 'q"\\é\n') == '{"model":"q\\"\\\\é\\n"}'.encode()


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.tuples(texts, values), max_size=5, unique_by=lambda pair: pair[0]),
    st.text(min_size=1, max_size=8),
    st.text(min_size=1, max_size=8),
    st.integers(0, 5),
    st.booleans(),
    st.none() | st.integers(0, 2),
    st.sampled_from(['"model"', '"m\\u006fdel"', '"mode\\u006C"']),
)
def test_a_changed_model_leaves_every_other_byte(
    pairs: list[tuple[str, Any]], old: str, new: str, at: int, escaped: bool, indent: int | None, key: str
) -> None:
    pairs = [pair for pair in pairs if pair[0] != "model"]
    # A mark no other value has shows where the model stands, without asking the code under test.
    mark = "\ue000mark\ue000"
    whole = json.dumps(dict([*pairs[:at], ("model", mark), *pairs[at:]]), ensure_ascii=escaped, indent=indent)
    written = json.dumps(mark, ensure_ascii=escaped)
    assume(whole.count(written) == 1)
    before, _, after = whole.partition(written)
    before = before[: before.rindex('"model"')] + key + before[before.rindex('"model"') + 7 :]
    body = (before + json.dumps(old, ensure_ascii=escaped) + after).encode()
    assert with_model(body, new) == before.encode() + orjson.dumps(new) + after.encode()


ASKED = '"stream_options":{"include_usage":true}'


@pytest.mark.parametrize(
    ("body", "asked"),
    [
        ('{"stream":true}', '{"stream":true,' + ASKED + "}"),
        (' {"stream" : true }\n', ' {"stream" : true ,' + ASKED + "}\n"),
        ("{ }", "{ " + ASKED + "}"),
        ('{"stream_options":null,"a":1}', "{" + ASKED + ',"a":1}'),
        ('{"a":1,"stream_options" : null }', '{"a":1,"stream_options" : {"include_usage":true} }'),
        ('{"stream_options":{},"a":{}}', "{" + ASKED + ',"a":{}}'),
        ('{"stream_options":{ }}', '{"stream_options":{ "include_usage":true}}'),
        ('{"stream_options":{"include_usage":false}}', "{" + ASKED + "}"),
        ('{"stream_options":{"include_usage": null }}', '{"stream_options":{"include_usage": true }}'),
        ('{"stream_options":{"x":[{"include_usage":false}]}}', None),
        (
            '{"stream_options":{"include_obfuscation":false, "include_usage" :false, "x":"}"},"a":"{"}',
            '{"stream_options":{"include_obfuscation":false, "include_usage" :true, "x":"}"},"a":"{"}',
        ),
        (
            r'{"a":{"stream_options":null},"stream\u005foptions":{"include\u005fusage":false}}',
            r'{"a":{"stream_options":null},"stream\u005foptions":{"include\u005fusage":true}}',
        ),
        ('{"a":"\\"stream_options\\":null"}', '{"a":"\\"stream_options\\":null",' + ASKED + "}"),
    ],
)
def test_usage_is_asked_for_and_nothing_else_changes(body: str, asked: str | None) -> None:
    asked = asked or '{"stream_options":{"x":[{"include_usage":false}],"include_usage":true}}'
    written = body.encode()
    assert peek.edited(written, [peek.usage_edit(written, json.loads(body))]) == asked.encode()


spelled_spaces = st.text(" \t\r\n", max_size=3)
members = st.dictionaries(
    st.text(max_size=5),
    st.none() | st.booleans() | st.text(max_size=5) | st.lists(st.integers(), max_size=2),
    max_size=4,
)


@settings(deadline=None)
@given(members, st.none() | members, spelled_spaces, spelled_spaces, st.booleans())
def test_a_body_that_asks_for_usage_means_the_same_otherwise(
    value: dict[str, Any], options: dict[str, Any] | None, before: str, behind: str, ascii_only: bool
) -> None:
    value = {"stream": True, **value, "stream_options": options}
    text = json.dumps(value, separators=(before + "," + behind, behind + ":" + before), ensure_ascii=ascii_only)
    body = text.encode()
    asked = peek.edited(body, [peek.usage_edit(body, value)])
    assert json.loads(asked) == {**value, "stream_options": {**(options or {}), "include_usage": True}}
    assert list(json.loads(asked)) == list(value)


@settings(deadline=None)
@given(members, members, spelled_spaces, spelled_spaces)
def test_a_member_goes_with_its_comma(first: dict[str, Any], last: dict[str, Any], before: str, behind: str) -> None:
    rest = {**first, **last}
    rest.pop("usage", None)
    names = [name for name in first if name in rest]

    def written(value: dict[str, Any]) -> bytes:
        return json.dumps(value, separators=("," + behind, ":" + before)).encode()

    whole = {**{name: rest[name] for name in names}, "usage": None, **rest}
    start, end = peek.span_with_comma(written(whole), "usage")
    assert written(whole)[:start] + written(whole)[end:] == written(rest)


def test_a_member_that_is_not_there_has_no_place() -> None:
    with pytest.raises(ValueError, match="no top-level usage"):
        peek.span_with_comma(b'{"a":{"usage":null}}', "usage")


def test_what_is_asked_of_a_body_later_is_in_its_outline() -> None:
    """`ASKED` names every member that the relay reads once a body has been cut to its outline."""
    read = set()
    for path in (
        "relay/arrival",
        "relay/attempts",
        "relay/resume",
        "relay/usage_option",
        "api/openai",
        "api/deployments",
    ):
        source = (Path(peek.__file__).parents[1] / f"{path}.py").read_text()
        read |= set(re.findall(r'\bvalue\.get\("(\w+)"\)', source)) | set(
            re.findall(r'"(\w+)" (?:not )?in value', source)
        )
    # Of what a provider says.
    read -= {"choices", "created", "error", "id", "usage"}
    assert read
    assert read <= set(peek.ASKED)
