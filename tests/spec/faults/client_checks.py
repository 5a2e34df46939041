"""What takes more than one call to show, on the side of the clients."""

import asyncio
import contextlib
import gzip
import json
import signal
import sys
import time
import zlib
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import openai

from tests.rigs.clock import at_most
from tests.rigs.simulator import Request

from .. import test_protocol_framing as framing
from ..wire import PATIENCE, Wire, ask, chat, connect, get, only_answer, request
from .checks import AUTH, named
from .world import KEY, Gateway, World

MEBIBYTE = 1024 * 1024


def door(world: World) -> Gateway:
    """The gateway with short clocks towards clients; every model of the simulator is behind it."""
    return world.gateways["doorman"]


async def seen(world: World, key: str) -> Request:
    """The call with that id, once it has arrived at the provider."""
    async with asyncio.timeout(PATIENCE):
        while not (found := world.upstream.of(key)):
            await world.upstream.seen(world.upstream.ledger.seen + 1)
    return found[0]


async def gone(world: World, key: str, *, called: bool) -> None:
    """The client of that call has left: the provider is closed, nothing is under way, no provider is blamed."""
    gateway = door(world)
    if called:
        for record in world.upstream.of(key):
            async with asyncio.timeout(at_most(1)):
                assert await record.closed() in ("client", "reset")
    else:
        assert world.upstream.of(key) == []
    await gateway.at_rest("sim")
    assert (await gateway.provider("sim"))["failed_attempts"] == 0
    if called:
        assert (await gateway.trail(key))["outcome"] == "client_gone"


async def leaves_in_body(world: World) -> None:
    async with connect(door(world).port) as wire:
        wire.send(chat("sim-fast", head=named("f54-body"))[:-10])
        await ask(door(world).port, get("/live"))
        wire.abort()
    await gone(world, "f54-body", called=False)


async def leaves_while_connecting(world: World) -> None:
    for name in ("full", "tls mute"):
        settings = {"providers": {"sim": world.provider(name)}}
        async with world.serving("connecting", settings) as gateway:
            async with connect(gateway.port) as wire:
                wire.send(chat("sim-fast", head=named("f54-connecting")))
                async with asyncio.timeout(PATIENCE):
                    while not (await gateway.provider("sim"))["in_flight"]:
                        pass
                wire.abort()
            assert (await gateway.trail("f54-connecting"))["outcome"] == "client_gone"
            await gateway.at_rest("sim")
            assert (await gateway.provider("sim"))["failed_attempts"] == 0


async def leaves_before_token(world: World) -> None:
    for directives, stream in (("silence", True), ("silence", False), ("stall@1", True)):
        key = f"f54-{directives}-{stream}"
        async with connect(door(world).port) as wire:
            wire.send(chat(f"sim-fault:{directives}", head=named(key), stream=stream))
            await seen(world, key)
            wire.abort()
        await gone(world, key, called=True)


async def leaves_in_stream(world: World) -> None:
    async with connect(door(world).port) as wire:
        wire.send(chat("sim-fast:forever,pace=1ms", head=named("f54-stream"), stream=True))
        await wire.until(b'"content":"')
        wire.abort()
    await gone(world, "f54-stream", called=True)


async def leaves_in_wait(world: World) -> None:
    # A name of its own: it rests afterwards.
    model, key = "sim-fault:status=429,retry_after=30,id=WAIT", "f54-wait"
    async with connect(door(world).port) as wire:
        wire.send(chat(model, head=named(key)))
        await seen(world, key)
        await door(world).at_rest("sim")
        wire.abort()
    assert (await door(world).trail(key))["outcome"] == "client_gone"
    assert len(world.upstream.of(key)) == 1
    assert (await door(world).provider("sim"))["failed_attempts"] == 0


async def half_closes(world: World) -> None:
    for stream in (False, True):
        key = f"f55-{stream}"
        async with connect(door(world).port) as wire:
            wire.send(chat("sim-fault:stall@3" if stream else "sim-fault:silence", head=named(key), stream=stream))
            await seen(world, key)
            wire.writer.write_eof()
            await gone(world, key, called=True)


READER = """
import socket, sys
client = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
client.sendall(sys.argv[2].encode())
while client.recv(65536):
    print("read", flush=True)
"""


