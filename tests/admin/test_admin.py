"""What an operator reads: the decision trail of a request, and what is thought of every provider and target."""

import socket
from typing import Any

import pytest

from proxy.admin.trails import REMEMBERED, Trails
from proxy.core.exchange import Exchange
from tests.conftest import GatewayFactory, RunningGateway, provider
from tests.rigs.simulator import Simulator
from tests.spec.wire import ONCE, Response, ask, chat, connect, get

KEYS = {"keys": [{"name": "web", "key": "client-key"}], "admin_key": "admin-key"}
ADMIN = "X-API-Key: admin-key\r\n"
CLIENT = "X-API-Key: client-key\r\n"


async def trail(running: RunningGateway, request_id: str, head: str = "") -> Any:
    """The decision trail of that request."""
    answer = await ask(running.port, get(f"/admin/requests/{request_id}", head=head))
    assert answer.status == 200
    return answer.json


async def providers(running: RunningGateway, head: str = "") -> Any:
    answer = await ask(running.port, get("/admin/providers", head=head))
    assert answer.status == 200
    return answer.json["providers"]


async def ask_as(running: RunningGateway, request_id: str, model: str = "sim-fast", **fields: Any) -> Response:
    """One chat call with an id of ours."""
    return await ask(running.port, chat(model, head=f"X-Request-ID: {request_id}\r\n", **fields))


# The trail.


