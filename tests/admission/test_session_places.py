"""
A WebSocket session counts for `concurrent` and in the queue for as long as it is open, and once whatever it does.

The provider does as it is told: `go` ends the oldest response, `close` and `drop` the session.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import pytest
from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType, WSServerHandshakeError, web
from aiohttp.pytest_plugin import AiohttpServer

from proxy.core import tasks
from proxy.limits.memory import MemoryLimits
from tests.conftest import GatewayFactory, RunningGateway
from tests.rigs.redis import redis_server
from tests.spec.loop import until

KEY = "hapax-client-4b1e9d7730aa65c2"
CREATE = '{"type":"response.create","model":"sim-m"}'
PATHS = ["/v1/realtime?model=sim-m", "/v1/responses"]
DONE = {"type": "response.done", "response": {"usage": {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}}}

Open = Callable[..., Awaitable[ClientWebSocketResponse]]


class Served:
    """A gateway, its provider and a client with one key."""

    def __init__(self, running: RunningGateway, client: ClientSession) -> None:
        self.running = running
        self.client = client
        self.asked = 0

    async def opens(self, path: str = PATHS[0]) -> ClientWebSocketResponse:
        """A session that is open, at the provider as well."""
        session = await self.client.ws_connect(self.running.url + path)
        if path == PATHS[0]:
            assert (await session.receive_json(timeout=30))["type"] == "session.created"
        return session

    async def refused(self) -> int:
        """The status with which another session is refused; 0 when it is opened."""
        try:
            async with self.client.ws_connect(self.running.url + PATHS[0]):
                return 0
        except WSServerHandshakeError as refusal:
            return refusal.status

    async def call(self) -> int:
        """The status of a call that is no session."""
        body = {"model": "sim-m", "messages": [{"role": "user", "content": "Hello"}]}
        async with self.client.post(self.running.url + "/v1/chat/completions", json=body) as answer:
            return answer.status

    async def responds(self, session: ClientWebSocketResponse) -> None:
        """A response of *session*, from its beginning to its end."""
        await session.send_str(CREATE)
        await session.send_str("go")
        assert (await hears(session))["type"] == "response.done"

    @property
    def places(self) -> int:
        """Places of the key that are taken."""
        limits = self.running.listener.gateway.accounting.limits
        assert isinstance(limits, MemoryLimits)
        return sum(limits._running.values())

    async def free(self) -> None:
        """Everything that was held has been given back."""
        gateway = self.running.listener.gateway
        await until(lambda: not gateway.under_way.count)
        self.running.nothing_held()
        assert (self.places, gateway.admission._running) == (0, 0)
        if gateway.accounting.queue is not None:
            assert gateway.accounting.queue.running == 0


async def hears(session: ClientWebSocketResponse) -> dict[str, Any]:
    """The next event that is not the beginning of something."""
    while True:
        event: dict[str, Any] = await session.receive_json(timeout=30)
        if event["type"] not in ("session.created", "response.created"):
            return event


@pytest.fixture
async def served(gateway: GatewayFactory, aiohttp_server: AiohttpServer) -> Any:
    """A factory of `Served`, given the key's limits and other sections of the settings."""
    clients = []

    async def converse(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        if request.path.endswith("realtime"):
            await socket.send_str('{"type":"session.created"}')
        async for message in socket:
            if message.data == "go":
                await socket.send_str(orjson.dumps(DONE).decode())
            elif message.data == "close":
                await socket.close(code=4000)
            elif message.data == "drop":
                assert request.transport is not None
                request.transport.abort()
            else:
                await socket.send_str('{"type":"response.created"}')
        return socket

    async def chat(_: web.Request) -> web.Response:
        message = {"role": "assistant", "content": "Hello"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return web.json_response({"object": "chat.completion", "model": "sim-m", "choices": [choice]})

    async def start(own: dict[str, Any], /, **sections: Any) -> Served:
        provider = web.Application()
        provider.router.add_get("/v1/realtime", converse)
        provider.router.add_get("/v1/responses", converse)
        provider.router.add_post("/v1/chat/completions", chat)
        server = await aiohttp_server(provider)
        sim = {"type": "compatible", "base_url": str(server.make_url("/v1")), "models": ["sim-*"]}
        keys = [{"name": "me", "key": KEY, "limits": own}]
        settings = {"auth": {"keys": keys}, "providers": {"sim": sim}, "failover": {"retries": 0}, **sections}
        running = await gateway(settings)
        clients.append(client := ClientSession(headers={"Authorization": f"Bearer {KEY}"}))
        return Served(running, client)

    yield start
    for client in clients:
        await client.close()


@pytest.mark.parametrize("path", PATHS)
async def test_an_idle_session_counts_before_its_first_response_and_after_it(served: Any, path: str) -> None:
    play: Served = await served({"concurrent": 1})
    session = await play.opens(path)
    for _ in range(3):
        assert (await play.refused(), await play.call(), play.places) == (429, 429, 1)
        await play.responds(session)
    await session.close()
    await play.free()
    assert await play.call() == 200
    assert await play.refused() == 0


async def client_closes(play: Served, session: ClientWebSocketResponse) -> None:
    await session.close()


async def client_drops(play: Served, session: ClientWebSocketResponse) -> None:
    assert session._conn is not None
    assert session._conn.transport is not None
    session._conn.transport.abort()


async def provider_closes(play: Served, session: ClientWebSocketResponse) -> None:
    await session.send_str("close")
    while (await session.receive(timeout=30)).type is WSMsgType.TEXT:
        pass
    assert session.close_code == 4000


async def provider_drops(play: Served, session: ClientWebSocketResponse) -> None:
    await session.send_str("drop")
    while (await session.receive(timeout=30)).type is WSMsgType.TEXT:
        pass
    assert session.close_code == 1011


async def gateway_stops(play: Served, session: ClientWebSocketResponse) -> None:
    stopping = tasks.start(play.running.listener.drain(0.0, 0.05), "drain")
    while (await session.receive(timeout=30)).type is WSMsgType.TEXT:
        pass
    assert session.close_code == 1012
    await stopping


ENDS = [client_closes, client_drops, provider_closes, provider_drops, gateway_stops]


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
@pytest.mark.parametrize("doing", ["nothing yet", "idle", "a response", "two responses"])
async def test_its_place_is_free_again_whichever_way_it_ends(served: Any, end: Any, doing: str) -> None:
    play: Served = await served({"concurrent": 2}, queue={"enabled": True, "max_running": 2})
    session = await play.opens()
    if doing == "idle":
        await play.responds(session)
    for _ in range({"a response": 1, "two responses": 2}.get(doing, 0)):
        await session.send_str(CREATE)
        assert (await session.receive_json(timeout=30))["type"] == "response.created"
    assert play.places == (2 if doing == "two responses" else 1)
    await end(play, session)
    await play.free()
    if end is not gateway_stops:
        assert await play.call() == 200


async def test_a_second_response_at_once_takes_a_place_of_its_own(served: Any) -> None:
    play: Served = await served({"concurrent": 2})
    session = await play.opens()
    for places in (1, 2):
        await session.send_str(CREATE)
        assert (await session.receive_json(timeout=30))["type"] == "response.created"
        assert play.places == places
    await session.send_str(CREATE)
    assert (await hears(session))["error"]["code"] == "rate_limit_exceeded"
    assert await play.call() == 429
    for _ in range(2):
        await session.send_str("go")
        assert (await hears(session))["type"] == "response.done"
    assert (play.places, await play.call()) == (1, 200)
    await play.responds(session)
    await session.close()
    await play.free()


async def test_each_response_is_a_request_although_its_place_is_the_sessions(served: Any) -> None:
    play: Served = await served({"concurrent": 1, "requests_per_minute": 3})
    session = await play.opens()
    for _ in range(3):
        await play.responds(session)
    await session.send_str(CREATE)
    assert (await hears(session))["error"]["details"]["limit"] == "requests"
    await session.close()
    await play.free()


async def test_a_response_that_its_provider_began_is_charged_and_takes_no_place(served: Any) -> None:
    play: Served = await served({"concurrent": 1, "requests_per_minute": 3})
    session = await play.opens()
    for _ in range(3):
        await session.send_str("go")
        assert (await hears(session))["type"] == "response.done"
        assert play.places == 1
    await session.send_str(CREATE)
    assert (await hears(session))["error"]["details"]["limit"] == "requests"
    await session.close()
    await play.free()


async def test_a_limit_of_the_model_counts_a_session_that_names_it_in_its_first_message(served: Any) -> None:
    play: Served = await served({"concurrent": 5}, limits={"models": {"sim-m": {"concurrent": 1}}})
    session = await play.opens(PATHS[1])
    # Until then it names none; from its second response on it is one of the model's as well.
    await play.responds(session)
    await session.send_str(CREATE)
    assert (await session.receive_json(timeout=30))["type"] == "response.created"
    assert (play.places, await play.call()) == (2, 429)
    await session.send_str("go")
    assert (await hears(session))["type"] == "response.done"
    assert (play.places, await play.call()) == (1, 200)
    await session.close()
    await play.free()


async def test_a_session_keeps_its_place_in_the_queue_and_its_responses_run_in_it(served: Any) -> None:
    play: Served = await served({}, queue={"enabled": True, "max_running": 1, "max_wait": "10ms"})
    session = await play.opens()
    for _ in range(2):
        assert (await play.refused(), await play.call()) == (503, 503)
        await play.responds(session)
    await session.close()
    await play.free()
    assert await play.call() == 200


async def test_a_session_that_ends_while_a_response_waits_leaves_nothing_behind(served: Any) -> None:
    play: Served = await served({"concurrent": 5}, queue={"enabled": True, "max_running": 1})
    session = await play.opens()
    for _ in range(2):
        await session.send_str(CREATE)
    queue = play.running.listener.gateway.accounting.queue
    await until(lambda: queue is not None and queue.waiting == 1)
    await provider_closes_now(play, session)
    await play.free()
    assert await play.call() == 200


async def provider_closes_now(play: Served, session: ClientWebSocketResponse) -> None:
    """The client's side is held up by a response that waits; this is the gateway's end of it."""
    stopping = next(iter(play.running.listener.gateway.sessions.under_way))
    stopping.set()
    while (await session.receive(timeout=30)).type is WSMsgType.TEXT:
        pass


async def test_fifty_sessions_leave_no_place_taken(served: Any) -> None:
    play: Served = await served({"concurrent": 5}, queue={"enabled": True, "max_running": 5})

    async def live(number: int) -> None:
        session = await play.opens(PATHS[number % 2])
        for _ in range(number % 3):
            await play.responds(session)
        if number % 4 == 0 and number % 2 == 0:
            await session.send_str(CREATE)
        await ENDS[number % 2](play, session)

    for first in range(0, 50, 5):
        await asyncio.gather(*(live(number) for number in range(first, first + 5)))
        await until(lambda: not play.running.listener.gateway.under_way.count)
    await play.free()
    assert await play.call() == 200


async def test_limits_in_redis_count_an_open_session_too(served: Any) -> None:
    with redis_server() as redis:
        play: Served = await served({"concurrent": 1}, state={"url": redis.url})
        for _ in range(3):
            session = await play.opens()
            for _ in range(2):
                assert (await play.refused(), await play.call()) == (429, 429)
                await play.responds(session)
            await session.close()
            await until(lambda: not play.running.listener.gateway.under_way.count)
        assert await play.call() == 200
        await play.client.close()
        await play.running.listener.stop()


async def test_limits_in_redis_charge_a_response_that_its_provider_began(served: Any) -> None:
    with redis_server() as redis:
        play: Served = await served({"requests_per_minute": 3}, state={"url": redis.url})
        session = await play.opens()
        for _ in range(3):
            await session.send_str("go")
            assert (await hears(session))["type"] == "response.done"
        await session.send_str(CREATE)
        assert (await hears(session))["error"]["details"]["limit"] == "requests"
        await session.close()
        await play.client.close()
        await play.running.listener.stop()


@pytest.mark.parametrize(
    "asks",
    [
        '{"type":"response.create","model":"sim-m","metadata":{"correlation_id":"order-7"}}',
        '{"type":"response.create","response":{"model":"sim-m","metadata":{"correlation_id":"order-7"}}}',
    ],
    ids=["Responses API", "Realtime API"],
)
@pytest.mark.parametrize(("header", "known_as"), [({}, "order-7"), ({"X-Correlation-ID": "visit-1"}, "visit-1")])
async def test_a_response_is_known_by_its_own_metadata_unless_the_session_said_an_id(
    served: Any, asks: str, header: dict[str, str], known_as: str
) -> None:
    play: Served = await served({})
    seen = play.running.observed()
    play.client.headers.update(header)
    session = await play.opens()
    await play.responds(session)
    await session.send_str(asks)
    await session.send_str("go")
    assert (await hears(session))["type"] == "response.done"
    await session.close()
    await until(lambda: len(seen) == 3)
    first, second, _ = (each.correlation_id for each in seen)
    assert second == known_as
    assert first == header.get("X-Correlation-ID", seen[2].id)