async def frozen_client(world: World) -> None:
    text = chat("sim-fast:forever", head=named("f56"), stream=True).decode()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", READER, str(door(world).port), text), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        await process.stdout.readline()
        record = await seen(world, "f56")
        process.send_signal(signal.SIGSTOP)
        async with asyncio.timeout(PATIENCE):
            assert await record.closed() in ("client", "reset")
        assert (await door(world).trail("f56"))["outcome"] in ("client_gone", "cut")
        assert (await door(world).provider("sim"))["failed_attempts"] == 0
    finally:
        process.kill()
        await process.communicate()


@contextlib.asynccontextmanager
async def unread(world: World, key: str) -> AsyncIterator[tuple[Wire, Request]]:
    """A stream without end that its client does not read."""
    async with connect(door(world).port) as wire:
        wire.writer.transport.pause_reading()  # type: ignore[attr-defined]
        wire.send(chat("sim-fast:forever,id=SAME", head=named(key), stream=True))
        yield wire, await seen(world, key)


async def never_reads(world: World) -> None:
    began = time.monotonic()
    async with unread(world, "f57") as (_, record):
        async with asyncio.timeout(PATIENCE):
            assert await record.closed() in ("client", "reset")
    assert time.monotonic() - began < at_most(4)
    await gone(world, "f57", called=True)


async def reads_slowly(world: World) -> None:
    async with unread(world, "f57-slow") as (wire, record):
        began = time.monotonic()
        transport: Any = wire.writer.transport
        while time.monotonic() - began < 2.5:
            transport.resume_reading()
            await wire.reader.readexactly(512 * 1024)
            transport.pause_reading()
            # Anything that takes its time.
            for _ in range(20):
                await ask(door(world).port, get("/live"))
        assert record.connection.ending is None, "longer than `write_timeout`, and still served"
        wire.abort()
    await gone(world, "f57-slow", called=True)


async def faster_than_client(world: World) -> None:
    gateway = world.main
    name = world.spare("forever")
    before = gateway.memory()
    async with connect(gateway.port) as wire:
        transport: Any = wire.writer.transport
        transport.pause_reading()
        wire.send(chat(name, head=named(name), stream=True))
        record = await seen(world, name)
        taken = -1
        async with asyncio.timeout(PATIENCE):
            while taken != record.bytes_sent:
                taken = record.bytes_sent
                for _ in range(100):
                    await ask(gateway.port, get("/live"))
        assert record.connection.ending is None
        assert taken < 16 * MEBIBYTE, taken
        assert gateway.memory() - before < 8 * MEBIBYTE
        transport.resume_reading()
        received = await wire.reader.readexactly(taken + MEBIBYTE)
        assert received.count(b"data: ") > 1000
        assert b"error" not in received
        wire.abort()
    await gateway.at_rest(name)


async def slow_head(world: World) -> None:
    began = time.monotonic()
    async with connect(door(world).port) as wire:
        head = chat("sim-fast", head=AUTH)
        dripped = 0
        ended = asyncio.ensure_future(wire.to_end())  # noqa: TID251  # awaited below
        while not ended.done():
            wire.send(head[dripped : dripped + 1])
            dripped += 1
            await asyncio.wait({ended}, timeout=0.05)
        assert (await ended)[0] == b""
    assert 0.8 < time.monotonic() - began < at_most(3)
    assert dripped < len(head)


async def slow_body(world: World) -> None:
    async with connect(door(world).port) as wire:
        # Longer than it could ever take to end.
        data = chat("sim-fast", head=named("f58"), user="x" * 1000)
        head, _, body = data.partition(b"\r\n\r\n")
        wire.send(head + b"\r\n\r\n")
        answer = asyncio.ensure_future(wire.response())  # noqa: TID251  # awaited below
        for byte in body:
            wire.send(bytes([byte]))
            if (await asyncio.wait({answer}, timeout=0.05))[0]:
                break
        refused = await answer
    assert (refused.status, refused.code) == (408, "request_timeout")
    assert refused.header("x-should-retry") == "false"
    assert refused.header("connection") == "close"


async def idle_flood(world: World) -> None:
    began = time.monotonic()
    async with contextlib.AsyncExitStack() as stack:
        wires = [await stack.enter_async_context(connect(door(world).port)) for _ in range(200)]
        assert (await ask(door(world).port, get("/live"))).status == 200
        assert {end for end, _ in await asyncio.gather(*(wire.to_end() for wire in wires))} == {b""}
    assert time.monotonic() - began < at_most(4)


