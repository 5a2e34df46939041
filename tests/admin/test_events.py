"""`/admin/events`, read as an event stream by aiohttp-sse-client."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
import pytest
from aiohttp import ClientSession
from aiohttp_sse_client.client import EventSource, MessageEvent

from proxy.admin import feed
from proxy.core import tasks
from tests.conftest import GatewayFactory, RunningGateway
from tests.rigs.simulator import Simulator
from tests.spec.loop import until
from tests.spec.wire import ask, chat, connect, get, target

ADMIN, KEY = "hapax-admin-9f2b6c1de04a7788", "hapax-client-4b1e9d7730aa65c2"
AUTH = {"auth": {"admin_key": ADMIN, "keys": [{"name": "me", "key": KEY}]}}
KEYED, ADMINED = f"Authorization: Bearer {KEY}\r\n", f"Authorization: Bearer {ADMIN}\r\n"


@asynccontextmanager
async def following(running: RunningGateway, last: str = "") -> AsyncIterator[EventSource]:
    """A reader that has begun to read."""
    headers = {"Authorization": f"Bearer {ADMIN}", **({"Last-Event-ID": last} if last else {})}
    url = f"http://127.0.0.1:{running.port}/admin/events"
    readers = running.listener.gateway.feed._readers
    async with ClientSession() as session, EventSource(url, session=session, headers=headers) as source:
        await until(lambda: readers)
        yield source
    await until(lambda: not readers)


async def next_event(source: EventSource) -> MessageEvent:
    async with asyncio.timeout(20):
        return await source.__anext__()


async def test_a_call_is_told_when_it_ends(gateway: GatewayFactory) -> None:
    running = await gateway(AUTH)
    async with following(running) as source:
        await ask(running.port, get("/live"))
        await ask(running.port, chat("sim-fast", head=KEYED + "X-Request-ID: one\r\n"))
        event = await next_event(source)
        told = orjson.loads(event.data)
        assert (event.type, told["request_id"], told["principal"], told["status"]) == ("call", "one", "me", 200)
        await ask(running.port, chat("sim-fast", head="X-Request-ID: two\r\n"))
        told = orjson.loads((await next_event(source)).data)
        assert (told["request_id"], told["status"], told["error_code"]) == ("two", 401, "missing_api_key")


async def test_one_that_comes_back_reads_on_where_it_was(gateway: GatewayFactory) -> None:
    running = await gateway(AUTH)
    async with following(running) as source:
        await ask(running.port, chat("sim-fast", head=KEYED + "X-Request-ID: one\r\n"))
        last = (await next_event(source)).last_event_id
    for name in ("two", "three"):
        await ask(running.port, chat("sim-fast", head=f"{KEYED}X-Request-ID: {name}\r\n"))
    running.caught_up()
    async with following(running, last) as source:
        assert [orjson.loads((await next_event(source)).data)["request_id"] for _ in range(2)] == ["two", "three"]
    # What another process told is no place here: it begins now.
    async with following(running, "0badc0de-1") as source:
        await ask(running.port, chat("sim-fast", head=KEYED + "X-Request-ID: four\r\n"))
        assert orjson.loads((await next_event(source)).data)["request_id"] == "four"


async def test_one_that_was_away_too_long_is_told_how_much_it_has_missed(
    gateway: GatewayFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "MOST_KEPT", 2)
    running = await gateway(AUTH)
    async with following(running) as source:
        await ask(running.port, chat("sim-fast", head=KEYED))
        last = (await next_event(source)).last_event_id
    for _ in range(5):
        await ask(running.port, chat("sim-fast", head=KEYED))
    running.caught_up()
    async with following(running, last) as source:
        event = await next_event(source)
        assert (event.type, orjson.loads(event.data)) == ("missed", {"events": 3})
        assert [(await next_event(source)).type for _ in range(2)] == ["call", "call"]


async def test_a_breaker_that_opens_is_told(gateway: GatewayFactory, simulator: Simulator) -> None:
    settings = {
        **AUTH,
        "providers": {"sim": target(simulator)},
        "circuit_breaker": {"failure_threshold": 1},
        "failover": {"retries": 0},
    }
    running = await gateway(settings)
    # A breaker is known once its target has been asked.
    await ask(running.port, chat("sim-fault:status=503", head=KEYED))
    running.caught_up()
    async with following(running) as source:
        await ask(running.port, chat("sim-fault:status=503", head=KEYED))
        told = {}
        while "breaker" not in told:
            event = await next_event(source)
            told[event.type] = orjson.loads(event.data)
        assert told["breaker"]["name"] == "sim/sim-fault:status=503"
        assert told["breaker"]["state"] != told["breaker"]["was"]


async def test_silence_is_filled_with_comments(gateway: GatewayFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "HEARTBEAT", 0.01)
    running = await gateway(AUTH)
    async with connect(running.port) as wire:
        wire.send(get("/admin/events", head=ADMINED))
        await wire.reader.readuntil(b": still here\n\n")


async def test_it_is_for_the_admin_key(gateway: GatewayFactory) -> None:
    running = await gateway(AUTH)
    assert (await ask(running.port, get("/admin/events", head=KEYED))).status == 403
    assert (await ask(running.port, get("/admin/events"))).status == 401


async def test_a_stop_waits_for_no_reader(gateway: GatewayFactory) -> None:
    running = await gateway(AUTH)
    async with connect(running.port) as wire:
        wire.send(get("/admin/events", head=ADMINED))
        await wire.reader.readuntil(b"keys\n\n")
        stopping = tasks.start(running.listener.drain(0.0, 30.0), "drain")
        assert (await wire.reader.read()).endswith(b"0\r\n\r\n")
        await stopping


async def test_a_reader_that_leaves_leaves_nothing_behind(gateway: GatewayFactory) -> None:
    running = await gateway(AUTH)
    async with following(running):
        assert running.listener.gateway.under_way.count == 1
    await until(lambda: not running.listener.gateway.under_way.count)
    assert running.listener.gateway.feed._looking is None
