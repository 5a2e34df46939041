"""What an error says, read from any shape."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.error_events import is_blank
from proxy.relay.told import Told, read, read_text


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"error": {"message": "m", "type": "t", "param": "p", "code": "c"}}, Told("m", "t", "c", "p")),
        ({"error": "m"}, Told("m")),
        ([{"error": {"message": "m", "code": 400}}], Told("m", "", "400", "", 400)),
        (
            {"object": "error", "message": "m", "type": "NotFoundError", "code": 404},
            Told("m", "NotFoundError", "404", "", 404),
        ),
        ({"detail": "m"}, Told("m")),
        ({"detail": [{"loc": ["body", 0, "x"], "msg": "m", "type": "t"}]}, Told("body.0.x: m", "t")),
        ({"detail": [{"msg": "one"}, {"msg": "two"}]}, Told("one; two")),
        ({"code": "a sentence of xAI", "error": "m"}, Told("m", "", "a sentence of xAI")),
        ({"success": False, "errors": [{"code": 5006, "message": "m"}]}, Told("m", "", "5006")),
        (
            {"type": "error", "error": {"type": "overloaded_error", "message": "m"}},
            Told("m", "overloaded_error", status=529),
        ),
        ({"error": {"code": {"code": 401, "message": "m"}}}, Told("m", "", "401", "", 401)),
        ({"error": {"message": {"detail": [{"msg": "m"}]}}}, Told("m")),
        ({"base_resp": {"status_code": 1008, "status_msg": "m"}}, Told("m", "", "1008", more=("base_resp.1008",))),
        ({"base_resp": {"status_code": 0, "status_msg": "success"}}, Told()),
        ({"code": 1113, "msg": "m"}, Told("m", "", "1113")),
        ({"status": "439", "msg": "m"}, Told("m", "", "439", "", 439)),
        ({"__type": "com.amazon#ThrottlingException", "message": "m"}, Told("m", "ThrottlingException", status=429)),
        ({"status": 404, "error": "Not Found", "message": "m"}, Told("m", "Not Found", "404", "", 404)),
        ({"type": "about:blank", "title": "t", "status": 403, "detail": "m"}, Told("m", status=403)),
        (
            {"message": '{"error":{"code":403,"message":"m"}}'},
            Told('{"error":{"code":403,"message":"m"}}', "", "403", "", 403),
        ),
        ({"id": "c", "object": "chat.completion", "choices": None}, Told()),
        (None, Told()),
        (7, Told()),
        ([], Told()),
    ],
)
def test_an_error_is_read_from_every_shape(value: Any, told: Told) -> None:
    assert read(value) == told


def test_googles_reasons_and_status_are_codes_too() -> None:
    details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}]
    told = read([{"error": {"code": 400, "message": "m", "status": "INVALID_ARGUMENT", "details": details}}])
    assert {"API_KEY_INVALID", "INVALID_ARGUMENT"} <= {told.type, *told.more}


def test_what_a_relay_repeats_of_a_prompt_is_not_read() -> None:
    told = read({"error": {"message": "m", "metadata": {"flagged_input": "invalid_api_key", "reasons": ["x"]}}})
    assert "invalid_api_key" not in repr(told)


@pytest.mark.parametrize(
    "error", [None, "", {}, [], False, 0, {"message": "", "type": "", "code": None}, {"x": {"y": ""}}]
)
def test_an_error_field_that_says_nothing_is_no_error(error: Any) -> None:
    assert is_blank(error)


@pytest.mark.parametrize("error", ["x", {"code": 1}, ["x"], True, {"message": "m"}])
def test_one_that_says_something_is(error: Any) -> None:
    assert not is_blank(error)


@pytest.mark.parametrize("body", [b"<html>", b"", b"  ", b'{"half', b"x" * 3000])
def test_a_page_is_no_message(body: bytes) -> None:
    assert read_text(body) == Told()


def test_a_short_text_is() -> None:
    assert read_text(b" model not found\n") == Told("model not found")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "error",
                    "message",
                    "code",
                    "type",
                    "detail",
                    "errors",
                    "status",
                    "base_resp",
                    "details",
                    "metadata",
                    "loc",
                    "x",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
)


@given(json_values)
def test_any_json_is_read_without_a_fault(value: Any) -> None:
    told = read(value)
    assert type(told.message) is type(told.code) is type(told.type) is str
    assert told.status == 0 or 400 <= told.status <= 599


def test_errors_nested_without_end_end() -> None:
    value: Any = "deep"
    for _ in range(200):
        value = {"error": value}
    assert orjson.dumps(value)
    assert read(value) == Told()