async def test_the_trail_of_a_call_that_moved_on_tells_who_was_asked_when_and_what_came_of_it(
    simulator: Simulator, gateway: GatewayFactory
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        running = await gateway(
            {
                "providers": {
                    "gone": provider(simulator, base_url=f"http://127.0.0.1:{closed.getsockname()[1]}/v1"),
                    "busy": provider(simulator),
                    "good": provider(simulator),
                },
                "models": {"m": {"targets": ["gone/sim-1", "busy/sim-fault:status=503", "good/sim-fast"]}},
                "failover": {"budget": 1},
            }
        )
        answer = await ask_as(running, "req-1", "m", stream=True)
    assert (answer.status, answer.header("x-hapax-attempts")) == (200, "3")
    told = await trail(running, "req-1")
    attempts = told.pop("attempts")
    assert told.pop("duration_ms") > 0
    assert told == {
        "request_id": "req-1",
        "route": "/v1/chat/completions",
        "principal": "anonymous",
        "model": "m",
        "answered_model": "m",
        "stream": True,
        "status": 200,
        "outcome": "ok",
        "error_code": "",
        "queued_ms": 0,
        "provider": "good",
        "tokens": {"prompt": 2, "completion": 32},
        "cost_micro_usd": 0,
        "hedged": False,
        "resumed": 0,
        "shared_with": "",
        "cached": False,
        "kept_to": "",
        "skipped": {},
    }
    gone, busy, good = attempts
    assert (gone["target"], gone["status"], gone["failure"]) == ("gone/sim-1", 0, "upstream_connect_error")
    assert gone["class"] == "never sent"
    assert gone["reason"]
    assert gone["sent_ms"] is gone["head_ms"] is gone["first_content_ms"] is None
    assert (busy["target"], busy["status"], busy["failure"]) == (
        "busy/sim-fault:status=503",
        503,
        "upstream_unavailable",
    )
    assert (busy["class"], busy["reason"]) == ("refused before any work", "status 503")
    assert busy["first_content_ms"] is None
    assert 0 < busy["sent_ms"] <= busy["head_ms"] <= busy["ended_ms"]
    assert (good["target"], good["status"], good["failure"]) == ("good/sim-fast", 200, "")
    assert (good["class"], good["reason"]) == ("", "")
    assert good["sent_ms"] <= good["head_ms"] <= good["first_content_ms"] <= good["ended_ms"]
    assert 0 <= gone["began_ms"] <= gone["ended_ms"] <= busy["began_ms"] <= busy["ended_ms"] <= good["began_ms"]
    assert not any(attempt["beside"] for attempt in attempts)


async def test_the_trail_tells_who_was_passed_over_and_why(simulator: Simulator, gateway: GatewayFactory) -> None:
    running = await gateway(
        {
            "providers": {"resting": provider(simulator), "parked": provider(simulator), "good": provider(simulator)},
            "models": {
                "m": {
                    "targets": [
                        "resting/sim-fault:status=429,retry_after=100",
                        "parked/sim-fault:status=401",
                        "good/sim-fast",
                    ]
                }
            },
            "failover": {"budget": 1},
        }
    )
    assert (await ask_as(running, "first", "m")).header("x-hapax-attempts") == "3"
    assert (await ask_as(running, "second", "m")).header("x-hapax-attempts") == "1"
    told = await trail(running, "second")
    assert told["skipped"] == {
        "resting/sim-fault:status=429,retry_after=100": "resting",
        "parked/sim-fault:status=401": "parked",
    }
    assert [attempt["target"] for attempt in told["attempts"]] == ["good/sim-fast"]
    assert (await providers(running))["parked"]["parked_keys"] == [1]


async def test_the_trail_of_a_call_no_target_answered_tells_its_error(gateway: GatewayFactory) -> None:
    running = await gateway(ONCE)
    await ask_as(running, "req-1", "sim-fault:status=502")
    told = await trail(running, "req-1")
    assert (told["status"], told["outcome"], told["error_code"]) == (502, "failed", "upstream_error")
    (attempt,) = told["attempts"]
    assert (attempt["failure"], attempt["class"]) == ("upstream_error", "sent, nothing usable received")


async def test_the_trail_of_a_cut_stream_tells_that_it_was_committed(gateway: GatewayFactory) -> None:
    running = await gateway(ONCE)
    async with connect(running.port) as wire:
        wire.send(chat("sim-fault:fin@3", stream=True, head="X-Request-ID: req-1\r\n"))
        await wire.to_end()
    told = await trail(running, "req-1")
    assert (told["outcome"], told["error_code"]) == ("cut", "upstream_truncated")
    (attempt,) = told["attempts"]
    assert (attempt["failure"], attempt["class"]) == ("upstream_truncated", "committed")


async def test_the_trail_holds_nothing_of_what_was_said(gateway: GatewayFactory) -> None:
    running = await gateway()
    question = [{"role": "user", "content": "a-secret-question"}]
    answer = await ask_as(running, "req-1", "sim-echo", messages=question)
    assert b"a-secret-question" in answer.body
    shown = await ask(running.port, get("/admin/requests/req-1"))
    assert shown.status == 200
    assert b"secret" not in shown.body


@pytest.mark.parametrize("request_id", ["unknown", "", "req-1/more"])
async def test_a_request_that_is_not_remembered_is_a_404(gateway: GatewayFactory, request_id: str) -> None:
    running = await gateway()
    await ask_as(running, "req-1")
    answer = await ask(running.port, get(f"/admin/requests/{request_id}"))
    assert (answer.status, answer.code) == (404, "unknown_url")
    assert request_id not in answer.json["error"]["message"] or not request_id


async def test_a_call_that_never_came_to_a_choice_has_a_trail_without_attempts(gateway: GatewayFactory) -> None:
    running = await gateway()
    assert (await ask_as(running, "req-1", "unknown-model")).status == 404
    told = await trail(running, "req-1")
    assert (told["status"], told["outcome"], told["error_code"]) == (404, "refused", "model_not_found")
    assert told["attempts"] == []


@pytest.mark.parametrize("path", ["/live", "/health", "/metrics", "/admin/providers", "/"])
async def test_a_probe_and_a_page_of_operators_leave_no_trail(gateway: GatewayFactory, path: str) -> None:
    running = await gateway()
    assert (await ask(running.port, get(path, head="X-Request-ID: req-1\r\n"))).status == 200
    assert (await ask(running.port, get("/admin/requests/req-1"))).status == 404


def ended(trails: Trails, request_id: str) -> Exchange:
    exchange = Exchange(request_id)
    exchange.route = "/v1/chat/completions"
    trails.ended([exchange])
    return exchange


def test_only_the_last_ones_are_remembered() -> None:
    trails = Trails()
    exchanges = [ended(trails, f"req-{number}") for number in range(REMEMBERED + 1)]
    assert trails.find("req-0") is None
    assert [trails.find(exchange.id) for exchange in exchanges[1:]] == exchanges[1:]


def test_of_those_with_the_same_id_the_last_one_counts_and_is_forgotten_last() -> None:
    trails = Trails()
    ended(trails, "same")
    ended(trails, "other")
    again = ended(trails, "same")
    for number in range(REMEMBERED - 1):
        ended(trails, f"req-{number}")
    assert trails.find("other") is None
    assert trails.find("same") is again


# The providers.


async def test_the_page_of_providers_tells_what_is_thought_of_each_target(
    simulator: Simulator, gateway: GatewayFactory
) -> None:
    running = await gateway(
        {
            "providers": {"a": provider(simulator), "b": provider(simulator)},
            "models": {"m": {"targets": ["a/sim-fault:status=500", "b/sim-fast"]}},
            "failover": {"retries": 1, "initial_delay": "0s", "budget": 1},
            "circuit_breaker": {"failure_threshold": 2},
        }
    )
    await running.listener.gateway.checks.known.wait()
    # The only retry goes to the target that has not failed; the second failure opens the breaker of the one that has.
    assert (await ask_as(running, "req-1", "m")).status == 200
    assert (await ask_as(running, "req-2", "m")).status == 200
    shown = await providers(running)
    assert list(shown) == ["a", "b"]
    for about in shown.values():
        assert about.pop("last_check").endswith("Z")
        assert about.pop("latency_ms") >= 0
    fine = {
        "healthy": True,
        "consecutive_fails": 0,
        "error_count": 0,
        "in_flight": 0,
        "parked_keys": [],
        "drained": False,
    }
    idle = {"available": True, "blocked_by": "", "breaker": "closed", "in_flight": 0}
    assert shown["a"].pop("targets")["a/sim-fault:status=500"] == {
        "available": False,
        "blocked_by": "breaker open",
        "breaker": "open",
        "in_flight": 0,
    }
    failed = shown["a"].pop("last_error")
    assert failed.pop("at").endswith("Z")
    assert failed == {
        "code": "upstream_error",
        "class": "sent, nothing usable received",
        "reason": "status 500",
        "status": 500,
    }
    assert shown["a"] == {**fine, "request_count": 2, "failed_attempts": 2}
    assert shown["b"].pop("targets")["b/sim-fast"] == idle
    assert shown["b"] == {**fine, "request_count": 2, "failed_attempts": 0, "last_error": None}


async def test_no_page_shows_a_key(simulator: Simulator, gateway: GatewayFactory) -> None:
    running = await gateway({"providers": {"sim": provider(simulator, api_key="sk-secret")}, "auth": KEYS})
    await ask(running.port, chat(head=f"{CLIENT}X-Request-ID: req-1\r\n"))
    for path in ("/admin/providers", "/admin/requests/req-1"):
        answer = await ask(running.port, get(path, head=ADMIN))
        assert answer.status == 200
        assert not any(key in answer.body for key in (b"sk-secret", b"client-key", b"admin-key"))


# Who may read them.

PATHS = ["/admin/providers", "/admin/requests/req-1"]
OPENED_BY: dict[str, tuple[str, int, str]] = {
    "the admin key": (ADMIN, 200, ""),
    "the admin key as a bearer": ("Authorization: Bearer admin-key\r\n", 200, ""),
    "a client's key": (CLIENT, 403, "admin_key_required"),
    "no key": ("", 401, "missing_api_key"),
    "a wrong key": ("X-API-Key: wrong\r\n", 401, "invalid_api_key"),
    "two keys": (CLIENT + "Authorization: Bearer wrong\r\n", 403, "admin_key_required"),
}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", OPENED_BY)
async def test_only_the_admin_key_opens_them(gateway: GatewayFactory, path: str, name: str) -> None:
    running = await gateway({"auth": KEYS})
    await ask(running.port, chat(head=f"{CLIENT}X-Request-ID: req-1\r\n"))
    head, status, code = OPENED_BY[name]
    answer = await ask(running.port, get(path, head=head))
    assert answer.status == status
    if code:
        assert answer.code == code


@pytest.mark.parametrize("path", PATHS)
async def test_without_an_admin_key_no_client_may_read_them(gateway: GatewayFactory, path: str) -> None:
    running = await gateway({"auth": {"keys": KEYS["keys"]}})
    answer = await ask(running.port, get(path, head=CLIENT))
    assert (answer.status, answer.code) == (403, "admin_key_required")


async def test_an_admin_key_alone_closes_them_though_calls_are_open(gateway: GatewayFactory) -> None:
    running = await gateway({"auth": {"admin_key": "admin-key"}})
    assert (await ask(running.port, chat())).status == 200
    assert (await ask(running.port, get("/admin/providers"))).status == 401
    assert (await ask(running.port, get("/admin/providers", head=ADMIN))).status == 200
