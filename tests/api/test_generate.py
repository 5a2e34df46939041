"""`POST /api/generate`, the shape of another router in front of the same relay."""

import json
from typing import Any

import pytest

from tests.conftest import GatewayFactory
from tests.rigs.simulator import Simulator
from tests.spec.wire import ask, calls, request

KEY = "hpx_client_4be19d0c77aa21"


async def test_a_prompt_becomes_a_text_with_what_it_took(simulator: Simulator, gateway: GatewayFactory) -> None:
    running = await gateway()
    answer = await ask(
        running.port,
        request(
            "/api/generate",
            {"prompt": "hello", "model": "sim-1", "options": {"maxTokens": 7, "temperature": 0, "unknown": 1}},
            head="X-Request-ID: mine\r\n",
        ),
    )
    body = answer.json
    assert (answer.status, body["success"], body["metadata"]["request_id"]) == (200, True, "mine")
    assert (body["data"]["model"], body["data"]["cached"]) == ("sim-1", False)
    assert body["data"]["text"]
    assert body["data"]["tokens"]["completion_tokens"] == 7
    assert 0 < body["data"]["latency"] <= body["metadata"]["duration"] + 1
    (sent,) = calls(simulator)
    assert json.loads(sent.body) == {
        "model": "sim-1",
        "messages": [{"role": "user", "content": "hello"}],
        "max_tokens": 7,
        "temperature": 0,
    }
    running.caught_up()
    assert running.metric("hapax_http_requests_total", endpoint="/api/generate", status="200") == 1


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 400, "missing_required_parameter"),
        ({"prompt": 5}, 400, "invalid_type"),
        ({"prompt": "a", "options": []}, 400, "invalid_type"),
        ({"prompt": "a", "stream": True}, 400, "invalid_parameter"),
        ({"prompt": "a", "model": "nobody-has-it"}, 404, "model_not_found"),
        ({"prompt": "a", "model": "sim-fault:status=503"}, 502, "upstream_error"),
    ],
)
async def test_what_goes_wrong_is_told_in_its_own_shape(
    gateway: GatewayFactory, body: dict[str, Any], status: int, code: str
) -> None:
    running = await gateway({"failover": {"retries": 0}})
    answer = await ask(
        running.port, request("/api/generate", {"model": "sim-1", **body}, head="X-Request-ID: mine\r\n")
    )
    assert answer.status in (status, 503)
    told = answer.json
    assert (told["success"], told["request_id"]) == (False, "mine")
    assert told["code"] in (code, "upstream_unavailable")
    assert isinstance(told["error"], str)


async def test_it_needs_a_key_may_use_what_the_key_may_and_counts_against_its_limits(gateway: GatewayFactory) -> None:
    # The model that it may not use costs a request as well.
    key = {"name": "web", "key": KEY, "models": ["sim-fast"], "limits": {"requests_per_minute": 2}}
    running = await gateway({"auth": {"keys": [key]}})
    head = f"X-API-Key: {KEY}\r\n"
    for headers, model, status in (
        ("", "sim-fast", 401),
        (head, "sim-1", 403),
        (head, "sim-fast", 200),
        (head, "sim-fast", 429),
    ):
        answer = await ask(running.port, request("/api/generate", {"prompt": "a", "model": model}, head=headers))
        assert answer.status == status
        assert answer.json["success"] is (status == 200)
