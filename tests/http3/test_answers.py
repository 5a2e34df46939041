"""What a client of HTTP/3 is answered: the same as one of HTTP/1.1, frame by frame."""

import asyncio
import gc
import json
from typing import Any

import pytest
from aiohttp import ClientSession

from proxy.http3.stream import Stream
from tests.conftest import RunningGateway
from tests.http3.conftest import QuicFactory, quic_port
from tests.rigs.quic import Reply, connect
from tests.rigs.simulator import Simulator
from tests.spec.loop import until

KEY = "hpx_Zm9vYmFyYmF6cXV4cXV1eGNvcmdlZ3JhdWx0"
CALL = {"model": "sim-fast:id=fixed", "messages": [{"role": "user", "content": "Hello"}]}
OF_ITS_CONNECTION = {"date", "x-request-id", "x-response-time", "x-upstream-request-id", "connection"}


async def over_tcp(
    running: RunningGateway, method: str, path: str, **options: Any
) -> tuple[int, dict[str, str], bytes]:
    plain = {"Accept-Encoding": "identity"}
    async with ClientSession(headers=plain) as client, client.request(method, running.url + path, **options) as answer:
        return answer.status, {name.lower(): value for name, value in answer.headers.items()}, await answer.read()


@pytest.mark.parametrize(
    ("method", "path", "call"),
    [
        ("POST", "/v1/chat/completions", CALL),
        ("POST", "/v1/chat/completions", {**CALL, "stream": True}),
        ("POST", "/v1/chat/completions", {**CALL, "model": "sim-fault:status=400"}),
        ("POST", "/v1/embeddings", {"model": "sim-embed", "input": "hello"}),
        ("POST", "/v1/chat/completions", {"model": "nothing-like-it", "messages": []}),
        ("GET", "/v1/models", None),
        ("GET", "/openapi.json", None),
        ("GET", "/nothing", None),
        ("HEAD", "/live", None),
    ],
)
async def test_the_same_bytes_as_over_tcp(quic: QuicFactory, method: str, path: str, call: Any) -> None:
    running = await quic()
    status, headers, body = await over_tcp(running, method, path, json=call)
    async with connect(quic_port(running)) as client:
        sent = None if call is None else json.dumps(call).encode()
        reply = await client.send(
            method, path, *([("content-type", "application/json")] if sent else []), body=sent
        ).whole()
    assert (reply.status, reply.end) == (status, "fin")
    ours = {name.decode(): value.decode() for name, value in reply.fields if not name.startswith(b":")}
    alone = OF_ITS_CONNECTION | {"transfer-encoding"}
    assert {name: value for name, value in ours.items() if name not in alone} == {
        name: value for name, value in headers.items() if name not in alone
    }
    assert {"x-request-id", "date"} <= ours.keys()
    assert without_id(reply.body) == without_id(body)


def without_id(body: bytes) -> bytes:
    """*body* without the id of its request, which an error says."""
    if not body.startswith(b'{"error"'):
        return body
    told = json.loads(body)
    told["error"].pop("request_id", None)
    return json.dumps(told).encode()


async def test_a_large_answer_comes_whole(quic: QuicFactory, simulator: Simulator) -> None:
    running = await quic()
    async with connect(quic_port(running)) as client:
        speech = json.dumps({"model": "sim-tts:bytes=3000000", "input": "x", "voice": "alloy"}).encode()
        reply = await client.ask("POST", "/v1/audio/speech", ("content-type", "application/json"), body=speech)
    assert (reply.status, reply.header("content-length"), len(reply.body)) == (200, "3000000", 3000000)


