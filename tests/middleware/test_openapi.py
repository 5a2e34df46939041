"""`/openapi.json` tells of every route that is not relayed, as docs/http.md does, and what comes is as it tells."""

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from proxy.middleware.route import Route
from tests.conftest import GatewayFactory, RunningGateway
from tests.rigs.hapax import hapax
from tests.rigs.simulator import Simulator
from tests.spec.wire import ask, chat, get, request, target

ADMIN, KEY = "hapax-admin-9f2b6c1de04a7788", "hapax-client-4b1e9d7730aa65c2"
RELAYED = {("/v1/*", method) for method in ("GET", "POST", "PUT", "PATCH", "DELETE")} | {("/v1/models/*", "DELETE")}
"""What its provider answers, by template and method."""
ENDLESS = "/admin/events"
"""An answer that does not end by itself; the tests of the feed read it."""
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
EXAMPLES = 20
THERE = {
    "/admin/providers/": {"name": "sim"},
    "/admin/requests/": {"request_id": "one"},
    "/admin/keys/": {"name": "me"},
    "/health/provider/": {"name": "sim"},
    "/v1/models/": {"id": "known"},
    "/ui/": {"file": "main.js"},
}
"""What there is at these paths, since no name that is drawn at random would find it."""


async def document(running: RunningGateway) -> Any:
    answer = await ask(running.port, get("/openapi.json"))
    assert (answer.status, answer.header("content-type")) == (200, "application/json")
    return answer.json


def routes_of(running: RunningGateway) -> list[Route]:
    """Every route there is."""
    table = running.listener.gateway.front.routes
    return [*table._exact.values(), *table._below.values()]


def covers(template: str, path: str) -> bool:
    """Whether the route of *template* takes requests to *path*, an OpenAPI path."""
    return path.startswith(template[:-1]) if template.endswith("/*") else path == template


def methods(route: Route) -> set[str]:
    return set(route.methods) - {"HEAD"}


async def test_every_route_that_is_not_relayed_is_told_with_each_of_its_methods(gateway: GatewayFactory) -> None:
    running = await gateway()
    told = (await document(running))["paths"]
    for route in routes_of(running):
        wanted = {method for method in methods(route) if (route.template, method) not in RELAYED}
        paths = [path for path in told if covers(route.template, path)]
        if wanted:
            found = {method.upper() for path in paths for method in told[path]}
            assert wanted <= found, route.template
    served = [route for route in routes_of(running) if route.template != "/v1/*"]
    for path, operations in told.items():
        found = {method.upper() for method in operations}
        assert any(covers(route.template, path) and found <= route.methods for route in served), path


async def test_the_page_for_people_and_the_document_tell_of_the_same(gateway: GatewayFactory) -> None:
    told = (await document(await gateway()))["paths"]
    page = (Path(__file__).parents[2] / "docs" / "http.md").read_text()
    rows = re.findall(r"^\| `(/[^`]*)` \| ([A-Z, ]+) \| ([^|]+) \|", page, re.M)
    assert len(rows) > 20
    templates = [template for template, _, _ in rows]
    for template, listed, key in rows:
        # The row of a path of its own speaks for it, and not that of all paths below another.
        paths = [
            path
            for path in told
            if covers(template, path)
            and not any(covers(other, path) for other in templates if other != template and len(other) > len(template))
        ]
        found = {(path, method.upper()) for path in paths for method in told[path]}
        wanted = {method for method in listed.split(", ") if (template, method) not in RELAYED}
        assert {method for _, method in found} == wanted, template
        open_to_all = key.strip() == "none"
        for path, method in found:
            assert (told[path][method.lower()]["security"] == []) is open_to_all, path


async def test_a_route_that_the_settings_change_or_leave_out_is_told_as_it_is(gateway: GatewayFactory) -> None:
    running = await gateway(
        {
            "metrics": {"enabled": False},
            "routes": [
                {"path": "/v2/completions", "handler": "completion"},
                {"path": "/v1/completion", "handler": "completion", "methods": ["POST"]},
            ],
        }
    )
    told = (await document(running))["paths"]
    assert not [path for path in told if path.startswith("/metrics")]
    assert "post" in told["/v2/completions"]
    assert set(told["/v1/completion"]) == {"post"}


