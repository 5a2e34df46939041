"""The lines of calls beside those of housekeeping, at each level: what an operator reads in an outage, or debugging."""

import logging
import signal
from pathlib import Path
from typing import Any

import pytest

from proxy.core.exchange import Exchange, Outcome
from proxy.observe.access import fields
from proxy.observe.log import Logs
from proxy.settings import Logging
from tests.conftest import GatewayFactory, provider
from tests.observe.test_logs import HEAD, lines, settings
from tests.rigs.hapax import hapax
from tests.rigs.simulator import Simulator
from tests.spec.loop import until
from tests.spec.wire import ask, becomes, chat, connect, get

HOUSEKEEPING = (
    "/live",
    "/ready",
    "/health",
    "/health/live",
    "/health/ready",
    "/openapi.json",
    "/ui",
    "/ui/main.js",
    "/",
)


async def test_probes_and_pages_have_no_line_at_info_and_one_at_debug_that_is_told_apart(
    simulator: Simulator, tmp_path: Path
) -> None:
    for level, shown in (("info", 0), ("debug", len(HOUSEKEEPING))):
        folder = tmp_path / level
        folder.mkdir()
        async with hapax(folder, settings(simulator, level=level)) as running:
            for path in HOUSEKEEPING:
                # 503 where it is not ready yet: its provider is asked for the first time beside this.
                assert (await ask(running.port, get(path))).status in (200, 503), path
            await ask(running.port, chat(head=HEAD))
            running.signal(signal.SIGTERM)
            await running.ended()
        told = lines(folder, "access")
        assert [(each["event"], each["level"]) for each in told if each["event"] != "call"] == [
            ("housekeeping", "debug")
        ] * shown
        assert [each["operation"] for each in told if each["event"] == "call"] == ["/v1/chat/completions"]


async def test_the_content_log_holds_what_clients_asked_and_nothing_of_pages(
    simulator: Simulator, tmp_path: Path
) -> None:
    async with hapax(tmp_path, settings(simulator, log_content=True)) as running:
        for path in ("/live", "/ready", "/openapi.json", "/ui"):
            await ask(running.port, get(path))
        await ask(running.port, get("/v1/models", head=HEAD))
        await ask(running.port, chat("sim-1:tokens=2", head=HEAD + "X-Request-ID: mine\r\n"))
        running.signal(signal.SIGTERM)
        await running.ended()
    content = [each for each in lines(tmp_path, "application") if each.get("event") == "content"]
    assert [(each["request_id"], each["provider"], each["stage"]) for each in content] == [("mine", "sim", "finalize")]


async def test_a_line_has_the_answers_id_and_a_client_that_left_is_cancelled(
    simulator: Simulator, tmp_path: Path
) -> None:
    async with hapax(tmp_path, settings(simulator)) as running:
        whole = await ask(running.port, chat("sim-1:tokens=3", head=HEAD))
        stream = await ask(running.port, chat("sim-1:tokens=3", head=HEAD, stream=True))
        async with connect(running.port) as wire:
            wire.send(chat("sim-1:tokens=900,pace=20ms", head=HEAD, stream=True))
            for _ in range(4):
                await wire.until(b'"content"')
        await becomes(lambda: len(lines(tmp_path, "access")) == 3)
    first, second, left = lines(tmp_path, "access")
    assert first["response_id"] == whole.json["id"] != ""
    assert f'"id":"{second["response_id"]}"'.encode() in stream.body.replace(b'": "', b'":"')
    assert [each["stage"] for each in (first, second, left)] == ["finalize"] * 3
    assert second["error_code"] == ""
    assert (left["error_code"], left["outcome"], left["ended_by"]) == ("cancelled", "client_gone", "client")
    assert left["response_id"] != ""


