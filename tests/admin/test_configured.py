"""What `routes` in the settings change, from outside: methods, demanded headers, time, limits, further paths."""

import asyncio
from typing import Any

import pytest

from proxy.admin.configured import configured
from proxy.middleware.route import Route
from proxy.settings import Settings
from tests.conftest import GatewayFactory, RunningGateway
from tests.rigs.clock import at_most
from tests.spec.wire import Response, ask, chat, get, request

KEY = "hpx_client_4be19d0c77aa21"
HEAD = f"X-API-Key: {KEY}\r\n"
AUTH = {"keys": [{"name": "web", "key": KEY}], "admin_key": "hpx_admin_0f2d9be1c5a877"}
CHAT = "/v1/chat/completions"


async def given(gateway: GatewayFactory, *routes: dict[str, Any], **settings: Any) -> RunningGateway:
    return await gateway({"auth": AUTH, "models": {"sim-fast": {}}, "routes": list(routes), **settings})


def route(path: str, handler: str = "relay", **more: Any) -> dict[str, Any]:
    return {"path": path, "handler": handler, **more}


def said(answer: Response) -> tuple[int, str]:
    return answer.status, answer.json["error"]["message"]


async def test_only_the_methods_named_are_answered(gateway: GatewayFactory) -> None:
    running = await given(gateway, route("/chat/completions", methods=["POST"]), route("/health", methods=["GET"]))
    refused = await ask(running.port, get(CHAT, head=HEAD))
    assert (refused.status, refused.header("allow"), refused.code) == (405, "POST", "method_not_allowed")
    assert (await ask(running.port, chat("sim-fast", head=HEAD))).status == 200
    assert (await ask(running.port, request("/health", method="HEAD"))).status != 405, "GET brings HEAD along"
    assert (await ask(running.port, get("/v1/models", head=HEAD))).status == 200, "other paths stay as they are"


async def test_a_call_without_a_demanded_header_is_refused_without_a_word_of_its_value(
    gateway: GatewayFactory,
) -> None:
    running = await given(gateway, route(CHAT, headers={"X-Tenant": "blue-tenant-7"}))
    for wrong in ("", "X-Tenant: blue\r\n", "X-Tenant: blue-tenant-77\r\n"):
        refused = await ask(running.port, chat("sim-fast", head=HEAD + wrong))
        assert said(refused) == (400, "Missing or invalid header: X-Tenant.")
        assert "blue" not in refused.body.decode()
    keyless = await ask(running.port, chat("sim-fast", head="X-Tenant: blue-tenant-7\r\n"))
    assert keyless.status == 401, "it stands in for no key"
    assert (await ask(running.port, chat("sim-fast", head=f"{HEAD}x-tenant: blue-tenant-7\r\n"))).status == 200


@pytest.mark.parametrize("model", ["sim-1:silence", "sim-1:headers=1h"])
async def test_a_call_ends_when_its_path_allows_no_more(gateway: GatewayFactory, model: str) -> None:
    running = await given(gateway, route(CHAT, timeout="150ms"))
    began = asyncio.get_running_loop().time()
    late = await ask(running.port, chat(model, head=HEAD))
    took = asyncio.get_running_loop().time() - began
    assert (late.status, late.code) == (504, "upstream_timeout")
    assert 0.15 <= took < at_most(2)


async def test_a_stream_lasts_longer_than_its_path_allows_an_answer(gateway: GatewayFactory) -> None:
    running = await given(gateway, route(CHAT, timeout="1s"))
    answer = await ask(running.port, chat("sim-1:tokens=30,pace=40ms", head=HEAD, stream=True))
    assert (answer.status, answer.body.endswith(b"data: [DONE]\n\n")) == (200, True)


async def test_the_time_of_a_path_holds_for_its_native_form(gateway: GatewayFactory) -> None:
    running = await given(gateway, route("/v1/completion", "completion", timeout="150ms"))
    late = await ask(running.port, request("/v1/completion", {"input": "x", "model": "sim-1:silence"}, head=HEAD))
    assert late.status == 504


async def test_a_path_of_its_own_is_answered_by_the_handler_named(gateway: GatewayFactory) -> None:
    running = await given(
        gateway,
        route("/summaries", "completion"),
        route("/completions", "completion", version="v2"),
        route("/v2/health", "health"),
        route("/v2/metrics", "metrics"),
        metrics={"auth": False},
    )
    await running.listener.gateway.checks.known.wait()
    for path in ("/v1/summaries", "/v2/completions"):
        answer = await ask(running.port, request(path, {"input": "hi"}, head=HEAD))
        assert (answer.status, sorted(answer.json)) == (200, ["completion", "content", "request_id"])
        refused = await ask(running.port, request(path, {"input": "hi"}))
        assert (refused.status, refused.json["error"]["type"]) == (401, "AuthenticationError")
    assert (await ask(running.port, get("/v2/health"))).status == 200
    page = (await ask(running.port, get("/v2/metrics"))).body.decode()
    assert 'hapax_http_requests_total{endpoint="/v2/completions"' in page
    assert (await ask(running.port, get("/v2/models", head=HEAD))).status == 404


async def test_a_path_of_openais_keeps_its_shape_whatever_its_handler(gateway: GatewayFactory) -> None:
    """An SDK that got another shape would find no choices, and no error."""
    running = await given(gateway, route(CHAT, "completion"))
    assert "choices" in (await ask(running.port, chat("sim-fast", head=HEAD))).json


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/ocr", {"model": "sim-fast", "document": "x"}),
        ("/v1/completions", {"model": "sim-fast", "prompt": "x"}),
        ("/v1/completions", {"model": "sim-fast", "input": "x"}),
    ],
)
async def test_a_path_that_is_named_is_limited_by_itself(
    gateway: GatewayFactory, path: str, body: dict[str, Any]
) -> None:
    running = await given(gateway, route(path), limits={"routes": {path: {"requests_per_minute": 1}}})
    statuses = [(await ask(running.port, request(path, body, head=HEAD))).status for _ in range(2)]
    assert (statuses[0] != 429, statuses[1]) == (True, 429)
    assert (await ask(running.port, chat("sim-fast", head=HEAD))).status == 200


def test_routes_the_operator_did_not_configure_are_the_very_same() -> None:
    async def handler(_: object) -> None: ...

    routes = [Route("/v1/*", frozenset(("GET",)), handler), Route("/health", frozenset(("GET",)), handler)]
    assert configured(routes, ()) == routes
    off = Settings.model_validate({"routes": [route("/v2/metrics", "metrics")]}).routes
    assert configured(routes, off) == routes, "a page that is switched off has no other path"
