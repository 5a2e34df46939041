"""A client's connection: requests sent ahead, bytes that are none, and what is left of it when it ends."""

import asyncio
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest

from proxy.http.connection import LINES, ClientConnection
from tests.conftest import GatewayFactory, RunningGateway
from tests.spec.loop import until
from tests.spec.wire import chat, connect, get


async def test_requests_sent_ahead_are_answered_in_order_and_no_more_is_read_than_can_wait(
    gateway: GatewayFactory,
) -> None:
    running = await gateway()
    many = 320
    async with connect(running.port) as wire:
        wire.send(b"".join(get("/live", head=f"X-Request-ID: {number}\r\n") for number in range(many)))
        (connection,) = running.listener.connections._open
        await until(lambda: connection.held)
        answers = [await wire.response() for _ in range(many)]
        assert [answer.header("x-request-id") for answer in answers] == [str(number) for number in range(many)]
        assert not connection.held


async def test_what_came_whole_is_answered_before_what_is_no_request(gateway: GatewayFactory) -> None:
    running = await gateway()
    async with connect(running.port) as wire:
        wire.send(get("/live") + get("/live"))
        assert [(await wire.response()).status for _ in range(2)] == [200, 200]
        wire.send(b"no request\r\n\r\n" + get("/live"))
        assert (await wire.response()).status == 400
        assert await wire.to_end() == (b"", "fin")


async def test_nothing_of_a_read_that_holds_what_is_no_request_is_begun(gateway: GatewayFactory) -> None:
    """aiohttp's parser gives up with the whole of it, so that no client can think the first of them answered."""
    running = await gateway()
    async with connect(running.port) as wire:
        wire.send(get("/live") + b"no request\r\n\r\n")
        assert (await wire.response()).status == 400
        assert await wire.to_end() == (b"", "fin")


@pytest.mark.parametrize(
    "endless",
    [
        [b"GET /", b"x" * 5500],
        [b"GET / HTTP/1.1\r\n", *[b"X-Header: " + b"1" * 1000 + b"\r\n"] * 5, b"X-Header: 1" + b"1" * 200],
        [b"GET / HTTP/1.1\r\nX-Header: ", b"x" * 5500],
    ],
    ids=["a path", "headers", "a header"],
)
async def test_a_head_that_does_not_end_is_read_to_a_limit(gateway: GatewayFactory, endless: list[bytes]) -> None:
    running = await gateway({"server": {"max_header_bytes": 4096}})
    async with connect(running.port) as wire:
        wire.send(b"".join(endless))
        assert (await wire.response()).status == 431


