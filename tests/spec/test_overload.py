"""More calls than can be carried are refused early and cheaply, while probes and operators are always answered."""

import asyncio

import aiohttp

from tests.conftest import GatewayFactory
from tests.rigs.clock import at_most
from tests.rigs.simulator import Simulator

SLOW = {"model": "sim-fast:silence", "messages": [{"role": "user", "content": "x"}]}


async def test_a_call_too_many_is_refused_before_its_body_is_read(
    gateway: GatewayFactory, simulator: Simulator
) -> None:
    running = await gateway({"server": {"max_requests": 2}, "health_check": {"enabled": False}})
    async with aiohttp.ClientSession() as session:

        async def wait_for_ever() -> None:
            async with session.post(running.base_url + "/chat/completions", json=SLOW):
                raise AssertionError("silence does not answer")

        await running.listener.gateway.checks.known.wait()
        before = simulator.ledger.seen
        waiting = [asyncio.ensure_future(wait_for_ever()) for _ in range(2)]  # noqa: TID251 - held in the list
        async with asyncio.timeout(30):
            await simulator.seen(before + 2)

        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000\r\n\r\n")
        async with asyncio.timeout(at_most(1)):
            head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: 1\r\n" in head
        assert b"Connection: close\r\n" in head
        assert b'"code":"overloaded"' in await reader.read(1000)
        writer.close()

        for path in ("/live", "/ready", "/health", "/metrics", "/admin/providers"):
            async with session.get(running.url + path) as answer:
                assert answer.status == 200, path
        assert simulator.ledger.seen == before + 2

        for each in waiting:
            each.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_room_that_becomes_free_is_used_again(gateway: GatewayFactory) -> None:
    running = await gateway({"server": {"max_requests": 1}})
    async with aiohttp.ClientSession() as session:
        for _ in range(3):
            question = {"model": "sim-fast", "messages": [{"role": "user", "content": "x"}]}
            async with session.post(running.base_url + "/chat/completions", json=question) as answer:
                assert answer.status == 200
