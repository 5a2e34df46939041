"""
nginx and Caddy before the gateway, with the files of deploy/: HTTP/2 to clients, and everything passes as it comes.

The client is curl, which tells a stream that was cut from one that is whole.
"""

import asyncio
import json
import signal
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, TCPConnector, WSMsgType, web
from aiohttp.pytest_plugin import AiohttpServer

from proxy.core import tasks
from tests.conftest import GatewayFactory, RunningGateway, provider
from tests.rigs.curl import curl_command
from tests.rigs.hapax import hapax
from tests.rigs.ports import free_port
from tests.rigs.process import Finished, run
from tests.rigs.reverse_proxy import KINDS, ReverseProxy, reverse_proxy
from tests.rigs.simulator import Delay, Hold, Send, Simulator
from tests.spec.loop import until
from tests.spec.wire import QUESTION, ask, eventually, get

PATIENCE = 30.0
KEY, ADMIN = "hpx_client_90c3f1aa7be2d4", "hpx_admin_5b1e77d0c2a94f"
SETTINGS: dict[str, Any] = {
    "server": {"trusted_proxies": ["127.0.0.1"], "drain_delay": "4s"},
    "auth": {"keys": [{"name": "web", "key": KEY}], "admin_key": ADMIN},
    "health_check": {"enabled": False},
}
STREAM_ERROR = 92
"""curl: "Stream error in the HTTP/2 framing layer", which is what a cut is there."""

pytestmark = pytest.mark.parametrize("kind", KINDS)


def asking(proxy: ReverseProxy, path: str, *options: str, model: str = "", key: str = KEY, **fields: Any) -> list[str]:
    """A command of curl's that sends one call by HTTP/2; with *model* a chat."""
    body = {"model": model, "messages": QUESTION, **fields} if model else None
    trusting = ("--http2", "--cacert", str(proxy.certificate), "--header", f"X-API-Key: {key}")
    return curl_command(proxy.url + path, *trusting, *options, body=body)


async def chat(proxy: ReverseProxy, model: str, *options: str, **fields: Any) -> Finished:
    return await run(*asking(proxy, "/v1/chat/completions", *options, model=model, **fields))


