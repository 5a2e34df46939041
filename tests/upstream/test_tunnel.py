"""A provider behind a forward proxy: what the proxy hears, what it may answer, and that TLS goes through it whole."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from proxy.core import tasks
from proxy.upstream.connections import Connections
from proxy.upstream.tunnel import ForwardProxy
from proxy.upstream.wire import Loss
from tests.conftest import GatewayFactory
from tests.rigs.simulator import Simulator
from tests.spec.wire import ask, chat, target
from tests.upstream.conftest import Recorded
from tests.upstream.test_connections import certificate, trust  # noqa: F401  # a fixture

REQUEST = b"GET /v1/models HTTP/1.1\r\nHost: provider\r\n\r\n"


class Proxy:
    """A forward proxy that answers as scripted, and leads on when that is a 200."""

    def __init__(self, port: int, heads: list[bytes]) -> None:
        self.port = port
        self.heads = heads
        """What it was asked, each up to the empty line."""


@asynccontextmanager
async def proxy(answer: bytes = b"HTTP/1.1 200 Connection established\r\n\r\n") -> AsyncIterator[Proxy]:
    heads: list[bytes] = []
    running: set[asyncio.Task[None]] = set()
    writers: list[asyncio.StreamWriter] = []

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        heads.append(head)
        writers.append(writer)
        writer.write(answer)
        if answer.endswith(b" established\r\n\r\n"):
            host, _, port = head.split(b" ")[1].rpartition(b":")
            onward, back = await asyncio.open_connection(host.decode().strip("[]"), int(port))
            writers.append(back)
            running.update((tasks.start(pump(reader, back), "there"), tasks.start(pump(onward, writer), "back")))
        else:
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    try:
        yield Proxy(server.sockets[0].getsockname()[1], heads)
    finally:
        server.close()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        for writer in writers:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)


def through(url: str, port: int, user: str = "") -> Connections:
    return Connections(url, connect_timeout=30.0, forward_proxy=ForwardProxy.at(f"http://{user}127.0.0.1:{port}"))


async def asked(pool: Connections) -> Recorded:
    sink = Recorded()
    pool.send(REQUEST, sink)
    async with asyncio.timeout(30):
        await sink.over
    return sink


async def test_the_proxy_is_told_where_to_lead_and_who_asks(simulator: Simulator) -> None:
    async with proxy() as between:
        pool = through(simulator.base_url, between.port, "me:p%40ss@")
        for _ in range(2):
            assert (await asked(pool)).status == 200
        await pool.close()
    port = simulator.base_url.split(":")[2].removesuffix("/v1").encode()
    # Once: the tunnel is kept like any connection.
    assert between.heads == [
        b"CONNECT 127.0.0.1:%b HTTP/1.1\r\nHost: 127.0.0.1:%b\r\nProxy-Authorization: Basic bWU6cEBzcw==\r\n\r\n"
        % (port, port)
    ]
    assert [record.header("proxy-authorization") for record in simulator.ledger] == [None, None]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n", "forward proxy: status 407"),
        (b"HTTP/1.1 200 OK\r\n\r\nunasked", "forward proxy: bytes behind the answer"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "forward proxy: no HTTP"),
        (b"HTTP/1.1 200 OK\r\n", "forward proxy: no whole answer"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20_000, "forward proxy: no whole answer"),
    ],
)
async def test_a_proxy_that_does_not_lead_on_is_a_failure_to_connect(
    simulator: Simulator, answer: bytes, reason: str
) -> None:
    async with proxy(answer) as between:
        pool = through(simulator.base_url, between.port)
        loss = (await asked(pool)).over.result()
        await pool.close()
    assert loss == Loss("upstream_connect_error", reason, sent=False, received=False)
    assert len(simulator.ledger) == 0


async def test_a_proxy_that_says_nothing_is_a_connect_timeout(simulator: Simulator) -> None:
    async with proxy(b"") as silent:
        pool = Connections(
            simulator.base_url, connect_timeout=0.1, forward_proxy=ForwardProxy("127.0.0.1", silent.port, b"")
        )
        loss = (await asked(pool)).over.result()
        await pool.close()
    assert isinstance(loss, Loss)
    assert loss.code in ("upstream_connect_timeout", "upstream_connect_error")


async def test_tls_is_with_the_provider_and_not_with_the_proxy(
    tmp_path: Path,
    trust: Callable[[Path], None],  # noqa: F811
) -> None:
    path, context = certificate(tmp_path, "IP:127.0.0.1")
    trust(path)
    async with Simulator(ssl=context) as simulator, proxy() as between:
        pool = through(simulator.base_url, between.port)
        assert (await asked(pool)).status == 200
        await pool.close()


async def test_a_provider_is_asked_through_its_proxy(simulator: Simulator, gateway: GatewayFactory) -> None:
    async with proxy() as between:
        provider = target(simulator, forward_proxy=f"http://127.0.0.1:{between.port}")
        running = await gateway({"providers": {"sim": provider}})
        assert (await ask(running.port, chat())).status == 200
        assert {head.split(b" ")[0] for head in between.heads} == {b"CONNECT"}
