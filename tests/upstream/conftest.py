"""What the tests of the wire share: a sink that remembers, and connections to the simulator."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from proxy.core.headers import Header
from proxy.upstream.connections import Connections
from proxy.upstream.wire import Loss
from tests.rigs.simulator import Simulator


class Recorded:
    """A sink that keeps everything; `await over` for how it ended."""

    def __init__(self) -> None:
        self.connections = 0
        self.status = 0
        self.headers: list[Header] = []
        self.body = b""
        self.over: asyncio.Future[bool | Loss] = asyncio.get_running_loop().create_future()
        self.began = asyncio.Event()
        """The first bytes of the body are here."""

    def connected(self) -> None:
        self.connections += 1

    def head(self, status: int, headers: list[Header]) -> None:
        assert not self.status, "a second head"
        assert not self.over.done()
        self.status, self.headers = status, list(headers)

    def data(self, chunk: bytes) -> None:
        assert self.status
        assert chunk
        assert not self.over.done()
        self.body += chunk
        self.began.set()

    def ended(self, delimited: bool) -> None:
        self.over.set_result(delimited)

    def lost(self, loss: Loss) -> None:
        self.over.set_result(loss)

    async def loss(self) -> Loss:
        """Why the answer did not come."""
        async with asyncio.timeout(30):
            loss = await self.over
        assert isinstance(loss, Loss), "there was an answer"
        return loss

    async def answer(self) -> tuple[int, bytes, bool]:
        """Status, body, and whether its end was marked."""
        async with asyncio.timeout(30):
            ended = await self.over
        assert isinstance(ended, bool), ended
        return self.status, self.body, ended


@pytest.fixture
async def connections(simulator: Simulator) -> AsyncIterator[Connections]:
    """Connections to the simulator."""
    pool = Connections(simulator.base_url, connect_timeout=30.0)
    yield pool
    async with asyncio.timeout(30):
        await pool.close()
