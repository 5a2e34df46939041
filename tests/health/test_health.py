"""What health pages and probes say, and of what: every condition with its code and its words."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from proxy.health import checkup
from proxy.observe.lag import LoopLag
from tests.conftest import GatewayFactory, RunningGateway
from tests.rigs.simulator import Simulator
from tests.spec.wire import ask, becomes, chat, get, target

KEY, ADMIN = "hpx_client_4be19d0c77aa21", "hpx_admin_0f2d9be1c5a877"
HEAD, HEADS = f"X-API-Key: {KEY}\r\n", f"X-API-Key: {ADMIN}\r\n"
AUTH = {"keys": [{"name": "web", "key": KEY}], "admin_key": ADMIN}


async def told(running: RunningGateway, path: str, head: str = "") -> tuple[int, Any]:
    answer = await ask(running.port, get(path, head=head))
    return answer.status, json.loads(answer.body)


async def probed(running: RunningGateway) -> RunningGateway:
    await running.listener.gateway.checks.known.wait()
    return running


def dead(**more: Any) -> dict[str, Any]:
    """A provider whose port is closed; one probe is enough to know."""
    return {"type": "compatible", "base_url": "http://127.0.0.1:1/v1", "models": ["sim-*"], **more}


async def test_a_well_gateway_says_so_on_every_path(gateway: GatewayFactory) -> None:
    running = await probed(await gateway({"auth": AUTH}))
    assert (await told(running, "/live"))[1]["status"] == "alive"
    assert (await told(running, "/health/live"))[1]["status"] == "alive"
    assert (await told(running, "/ready"))[1]["status"] == "ready"
    status, body = await told(running, "/health/ready")
    assert (status, body["status"]) == (200, "healthy")
    assert body["summary"] == {"total": 7, "healthy": 7, "unhealthy": 0}
    assert body["checks"]["models_available"] == {"healthy": True, "critical": True, "failures": 0}
    status, body = await told(running, "/health")
    assert (status, sorted(body)) == (200, ["state", "status", "timestamp", "uptime", "version"])
    status, body = await told(running, "/health", HEAD)
    assert (status, body["status"], body["state"]) == (200, {"global": True}, "healthy")
    assert body["providers"]["sim"]["targets"] == {"sim": "closed"}
    assert sorted(body["checks"]) == [
        "disk_space",
        "event_loop",
        "inference_capability",
        "keys_known",
        "memory_usage",
        "models_available",
        "router_initialized",
    ]


async def test_one_dead_provider_of_two_is_degraded_and_still_ready(
    simulator: Simulator, gateway: GatewayFactory
) -> None:
    running = await gateway(
        {
            "auth": AUTH,
            "providers": {"sim": target(simulator), "gone": dead()},
            "health_check": {"failure_threshold": 1},
        }
    )
    await probed(running)
    status, body = await told(running, "/health", HEAD)
    assert (status, body["status"], body["state"]) == (503, {"global": False}, "degraded")
    assert body["providers"]["gone"]["healthy"] is False
    assert (await told(running, "/ready"))[0] == 200
    assert (await told(running, "/health/provider/gone", HEAD))[0] == 503
    assert (await told(running, "/health/provider/sim", HEAD))[0] == 200
    assert (await told(running, "/health/provider/nobody", HEAD))[0] == 404
    assert (await told(running, "/health/provider/sim"))[0] == 401
    assert await told(running, "/health/v1/chat/completions") == (200, {"status": "healthy"})


async def test_without_a_healthy_provider_calls_had_better_go_elsewhere(gateway: GatewayFactory) -> None:
    running = await gateway({"providers": {"gone": dead()}, "health_check": {"failure_threshold": 1}})
    await probed(running)
    assert (await told(running, "/ready"))[0] == 503
    status, body = await told(running, "/health/ready")
    assert (status, body["status"]) == (503, "critical")
    assert [name for name, each in body["checks"].items() if not each["healthy"]] == [
        "models_available",
        "inference_capability",
    ]
    assert (await told(running, "/live"))[0] == 200
    assert await told(running, "/health/v1/chat/completions") == (503, {"status": "unhealthy"})


async def test_until_every_provider_was_asked_only_the_loop_is_alive(
    simulator: Simulator, gateway: GatewayFactory
) -> None:
    simulator.direct("silence")
    running = await gateway({"providers": {"sim": target(simulator)}})
    assert (await told(running, "/live"))[0] == 200
    assert (await told(running, "/health/live"))[0] == 503
    assert (await told(running, "/ready"))[0] == 503
    assert (await told(running, "/health/ready"))[1]["checks"]["router_initialized"]["healthy"] is False


@pytest.mark.parametrize(
    ("health", "code", "state", "check"),
    [
        ({"memory_limit": "1MiB"}, 503, "critical", "memory_usage"),
        ({"disk_share": 0.000001}, 200, "degraded", "disk_space"),
    ],
)
async def test_memory_takes_the_gateway_out_and_a_full_disk_does_not(
    gateway: GatewayFactory, health: dict[str, Any], code: int, state: str, check: str
) -> None:
    running = await probed(await gateway({"health": health}))
    status, body = await told(running, "/health/ready")
    assert (status, body["status"]) == (code, state)
    assert [name for name, each in body["checks"].items() if not each["healthy"]] == [check]
    assert (await told(running, "/health"))[0] == code


async def test_a_loop_that_stood_still_is_degraded_for_a_minute(
    gateway: GatewayFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = await probed(await gateway())
    running.listener.gateway.lag._looks.append(1.25)
    status, body = await told(running, "/health/ready")
    assert (status, body["status"], body["checks"]["event_loop"]["healthy"]) == (200, "degraded", False)
    for path in ("/live", "/health/live"):
        status, body = await told(running, path)
        assert (status, body["status"], body["event_loop_lag_max_seconds"]) == (200, "alive", 1.25)
    for _ in range(120):
        running.listener.gateway.lag._looks.append(0.001)
    assert (await told(running, "/health/ready"))[1]["status"] == "healthy"


async def test_a_stall_counts_before_the_look_that_is_late_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A question that waited through it may be answered first."""
    now = 100.0
    monkeypatch.setattr("proxy.observe.lag.clock.now", lambda: now)
    lag = LoopLag()
    lag.start()
    assert lag.worst == 0.0
    now = 105.5
    assert lag.worst == 5.0
    await lag.stop()
    assert lag.worst == 0.0


