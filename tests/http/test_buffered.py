"""Bodies of calls under way, bounded together."""

import asyncio

import pytest

from proxy.core import tasks
from proxy.http.buffered import Buffered
from tests.conftest import GatewayFactory
from tests.spec.loop import until
from tests.spec.wire import ask, chat, connect


async def test_what_does_not_fit_waits_for_its_turn_in_order() -> None:
    room, order = Buffered(100), []
    await room.take(60, 1.0)

    async def later(size: int) -> None:
        await room.take(size, 10.0)
        order.append(size)

    waiting = [tasks.start(later(size), "body") for size in (50, 10, 30)]
    await asyncio.sleep(0)
    assert (room.taken, order) == (60, [])
    room.give(60)
    await asyncio.gather(*waiting)
    assert (room.taken, order) == (90, [50, 10, 30])


async def test_what_waits_too_long_gives_up_and_lets_the_next_one_pass() -> None:
    room = Buffered(100)
    await room.take(60, 1.0)
    with pytest.raises(TimeoutError):
        await room.take(50, 0.0)
    await room.take(40, 1.0)
    assert room.taken == 100


async def test_one_that_leaves_while_it_waits_takes_nothing_along() -> None:
    room = Buffered(100)
    await room.take(60, 1.0)
    large, small = tasks.start(room.take(50, 10.0), "large"), tasks.start(room.take(40, 10.0), "small")
    await asyncio.sleep(0)
    large.cancel()
    await small
    assert room.taken == 100


async def test_one_that_is_larger_than_all_room_passes_alone() -> None:
    room = Buffered(100)
    await room.take(500, 0.0)
    with pytest.raises(TimeoutError):
        await room.take(1, 0.0)
    room.give(500)
    assert room.taken == 0


@pytest.mark.parametrize("chunked", [False, True], ids=["of a length", "in chunks"])
async def test_a_call_whose_body_finds_no_room_in_time_is_told_503(gateway: GatewayFactory, chunked: bool) -> None:
    running = await gateway({"server": {"max_buffered": 300_000, "read_timeout": "200ms"}})
    long = "x" * 200_000
    front = running.listener.gateway.front
    async with connect(running.port) as first, connect(running.port) as second:
        first.send(chat("sim-fault:silence", user=long))
        await until(lambda: front._buffered.taken)
        whole = chat("sim-fast", user=long)
        if chunked:
            head, _, body = whole.partition(b"\r\n\r\n")
            lines = [line for line in head.split(b"\r\n") if not line.startswith(b"Content-Length")]
            whole = b"\r\n".join([*lines, b"Transfer-Encoding: chunked", b"", b"%x" % len(body), body, b"0", b"", b""])
        second.send(whole)
        answer = await second.response()
        assert (answer.status, answer.code, answer.header("retry-after")) == (503, "overloaded", "1")
        # One that is short needs no room.
        assert (await ask(running.port, chat("sim-fast"))).status == 200
        first.abort()
        await until(lambda: not running.listener.gateway.under_way.count)
    assert front._buffered.taken == 0
    assert (await ask(running.port, chat("sim-fast", user=long))).status == 200
