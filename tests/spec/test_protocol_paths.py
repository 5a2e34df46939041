"""Only plain paths lead anywhere, and a query goes on as it is or not at all."""

import pytest

from tests.conftest import GatewayFactory
from tests.rigs.simulator import Simulator

from .wire import ask, calls, get, request, target

CROOKED = [
    "/v1/../admin",
    "/v1/..",
    "/v1/./chat/completions",
    "/v1/chat/../chat/completions",
    "/v1/%2e%2e/admin",
    "/v1/%2E%2E/admin",
    "/v1/.%2e/admin",
    "/v1/%252e%252e/admin",
    "/v1//chat/completions",
    "//v1/chat/completions",
    "/v1/chat//completions",
    "/v1/chat%2fcompletions",
    "/v1/chat%2Fcompletions",
    "/v1/chat%252fcompletions",
    "/v1/chat/completions;a=b",
    "/v1;a/chat/completions",
    "/v1/chat\\completions",
    "/v1/..\\admin",
    "/v1/%5c..%5cadmin",
    "/v1/files/..%2fadmin",
    "/v1/files/%00",
    "/v1/files/a%0d%0aX-Evil:1",
    "/v1/files/%c0%ae%c0%ae/admin",
    "/v1/%63hat/completions",
    "/v1/chat/completions%20",
    "/v1/chat/completions#fragment",
    "/v1/models/../files",
    "/v1/models/%2e%2e/files",
    "/v1/models/..%2ffiles",
    "/V1/chat/completions",
    "/v1chat/completions",
    "/v2/chat/completions",
    "/_simulator/ledger",
    "/v1/../_simulator/ledger",
    "/admin",
]


@pytest.mark.parametrize("path", CROOKED)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_crooked_path_gets_404_and_reaches_no_provider(
    gateway: GatewayFactory, simulator: Simulator, path: str, method: str
) -> None:
    running = await gateway()
    body = {"model": "sim-fast", "messages": []} if method == "POST" else None
    answer = await ask(running.port, request(path, body, method=method))
    assert (answer.status, answer.code) in ((404, "unknown_url"), (404, "model_not_found"), (400, "bad_request"))
    assert answer.status == 404 or "#" in path
    assert calls(simulator) == []


PLAIN = {
    "/v1/files": "/v1/files",
    "/v1/files/": "/v1/files",
    "/v1/files/file-abc": "/v1/files/file-abc",
    "/v1/files/a.b_c~d@e,f:g": "/v1/files/a.b_c~d@e,f:g",
    "/v1/fine_tuning/jobs/ft:gpt-4o:org::1/events": "/v1/fine_tuning/jobs/ft:gpt-4o:org::1/events",
    "/v1/something/new": "/v1/something/new",
    "/v1/files/...": "/v1/files/...",
}


@pytest.mark.parametrize("path", PLAIN)
async def test_a_plain_path_goes_on_as_it_is_below_the_base_url(
    gateway: GatewayFactory, simulator: Simulator, path: str
) -> None:
    running = await gateway()
    await ask(running.port, get(path))
    assert [record.target.decode() for record in calls(simulator)] == [PLAIN[path]]


@pytest.mark.parametrize(
    "query",
    [
        "?limit=2&after=file-1&order=desc",
        "?after=a%2Fb%3Fc%26d",
        "?after=a/../b//c",
        "?after=%c3%bc+%20",
        "?include[]=a&include[]=b",
        "?metadata[a]=b",
        "?api-version=c",
        "?LIMIT=2&l%69mit=3",
        "?&&",
        "?=2",
    ],
)
async def test_a_query_goes_on_as_it_is(gateway: GatewayFactory, simulator: Simulator, query: str) -> None:
    running = await gateway()
    assert (await ask(running.port, get(f"/v1/files{query}"))).status == 200
    assert [record.target.decode() for record in calls(simulator)] == [f"/v1/files{query}"]


@pytest.mark.parametrize("query", ["?after=<script>", '?after="', "?after=a\\b", "?after={}", "?after=`", "?after=^|"])
async def test_a_query_that_should_be_escaped_is_refused(
    gateway: GatewayFactory, simulator: Simulator, query: str
) -> None:
    running = await gateway()
    assert (await ask(running.port, get(f"/v1/files{query}"))).status == 400
    assert calls(simulator) == []


async def test_a_base_url_with_a_path_of_its_own_is_put_before_ours(
    gateway: GatewayFactory, simulator: Simulator
) -> None:
    base_url = simulator.base_url.removesuffix("/v1") + "/proxy/%7Eteam/v1/"
    running = await gateway({"providers": {"sim": target(simulator, base_url=base_url)}})
    await ask(running.port, get("/v1/files?limit=2"))
    assert calls(simulator)[0].target == b"/proxy/%7Eteam/v1/files?limit=2"


@pytest.mark.parametrize("written", ["org/name", "org%2Fname", "org%2fname"])
async def test_the_name_of_a_model_may_hold_slashes_and_is_answered_here(
    gateway: GatewayFactory, simulator: Simulator, written: str
) -> None:
    running = await gateway({"models": {"org/name": {"targets": ["sim/sim-fast"]}}})
    answer = await ask(running.port, get(f"/v1/models/{written}"))
    assert (answer.status, answer.json["id"]) == (200, "org/name")
    assert calls(simulator) == []
