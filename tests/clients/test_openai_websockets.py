"""WebSockets through the gateway: `client.realtime.connect` and `client.responses.connect` of openai, and a page."""

from pathlib import Path
from typing import Any

import aiohttp
import openai
import orjson
import pytest
from aiohttp import WSMsgType, web
from aiohttp.pytest_plugin import AiohttpServer

from tests.conftest import GatewayFactory, RunningGateway
from tests.rigs.browser import PageServer, visit
from tests.rigs.simulator import Simulator

KEY = "hapax-client-4b1e9d7730aa65c2"
SECRET = "sk-provider-0123456789"


class Provider:
    """A provider that answers each `response.create` with a text and what it used."""

    def __init__(self) -> None:
        self.keys: list[str | None] = []
        self.heard: list[dict[str, Any]] = []
        self.closed: list[int | None] = []

    async def session(self, request: web.Request) -> web.WebSocketResponse:
        self.keys.append(request.headers.get("Authorization"))
        socket = web.WebSocketResponse(protocols=("realtime",))
        await socket.prepare(request)
        realtime = request.path.endswith("/realtime")
        if realtime:
            await self._say(socket, type="session.created", session={"type": "realtime", "model": "m"})
        async for message in socket:
            assert message.type is WSMsgType.TEXT
            event = orjson.loads(message.data)
            self.heard.append(event)
            if event["type"] == "response.create":
                delta = "response.output_text.delta"
                place = {"item_id": "i", "output_index": 0, "content_index": 0}
                await self._say(socket, type=delta, delta="Hello", logprobs=[], sequence_number=1, **place)
                usage = {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}
                done = "response.done" if realtime else "response.completed"
                response = {"id": "resp_1", "object": "response", "status": "completed", "output": [], "usage": usage}
                await self._say(socket, type=done, response=response, sequence_number=2)
        self.closed.append(socket.close_code)
        return socket

    @staticmethod
    async def _say(socket: web.WebSocketResponse, **event: Any) -> None:
        await socket.send_str(orjson.dumps({"event_id": "e", **event}).decode())


async def started(
    gateway: GatewayFactory,
    aiohttp_server: AiohttpServer,
    limits: dict[str, int] | None = None,
    store: dict[str, str] | None = None,
) -> tuple[Provider, RunningGateway]:
    provider = Provider()
    app = web.Application()
    app.router.add_get("/v1/realtime", provider.session)
    app.router.add_get("/v1/responses", provider.session)
    server = await aiohttp_server(app)
    made = {"type": "compatible", "base_url": str(server.make_url("/v1")), "api_key": SECRET, "models": ["m"]}
    key = {"name": "me", "key": KEY, "limits": limits or {}}
    settings = {"providers": {"p": made}, "auth": {"keys": [key]}, "store": store or {"url": ""}}
    return provider, await gateway(settings)


async def test_a_realtime_session_is_the_sdks_own(gateway: GatewayFactory, aiohttp_server: AiohttpServer) -> None:
    provider, running = await started(gateway, aiohttp_server)
    client = openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{running.port}/v1", api_key=KEY)
    seen = []
    async with client, client.realtime.connect(model="m") as session:
        assert (await session.recv()).type == "session.created"
        await session.response.create()
        while (event := await session.recv()).type != "response.done":
            seen.append(event.type)
    assert seen == ["response.output_text.delta"]
    assert provider.keys == [f"Bearer {SECRET}"]
    assert [event["type"] for event in provider.heard] == ["response.create"]
    await running.listener.gateway.under_way.idle.wait()
    assert provider.closed == [1000]
    # The session and its response.
    assert running.metric("hapax_exchanges_total", outcome="ok") == 2


async def test_responses_over_one_connection_are_the_sdks_own(
    gateway: GatewayFactory, aiohttp_server: AiohttpServer
) -> None:
    provider, running = await started(gateway, aiohttp_server)
    client = openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{running.port}/v1", api_key=KEY)
    async with client, client.responses.connect() as session:
        for _ in range(2):
            await session.response.create(model="m", input="Hello")
            seen = []
            while not seen or seen[-1] != "response.completed":
                seen.append((await session.recv()).type)
            assert seen == ["response.output_text.delta", "response.completed"]
    assert [event["model"] for event in provider.heard] == ["m", "m"]
    assert provider.keys == [f"Bearer {SECRET}"]


