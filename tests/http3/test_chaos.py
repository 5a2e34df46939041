"""Clients of HTTP/3 that do anything at any moment, and packets that say anything: nothing is held by it."""

import asyncio
import random

import pytest

from tests.http3.conftest import QuicFactory, quic_port
from tests.rigs.quic import Client, connect
from tests.spec.loop import until

MODELS = (
    "sim-fast",
    "sim-1:tokens=20,pace=1ms",
    "sim-1:stall@3,pace=1ms",
    "sim-fault:silence",
    "sim-fault:rst@5",
    "sim-fault:status=500",
    "sim-1:forever,pace=1ms",
)


@pytest.mark.parametrize("seed", range(2))
async def test_whatever_clients_do_nothing_is_held_in_the_end(quic: QuicFactory, seed: int) -> None:
    running = await quic(failover={"retries": 0}, http3={"max_bi_streams_concurrent": 20})
    door = running.listener.door
    assert door is not None
    rng = random.Random(seed)

    async def act(client: Client) -> None:
        for _ in range(25):
            choice = rng.random()
            if choice < 0.6:
                client.chat(model=rng.choice(MODELS), stream=rng.random() < 0.7)
            elif choice < 0.7:
                client.send(
                    "POST", "/v1/chat/completions", ("content-type", "application/json"), body=b"{", whole=False
                )
            elif client.replies:
                reply = rng.choice(list(client.replies.values()))
                if not reply.end:
                    rng.choice((client.leave, client.break_off))(reply)
            await asyncio.sleep(rng.random() / 100)

    async def one() -> None:
        async with connect(quic_port(running)) as client:
            await act(client)
            for reply in client.replies.values():
                assert reply.status in (0, 200, 500, 502, 503), reply.status
                assert reply.end != "fin" or reply.status != 200 or reply.body.endswith((b"[DONE]\n\n", b"}"))

    await asyncio.gather(*(one() for _ in range(6)))
    await until(lambda: not running.listener.gateway.under_way.count)
    await until(lambda: not door._visitors._open)
    await until(lambda: not door._by_id)
    assert not door._visitors._of_address
    assert not door._visitors._unconfirmed


async def test_packets_that_were_changed_on_their_way_are_passed_over(
    quic: QuicFactory, caplog: pytest.LogCaptureFixture
) -> None:
    running = await quic()
    rng = random.Random(1)
    async with connect(quic_port(running)) as client:
        transport = client._transport
        assert transport is not None

        class Noisy:
            """Sends every packet as it is, and a changed copy before it."""

            def sendto(self, data: bytes, address: object) -> None:
                changed = bytearray(data)
                for _ in range(rng.randrange(1, 5)):
                    changed[rng.randrange(len(changed))] = rng.randrange(256)
                transport.sendto(bytes(changed[: rng.randrange(1, len(changed) + 1)]), address)
                transport.sendto(data, address)

            def close(self) -> None:
                transport.close()

        client._transport = Noisy()  # type: ignore[assignment]
        for _ in range(20):
            reply = await client.chat(stream=True).whole()
            assert (reply.status, reply.end) == (200, "fin")
    assert "internal error" not in caplog.text
