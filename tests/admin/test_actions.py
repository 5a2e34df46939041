"""What is done with a provider: it is drained and calls move, its breakers are reset, it is probed at once."""

import asyncio
import logging
from typing import Any

import orjson
import pytest

from proxy.providers.breaker import BreakerState
from proxy.settings import Settings
from tests.conftest import GatewayFactory, RunningGateway, provider
from tests.rigs.gated import Gated
from tests.rigs.simulator import Simulator
from tests.spec.loop import until
from tests.spec.wire import Response, ask, chat, connect, get, request

from .test_events import following, next_event

ADMIN, KEY = "hapax-admin-9f2b6c1de04a7788", "hapax-client-4b1e9d7730aa65c2"
KEYED, ADMINED = f"Authorization: Bearer {KEY}\r\n", f"Authorization: Bearer {ADMIN}\r\n"
AUTH = {"admin_key": ADMIN, "keys": [{"name": "me", "key": KEY}]}


def two(simulator: Simulator, **more: Any) -> dict[str, Any]:
    """Settings of two providers, `a` before `b`."""
    return {
        "auth": AUTH,
        "providers": {"a": provider(simulator), "b": provider(simulator)},
        "provider_preference": ["a", "b"],
        **more,
    }


async def do(running: RunningGateway, action: str, name: str = "a", head: str = ADMINED) -> Response:
    return await ask(running.port, request(f"/admin/providers/{name}/{action}", head=head))


async def answered_by(running: RunningGateway, name: str = "", **fields: Any) -> str | None:
    answer = await ask(running.port, chat(head=KEYED + (f"X-Request-ID: {name}\r\n" if name else ""), **fields))
    assert answer.status == 200
    return answer.header("x-hapax-provider")


async def about(running: RunningGateway, path: str) -> Any:
    return (await ask(running.port, get(path, head=ADMINED))).json


async def test_a_drained_provider_takes_no_call_until_it_is_enabled_and_every_page_says_so(
    simulator: Simulator, gateway: GatewayFactory
) -> None:
    running = await gateway(two(simulator))
    assert await answered_by(running) == "a"
    told = (await do(running, "drain")).json
    assert (told["provider"], told["action"]) == ("a", "drain")
    assert [(worker["drained"], worker["reset"]) for worker in told["workers"]] == [(True, [])]
    assert await answered_by(running, "moved") == "b"
    assert (await about(running, "/admin/requests/moved"))["skipped"] == {"a/sim-fast": "drained"}
    shown = (await about(running, "/admin/providers"))["providers"]
    assert (shown["a"]["drained"], shown["b"]["drained"]) == (True, False)
    assert shown["a"]["targets"]["a/sim-fast"]["blocked_by"] == "drained"
    assert shown["a"]["targets"]["a/sim-fast"]["available"] is False
    assert (await about(running, "/ready"))["providers_drained"] == 1
    assert running.metric("hapax_provider_drained", provider="a") == 1
    assert running.metric("hapax_provider_drained", provider="b") == 0
    assert (await do(running, "enable")).json["workers"][0]["drained"] is False
    assert await answered_by(running) == "a"
    assert running.metric("hapax_provider_drained", provider="a") == 0


async def test_a_call_under_way_at_a_provider_that_is_drained_goes_on_to_its_end(gateway: GatewayFactory) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
    first = b'data: {"choices":[{"index":0,"delta":{"content":"Hel"}}]}\n\n'
    last = b'data: {"choices":[{"index":0,"delta":{"content":"lo"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    async with Gated([head, first, last], open_pieces=2) as gated:
        running = await gateway({"auth": AUTH, "providers": {"a": gated.settings()}})
        async with connect(running.port) as wire:
            wire.send(chat("m", head=KEYED, stream=True))
            await wire.until(b"Hel")
            assert (await do(running, "drain")).status == 200
            assert (await about(running, "/admin/providers"))["providers"]["a"]["in_flight"] == 1
            gated.let(2)
            await wire.until(b"[DONE]")
        refused = await ask(running.port, chat("m", head=KEYED))
        assert (refused.status, refused.code) == (503, "provider_drained")
        assert gated.asked == 1