async def test_each_response_is_a_call_to_limits_and_ledger(
    gateway: GatewayFactory, aiohttp_server: AiohttpServer, tmp_path: Path
) -> None:
    # The handshake and the first response are one call.
    limits = {"requests_per_minute": 2}
    store = {"url": f"sqlite:///{tmp_path}/hapax.db"}
    provider, running = await started(gateway, aiohttp_server, limits, store)
    client = openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{running.port}/v1", api_key=KEY)
    ended = running.observed()
    seen = []
    async with client, client.responses.connect() as session:
        for _ in range(3):
            await session.response.create(model="m", input="Hello")
            while (event := await session.recv()).type not in ("response.completed", "error"):
                pass
            seen.append(event.type)
    assert seen == ["response.completed", "response.completed", "error"]
    assert len(provider.heard) == 2
    await running.listener.gateway.under_way.idle.wait()
    running.caught_up()
    told = [(each.outcome.value, each.error_code, each.tokens and each.tokens.total) for each in ended]
    assert told == [("ok", "", 5), ("ok", "", 5), ("refused", "rate_limit_exceeded", None), ("ok", "", None)]
    first, *_, whole = ended
    assert (first.id, first.principal, first.model, first.provider) == (f"{whole.id}-1", "me", "m", "p")
    ledger = running.listener.gateway.accounting.ledger
    assert ledger is not None
    assert await ledger.flush(everything=True)
    assert ledger.rows_total >= 2


@pytest.mark.timeout(60)
async def test_a_page_holds_a_realtime_session_with_its_key_in_a_subprotocol(
    gateway: GatewayFactory, aiohttp_server: AiohttpServer, pages: PageServer
) -> None:
    provider, running = await started(gateway, aiohttp_server)
    seen = await visit(pages, "realtime", base_url=running.base_url, api_key=KEY, model="m")
    told = ["session.created", "response.output_text.delta", "response.done"]
    assert seen == {"events": told, "protocol": "realtime", "code": 1000}
    assert provider.keys == [f"Bearer {SECRET}"]
    assert provider.heard == [{"type": "response.create"}]


@pytest.mark.timeout(60)
async def test_a_page_with_a_wrong_key_has_no_session(
    gateway: GatewayFactory, aiohttp_server: AiohttpServer, pages: PageServer
) -> None:
    provider, running = await started(gateway, aiohttp_server)
    seen = await visit(pages, "realtime", base_url=running.base_url, api_key="wrong", model="m")
    assert seen == {"events": [], "protocol": None, "code": 1006}
    assert provider.keys == []


async def test_a_handshake_is_told_to_use_http_once_no_provider_is_known_to_open_a_socket(
    gateway: GatewayFactory, simulator: Simulator
) -> None:
    provider = {"type": "compatible", "base_url": simulator.base_url, "models": ["sim-*"]}
    running = await gateway({"providers": {"p": provider}, "auth": {"keys": [{"name": "me", "key": KEY}]}})
    url, headers = running.base_url + "/responses", {"Authorization": f"Bearer {KEY}"}
    async with aiohttp.ClientSession() as session:
        async with session.ws_connect(url, headers=headers) as socket:
            await socket.send_json({"type": "response.create", "model": "sim-1", "input": "hello"})
            event = await socket.receive_json()
            assert (event["type"], event["error"]["code"]) == ("error", "upgrade_not_supported")
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(url, headers=headers)
    assert refused.value.status == 426
    asked = [request for request in simulator.ledger if request.method == b"GET" and b"/responses" in request.target]
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/realtime?call_id=rtc_1", 404, "no such call"),
        ("/realtime?call_id=rtc_1", 405, ""),
        ("/realtime", 404, '{"error": {"message": "Project proj_1 was not found."}}'),
    ],
)
async def test_what_one_caller_names_and_is_not_there_keeps_no_other_from_a_session(
    gateway: GatewayFactory, aiohttp_server: AiohttpServer, path: str, status: int, body: str
) -> None:
    asked: list[str] = []

    async def refuse(request: web.Request) -> web.Response:
        asked.append(request.path_qs)
        return web.Response(status=status, text=body)

    app = web.Application()
    app.router.add_get("/v1/realtime", refuse)
    server = await aiohttp_server(app)
    provider = {"type": "compatible", "base_url": str(server.make_url("/v1")), "models": ["m"]}
    running = await gateway({"providers": {"p": provider}, "auth": {"keys": [{"name": "me", "key": KEY}]}})
    async with aiohttp.ClientSession() as session:
        for _ in range(2):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await session.ws_connect(running.base_url + path, headers={"Authorization": f"Bearer {KEY}"})
            assert refused.value.status == 426
    assert asked == ["/v1" + path] * 2