@pytest.mark.parametrize(
    ("fields", "path", "status", "code"),
    [
        ((), "/v1/models", 401, "missing_api_key"),
        ((("authorization", "Bearer wrong"),), "/v1/models", 401, "invalid_api_key"),
        ((("authorization", f"Bearer {KEY}"),), "/v1/model", 404, "unknown_url"),
        ((("authorization", f"Bearer {KEY}"), ("expect", "tea")), "/v1/chat/completions", 417, "expectation_failed"),
        ((("authorization", f"Bearer {KEY}"), ("content-length", "33554433")), "/v1/chat/completions", 413, None),
        ((("authorization", f"Bearer {KEY}"), ("authorization", "Bearer x")), "/v1/models", 400, "bad_request"),
        ((("host", "elsewhere"),), "/v1/models", 400, "bad_request"),
        (tuple((f"x-{number}", "x" * 7000) for number in range(10)), "/live", 431, "headers_too_large"),
        ((("user-agent", "\x1b[31m"),), "/live", 400, "bad_request"),
        ((('x"y', "1"),), "/live", 400, "bad_request"),
        ((("content-length", "+0"),), "/live", 400, "bad_request"),
    ],
)
async def test_a_refusal_has_its_words_and_a_request_id(
    quic: QuicFactory, fields: tuple[tuple[str, str], ...], path: str, status: int, code: str | None
) -> None:
    running = await quic(auth={"keys": [{"name": "web", "key": KEY}]})
    ended = running.observed()
    post = path == "/v1/chat/completions"
    if post:
        fields = (*fields, ("content-type", "application/json"))
    async with connect(quic_port(running)) as client:
        reply = await client.send("POST" if post else "GET", path, *fields, whole=not post).whole()
        assert (reply.status, reply.end) == (status, "fin")
        error = reply.json()["error"]
        assert error["code"] == (code or "request_too_large")
        assert error["request_id"] == reply.header("x-request-id")
        # The connection goes on.
        assert (await client.ask("GET", "/live")).status == 200
    running.caught_up()
    assert [(each.status, each.protocol) for each in ended] == [(status, "h3"), (200, "h3")]


async def test_a_body_that_grows_too_large_is_refused_and_not_read(quic: QuicFactory) -> None:
    running = await quic(server={"max_body_bytes": "100KiB"})
    async with connect(quic_port(running)) as client:
        asked = client.send(
            "POST", "/v1/chat/completions", ("content-type", "application/json"), body=b" " * 200_000, whole=False
        )
        reply = await asked.whole()
        assert (reply.status, reply.json()["error"]["code"]) == (413, "request_too_large")
        assert (await client.ask("GET", "/live")).status == 200


async def test_a_path_that_no_browser_asks_for_is_refused(quic: QuicFactory) -> None:
    running = await quic()
    async with connect(quic_port(running)) as client:
        for path in ("http://localhost/live", "live", "*"):
            assert (await client.ask("GET", path)).status == 400
        assert (await client.ask("GET", "/live/../live")).status == 404
        assert (await client.ask("CONNECT", "/live")).status == 405


async def test_an_upload_reaches_the_provider_as_it_was_sent(quic: QuicFactory, simulator: Simulator) -> None:
    running = await quic()
    content = bytes(range(256)) * 4000
    form = (
        b'--xx\r\nContent-Disposition: form-data; name="model"\r\n\r\nsim-fast\r\n'
        b'--xx\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n' + content + b"\r\n--xx--\r\n"
    )
    async with connect(quic_port(running)) as client:
        asked = client.send(
            "POST",
            "/v1/audio/transcriptions",
            ("content-type", "multipart/form-data; boundary=xx"),
            body=form[:70_000],
            whole=False,
        )
        for start in range(70_000, len(form), 100_000):
            client.more(asked, form[start : start + 100_000])
            await asyncio.sleep(0)
        client.more(asked, b"", whole=True)
        reply = await asked.whole()
    assert (reply.status, reply.end) == (200, "fin")
    seen = simulator.ledger[-1]
    assert (seen.path, seen.length) == ("/v1/audio/transcriptions", len(form))
    assert seen.header("content-type") == b"multipart/form-data; boundary=xx"


async def test_a_client_that_waits_to_be_asked_for_its_body_is(quic: QuicFactory) -> None:
    running = await quic()
    body = json.dumps(CALL).encode()
    async with connect(quic_port(running)) as client:
        asked = client.send(
            "POST",
            "/v1/chat/completions",
            ("content-type", "application/json"),
            ("expect", "100-continue"),
            ("content-length", str(len(body))),
            whole=False,
        )
        await asked.until(lambda reply: reply.interim)
        assert (asked.interim, asked.status) == ([100], 0)
        client.more(asked, body, whole=True)
        assert (await asked.whole()).status == 200