async def test_where_every_target_of_a_model_is_drained_the_call_is_refused_unless_a_fallback_takes_it(
    simulator: Simulator, gateway: GatewayFactory
) -> None:
    models = {
        "alone": {"targets": ["a/sim-fast"]},
        "with": {"targets": ["a/sim-fast"], "fallbacks": ["alone", "spare"]},
        "spare": {"targets": ["b/sim-fast"]},
    }
    running = await gateway(two(simulator, models=models))
    await running.listener.gateway.checks.known.wait()
    await do(running, "drain")
    refused = await ask(running.port, chat("alone", head=KEYED))
    assert (refused.status, refused.code, refused.header("x-hapax-attempts")) == (503, "provider_drained", "0")
    assert refused.header("x-should-retry") == "false"
    assert await answered_by(running, model="with") == "b"
    assert (await ask(running.port, get("/ready"))).status == 200
    await do(running, "drain", "b")
    checks = (await about(running, "/health/ready"))["checks"]
    assert checks["models_available"]["healthy"] is False


async def test_a_provider_stays_drained_over_a_reload_that_changes_it(
    simulator: Simulator, gateway: GatewayFactory
) -> None:
    running = await gateway(two(simulator))
    await do(running, "drain")
    changed = two(simulator, store={"url": ""})
    changed["providers"]["a"]["weight"] = 7
    before = running.listener.gateway.pool.provider("a")
    await running.listener.gateway.reload(Settings.model_validate(changed))
    assert running.listener.gateway.pool.provider("a") is not before
    assert await answered_by(running) == "b"
    await do(running, "enable")
    assert await answered_by(running) == "a"


async def test_a_reset_closes_the_breakers_of_a_provider_and_tells_which_were_not(
    simulator: Simulator, gateway: GatewayFactory
) -> None:
    running = await gateway(two(simulator, circuit_breaker={"failure_threshold": 1}, failover={"budget": 1}))
    await ask(running.port, chat("sim-fault:status=500", head=KEYED))
    (target,) = (each for each in running.listener.gateway.pool.all_targets if str(each).startswith("a/sim-fault"))
    assert target.breaker._state is BreakerState.OPEN
    told = (await do(running, "reset")).json
    assert told["workers"][0]["reset"] == ["a/sim-fault:status=500"]
    assert target.breaker._state is BreakerState.CLOSED
    assert (await do(running, "reset")).json["workers"][0]["reset"] == []


