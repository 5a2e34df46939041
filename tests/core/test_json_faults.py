"""What a refused body is told: the byte, and what was wrong there, in words that hold nothing of it."""

from typing import Any

import pytest

from proxy.core import peek
from proxy.core.errors import ProxyError

DEEP = b'{"a":' + b"[" * 200 + b"]" * 200 + b"}"


def told(body: bytes) -> tuple[int | None, str, str]:
    with pytest.raises(ProxyError) as refused:
        peek.read_json(body)
    assert refused.value.code == "invalid_json"
    details: dict[str, Any] = refused.value.details
    return details.get("offset"), details["reason"], refused.value.message


FAULTS = [
    pytest.param(b'{"a":1,"b":2,"a":3}', 13, "a duplicate key", id="a key twice: where the second stands"),
    pytest.param(b'{"b":{"a":1 , "a" : 2}}', 14, "a duplicate key", id="a key twice further down, with blanks"),
    pytest.param(b'{"\\u0061":1,"a":2}', 12, "a duplicate key", id="a key twice, once escaped"),
    pytest.param(b'[{"a":1},{"a":1}] ', 0, "must be an object", id="a list"),
    pytest.param(b' "text"', 1, "must be an object", id="a text"),
    pytest.param(b"null", 0, "must be an object", id="null"),
    pytest.param(b"", 0, "empty", id="nothing"),
    pytest.param(b" \r\n", 0, "empty", id="blanks"),
    pytest.param(b'{"a":1,}', 6, "trailing comma", id="a comma before a brace"),
    pytest.param(b'{"a":[1,2,]}', 9, "trailing comma", id="a comma before a bracket"),
    pytest.param(b'{"a":NaN}', 5, "NaN", id="not a number"),
    pytest.param(b'{"a":[1,-Infinity]}', 8, "NaN", id="less than every number"),
    pytest.param(b'{"a":1e999}', 5, "number too large", id="a number beyond a double"),
    pytest.param(b'{"a":True}', 5, "word that JSON does not have", id="Python's True"),
    pytest.param(b'{"a":undefined}', 5, "word that JSON does not have", id="JavaScript's undefined"),
    pytest.param(b"{'a':1}", 1, "single quote", id="Python's quotes"),
    pytest.param(b"{a:1}", 1, "key that is no string", id="a key without quotes"),
    pytest.param(b'{"a":1', 6, "ends too early", id="a body that was cut"),
    pytest.param(b'{"a":"1', 7, "ends too early", id="a body that was cut in a string"),
    pytest.param(b'{"a":1}\n{"b":2}', 8, "behind the end", id="two lines of JSON"),
    pytest.param('{"é":"\\ud83d"}'.encode(), 7, "surrogate", id="half a surrogate pair, behind two-byte letters"),
    pytest.param(b'{"a":"\\ud83d\\ude00 \\\\ud800 \\udc00"}', 27, "surrogate", id="half a pair behind a whole one"),
    pytest.param(b'{"a":"\xff"}', 6, "UTF-8", id="a byte that is no UTF-8"),
    pytest.param('{"a":1}'.encode("utf-16"), 0, "UTF-16", id="UTF-16"),
    pytest.param(b'\xef\xbb\xbf{"a":1}', 0, "byte order mark", id="a byte order mark"),
    pytest.param(DEEP, 132, "128 levels", id="more levels than are read"),
    pytest.param(b'{"a":' + b"[" * 5000, 132, "128 levels", id="more levels than any parser reads"),
    pytest.param(b'{"a":"\n"}', 6, "control character", id="a line break in a string"),
    pytest.param(b'{"a" 1}', 5, "colon", id="a colon missing"),
    pytest.param(b'{"a":1 "b":2}', 7, "comma", id="a comma missing"),
    pytest.param(b'{"a":"\\x41"}', 6, "escape", id="an escape of another language"),
    pytest.param(b'{"a":01}', 5, "leading zero", id="a leading zero"),
    pytest.param(b"a=b&c=d", 0, "cannot stand there", id="a form"),
]


@pytest.mark.parametrize(("body", "offset", "words"), FAULTS)
def test_the_byte_and_the_fault_are_named(body: bytes, offset: int, words: str) -> None:
    found, reason, message = told(body)
    assert found == offset
    assert words in reason
    assert reason in message
    assert message.endswith(f"at byte {offset}.")


@pytest.mark.parametrize(
    "fault", [b"canary", b'"canary":canary', b'"canary":"canary\\ud800"', b'"canary":1,"canary":2']
)
def test_nothing_of_the_body_is_said(fault: bytes) -> None:
    assert "canary" not in "".join(str(each) for each in told(b"{" + fault + b"}"))


def test_a_place_too_far_off_to_look_for_is_left_out() -> None:
    """A body is not walked through for longer than a fifth of a second to say where its fault lies."""
    numbers = b",".join([b"1"] * 600_000)
    assert told(b'{"a":[' + numbers + b'],"b":1,"b":2}')[0] is None
    assert told(b'{"a":["' + b"x" * 5_000_000 + b'"],"b":1,"b":2}')[0] == 5_000_016