async def test_every_parameter_that_is_told_is_known_and_no_other(gateway: GatewayFactory, tmp_path: Path) -> None:
    running = await gateway({"store": {"url": f"sqlite:///{tmp_path}/hapax.db"}})
    told = (await document(running))["paths"]
    asked = [(path, each["get"]["parameters"]) for path, each in told.items() if "get" in each]
    queries = [(path, names) for path, names in asked if names and names[0]["in"] == "query"]
    assert [path for path, _ in queries] == ["/v1/usage", "/admin/calls", "/admin/series", "/admin/usage"]
    for path, known in queries:
        refused = await ask(running.port, get(f"{path}?made-up=1"))
        assert refused.status == 400
        names = sorted(each["name"] for each in known)
        assert refused.json["error"]["message"] == f"Parameters known here are: {', '.join(names)}."


async def test_what_a_call_and_a_trail_look_like_is_told_in_full(gateway: GatewayFactory) -> None:
    running = await gateway()
    told = (await document(running))["components"]["schemas"]
    await ask(running.port, chat("sim-fast", head="X-Request-ID: one\r\n"))
    call = (await ask(running.port, get("/admin/calls"))).json["calls"][0]
    assert set(told["CallTold"]["required"]) <= set(call)
    trail = (await ask(running.port, get("/admin/requests/one"))).json
    assert set(told["TrailTold"]["properties"]) == set(trail)
    assert set(told["AttemptTold"]["properties"]) == set(trail["attempts"][0])


async def test_what_is_told_to_need_a_key_needs_one_and_the_rest_does_not(gateway: GatewayFactory) -> None:
    running = await gateway({"auth": {"admin_key": ADMIN, "keys": [{"name": "me", "key": KEY}]}})
    needed = 0
    for path, operations in (await document(running))["paths"].items():
        for method, told in operations.items():
            named = path.replace("{route}", "v1/completion").replace("{name}", "sim").replace("{file}", "main.js")
            asked = request(re.sub(r"\{\w+\}", "one", named), {} if method == "post" else None, method=method.upper())
            answer = await ask(running.port, asked)
            if told["security"]:
                needed += 1
                assert (answer.status, answer.header("www-authenticate")) == (401, "Bearer"), path
            else:
                # A provider's health is told to those with a key, and the rest of that path to any.
                assert answer.status in (200, 503) or "/provider/" in path, path
    assert needed > 20


def tried(url: str) -> int:
    """How many requests schemathesis has sent to the gateway at *url*, each as the document tells; a failure raises."""
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    schema.validate()
    sent = 0
    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.path == ENDLESS:
            continue

        @given(case=operation.as_strategy())
        @settings(
            max_examples=EXAMPLES,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def works(case: schemathesis.Case) -> None:
            nonlocal sent
            sent += 1
            there = next((names for start, names in THERE.items() if case.path.startswith(start)), {})
            if sent % 2:
                case.path_parameters.update(there)
                if isinstance(case.body, dict) and "options" not in case.body:
                    case.body |= {"model": "known"} if case.path == "/v1/completion" else {}
            of_clients = case.operation.path.startswith(("/v1/", "/api/"))
            case.call_and_validate(checks=CHECKS, headers={"X-API-Key": KEY if of_clients else ADMIN})

        works()
    return sent


@pytest.mark.timeout(120)
async def test_what_comes_is_as_the_document_tells_whatever_is_asked(simulator: Simulator, tmp_path: Path) -> None:
    asked = {
        "providers": {"sim": target(simulator)},
        "models": {"known": {"targets": ["sim/sim-fast"]}},
        "auth": {"admin_key": ADMIN, "keys": [{"name": "me", "key": KEY, "budget": {"tokens": 10**9}}]},
        "limits": {"keyless": {"requests_per_minute": 0}},
        "store": {"url": "sqlite:///hapax.db"},
    }
    async with hapax(tmp_path, asked) as process:
        # Some calls, so that there is something to tell of.
        for model in ("known", "sim-fast", "unknown"):
            await ask(process.port, chat(model, head=f"X-API-Key: {KEY}\r\nX-Request-ID: one\r\n"))
        assert await asyncio.to_thread(tried, f"http://127.0.0.1:{process.port}") > 300