async def test_a_reset_is_written_down_with_every_breaker_that_was_not_closed_at_some_worker(
    simulator: Simulator, gateway: GatewayFactory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Peers:
        async def ask(self, what: str, of: object) -> list[dict[str, object] | None]:
            return [
                {"pid": 1, "drained": False, "reset": ["a/two", "a/one"]},
                {"pid": 2, "drained": False, "reset": ["a/one"]},
                None,
            ]

    running = await gateway(two(simulator))
    monkeypatch.setattr(running.listener.gateway.operators.actions, "_peers", Peers())
    with caplog.at_level(logging.INFO, "hapax.audit"):
        assert (await do(running, "reset")).status == 200
    (line,) = (record for record in caplog.records if record.name == "hapax.audit" and "a reset" in record.message)
    fields: dict[str, object] = vars(line)["fields"]
    assert (fields["reset"], fields["workers"]) == (["a/one", "a/two"], 3)


async def test_a_probe_is_sent_at_once_and_its_end_told(gateway: GatewayFactory) -> None:
    asked = asyncio.Queue[bytes]()
    answers = [b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n", b"", b""]
    good = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 21\r\n\r\n{"data":[{"id":"m"}]}'

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.put_nowait(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answers.pop(0) or good)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        rules = {"interval": "1h", "failure_threshold": 1}
        a = {"type": "compatible", "base_url": f"http://127.0.0.1:{port}/v1"}
        running = await gateway({"auth": AUTH, "providers": {"a": a}, "health_check": rules})
        await running.listener.gateway.checks.known.wait()
        assert running.listener.gateway.pool.provider("a").health.healthy is False
        told = (await do(running, "ask")).json
        assert (told["probe"]["ok"], told["probe"]["problem"]) == (True, None)
        assert running.listener.gateway.pool.provider("a").health.healthy is True
        assert asked.qsize() == 2
    told = (await do(running, "ask")).json
    assert told["probe"]["ok"] is False
    assert told["probe"]["problem"]


async def test_an_action_is_told_in_the_feed_and_written_to_the_audit_log(
    simulator: Simulator, gateway: GatewayFactory, caplog: pytest.LogCaptureFixture
) -> None:
    running = await gateway(two(simulator))
    async with following(running) as source:
        with caplog.at_level(logging.INFO, "hapax.audit"):
            await do(running, "drain")
        events = [await next_event(source) for _ in range(2)]
    told = {event.type: orjson.loads(event.data) for event in events}
    assert told == {
        "action": {"name": "a", "action": "drain", "by": "admin"},
        "provider": {"name": "a", "state": "drained", "was": "healthy"},
    }
    (line,) = (record for record in caplog.records if record.name == "hapax.audit" and "a drained" in record.message)
    fields = {"event": "provider_drained", "provider": "a", "by": "admin", "workers": 1}
    assert fields.items() <= line.__dict__["fields"].items()


async def test_what_a_peer_is_asked_it_does_and_waits_for_no_probe(
    simulator: Simulator, gateway: GatewayFactory
) -> None:
    running = await gateway(two(simulator))
    answers = running.listener.gateway.answers
    assert answers.to("act", {"provider": "a", "action": "drain"})["drained"] is True
    assert await answered_by(running) == "b"
    before = running.listener.gateway.pool.provider("a").health.last_check
    assert answers.to("act", {"provider": "a", "action": "ask"})["drained"] is True
    await until(lambda: running.listener.gateway.pool.provider("a").health.last_check != before)
    assert answers.to("act", {"provider": "gone", "action": "drain"}) is None
    assert answers.to("act", {"provider": "gone", "action": "ask"}) is None


@pytest.mark.parametrize(
    ("path", "head", "status"),
    [
        ("/admin/providers/a/explode", ADMINED, 404),
        ("/admin/providers/unknown/drain", ADMINED, 404),
        ("/admin/providers/a", ADMINED, 404),
        ("/admin/providers/a/drain?for=1h", ADMINED, 400),
        ("/admin/providers/a/drain", KEYED, 403),
        ("/admin/providers/a/drain", "", 401),
    ],
)
async def test_what_is_not_there_or_not_allowed_changes_nothing(
    simulator: Simulator, gateway: GatewayFactory, path: str, head: str, status: int
) -> None:
    running = await gateway(two(simulator))
    assert (await ask(running.port, request(path, head=head))).status == status
    assert (await ask(running.port, get("/admin/providers/a/drain", head=ADMINED))).status == 405
    assert await answered_by(running) == "a"


async def test_what_an_account_of_a_drained_provider_keeps_cannot_be_had_and_the_error_says_why(
    simulator: Simulator, gateway: GatewayFactory
) -> None:
    running = await gateway(two(simulator))
    made = await ask(running.port, request("/v1/responses", {"model": "sim-fast", "input": "hi"}, head=KEYED))
    assert (made.status, made.header("x-hapax-provider")) == (200, "a")
    await do(running, "drain")
    kept = await ask(running.port, get(f"/v1/responses/{made.json['id']}", head=KEYED))
    assert (kept.status, kept.code) == (503, "object_owner_unavailable")
    assert "was drained by the operator" in kept.json["error"]["message"]
