"""Every error has one answer, in OpenAI's shape and in the native one."""

import json
import re

import pytest

from proxy.core.errors import KINDS, ProxyError

OPENAI_TYPES = {
    "invalid_request_error",
    "permission_error",
    "rate_limit_error",
    "insufficient_quota",
    "server_error",
}
HAPAX_TYPES = {"ValidationError", "AuthenticationError", "RateLimitError", "ProcessingError", "InternalError"}


@pytest.mark.parametrize("code", KINDS)
def test_every_kind_is_one_a_client_knows(code: str) -> None:
    kind = KINDS[code]
    assert re.fullmatch(r"[a-z0-9_]+", code)
    assert 400 <= kind.status <= 599
    assert kind.type in OPENAI_TYPES
    assert kind.hapax_type in HAPAX_TYPES
    assert kind.message.endswith((".", "again."))


@pytest.mark.parametrize("code", KINDS)
def test_the_type_agrees_with_the_status(code: str) -> None:
    kind = KINDS[code]
    if kind.status == 429:
        assert kind.type in ("rate_limit_error", "insufficient_quota")
    elif kind.type == "server_error":
        assert kind.status >= 500


def test_the_body_is_openais() -> None:
    error = ProxyError("invalid_type", "'model' must be a name.", param="model", details={"extra": 1})
    assert json.loads(error.body("req-1")) == {
        "error": {
            "message": "'model' must be a name.",
            "type": "invalid_request_error",
            "param": "model",
            "code": "invalid_type",
            "request_id": "req-1",
            "details": {"hapax_type": "ValidationError", "extra": 1},
        }
    }


def test_the_native_body_keeps_its_names_and_a_numeric_code() -> None:
    assert json.loads(ProxyError("rate_limit_exceeded").native_body("req-1")) == {
        "error": {
            "type": "RateLimitError",
            "message": KINDS["rate_limit_exceeded"].message,
            "code": 429,
            "request_id": "req-1",
            "details": {"code": "rate_limit_exceeded"},
        }
    }


def test_its_text_names_only_the_code() -> None:
    assert str(ProxyError("invalid_json", "something longer")) == "invalid_json"


def test_an_unlisted_code_is_a_defect() -> None:
    with pytest.raises(KeyError):
        ProxyError("no_such_code")