async def test_an_outage_fills_the_error_log_with_a_line_for_each_cause_and_the_breakers_that_opened(
    simulator: Simulator, tmp_path: Path
) -> None:
    whole = settings(simulator)
    whole["circuit_breaker"] = {"failure_threshold": 3}
    whole["models"] = {"m": {"targets": ["sim/sim-fault:status=500", "sim/sim-fault:status=502"]}}
    whole["failover"] = {"retries": 1, "budget": 1.0}
    async with hapax(tmp_path, whole) as running:
        for _ in range(12):
            assert (await ask(running.port, chat("m", head=HEAD))).status >= 500
        impatient = chat("sim-1:silence", head=HEAD + "x-stainless-timeout: 0.05\r\n")
        for wrong in (chat("nobody-has-it", head=HEAD), chat("sim-1"), chat("", head=HEAD), impatient):
            await ask(running.port, wrong)
        running.signal(signal.SIGTERM)
        await running.ended()
    errors = lines(tmp_path, "error")
    assert {each["level"] for each in errors} == {"error"}
    failed = [each for each in errors if each["event"] == "calls_failed"]
    # The first at once, and the rest at the end, since no minute passed.
    assert sum(each["count"] for each in failed) == 12
    assert all(each["provider"] == "sim" and each["error_code"] and each["model"] == "m" for each in failed)
    assert len(failed) <= 2 * len({each["error_code"] for each in failed})
    opened = [each for each in errors if each["event"] == "breaker"]
    assert {(each["was"], each["state"]) for each in opened} <= {("closed", "open")}
    assert opened
    assert {each["event"] for each in errors} == {"calls_failed", "breaker"}


async def test_the_loss_of_the_last_healthy_provider_is_an_error(
    simulator: Simulator, gateway: GatewayFactory, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "hapax")
    gone = {"type": "compatible", "base_url": "http://127.0.0.1:1/v1", "models": ["x"]}
    rules = {"interval": "20ms", "failure_threshold": 1}
    await gateway({"providers": {"a": gone, "b": gone}, "health_check": rules})
    await until(lambda: sum("unhealthy" in record.message for record in caplog.records) == 2)
    lost = [record for record in caplog.records if "unhealthy" in record.message]
    assert [record.levelname for record in lost] == ["WARNING", "ERROR"]
    assert [record.__dict__["fields"]["event"] for record in lost] == ["provider_unhealthy", "last_provider_lost"]


async def test_a_provider_that_an_operator_has_drained_is_not_lost(
    gateway: GatewayFactory, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "hapax")
    gone = {"type": "compatible", "base_url": "http://127.0.0.1:1/v1", "models": ["x"]}
    rules = {"interval": "20ms", "failure_threshold": 3}
    running = await gateway({"providers": {"a": gone}, "health_check": rules})
    running.listener.gateway.pool.drain("a", True)
    await until(lambda: any("unhealthy" in record.message for record in caplog.records))
    (found,) = [record for record in caplog.records if "unhealthy" in record.message]
    assert (found.levelname, found.__dict__["fields"]["event"]) == ("WARNING", "provider_unhealthy")


async def test_a_page_that_is_refused_for_its_origin_is_no_call(gateway: GatewayFactory) -> None:
    running = await gateway()
    for path in ("/metrics", "/v1/models"):
        head = "Origin: http://elsewhere.example\r\n"
        assert (await ask(running.port, get(path, head=head))).status == 403
    assert running.metric("hapax_exchanges_total", outcome="refused") == 0


