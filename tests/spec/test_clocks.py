"""
Every clock there is: each fires when it should and has its own code.

One fault per clock, and nothing else that could end the call.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable
from dataclasses import replace
from typing import Any, TypeVar

import pytest

from tests.conftest import GatewayFactory, RunningGateway
from tests.rigs.clock import at_most
from tests.rigs.simulator import Drip, Send, Simulator

from .loop import lag_watched
from .wire import Response, Wire, ask, calls, chat, connect, target

FAULTY, GOOD = "sim-fault:silence", "sim-fast"
LONG = {"connect": "1h", "first_token": "1h", "idle": "1h", "total": "1h"}
QUIET: dict[str, Any] = {"health_check": {"enabled": False}, "circuit_breaker": {"failure_threshold": 1000}}
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b'3c\r\ndata: {"choices":[{"index":0,"delta":{"content":"word"}}]}\n\n\r\n'
T = TypeVar("T")
CUT = b'"code":"upstream_timeout"'


def one(simulator: Simulator, *, failover: dict[str, Any] | None = None, **clocks: str) -> dict[str, Any]:
    """Settings with one provider whose clocks are endless but for those given."""
    return {
        **QUIET,
        "providers": {"first": target(simulator, timeouts={**LONG, **clocks})},
        "failover": {"retries": 0, "patience": "1h", **(failover or {})},
    }


def two(simulator: Simulator, backup: Simulator, first: str, **more: Any) -> dict[str, Any]:
    """Settings with a model whose first target is *first* and whose second is good."""
    settings = one(simulator, **more)
    settings["providers"]["second"] = target(backup, timeouts=LONG)
    settings["models"] = {"both": {"targets": [f"first/{first}", f"second/{GOOD}"]}}
    settings["failover"] = {"patience": "1h", "budget": 1, **(more.get("failover") or {})}
    return settings


async def on_time(name: str, awaited: Awaitable[Any], due: float) -> Any:
    """Await something due in *due* seconds: 10 percent sooner or later, and on a busy machine some ms more."""
    async with lag_watched() as lag:
        began = time.monotonic()
        result = await awaited
        took = time.monotonic() - began
    print(f"\n{name}: due after {due:.2f} s, came after {took:.3f} s (loop late by {lag.worst * 1000:.0f} ms)")
    assert due - max(0.1 * due, 0.05) - lag.worst <= took
    assert took <= at_most(due + max(0.1 * due, 0.15)) + lag.worst
    return result


async def answer_in(name: str, running: RunningGateway, data: bytes, due: float) -> Response:
    response: Response = await on_time(name, ask(running.port, data), due)
    return response


@pytest.fixture
async def blackhole() -> AsyncIterator[int]:
    """A port where TLS is awaited and never spoken."""
    writers = []

    async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    for writer in writers:
        writer.transport.abort()


async def test_connecting_has_its_own_clock(simulator: Simulator, gateway: GatewayFactory, blackhole: int) -> None:
    settings = one(simulator, connect="400ms")
    settings["providers"]["first"]["base_url"] = f"https://127.0.0.1:{blackhole}/v1"
    running = await gateway(settings)
    answer = await answer_in("connect", running, chat(), 0.4)
    assert (answer.status, answer.code) == (504, "upstream_connect_timeout")


@pytest.mark.parametrize("fault", ["silence", "stall@1", "headers=1h"])
async def test_first_content_that_does_not_come_in_time_is_a_504(
    fault: str, simulator: Simulator, gateway: GatewayFactory
) -> None:
    running = await gateway(one(simulator, first_token="400ms"))
    answer = await answer_in(f"first content, {fault}", running, chat(f"sim-fault:{fault}", stream=True), 0.4)
    assert (answer.status, answer.code) == (504, "upstream_timeout")


async def test_comments_keep_a_provider_alive_until_its_total_and_no_longer(
    simulator: Simulator, gateway: GatewayFactory
) -> None:
    running = await gateway(one(simulator, first_token="1s", total="2s"))
    chatter = "sim-fault:comments_forever@1,pace=20ms"
    answer = await answer_in("total, with comments", running, chat(chatter, stream=True), 2.0)
    assert (answer.status, answer.code) == (504, "upstream_timeout")


async def test_after_the_clock_for_first_content_another_target_is_asked(
    simulator: Simulator, backup: Simulator, gateway: GatewayFactory
) -> None:
    running = await gateway(two(simulator, backup, FAULTY, first_token="400ms"))
    answer = await answer_in("first content, with another target", running, chat("both", stream=True), 0.4)
    assert answer.status == 200
    assert answer.header("x-hapax-provider") == "second"


async def test_a_clock_that_is_not_set_lets_the_last_target_take_its_time(
    simulator: Simulator, gateway: GatewayFactory
) -> None:
    running = await gateway(one(simulator, total="700ms", first_token="300ms"))
    upstreams = running.listener.gateway.upstreams
    first = upstreams.pool.provider("first")
    upstreams.clocks[first] = replace(upstreams.clocks[first], strict=False)
    answer = await answer_in("total, without an alternative", running, chat(FAULTY, stream=True), 0.7)
    assert (answer.status, answer.code) == (504, "upstream_timeout")


async def test_patience_asks_a_second_target_beside_and_the_first_with_content_wins(
    simulator: Simulator, backup: Simulator, gateway: GatewayFactory
) -> None:
    running = await gateway(two(simulator, backup, "sim-1:stall@1", failover={"patience": "400ms"}))
    answer = await answer_in("patience", running, chat("both", stream=True), 0.4)
    assert answer.header("x-hapax-provider") == "second"
    assert answer.header("x-hapax-attempts") == "2"
    assert await calls(simulator)[0].closed() in ("client", "reset")
    await running.listener.gateway.under_way.idle.wait()
    assert running.metric("hapax_hedges_total") == 1
    for provider in ("first", "second"):
        assert running.metric("hapax_provider_in_flight", provider=provider) == 0
    assert running.metric("circuit_breaker_failures_total", name="first/sim-1:stall@1") == 0


async def test_the_first_target_wins_when_its_content_comes_before_the_second_ones(
    simulator: Simulator, backup: Simulator, gateway: GatewayFactory
) -> None:
    settings = two(simulator, backup, "sim-fast:headers=1500ms", failover={"patience": "200ms"})
    settings["models"]["both"]["targets"][1] = "second/sim-fast:headers=1h"
    running = await gateway(settings)
    answer = await answer_in("patience, the first wins", running, chat("both", stream=True), 1.5)
    assert answer.header("x-hapax-provider") == "first"
    assert await calls(backup)[0].closed() in ("client", "reset")


async def cut_after(wire: Wire) -> bytes:
    """What comes after the first content, which must end with an error event."""
    rest, how = await wire.to_end()
    assert (how, rest.endswith(b"0\r\n\r\n")) == ("fin", False)
    return rest


async def test_comments_alone_keep_a_stream_alive_no_longer_than_the_total(
    simulator: Simulator, gateway: GatewayFactory
) -> None:
    running = await gateway(one(simulator, idle="1s", total="2s"))
    async with connect(running.port) as wire:
        wire.send(chat("sim-fast:comments_forever@3,pace=20ms", stream=True))
        await wire.until(b"content")
        rest = await on_time("total, comments", cut_after(wire), 2.0)
    assert rest.count(b"\n:") > 5
    assert CUT in rest


@pytest.mark.parametrize("fault", ["stall@3", "stall@3,comments"])
async def test_without_another_event_a_stream_that_has_begun_is_cut(
    fault: str, simulator: Simulator, gateway: GatewayFactory
) -> None:
    running = await gateway(one(simulator, idle="400ms"))
    async with connect(running.port) as wire:
        wire.send(chat(f"sim-fast:{fault}", stream=True))
        await wire.until(b"content")
        assert CUT in await on_time(f"idle, {fault}", cut_after(wire), 0.4)


async def test_half_an_event_at_a_time_is_no_progress(simulator: Simulator, gateway: GatewayFactory) -> None:
    running = await gateway(one(simulator, idle="400ms"))
    simulator.script([Send(HEAD + EVENT), Drip(EVENT, 1, 0.02)], match="sim-drip")
    async with connect(running.port) as wire:
        wire.send(chat("sim-drip", stream=True))
        await wire.until(b"content")
        assert CUT in await on_time("idle, byte by byte", cut_after(wire), 0.4)


async def test_a_paced_stream_outlives_its_idle_clock_as_long_as_events_come(
    simulator: Simulator, gateway: GatewayFactory
) -> None:
    running = await gateway(one(simulator, idle="1s", total="500ms"))
    answer = await answer_in("a whole stream", running, chat("sim-1:tokens=16,pace=100ms", stream=True), 1.5)
    assert answer.body.endswith(b"data: [DONE]\n\n")


async def test_the_total_includes_every_retry_and_every_pause(
    simulator: Simulator, backup: Simulator, gateway: GatewayFactory
) -> None:
    settings = one(simulator, total="2500ms", first_token="1s", failover={"retries": 5, "budget": 1})
    settings["providers"]["second"] = target(backup, timeouts={**LONG, "total": "2500ms", "first_token": "1s"})
    third = {**target(backup, timeouts={**LONG, "total": "2500ms", "first_token": "1s"})}
    settings["providers"]["third"] = third
    running = await gateway(settings)
    answer = await answer_in("total over three attempts", running, chat(FAULTY, stream=True), 2.5)
    assert (answer.status, answer.code) == (504, "upstream_timeout")
    assert answer.header("x-hapax-attempts") == "3"


@pytest.mark.parametrize("name", ["x-stainless-read-timeout", "x-stainless-timeout"])
async def test_a_client_that_says_how_long_it_waits_is_told_before_that(
    name: str, simulator: Simulator, backup: Simulator, gateway: GatewayFactory
) -> None:
    running = await gateway(two(simulator, backup, "sim-fault:headers=800ms,status=503"))
    data = chat("both", head=f"{name}: 0.8\r\n")
    answer = await answer_in(f"{name}: 0.8", running, data, 0.76)
    assert (answer.status, answer.code) == (504, "upstream_timeout")
    assert not calls(backup), "an attempt was begun that could not finish"


async def test_a_stream_lives_no_longer_than_it_may_and_its_target_is_not_to_blame(
    simulator: Simulator, gateway: GatewayFactory
) -> None:
    running = await gateway(one(simulator, idle="1s", stream="2s"))
    async with connect(running.port) as wire:
        wire.send(chat("sim-1:forever,pace=20ms", stream=True))
        await wire.until(b"content")
        assert CUT in await on_time("life of a stream", cut_after(wire), 2.0)
    await running.listener.gateway.under_way.idle.wait()
    assert running.metric("circuit_breaker_failures_total", name="first/sim-1:forever,pace=20ms") == 0


async def drip(wire: Wire, data: bytes, every: float, until: Awaitable[T]) -> T:
    """Send byte by byte until something comes back."""
    back = asyncio.ensure_future(until)  # noqa: TID251 - held and awaited here
    for byte in data:
        if back.done():
            break
        wire.send(bytes((byte,)))
        await asyncio.wait((back,), timeout=every)
    return await back


@pytest.mark.parametrize("first", [b"", chat()], ids=["fresh", "kept alive"])
async def test_a_dripped_head_ends_at_the_read_timeout(
    first: bytes, simulator: Simulator, gateway: GatewayFactory
) -> None:
    running = await gateway({"server": {"read_timeout": "500ms"}})
    async with connect(running.port) as wire:
        if first:
            wire.send(first)
            await wire.response()
        head = b"GET /live HTTP/1.1\r\nX: " + b"x" * 99
        # A byte on its way when the connection is closed makes a reset of it.
        end = await on_time("dripped head", drip(wire, head, 0.02, wire.to_end()), 0.5)
        assert end in ((b"", "fin"), (b"", "rst"))
        async with connect(running.port) as other:
            other.send(b"GET /live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert (await other.response("GET")).status == 200


async def test_a_dripped_json_body_is_a_408_at_the_read_timeout(simulator: Simulator, gateway: GatewayFactory) -> None:
    running = await gateway({"server": {"read_timeout": "500ms"}})
    # Longer than it could ever take to end.
    data = chat(user="x" * 3000)
    head = data.index(b"\r\n\r\n") + 4
    async with connect(running.port) as wire:
        wire.send(data[:head])
        answer = await on_time("dripped body", drip(wire, data[head:], 0.02, wire.response()), 0.5)
    assert (answer.status, answer.code) == (408, "request_timeout")
    assert answer.header("x-should-retry") == "false"


FORM = b'--xx\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'


def upload(length: int) -> bytes:
    """The head and the first bytes of an upload of so many bytes more."""
    return (
        b"POST /v1/files HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=xx\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(FORM) + length, FORM)
    )


async def test_an_upload_below_1_kib_a_second_is_a_408_and_its_provider_is_let_go(
    simulator: Simulator, gateway: GatewayFactory
) -> None:
    running = await gateway({"server": {"read_timeout": "600ms"}})
    async with connect(running.port) as wire:
        wire.send(upload(100_000))
        # What comes in that time, some 130 bytes, buys an eighth of a second.
        answer = await on_time("dripped upload", drip(wire, bytes(1000), 0.01, wire.response()), 0.7)
    assert (answer.status, answer.code) == (408, "request_timeout")
    await running.listener.gateway.under_way.idle.wait()
    assert running.metric("hapax_provider_in_flight", provider="sim") == 0


async def test_an_upload_above_1_kib_a_second_may_take_its_time(simulator: Simulator, gateway: GatewayFactory) -> None:
    running = await gateway({"server": {"read_timeout": "1s"}})
    end = b"\r\n--xx--\r\n"
    async with connect(running.port) as wire:
        wire.send(upload(16 * 400 + len(end)))
        for _ in range(16):
            wire.send(b"x" * 400)
            await asyncio.sleep(0.1)
        wire.send(end)
        assert (await wire.response()).status == 200


async def test_a_body_that_stops_is_a_408(simulator: Simulator, gateway: GatewayFactory) -> None:
    running = await gateway({"server": {"read_timeout": "400ms"}})
    async with connect(running.port) as wire:
        wire.send(upload(2_000_000) + bytes(1_000_000))
        answer = await on_time("upload that stops", wire.response(), 0.4)
    assert answer.code == "request_timeout"
