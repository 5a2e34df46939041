"""JSON that SDKs take and strict parsers do not."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.lenient import lenient


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b'{"a":Infinity}', {"a": math.inf}),
        (b'{"a":-Infinity}', {"a": -math.inf}),
        (b'\xef\xbb\xbf{"a":1}', {"a": 1}),
        (b'{"a":"\\ud83d"}', {"a": "?"}),
        (b'{"a":"\\ud83d\\ude00"}', {"a": "\U0001f600"}),
        (b'{"a":"\xff"}', {"a": "\ufffd"}),
        (b'{"a":99999999999999999999999}', {"a": 1e23}),
    ],
)
def test_it_reads_what_sdks_read(data: bytes, value: Any) -> None:
    assert lenient(data) == value


@pytest.mark.parametrize("data", [b"", b"<html>", b'{"a"', b"[" * 100_000, b"data: {}"])
def test_what_is_no_json_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        lenient(data)


@given(st.recursive(st.text() | st.floats() | st.integers(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)))
def test_every_text_in_it_can_be_encoded(value: Any) -> None:
    for text in (json.dumps(value), json.dumps(["\ud83d", value])):
        json.dumps(lenient(text.encode()), ensure_ascii=False).encode()
