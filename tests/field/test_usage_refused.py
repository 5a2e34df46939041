"""A provider that does not know `stream_options`: the option was the gateway's, so its refusal never shows."""

# ruff: noqa: E501
# One case a line: the tables are read down, not across.

from typing import Any

import pytest

from tests.field.build import always, answer, ask, data, one, rule, said, sse, two
from tests.field.play import Play


def error(message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, **more}}


REFUSALS = [
    pytest.param(answer(400, error("Unrecognized request argument supplied: stream_options")), id="an unrecognized argument"),
    pytest.param(answer(400, error('Unknown name "streamOptions": Cannot find field.', code=400)), id="in camel case"),
    pytest.param(answer(400, error("Stream options are not supported with this model")), id="in plain words"),
    pytest.param(answer(422, {"detail": [{"loc": ["body", "stream_options"], "msg": "Extra inputs are not permitted"}]}), id="pydantic"),
    pytest.param(answer(403, error("stream_options is not part of your plan")), id="403"),
    pytest.param(answer(404, error("No endpoints found that support the parameter stream_options")), id="a relay without a provider for it"),
    pytest.param(answer(500, error("__init__() got an unexpected keyword argument 'stream_options'")), id="a server that trips over it"),
    pytest.param(answer(501, error("stream_options is not implemented")), id="501"),
    pytest.param(answer(200, error("stream_options is not supported", code=400)), id="200 with an error"),
    pytest.param(sse(data(error("Unknown parameter: 'stream_options'", code="unknown_parameter"))), id="a first event"),
]  # fmt: skip


@pytest.mark.parametrize("refusal", REFUSALS)
async def test_a_refusal_of_what_the_gateway_added_never_shows(play: Play, refusal: list[Any]) -> None:
    """It is asked again without, and from then on without; its breaker, its key and the other provider hear nothing."""
    first = {"models": ["m"], "rules": [rule(refusal, has="stream_options"), rule(said("Hello"))]}
    steps = [ask(stream=True, step=name) for name in ("call", "again")]
    played = await play(two(), {"a": first, "b": always(said("b"))}, steps)
    for step, asked in (("call", 2), ("again", 1)):
        assert played[step].status == 200
        assert b"Hello" in played[step].body
        assert len(played.asked("a", step)) == asked
    assert played.asked("b") == []


@pytest.mark.parametrize("refusal", REFUSALS[:4])
async def test_a_refusal_of_what_the_client_added_is_the_clients(play: Play, refusal: list[Any]) -> None:
    first = {"models": ["m"], "rules": [rule(refusal, has="stream_options"), rule(said("Hello"))]}
    played = await play(one(), {"a": first}, [ask(stream=True, stream_options={"include_usage": True})])
    assert played["call"].status in (400, 422)
    assert len(played.asked("a")) == 1
