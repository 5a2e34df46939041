"""What `routes[].middleware` leaves out does not happen on that path, and the rest does."""

from typing import Any

import pytest

from tests.conftest import GatewayFactory
from tests.rigs.simulator import Simulator

from .wire import ask, chat, get, request

KEY = "hpx_client_4be19d0c77aa21"
HEAD = f"X-API-Key: {KEY}\r\n"
ALL = ["auth", "rate-limit", "cors", "logging"]


def settings(path: str, handler: str, left_out: str = "", **more: Any) -> dict[str, Any]:
    route = {"path": path, "handler": handler, "middleware": [name for name in ALL if name != left_out]}
    if handler != "relay":
        route["methods"] = ["GET"]
    return {"auth": {"keys": [{"name": "a", "key": KEY}]}, "routes": [route], **more}


async def test_without_auth_the_metrics_are_open_and_with_it_health_takes_a_key(
    gateway: GatewayFactory, simulator: Simulator
) -> None:
    running = await gateway(settings("/metrics", "metrics", "auth"))
    assert (await ask(running.port, get("/metrics"))).status == 200
    assert (await ask(running.port, get("/debug"))).code == "missing_api_key"
    running = await gateway(settings("/health", "health"))
    assert (await ask(running.port, get("/health"))).code == "missing_api_key"
    assert (await ask(running.port, get("/health", head=HEAD))).status == 200
    assert (await ask(running.port, get("/v1/health"))).status == 200


async def test_without_rate_limit_a_path_is_limited_by_nothing(gateway: GatewayFactory, simulator: Simulator) -> None:
    limits = {"default": {"requests_per_minute": 1}}
    running = await gateway(settings("/v1/embeddings", "relay", "rate-limit", limits=limits))
    embed = request("/v1/embeddings", {"model": "sim-embed", "input": "a"}, head=HEAD)
    assert [(await ask(running.port, embed)).status for _ in range(3)] == [200, 200, 200]
    assert [(await ask(running.port, chat(head=HEAD))).status for _ in range(2)] == [200, 429]


async def test_without_cors_no_page_of_another_origin_may_call(gateway: GatewayFactory, simulator: Simulator) -> None:
    cors = {"server": {"cors": {"allow_origins": ["https://app.example"]}}}
    running = await gateway(settings("/v1/embeddings", "relay", "cors", **cors))
    origin = "Origin: https://app.example\r\n"
    preflight = origin + "Access-Control-Request-Method: POST\r\n"
    embed = request("/v1/embeddings", {"model": "sim-embed", "input": "a"}, head=HEAD + origin)
    assert "access-control-allow-origin" not in (await ask(running.port, embed)).names
    refused = await ask(running.port, request("/v1/embeddings", method="OPTIONS", head=preflight))
    assert (refused.status, "access-control-allow-origin" in refused.names) == (401, False)
    assert (await ask(running.port, chat(head=HEAD + origin))).header("access-control-allow-origin") is not None
    other = await ask(running.port, request("/v1/chat/completions", method="OPTIONS", head=preflight))
    assert (other.status, other.header("access-control-allow-origin")) == (204, "https://app.example")


async def test_without_logging_its_requests_have_no_line(
    gateway: GatewayFactory, simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    running = await gateway(settings("/v1/embeddings", "relay", "logging"))
    with caplog.at_level("INFO", "hapax.access"):
        await ask(running.port, request("/v1/embeddings", {"model": "sim-embed", "input": "a"}, head=HEAD))
        await ask(running.port, chat(head=HEAD))
        running.caught_up()
    assert [record.getMessage() for record in caplog.records if record.name == "hapax.access"] == [
        "POST /v1/chat/completions"
    ]
    assert running.metric("hapax_exchanges_total", outcome="ok") == 2