@asynccontextmanager
async def under_way(command: list[str]) -> AsyncIterator[asyncio.subprocess.Process]:
    """A command whose output is read and whose input is written while it runs; killed in the end."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, limit=2**20)
    try:
        async with asyncio.timeout(PATIENCE):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.fixture
async def running(gateway: GatewayFactory) -> RunningGateway:
    return await gateway(SETTINGS)


@pytest.fixture
async def proxy(kind: str, running: RunningGateway, tmp_path: Path) -> AsyncIterator[ReverseProxy]:
    async with reverse_proxy(kind, tmp_path, running.port) as before:
        yield before


async def test_clients_speak_http_2_and_share_a_connection_to_the_gateway(
    proxy: ReverseProxy, running: RunningGateway
) -> None:
    for _ in range(5):
        done = await chat(proxy, "sim-fast", "--write-out", "\n%{http_version} %{http_code}")
        body, _, facts = done.stdout.rpartition(b"\n")
        assert facts == b"2 200"
        assert json.loads(body)["choices"][0]["message"]["content"]
    assert running.listener.gateway.served.open == 1


async def test_a_stream_is_whole(proxy: ReverseProxy) -> None:
    done = await chat(proxy, "sim-1:tokens=50,pace=1ms", "--include", stream=True)
    assert (done.code, done.stderr) == (0, b"")
    head, _, stream = done.stdout.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/2 200")
    assert stream.endswith(b"data: [DONE]\n\n")
    assert stream.count(b"\n\n") > 50


async def test_an_event_arrives_before_the_next_is_sent_and_a_client_that_leaves_is_missed_at_once(
    proxy: ReverseProxy, simulator: Simulator
) -> None:
    # The provider sends three events and then nothing, for ever.
    command = asking(proxy, "/v1/chat/completions", model="sim-fault:stall@3", stream=True)
    async with under_way(command) as client:
        assert client.stdout is not None
        for _ in range(3):
            assert (await client.stdout.readuntil(b"\n\n")).startswith(b"data: {")
        call = await eventually(simulator, lambda record: record.model.startswith("sim-fault"))
        client.kill()
        assert await call.closed() in ("client", "reset")
        assert not call.finished


async def test_sound_arrives_while_it_is_still_being_made(proxy: ReverseProxy, simulator: Simulator) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\nTransfer-Encoding: chunked\r\n\r\n"
    simulator.script([Send(head), *([Send(b"4\r\n\xff\xfbab\r\n"), Delay(0.05)] * 3), Hold()])
    async with under_way(asking(proxy, "/v1/audio/speech", model="sim-fast", input="hello", voice="alloy")) as client:
        assert client.stdout is not None
        assert await client.stdout.readexactly(12) == b"\xff\xfbab" * 3


async def test_a_stream_that_breaks_off_is_not_taken_for_a_whole_one(kind: str, proxy: ReverseProxy) -> None:
    done = await chat(proxy, "sim-fault:fin@8", stream=True)
    events = done.stdout.split(b"\n\n")
    assert events[-2].startswith(b'data: {"error":')
    assert b"[DONE]" not in done.stdout
    # Debian's Caddy ends the stream as if it were whole, newer ones break it off (caddyserver/caddy#5952).
    assert done.code in ((STREAM_ERROR,) if kind == "nginx" else (STREAM_ERROR, 0))


async def test_an_upload_goes_on_while_it_is_still_being_sent(proxy: ReverseProxy, simulator: Simulator) -> None:
    part, accepted = bytes(2**20), simulator.accepted
    start = b'--xx\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n\r\n'
    sending = ("--request", "POST", "--upload-file", "-", "--header", "Content-Type: multipart/form-data; boundary=xx")
    async with under_way(asking(proxy, "/v1/files", *sending)) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        client.stdin.write(start + part)
        await until(lambda: simulator.accepted > accepted)
        for _ in range(4):
            client.stdin.write(part)
        client.stdin.write(b"\r\n--xx--\r\n")
        client.stdin.close()
        answer = json.loads(await client.stdout.read())
    assert (answer["object"], answer["bytes"]) == ("file", 5 * len(part))


async def test_a_websocket_is_passed_on(
    kind: str, gateway: GatewayFactory, aiohttp_server: AiohttpServer, tmp_path: Path
) -> None:
    async def echo(request: web.Request) -> web.WebSocketResponse:
        other = web.WebSocketResponse()
        await other.prepare(request)
        async for message in other:
            await other.send_str(f"heard {message.data}")
        return other

    application = web.Application()
    application.router.add_get("/v1/realtime", echo)
    server = await aiohttp_server(application)
    sim = {"type": "compatible", "base_url": str(server.make_url("/v1")), "models": ["sim-*"]}
    running = await gateway({**SETTINGS, "providers": {"sim": sim}})
    async with reverse_proxy(kind, tmp_path, running.port) as before:
        trusting = ssl.create_default_context(cafile=str(before.certificate))
        url = before.url.replace("https:", "wss:") + "/v1/realtime?model=sim-fast"
        async with (
            ClientSession(connector=TCPConnector(ssl=trusting)) as session,
            session.ws_connect(url, headers={"X-API-Key": KEY}) as client,
        ):
            await client.send_str("one")
            message = await client.receive()
            assert (message.type, message.data) == (WSMsgType.TEXT, "heard one")


async def test_the_gateway_knows_the_clients_address_and_both_logs_the_request(
    proxy: ReverseProxy, running: RunningGateway
) -> None:
    ended = running.observed()
    forged = ("--header", "X-Forwarded-For: 203.0.113.9", "--header", "X-Request-ID: mine-1")
    path = "/v1/chat/completions?note=hidden"
    done = await run(*asking(proxy, path, "--include", "--interface", "127.0.0.2", *forged, model="sim-fast"))
    assert b"x-request-id: mine-1\r\n" in done.stdout
    running.caught_up()
    assert [(each.id, each.client_ip) for each in ended] == [("mine-1", "127.0.0.2")]
    await until(lambda: "mine-1" in proxy.log)
    assert "hidden" not in proxy.log


async def test_a_page_is_compressed_by_the_gateway(proxy: ReverseProxy) -> None:
    plain = await run(*asking(proxy, "/metrics/json", key=ADMIN))
    packed = await run(*asking(proxy, "/metrics/json", "--compressed", "--include", key=ADMIN))
    head, _, body = packed.stdout.partition(b"\r\n\r\n")
    assert (b"content-encoding: gzip" in head, b"vary: Accept-Encoding" in head) == (True, True)
    assert json.loads(body)[0]["name"] == json.loads(plain.stdout)[0]["name"]


async def test_a_restart_behind_the_proxy_refuses_no_call_and_cuts_no_stream(
    kind: str, simulator: Simulator, tmp_path: Path
) -> None:
    settings = {**SETTINGS, "providers": {"sim": provider(simulator)}}
    calls: list[Finished] = []
    async with (
        hapax(tmp_path, settings, "old") as old,
        hapax(tmp_path, settings, "new") as new,
        reverse_proxy(kind, tmp_path, old.port, new.port) as before,
    ):
        over = False

        async def keep_calling() -> None:
            while not over:
                calls.append(await chat(before, "sim-fast", "--write-out", "%{http_code}"))

        streams = [asking(before, "/v1/chat/completions", model="sim-1:tokens=60,pace=100ms", stream=True)] * 8
        caller = tasks.start(keep_calling(), "caller")
        ending = [tasks.start(run(*stream), "stream") for stream in streams]
        await simulator.seen(simulator.ledger.seen + len(streams))
        old.signal(signal.SIGTERM)
        whole = await asyncio.gather(*ending)
        assert await old.ended() == (0, b"")
        served = len(calls)
        await until(lambda: len(calls) > served + 5)
        over = True
        await caller
        assert (await ask(new.port, get("/ready"))).status == 200
    assert {(done.code, done.stdout.endswith(b"data: [DONE]\n\n")) for done in whole} == {(0, True)}
    assert {done.stdout[-3:] for done in calls} == {b"200"}


async def test_no_key_is_written_down_where_no_gateway_answers(kind: str, tmp_path: Path) -> None:
    async with reverse_proxy(kind, tmp_path, free_port()) as before:
        bearer = ("--header", f"Authorization: Bearer {KEY}", "--write-out", "%{http_code}")
        done = await run(*asking(before, "/v1/models", *bearer))
        assert done.stdout.endswith(b"502")
        await until(lambda: "/v1/models" in before.log)
        assert KEY not in before.log