async def too_large(world: World) -> None:
    port = door(world).port
    url = "/v1/chat/completions"
    many = "".join(f"X-{number}: 1\r\n" for number in range(1000))
    kind = "Content-Type: application/json\r\n"
    announced = f"POST {url} HTTP/1.1\r\nHost: a\r\n{AUTH}{kind}Content-Length: 2147483648\r\n\r\n".encode()
    for data, statuses in (
        (get("/live", head=f"X-Large: {'x' * 100_000}\r\n"), (431,)),
        (get("/live", head=many), (400, 431)),
        (announced, (413,)),
    ):
        answer = await ask(port, data)
        assert answer.status in statuses
        assert answer.header("connection") == "close"
    async with connect(port) as wire:
        wire.send(f"POST {url} HTTP/1.1\r\nHost: a\r\n{AUTH}{kind}Transfer-Encoding: chunked\r\n\r\n".encode())
        piece = b"10000\r\n" + b" " * 65536 + b"\r\n"
        answered = asyncio.ensure_future(wire.response())  # noqa: TID251  # awaited below
        sent = 0
        while not answered.done() and sent < 100:
            wire.send(piece)
            sent += 1
            await asyncio.wait({answered}, timeout=0.01)
        assert (await answered).status == 413
        assert sent < 50


async def ambiguous(world: World) -> None:
    for name, data in framing.AMBIGUOUS.items():
        answer = await only_answer(door(world).port, data)
        assert answer.status == 400 or (name, answer.status) == ("no version", 505), (name, answer.status)


async def pipelined(world: World) -> None:
    gateway = door(world)
    count = 10_000
    before = gateway.memory()
    async with connect(gateway.port) as wire:
        wire.send(b"".join(get("/live", head=f"X-Request-ID: p{number}\r\n") for number in range(count)))
        for number in range(count):
            answer = await wire.response("GET")
            assert (answer.status, answer.header("x-request-id")) == (200, f"p{number}")
            if number % 2500 == 100:
                began = time.monotonic()
                assert (await ask(gateway.port, get("/live"))).status == 200
                assert time.monotonic() - began < at_most(1)
    assert gateway.memory() - before < 32 * MEBIBYTE


async def twice(world: World) -> None:
    key = f"Authorization: Bearer {KEY}\r\n"
    for head in (
        key + key,
        f"{key}Authorization: Bearer other\r\n",
        f"{AUTH}Content-Type: application/json\r\nContent-Type: application/json\r\n",
        f"{AUTH}Content-Type: application/json\r\nContent-Type: text/plain\r\n",
        f"{AUTH}Host: gateway\r\n",
        f"{AUTH}Host: elsewhere\r\n",
    ):
        answer = await only_answer(door(world).port, chat("sim-fast", head=head))
        assert (answer.status, answer.code) == (400, "bad_request")


async def bad_bodies(world: World) -> None:
    good = chat("sim-fast").partition(b"\r\n\r\n")[2]
    bodies = {
        "bad UTF-8": good.replace(b"hello", b"\xff\xfe"),
        "UTF-16": good.decode().encode("utf-16"),
        "BOM": b"\xef\xbb\xbf" + good,
        "NaN": good[:-1] + b',"temperature":NaN}',
        "1e400": good[:-1] + b',"temperature":1e400}',
        "keys twice": good[:-1] + b',"model":"other"}',
        "100k deep": good[:-1] + b',"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        "5000 digits": good[:-1] + b',"a":' + b"9" * 5000 + b"}",
        "a list": b"[" + good + b"]",
        "nothing": b"",
        "half a surrogate": good[:-1] + b',"a":"\\ud83d"}',
        "text": b"hello",
    }
    before = len(world.upstream.ledger)
    cpu = door(world).cpu()
    for name, body in bodies.items():
        answer = await ask(door(world).port, request("/v1/chat/completions", body, head=AUTH))
        assert (answer.status, answer.code) == (400, "invalid_json"), name
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/json5"):
        data = request("/v1/chat/completions", good, head=f"{AUTH}Content-Type: {kind}\r\n")
        answer = await ask(door(world).port, data)
        assert (answer.status, answer.code) == (415, "unsupported_media_type")
    assert door(world).cpu() - cpu < at_most(0.5)
    assert len(world.upstream.ledger) == before


async def compressed(world: World) -> None:
    good = chat("sim-fast").partition(b"\r\n\r\n")[2]
    before = door(world).memory()
    for coding, body in (
        ("gzip", gzip.compress(good)),
        ("deflate", zlib.compress(good)),
        ("gzip", gzip.compress(b" " * 10_000_000)),
    ):
        head = f"{AUTH}Content-Encoding: {coding}\r\n"
        answer = await ask(door(world).port, request("/v1/chat/completions", body, head=head))
        assert (answer.status, answer.code) == (415, "unsupported_content_encoding")
    assert door(world).memory() - before < 4 * MEBIBYTE