CHECKED = {
    "path": "/chat/completions",
    "handler": "completion",
    "health_check": {
        "enabled": True,
        "interval": "1h",
        "timeout": "1s",
        "threshold": 2,
        "checks": {"providers": "http", "port": "tcp", "latency": "threshold"},
    },
}


async def test_a_route_is_unhealthy_after_as_many_bad_rounds_as_its_checks_allow(
    simulator: Simulator, gateway: GatewayFactory
) -> None:
    running = await probed(await gateway({"auth": AUTH, "routes": [CHECKED]}))
    path, checks = "/v1/chat/completions", running.listener.gateway.health.routes
    assert await told(running, f"/health{path}") == (
        200,
        {"status": "healthy", "consecutive_fails": 0, "last_check": None, "checks": {}},
    )
    assert (await ask(running.port, chat("sim-1:tokens=1,headers=1100ms", head=HEAD))).status == 200
    await checks.look(path)
    status, body = await told(running, f"/health{path}")
    assert (status, body["checks"]) == (200, {"providers": True, "port": True, "latency": False})
    assert (await ask(running.port, chat("sim-1:tokens=1,headers=1100ms", head=HEAD))).status == 200
    await checks.look(path)
    status, body = await told(running, f"/health{path}")
    assert (status, body["status"], body["consecutive_fails"]) == (503, "unhealthy", 2)
    assert (await told(running, "/health", HEAD))[1]["services"][path] == "unhealthy"
    assert await told(running, "/health/v1/embeddings") == (200, {"status": "healthy"})
    # No call was slow since, for there was none.
    await checks.look(path)
    assert (await told(running, f"/health{path}"))[0] == 200