async def test_trailers_are_read_over(quic: QuicFactory) -> None:
    running = await quic()
    async with connect(quic_port(running)) as client:
        asked = client.send(
            "POST",
            "/v1/chat/completions",
            ("content-type", "application/json"),
            body=json.dumps(CALL).encode(),
            whole=False,
        )
        client.http.send_headers(asked.stream_id, [(b"x-checksum", b"1")], end_stream=True)
        client.transmit()
        assert (await asked.whole()).status == 200


async def test_an_answer_over_tcp_tells_of_the_door(quic: QuicFactory) -> None:
    running = await quic()
    for path in ("/live", "/nothing"):
        _, headers, _ = await over_tcp(running, "GET", path)
        assert headers["alt-svc"] == f'h3=":{quic_port(running)}"; ma=86400'


async def test_what_no_door_was_opened_for_is_told_of_none(gateway: Any) -> None:
    _, headers, _ = await over_tcp(await gateway(), "GET", "/live")
    assert "alt-svc" not in headers


async def test_the_record_says_how_the_client_spoke(quic: QuicFactory) -> None:
    running = await quic()
    ended = running.observed()
    await over_tcp(running, "GET", "/live")
    async with connect(quic_port(running)) as client:
        await client.ask("GET", "/live")
    running.caught_up()
    assert [(each.protocol, each.client_ip) for each in ended] == [("http/1.1", "127.0.0.1"), ("h3", "127.0.0.1")]


async def test_a_limit_holds_whichever_door_is_taken(quic: QuicFactory) -> None:
    keys = [{"name": "web", "key": KEY, "limits": {"requests_per_minute": 2}}]
    running = await quic(auth={"keys": keys})
    bearer = ("authorization", f"Bearer {KEY}")
    status, _, _ = await over_tcp(running, "POST", "/v1/chat/completions", json=CALL, headers=dict([bearer]))
    assert status == 200
    async with connect(quic_port(running)) as client:
        fields = ("content-type", "application/json"), bearer
        second, third = [
            await client.send("POST", "/v1/chat/completions", *fields, body=json.dumps(CALL).encode()).whole()
            for _ in range(2)
        ]
    assert (second.status, second.header("x-ratelimit-remaining-requests")) == (200, "0")
    assert (third.status, third.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert third.header("retry-after") is not None


async def test_calls_on_one_connection_do_not_wait_for_each_other(quic: QuicFactory) -> None:
    running = await quic()
    async with connect(quic_port(running)) as client:
        slow = client.chat(model="sim-1:stall@2", stream=True)
        await slow.begun()
        quick: list[Reply] = [client.chat(stream=True) for _ in range(20)]
        bodies = [(await reply.whole()).body for reply in quick]
        assert all(body.endswith(b"data: [DONE]\n\n") for body in bodies)
        assert not slow.end
        client.leave(slow)
        await until(lambda: not running.listener.gateway.under_way.count)


async def test_a_page_of_events_is_sent_as_it_comes(quic: QuicFactory) -> None:
    running = await quic(auth={"keys": [{"name": "web", "key": KEY}], "admin_key": KEY[::-1]})
    async with connect(quic_port(running)) as client:
        feed = client.send("GET", "/admin/events", ("authorization", f"Bearer {KEY[::-1]}"))
        await feed.until(lambda reply: reply.status)
        assert (feed.status, feed.header("content-type")) == (200, "text/event-stream; charset=utf-8")
        # A call without a key is refused before it is known what it asks.
        await client.chat().whole()
        await feed.until(lambda reply: b'"operation":"/v1/*"' in reply.body)
        assert not feed.end
        client.leave(feed)
        await until(lambda: not running.listener.gateway.under_way.count)


async def test_nothing_of_a_request_is_left_to_the_garbage_collector(quic: QuicFactory) -> None:
    running = await quic()
    async with connect(quic_port(running)) as client:
        await client.chat(stream=True).whole()
        gc.collect()
        gc.disable()
        try:
            for _ in range(10):
                await client.chat(stream=True).whole()
                await client.ask("GET", "/nothing")
            await until(lambda: not running.listener.gateway.under_way.count)
            for _ in range(3):
                await asyncio.sleep(0)
            assert not [each for each in gc.get_objects() if isinstance(each, Stream)]
        finally:
            gc.enable()