async def test_debug_tells_the_plan_who_was_passed_over_each_attempt_and_each_probe(
    simulator: Simulator, gateway: GatewayFactory, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "hapax")
    running = await gateway(
        {
            "providers": {"a": provider(simulator), "b": provider(simulator), "c": provider(simulator)},
            "models": {"m": {"targets": ["a/sim-1", "b/sim-fault:status=503", "c/sim-1:tokens=2"]}},
            "failover": {"retries": 2},
        }
    )
    running.listener.gateway.pool.drain("a", True)
    answer = await ask(running.port, chat("m", head="X-Request-ID: one\r\n"))
    assert answer.header("x-hapax-provider") == "c"
    told = [record.__dict__.get("fields", {}) for record in caplog.records if record.levelno == logging.DEBUG]
    mine = [each for each in told if each.get("request_id") == "one" and each["stage"] != "finalize"]
    assert mine[0]["event"] == "plan"
    assert mine[0]["targets"] == ["b/sim-fault:status=503", "c/sim-1:tokens=2"]
    skips = [(each["provider"], each["model"], each["reason"]) for each in mine if each["event"] == "skip"]
    assert skips[0] == ("a", "sim-1", "drained")
    steps = [(each["event"], each["provider"]) for each in mine if each["event"].startswith("attempt")]
    assert steps[0] == ("attempt_start", "b")
    assert steps[-2:] == [("attempt_start", "c"), ("attempt_end", "c")]
    failed, *_, good = (each for each in mine if each["event"] == "attempt_end")
    assert (failed["status"], failed["error_code"] != "", good["status"], good["error_code"]) == (503, True, 200, "")
    await until(lambda: {record.__dict__["fields"]["provider"] for record in probes(caplog)} == {"a", "b", "c"})


def probes(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.__dict__.get("fields", {}).get("event") == "probe"]


async def test_at_info_nothing_of_this_is_worked_out(
    simulator: Simulator, gateway: GatewayFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise RuntimeError("worked out for no line")

    for name in ("planned", "begun", "ended"):
        monkeypatch.setattr(f"proxy.relay.steps_told.{name}", never)
    logging.getLogger("hapax").setLevel(logging.INFO)
    running = await gateway()
    assert (await ask(running.port, chat("sim-1:tokens=2"))).status == 200


async def test_a_start_leaves_a_line_with_version_configuration_and_address(
    simulator: Simulator, tmp_path: Path
) -> None:
    for workers in (1, 2):
        folder = tmp_path / str(workers)
        folder.mkdir()
        whole = settings(simulator)
        whole["server"]["workers"] = workers
        whole["auth"]["keys"] = []
        async with hapax(folder, whole) as running:
            await becomes(lambda folder=folder: started(folder))
            (line,) = started(folder)
            shown = await ask(running.port, get("/admin/config", head="X-API-Key: hpx_admin_0f2d9be1c5a877\r\n"))
            assert line["address"] == f"http://127.0.0.1:{running.port}"
            assert (line["configuration"], line["source"]) == (shown.json["hash"], shown.json["source"])
            assert (line["workers"], line["providers"], line["level"]) == (workers, ["sim"], "info")
            assert line["version"]


def started(folder: Path) -> list[dict[str, Any]]:
    return [each for each in lines(folder, "application") if each.get("event") == "started"]


def test_audit_lines_are_written_at_any_level(tmp_path: Path) -> None:
    before, names = logging.getLogger().handlers, ("hapax", "hapax.audit")
    levels = {name: logging.getLogger(name).level for name in names}
    try:
        logs = Logs(Logging(level="error", dir=str(tmp_path)), threads=False)
        logs.take_over()
        logging.getLogger("hapax.audit").info("key web created")
        logging.getLogger("hapax").warning("of no interest at this level")
        logs.stop()
    finally:
        logging.getLogger().handlers = before
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
    assert "key web created" in (tmp_path / "audit.log").read_text()
    assert (tmp_path / "application.log").read_text() == ""


def test_a_page_and_a_call_are_told_apart_by_their_event() -> None:
    page, call = Exchange("a", "GET"), Exchange("b", "POST")
    page.route, page.call = "/ready", False
    call.route, call.outcome = "/v1/chat/completions", Outcome.CLIENT_GONE
    assert fields(page, None)["event"] == "housekeeping"
    assert (fields(call, None)["event"], fields(call, None)["error_code"]) == ("call", "cancelled")
