"""The one session of a gateway: who uses it, and what no answer it is given can do."""

import asyncio
import gzip
import re
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from proxy.upstream.control_plane import ControlPlane, FetchError, NoUpgrade, TooLarge, Unreadable
from proxy.upstream.endpoint import Endpoint
from proxy.upstream.fetch import MAX_BODY_BYTES, fetch
from proxy.upstream.presets import PRESETS
from proxy.upstream.resolver import Resolver
from tests.conftest import GatewayFactory
from tests.rigs.simulator import Simulator
from tests.spec.wire import ask, becomes, chat
from tests.upstream.test_connections import certificate, trust  # noqa: F401  # a fixture
from tests.upstream.test_tunnel import proxy

LIST = b'{"data": []}'
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n" + LIST

Answer = Callable[[int, asyncio.StreamWriter], Awaitable[None]]
"""Answers the request of that number, from 0."""


class Raw:
    """A server that answers as scripted, and keeps the heads of what it was asked."""

    def __init__(self) -> None:
        self.url = ""
        self.heads: list[bytes] = []
        self.connections = 0


@asynccontextmanager
async def server(answer: bytes | Answer) -> AsyncIterator[Raw]:
    raw, talking = Raw(), set[asyncio.Task[None]]()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raw.connections += 1
        if (task := asyncio.current_task()) is not None:
            talking.add(task)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
                await reader.readexactly(int(length[1]) if length else 0)
                raw.heads.append(head)
                if isinstance(answer, bytes):
                    writer.write(answer)
                else:
                    await answer(len(raw.heads) - 1, writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(talk, "127.0.0.1", 0, backlog=256)
    raw.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        yield raw
    finally:
        listening.close()
        for task in talking:
            task.cancel()
        await asyncio.gather(*talking, return_exceptions=True)


@pytest.fixture
async def control() -> AsyncIterator[ControlPlane]:
    running = ControlPlane()
    yield running
    async with asyncio.timeout(30):
        await running.stop()


@pytest.fixture
async def endpoint_at() -> AsyncIterator[Callable[..., Endpoint]]:
    made: list[Endpoint] = []

    def make(url: str, forward_proxy: str = "", connect_timeout: float = 2.0) -> Endpoint:
        made.append(Endpoint("p", PRESETS["openai"], url + "/v1", ["sk-1"], (), connect_timeout, forward_proxy))
        return made[-1]

    yield make
    for each in made:
        await each.close()


MakeEndpoint = Callable[..., Endpoint]


async def test_probes_lists_collectors_and_websockets_share_one_session_that_is_closed(
    gateway: GatewayFactory, monkeypatch: pytest.MonkeyPatch, aiohttp_server: Any
) -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        if request.path == "/v1/realtime":
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            await socket.send_str('{"type": "session.created"}')
            await socket.receive()
            return socket
        if request.path == "/v1/models":
            return web.json_response({"data": [{"id": "gpt-chat"}]})
        return web.json_response({"choices": [{"message": {"content": "x"}}]})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    upstream = str((await aiohttp_server(app)).make_url("")).rstrip("/")
    made: list[aiohttp.ClientSession] = []
    init = aiohttp.ClientSession.__init__

    def counted(self: aiohttp.ClientSession, *arguments: Any, **more: Any) -> None:
        init(self, *arguments, **more)
        made.append(self)

    async with aiohttp.ClientSession() as client:
        monkeypatch.setattr(aiohttp.ClientSession, "__init__", counted)
        provider = {"type": "compatible", "base_url": f"{upstream}/v1", "models": ["gpt-chat"]}
        running = await gateway(
            {
                "providers": {"a": provider},
                "health_check": {"probe": "completion"},
                "tracing": {"otlp_endpoint": upstream},
                "metrics": {"otlp": {"endpoint": upstream, "interval": "50ms"}},
            }
        )
        await becomes(lambda: {"/v1/chat/completions", "/v1/models", "/v1/metrics"} <= set(asked))
        assert (await ask(running.port, chat("gpt-chat"))).status == 200
        async with client.ws_connect(f"{running.base_url}/realtime?model=gpt-chat") as session:
            assert (await session.receive_json())["type"] == "session.created"
        await becomes(lambda: running.listener.gateway.under_way.count == 0)
        await running.listener.stop()
    assert "/v1/traces" in asked, "what was left was posted before it was closed"
    assert len(made) == 1
    assert made[0].closed


async def test_a_redirect_is_an_answer_and_a_cookie_is_forgotten(control: ControlPlane) -> None:
    async with server(OK) as elsewhere:
        away = f"HTTP/1.1 302 Found\r\nLocation: {elsewhere.url}/v1\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n"
        async with server(away.encode()) as provider:
            for _ in range(2):
                url = provider.url.replace("127.0.0.1", "localhost") + "/v1/models"
                status, _, body = await control.ask("GET", url, [("Authorization", "k")], None, 2.0, 2.0, 100)
                assert (status, body) == (302, b"")
        assert provider.connections == 1, "a connection is used again"
        assert not any(b"ookie" in head for head in provider.heads)
        assert elsewhere.heads == []


async def test_a_handshake_that_is_redirected_is_none(control: ControlPlane) -> None:
    async with server(OK) as elsewhere:
        away = f"HTTP/1.1 307 Elsewhere\r\nLocation: {elsewhere.url}/v1\r\nContent-Length: 0\r\n\r\n"
        async with server(away.encode()) as provider:
            with pytest.raises(FetchError):
                await control.websocket(provider.url, [("Authorization", "k")], (), 1000)
        assert elsewhere.heads == []


async def test_a_refused_handshake_tells_what_was_said_in_its_place(control: ControlPlane) -> None:
    said = gzip.compress(b'{"error": 1}')
    head = b"HTTP/1.1 429 Slow\r\nX-Y: z\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(said)
    async with server(head + said) as provider:
        with pytest.raises(NoUpgrade) as refused:
            await control.websocket(provider.url, [], (), 1000)
    assert (refused.value.status, refused.value.body) == (429, b'{"error": 1}')
    assert ("X-Y", "z") in list(refused.value.headers)


async def test_what_is_sent_is_what_calls_send(control: ControlPlane, endpoint_at: MakeEndpoint) -> None:
    async with server(OK) as provider:
        endpoint = endpoint_at(provider.url)
        assert await fetch(control, endpoint, "/models?after=%2F%41|x", 2.0) == (200, LIST)
        assert await fetch(control, endpoint, "/chat/completions", 2.0, 0, b"{}") == (200, LIST)
    listed, asked = ({line.lower() for line in head.split(b"\r\n") if line} for head in provider.heads)
    assert b"get /v1/models?after=%2f%41|x http/1.1" in listed
    assert {line.partition(b":")[0] for line in listed if b": " in line} == {
        *(b"host", b"user-agent", b"via", b"accept-encoding", b"authorization", b"accept", b"x-request-id")
    }
    assert {b"authorization: bearer sk-1", b"accept-encoding: identity", b"accept: application/json"} <= listed
    assert {b"content-type: application/json", b"content-length: 2"} <= asked


async def test_an_answer_that_is_too_large_is_read_no_further(control: ControlPlane, endpoint_at: MakeEndpoint) -> None:
    sent = 0
    gone = asyncio.Event()

    async def pour(_: int, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        try:
            while True:
                writer.write(bytes(64 * 1024))
                await writer.drain()
                sent += 64 * 1024
        except ConnectionError:
            gone.set()
            raise

    async with server(pour) as provider:
        with pytest.raises(TooLarge):
            await fetch(control, endpoint_at(provider.url), "/models", 5.0)
        async with asyncio.timeout(30):
            await gone.wait()
    assert MAX_BODY_BYTES <= sent < 4 * MAX_BODY_BYTES


async def test_a_decompression_bomb_stays_as_small_as_it_came(control: ControlPlane, endpoint_at: MakeEndpoint) -> None:
    bomb = gzip.compress(bytes(50_000_000))
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    async with server(head + bomb) as provider:
        assert await fetch(control, endpoint_at(provider.url), "/models", 5.0) == (200, bomb)


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"])
async def test_an_answer_that_drips_ends_with_its_time(
    control: ControlPlane, endpoint_at: MakeEndpoint, start: bytes
) -> None:
    async def drip(_: int, writer: asyncio.StreamWriter) -> None:
        writer.write(start)
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    began = time.monotonic()
    async with server(drip if start else lambda _, __: asyncio.sleep(60)) as provider:
        with pytest.raises(FetchError, match=r"^timeout$"):
            await fetch(control, endpoint_at(provider.url), "/models", 0.2)
    assert time.monotonic() - began < 2.0


async def test_many_that_hang_stand_in_no_other_requests_way(control: ControlPlane, endpoint_at: MakeEndpoint) -> None:
    async with server(lambda _, __: asyncio.sleep(60)) as hanging, server(OK) as provider:
        endpoint = endpoint_at(hanging.url)
        waiting = asyncio.gather(
            *(fetch(control, endpoint, "/models", 2.0) for _ in range(150)), return_exceptions=True
        )
        await becomes(lambda: len(hanging.heads) == 150)
        assert await fetch(control, endpoint_at(provider.url), "/models", 1.0) == (200, LIST)
        assert {str(each) for each in await waiting} == {"timeout"}


async def test_a_post_meets_the_end_of_a_keep_alive_and_goes_once_more(
    control: ControlPlane, endpoint_at: MakeEndpoint
) -> None:
    async def answer(number: int, writer: asyncio.StreamWriter) -> None:
        if number == 1:
            writer.close()
        else:
            writer.write(OK)

    async with server(answer) as provider:
        for _ in range(2):
            assert await fetch(control, endpoint_at(provider.url), "/chat/completions", 2.0, 0, b"{}") == (200, LIST)
    assert (len(provider.heads), provider.connections) == (3, 2)


async def test_a_post_that_finds_no_answer_on_a_new_connection_is_not_repeated(
    control: ControlPlane, endpoint_at: MakeEndpoint
) -> None:
    async def leave(_: int, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with server(leave) as provider:
        with pytest.raises(FetchError, match=r"^connection closed early$"):
            await fetch(control, endpoint_at(provider.url), "/chat/completions", 2.0, 0, b"{}")
    assert len(provider.heads) == 1


async def test_a_large_body_is_sent_whole(control: ControlPlane) -> None:
    async with server(OK) as collector:
        status, _, _ = await control.ask("POST", collector.url, [], bytes(3_000_000), 5.0, 5.0, 100)
    assert status == 200
    assert b"Content-Length: 3000000\r\n" in collector.heads[0]


async def test_what_calls_can_read_a_probe_can_read(control: ControlPlane, endpoint_at: MakeEndpoint) -> None:
    twice = OK.replace(b"Content-Length: 12\r\n", b"Content-Length: 12\r\n" * 2)
    async with server(twice) as provider:
        with pytest.raises(Unreadable):
            await control.ask("GET", provider.url, [], None, 2.0, 2.0, 100)
        assert await fetch(control, endpoint_at(provider.url), "/models", 2.0) == (200, LIST)
    async with server(b"SSH-2.0-OpenSSH\r\n") as other:
        with pytest.raises(FetchError, match=r"^unparseable: "):
            await fetch(control, endpoint_at(other.url), "/models", 2.0)


async def test_nothing_that_listens_says_so(control: ControlPlane, endpoint_at: MakeEndpoint) -> None:
    with pytest.raises(FetchError, match=r"^connect: ECONNREFUSED$"):
        await fetch(control, endpoint_at("http://127.0.0.1:9"), "/models", 2.0)
    with pytest.raises(FetchError, match=r"^connect: not a host name$"):
        await fetch(control, endpoint_at(f"http://{'a' * 64}.invalid"), "/models", 2.0)


async def test_a_provider_that_does_not_shake_hands_is_a_connect_timeout(
    control: ControlPlane, endpoint_at: MakeEndpoint
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = endpoint_at(f"https://127.0.0.1:{silent.getsockname()[1]}", connect_timeout=0.1)
        with pytest.raises(FetchError, match=r"^connect timeout$"):
            await fetch(control, endpoint, "/models", 5.0)


async def test_certificates_are_checked_as_those_of_calls_are(
    tmp_path: Path,
    trust: Callable[[Path], None],  # noqa: F811
    endpoint_at: MakeEndpoint,
) -> None:
    path, context = certificate(tmp_path, "IP:127.0.0.1")
    before, after = ControlPlane(), ControlPlane()
    async with Simulator(ssl=context) as simulator, proxy() as between:
        url = simulator.base_url.removesuffix("/v1")
        with pytest.raises(FetchError, match=r"^TLS: CERTIFICATE_VERIFY_FAILED$"):
            await fetch(before, endpoint_at(url), "/models", 2.0)
        await before.stop()
        trust(path)
        assert (await fetch(after, endpoint_at(url), "/models", 2.0))[0] == 200
        through = endpoint_at(url, f"http://me:p%40ss@127.0.0.1:{between.port}")
        assert (await fetch(after, through, "/models", 2.0))[0] == 200
        await after.stop()
    assert len(between.heads) == 1
    assert between.heads[0].startswith(b"CONNECT 127.0.0.1:")
    assert b"\r\nProxy-Authorization: Basic bWU6cEBzcw==\r\n" in between.heads[0]
    assert b"sk-1" not in between.heads[0]
    assert [record.header("proxy-authorization") for record in simulator.ledger] == [None, None]


async def test_a_proxy_that_refuses_says_so(control: ControlPlane, endpoint_at: MakeEndpoint) -> None:
    async with proxy(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n") as between:
        for scheme in ("http", "https"):
            endpoint = endpoint_at(f"{scheme}://127.0.0.1:9", f"http://127.0.0.1:{between.port}")
            with pytest.raises(FetchError, match=r"^forward proxy: status 407$"):
                await fetch(control, endpoint, "/models", 2.0)
    assert all(head.startswith(b"CONNECT 127.0.0.1:9 ") for head in between.heads)


async def test_variables_that_name_a_proxy_are_not_read(
    control: ControlPlane, endpoint_at: MakeEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with server(OK) as provider:
        assert await fetch(control, endpoint_at(provider.url), "/models", 2.0) == (200, LIST)


async def test_when_the_resolver_fails_its_last_answer_serves_on(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[Any] = [
        [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::1", 80, 0, 2)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", 80)),
        ],
        OSError(),
    ]

    async def getaddrinfo(*_: object, **__: object) -> Any:
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    class Loop:
        pass

    loop = Loop()
    loop.getaddrinfo = getaddrinfo  # type: ignore[attr-defined]
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: loop)
    resolver = Resolver()
    first = await resolver.resolve("host", 80)
    assert [each["host"] for each in first] == ["fe80::1%2", "10.0.0.1"]
    assert await resolver.resolve("host", 80) == first
    answers.append(OSError())
    with pytest.raises(OSError, match=r"^$"):
        await resolver.resolve("other", 80)
