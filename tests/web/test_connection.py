"""A client's connection: requests sent ahead, bytes that are none, and what is left of it when it ends."""

import asyncio
import gc

from proxy.web.connection import MOST_WAITING, ClientConnection
from tests.conftest import GatewayFactory
from tests.spec.loop import until
from tests.spec.wire import connect, get


async def test_requests_sent_ahead_are_answered_in_order_and_no_more_is_read_than_can_wait(
    gateway: GatewayFactory,
) -> None:
    running = await gateway()
    many = 40 * MOST_WAITING
    async with connect(running.port) as wire:
        wire.send(b"".join(get("/live", head=f"X-Request-ID: {number}\r\n") for number in range(many)))
        (connection,) = running.listener.gateway.clients._open
        await until(lambda: connection.held)
        answers = [await wire.response() for _ in range(many)]
        assert [answer.header("x-request-id") for answer in answers] == [str(number) for number in range(many)]
        assert not connection.held


async def test_what_came_whole_is_answered_before_what_is_no_request(gateway: GatewayFactory) -> None:
    running = await gateway()
    async with connect(running.port) as wire:
        wire.send(get("/live") + get("/live") + b"no request\r\n\r\n" + get("/live"))
        assert [(await wire.response()).status for _ in range(3)] == [200, 200, 400]
        assert await wire.to_end() == (b"", "fin")


async def test_a_connection_that_has_ended_leaves_nothing_to_the_garbage_collector(gateway: GatewayFactory) -> None:
    """It would hold up every call for milliseconds, walking all there is."""
    running = await gateway()
    clients = running.listener.gateway.clients
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        for _ in range(10):
            async with connect(running.port) as wire:
                wire.send(get("/live"))
                assert (await wire.response()).status == 200
            await until(lambda: not clients.open)
            await asyncio.sleep(0)
        gc.collect()
        assert [each for each in gc.garbage if isinstance(each, ClientConnection)] == []
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