@pytest.mark.parametrize("endless", [b"0\r\nTrailer: ", b"1;of="], ids=["a trailer", "what is tied to a chunk"])
async def test_what_stands_between_chunks_is_read_to_a_limit(gateway: GatewayFactory, endless: bytes) -> None:
    with connected(await gateway({"server": {"max_header_bytes": 1024}})) as (connection, wires):
        connection.data_received(b"POST /v1/files HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + endless)
        for _ in range((1024 + LINES) // 100 + 2):
            connection.data_received(b"x" * 100)
        await until(lambda: wires.written.startswith((b"HTTP/1.1 431 ", b"HTTP/1.1 400 ")))


async def test_a_body_that_is_none_is_not_waited_for(gateway: GatewayFactory) -> None:
    running = await gateway()
    async with connect(running.port) as wire:
        wire.send(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n"
        )
        await until(lambda: running.listener.gateway.under_way.count)
        wire.send(b"no chunk\r\n")
        assert (await wire.response()).status == 400


async def test_a_connection_that_has_ended_leaves_nothing_to_the_garbage_collector(gateway: GatewayFactory) -> None:
    """It would hold up every call for milliseconds, walking all there is."""
    running = await gateway()
    clients = running.listener.connections
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        for _ in range(10):
            async with connect(running.port) as wire:
                wire.send(get("/live"))
                assert (await wire.response()).status == 200
            await until(lambda: not clients._open)
            await asyncio.sleep(0)
        gc.collect()
        assert [each for each in gc.garbage if isinstance(each, ClientConnection)] == []
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


class Wires:
    """A transport that remembers what was asked of it."""

    def __init__(self) -> None:
        self.written = b""
        self.reading = True

    def write(self, data: bytes) -> None:
        self.written += data

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def get_extra_info(self, name: str) -> None:
        return None

    def close(self) -> None: ...

    def abort(self) -> None: ...


@contextmanager
def connected(running: RunningGateway) -> Iterator[tuple[ClientConnection, Wires]]:
    """A connection over wires that lead nowhere."""
    connection, wires = running.listener.connections(), Wires()
    connection.connection_made(cast(Any, wires))
    try:
        yield connection, wires
    finally:
        connection.connection_lost(None)


async def test_an_unwanted_body_is_read_so_that_its_client_can_read_the_answer(gateway: GatewayFactory) -> None:
    with connected(await gateway()) as (connection, wires):
        connection.data_received(
            b"POST /nowhere HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 200000\r\n\r\n" + bytes(200_000)
        )
        assert not wires.reading
        await until(lambda: wires.written.startswith(b"HTTP/1.1 404 ") and wires.reading)
        assert b"Connection: close\r\n" in wires.written


async def test_of_two_long_bodies_sent_ahead_the_first_is_answered(gateway: GatewayFactory) -> None:
    with connected(await gateway()) as (connection, wires):
        post = b"POST /nowhere HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 200000\r\n\r\n" + bytes(200_000)
        connection.pause_writing()
        connection.data_received(post + post)
        assert not wires.reading
        connection.resume_writing()
        await until(lambda: wires.written.count(b"HTTP/1.1 404 ") == 1)


async def test_nothing_more_is_answered_to_a_client_that_does_not_read(gateway: GatewayFactory) -> None:
    with connected(await gateway()) as (connection, wires):
        connection.data_received(get("/live") * 100)
        await until(lambda: wires.written.count(b"HTTP/1.1 200 ") >= 1)
        connection.pause_writing()
        for _ in range(20):
            await asyncio.sleep(0)
        assert 1 <= wires.written.count(b"HTTP/1.1 200 ") < 100
        connection.resume_writing()
        await until(lambda: wires.written.count(b"HTTP/1.1 200 ") == 100)


async def test_one_connection_too_many_takes_the_place_of_the_longest_idle_one(
    gateway: GatewayFactory,
) -> None:
    running = await gateway({"server": {"max_connections": 2}})
    async with connect(running.port) as first, connect(running.port) as second:
        for wire in (first, second):
            wire.send(get("/live"))
            assert (await wire.response()).status == 200
        async with connect(running.port) as third:
            assert await first.to_end() == (b"", "fin")
            third.send(get("/live"))
            assert (await third.response()).status == 200
            second.send(get("/live"))
            assert (await second.response()).status == 200
    assert running.metric("hapax_connections_turned_away_total", limit="all") == 1


async def test_a_call_under_way_gives_its_place_to_no_other_connection(gateway: GatewayFactory) -> None:
    running = await gateway({"server": {"max_connections": 1}})
    async with connect(running.port) as first:
        first.send(chat("sim-fault:silence", stream=True))
        await until(lambda: running.listener.gateway.under_way.count == 1)
        # Probes have no place of their own either.
        async with connect(running.port) as second:
            assert (await second.to_end())[0] == b""
        assert running.listener.gateway.under_way.count == 1


async def test_one_address_has_so_many_connections_and_a_trusted_proxy_as_many_as_it_likes(
    gateway: GatewayFactory,
) -> None:
    running = await gateway({"server": {"max_connections_per_address": 1}})
    async with connect(running.port) as first:
        first.send(get("/live"))
        assert (await first.response()).status == 200
        async with connect(running.port) as second:
            assert (await second.to_end())[0] == b""
        first.send(get("/live"))
        assert (await first.response()).status == 200
    assert running.metric("hapax_connections_turned_away_total", limit="address") == 1
    # One that has left makes room.
    await until(lambda: not running.listener.gateway.served.open)
    async with connect(running.port) as third:
        third.send(get("/live"))
        assert (await third.response()).status == 200
    behind = await gateway({"server": {"max_connections_per_address": 1, "trusted_proxies": ["127.0.0.1"]}})
    async with connect(behind.port) as first, connect(behind.port) as second:
        for wire in (first, second):
            wire.send(get("/live"))
            assert (await wire.response()).status == 200