async def expecting(world: World) -> None:
    for key, length, status in (("bad", 100, 401), (KEY, 50_000_000, 413)):
        head = f"X-API-Key: {key}\r\nExpect: 100-continue\r\nContent-Type: application/json\r\nContent-Length: {length}"
        data = f"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\n{head}\r\n\r\n".encode()
        answer = await only_answer(door(world).port, data)
        assert answer.status == status


async def odd_protocols(world: World) -> None:
    port = door(world).port
    async with connect(port) as wire:
        wire.send(chat("sim-fast", head=AUTH, version="1.0"))
        received, _ = await wire.to_end()
    head, _, body = received.partition(b"\r\n\r\n")
    assert b" 200 " in head.splitlines()[0]
    assert b"chunked" not in head.lower()
    assert json.loads(body)["object"] == "chat.completion"
    assert (await ask(port, request("/live", method="HEAD"))).status == 200
    for data, statuses in (
        (request("/v1/chat/completions", method="OPTIONS", head=AUTH), (204, 405)),
        (b"TRACE /v1/models HTTP/1.1\r\nHost: a\r\n\r\n", (400, 405)),
        (b"CONNECT elsewhere:443 HTTP/1.1\r\nHost: elsewhere:443\r\n\r\n", (400, 405)),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400, 505)),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", (400,)),
    ):
        answer = await ask(port, data)
        assert answer.status in statuses
        assert answer.json["error"]["code"]


async def retry_storm(world: World) -> None:
    """The default budget, breakers and backoff; both providers are out."""
    count = 200
    settings = {
        "providers": {name: world.provider("storm") for name in ("one", "two")},
        "failover": {},
        "circuit_breaker": {"timeout": "500ms"},
    }
    storm = world.upstreams["storm"]
    storm.direct("status=503")
    async with (
        world.serving("storm", settings) as gateway,
        openai.AsyncOpenAI(base_url=gateway.base_url, api_key=KEY) as client,
    ):
        storm.ledger.clear()

        async def one() -> bool:
            try:
                await client.chat.completions.create(model="sim-fast", messages=[{"role": "user", "content": "a"}])
            except openai.APIStatusError as error:
                if error.status_code not in (502, 503):
                    raise
                return False
            return True

        began = time.monotonic()
        assert not any(await asyncio.gather(*(one() for _ in range(count))))
        allowed = 1.2 * count + 20 + (time.monotonic() - began)
        assert len(storm.ledger) <= allowed, len(storm.ledger)
        storm.direct("")
        async with asyncio.timeout(PATIENCE):
            while not await one():
                pass
        assert await one()


async def idle_keep_alives(world: World) -> None:
    count = 2000
    async with world.serving("idle", {"providers": {"sim": world.provider()}}) as gateway:
        for _ in range(20):
            await ask(gateway.port, get("/live"))
        before = gateway.memory()
        async with contextlib.AsyncExitStack() as stack:
            wires = []
            for _ in range(count):
                wire = await stack.enter_async_context(connect(gateway.port))
                wire.send(get("/live"))
                assert (await wire.response("GET")).status == 200
                wires.append(wire)
            each = (gateway.memory() - before) / count
            assert each < 20_000, each
            wires[0].send(get("/live"))
            assert (await wires[0].response("GET")).status == 200


async def bad_keys(world: World) -> None:
    codes: Counter[tuple[int, str]] = Counter()
    shapes = ["x", "' OR 1=1--", "x" * 8000, "Bearer", "sk-" + "0" * 48]
    cpu = door(world).cpu()
    before = len(world.upstream.ledger)
    async with connect(door(world).port) as wire:
        for number in range(1000):
            head = f"X-API-Key: {shapes[number % len(shapes)]}{number}\r\n"
            wire.send(get("/v1/files", head=head))
            answer = await wire.response("GET")
            codes[answer.status, answer.code] += 1
    # An address may try so many in a minute (limits.keyless), and a few come back while they are tried.
    assert codes.keys() == {(401, "invalid_api_key"), (429, "rate_limit_exceeded")}
    assert 600 <= codes[401, "invalid_api_key"] <= 700
    assert door(world).cpu() - cpu < at_most(1.0)
    assert len(world.upstream.ledger) == before
