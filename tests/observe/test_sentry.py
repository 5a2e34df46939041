"""An internal error reaches an error tracker as its type and its place in the code, and nothing of the request."""

import asyncio
import gzip
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from aiohttp import web

from proxy.core.exchange import Exchange
from proxy.http.inbound import Inbound
from proxy.process.listener import Listener
from proxy.settings import Settings
from tests.conftest import GatewayFactory, RunningGateway
from tests.rigs.clock import at_most
from tests.spec.wire import ask, becomes, chat

CANARY = "canary-5e11"
HEAD = f"X-Request-ID: {CANARY}\r\nX-API-Key: {CANARY}\r\nUser-Agent: {CANARY}\r\ntraceparent: {CANARY}\r\n"


class Tracker:
    """Takes Sentry's envelopes."""

    def __init__(self) -> None:
        self.raw = b""
        """Everything that arrived, decompressed, heads included."""
        self.events: list[dict[str, Any]] = []
        self.frozen = False
        self.dsn = ""

    async def answer(self, request: web.BaseRequest) -> web.Response:
        assert request.path == "/api/7/envelope/"
        body = await request.read()
        if request.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.raw += body + repr(request.headers).encode()
        lines = body.splitlines()
        for kind, payload in zip(lines[1::2], lines[2::2], strict=True):
            assert orjson.loads(kind)["type"] == "event"
            self.events.append(orjson.loads(payload))
        if self.frozen:
            await asyncio.Event().wait()
        return web.json_response({})


@pytest.fixture
async def tracker() -> AsyncIterator[Tracker]:
    running = Tracker()
    # The SDK inflates nothing for us: what it sent is looked at as bytes.
    server = web.Server(running.answer, handler_cancellation=True, access_log=None, auto_decompress=False)
    runner = web.ServerRunner(server, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    running.dsn = f"http://public@{host}:{port}/7"
    yield running
    await runner.cleanup()


async def broken(gateway: GatewayFactory, tracker: Tracker, monkeypatch: pytest.MonkeyPatch) -> RunningGateway:
    """A gateway whose every call meets a fault of our own, with secrets in its text and its locals."""
    running = await gateway({"tracing": {"sentry_dsn": tracker.dsn}})

    async def read_call(inbound: Inbound, path: str) -> None:
        local = await inbound.read_body()
        try:
            raise KeyError(f"{CANARY} {local!r}")
        except KeyError as error:
            raise RuntimeError(f"{CANARY} {local!r}") from error

    monkeypatch.setattr(Inbound, "read_call", read_call)
    return running


async def test_an_internal_error_is_reported_by_type_and_place_alone(
    tracker: Tracker, monkeypatch: pytest.MonkeyPatch, gateway: GatewayFactory
) -> None:
    running = await broken(gateway, tracker, monkeypatch)
    answer = await ask(running.port, chat(head=HEAD, user=CANARY))
    assert (answer.status, answer.code) == (500, "internal_error")
    await becomes(lambda: tracker.events)
    (event,) = tracker.events
    cause, error = event["exception"]["values"]
    assert (cause["type"], error["type"]) == ("KeyError", "RuntimeError")
    frames = error["stacktrace"]["frames"]
    assert [frame["function"].rpartition(".")[2] for frame in frames] == ["handle", "serve", "relay", "read_call"]
    assert frames[0]["module"] == "proxy.middleware.front"
    assert frames[0]["filename"] == "front.py"
    assert frames[0]["in_app"]
    assert all(set(frame) == {"module", "filename", "function", "lineno", "in_app"} for frame in frames)
    assert event["logentry"] == {"message": "internal error in request %s: %s"}
    assert (event["level"], event["logger"], event["environment"]) == ("error", "hapax", "production")
    assert event["release"].startswith("hapax@")
    assert set(event) <= {
        *("environment", "event_id", "exception", "level", "logentry", "logger"),
        *("platform", "release", "sdk", "timestamp"),
    }
    assert CANARY.encode() not in tracker.raw


@pytest.mark.as_python
async def test_a_record_that_could_not_be_settled_is_reported(
    tracker: Tracker, monkeypatch: pytest.MonkeyPatch, gateway: GatewayFactory
) -> None:
    running = await gateway({"tracing": {"sentry_dsn": tracker.dsn}})

    def settle(exchange: Exchange, now: float) -> None:
        raise ZeroDivisionError(CANARY)

    monkeypatch.setattr(running.listener.gateway.admission, "_settle", settle)
    assert (await ask(running.port, chat(head=HEAD))).status == 200
    await becomes(lambda: tracker.events)
    assert tracker.events[0]["exception"]["values"][0]["type"] == "ZeroDivisionError"
    assert CANARY.encode() not in tracker.raw


async def test_an_error_the_event_loop_could_give_to_no_task_is_reported_without_its_text(
    tracker: Tracker, gateway: GatewayFactory
) -> None:
    await gateway({"tracing": {"sentry_dsn": tracker.dsn}})

    def callback() -> None:
        raise LookupError(CANARY)

    asyncio.get_running_loop().call_soon(callback)
    await becomes(lambda: tracker.events)
    (event,) = tracker.events
    assert (event["logger"], event["exception"]["values"][0]["type"]) == ("asyncio", "LookupError")
    assert "logentry" not in event
    assert CANARY.encode() not in tracker.raw


async def test_errors_that_are_no_faults_of_ours_are_not_reported(tracker: Tracker, gateway: GatewayFactory) -> None:
    running = await gateway({"tracing": {"sentry_dsn": tracker.dsn}, "failover": {"retries": 0}})
    await ask(running.port, chat("nobody-has-this"))
    await ask(running.port, chat("sim-fault:status=500"))
    await ask(running.port, b"nonsense\r\n\r\n")
    await running.listener.stop()
    assert tracker.raw == b""


async def test_a_frozen_tracker_keeps_no_call_waiting(
    tracker: Tracker, monkeypatch: pytest.MonkeyPatch, gateway: GatewayFactory
) -> None:
    monkeypatch.setattr("proxy.observe.sentry.STOP_WITHIN", 0.1)
    tracker.frozen = True
    running = await broken(gateway, tracker, monkeypatch)
    slowest = 0.0
    for _ in range(20):
        began = time.monotonic()
        assert (await ask(running.port, chat())).status == 500
        slowest = max(slowest, time.monotonic() - began)
    assert slowest < at_most(1.0)


def test_a_dsn_without_the_extra_is_an_error_that_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentry_sdk", None)
    settings = Settings.model_validate({"tracing": {"sentry_dsn": "http://public@127.0.0.1:9/7"}})
    with pytest.raises(ValueError, match=r"^tracing\.sentry_dsn: .* pip install sentry-sdk$"):
        Listener(settings)


def test_what_is_no_dsn_is_refused_without_being_quoted() -> None:
    settings = Settings.model_validate({"tracing": {"sentry_dsn": f"nonsense-{CANARY}"}})
    with pytest.raises(ValueError, match=r"^tracing\.sentry_dsn is not a DSN$"):
        Listener(settings)