async def test_a_route_without_a_provider_or_a_port_fails_its_checks(gateway: GatewayFactory) -> None:
    running = await gateway(
        {"providers": {"gone": dead()}, "health_check": {"failure_threshold": 1}, "routes": [CHECKED]}
    )
    await probed(running)
    running.listener.gateway.served.addresses[:] = [("127.0.0.1", 1)]
    await running.listener.gateway.health.routes.look("/v1/chat/completions")
    status, body = await told(running, "/health/v1/chat/completions")
    assert (status, body["checks"]) == (200, {"providers": False, "port": False, "latency": True})


async def test_a_store_that_cannot_be_read_is_a_matter_of_degree(gateway: GatewayFactory, tmp_path: Path) -> None:
    settings = {"store": {"url": f"sqlite:///{tmp_path}/missing/hapax.db"}}
    running = await probed(await gateway({**settings, "auth": AUTH}))
    status, body = await told(running, "/health/ready")
    assert (status, body["status"], body["checks"]["store"]["healthy"]) == (200, "degraded", False)
    # Where all keys are in the store, no caller can be let in.
    closed = await probed(await gateway({**settings, "auth": {"admin_key": ADMIN}}))
    status, body = await told(closed, "/health/ready")
    assert (status, body["status"], body["checks"]["keys_known"]["healthy"]) == (503, "critical", False)
    assert (await ask(closed.port, chat())).code == "store_unavailable"
    admins = await ask(closed.port, chat(head=f"X-API-Key: {ADMIN}\r\n"))
    assert (admins.status, "admin key" in admins.json["error"]["message"]) == (401, True)


async def test_a_gateway_that_drains_says_so(gateway: GatewayFactory) -> None:
    running = await probed(await gateway())
    running.listener.gateway.under_way.draining = True
    assert (await told(running, "/ready"))[0] == 503
    status, body = await told(running, "/health/ready")
    assert (status, body["status"]) == (503, "draining")


async def test_a_hundred_looks_cost_no_upstream_call(simulator: Simulator, gateway: GatewayFactory) -> None:
    running = await probed(await gateway({"auth": AUTH}))
    asked = simulator.ledger.seen
    for path in ("/health", "/ready", "/health/ready", "/health/provider/sim", "/debug") * 20:
        assert (await told(running, path, HEADS))[0] == 200
    assert simulator.ledger.seen == asked


async def test_a_look_that_hangs_has_failed_and_is_shared_by_all_who_ask() -> None:
    looks = 0

    async def hang() -> checkup.Found:
        nonlocal looks
        looks += 1
        await asyncio.Event().wait()
        raise AssertionError

    def breaks() -> checkup.Found:
        raise OSError("/a/secret/path")

    checks = checkup.Checkup(
        [checkup.Check("slow", hang, kept=True), checkup.Check("broken", breaks, critical=True)], 60.0, 0.05
    )
    first, second = await asyncio.gather(checks.results(), checks.results())
    assert looks == 1
    assert first is second
    assert (first["slow"]["healthy"], first["slow"]["message"]) == (False, "Health check timeout")
    assert first["broken"]["message"] == "The check itself failed: OSError"
    assert checks.condition() is checkup.Condition.CRITICAL
    await checks.results()
    assert (looks, first["slow"]["failures"], first["broken"]["failures"]) == (1, 1, 2)


async def test_debug_shows_the_process_to_who_has_the_admin_key_and_nothing_secret(gateway: GatewayFactory) -> None:
    running = await probed(await gateway({"auth": AUTH}))
    assert (await told(running, "/debug"))[0] == 401
    assert (await told(running, "/debug", HEAD))[0] == 403
    status, body = await told(running, "/debug", HEADS)
    assert (status, body["status"]) == (200, "healthy")
    assert body["metrics"] > 20
    assert sorted(body["environment"]) == ["env", "memory", "pid", "platform", "python_version", "uptime"]
    assert KEY not in json.dumps(body)


async def test_a_breaker_that_opens_shows_at_its_provider(simulator: Simulator, gateway: GatewayFactory) -> None:
    running = await gateway({"circuit_breaker": {"failure_threshold": 1}})
    await probed(running)
    assert (await ask(running.port, chat("sim-fault:status=503"))).status in (502, 503)
    await becomes(lambda: running.listener.gateway.under_way.count == 0)
    _, body = await told(running, "/health/provider/sim")
    assert body["targets"]["sim/sim-fault:status=503"] == "open"
