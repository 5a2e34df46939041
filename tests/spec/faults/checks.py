"""What takes more than one call to show, on the side of the providers."""

import asyncio
import contextlib
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import openai
import pytest

from proxy.upstream.connections import Connections, verified_tls
from tests.rigs.built import ROOT
from tests.rigs.clock import at_most
from tests.rigs.simulator import Send, program
from tests.upstream.conftest import Recorded

from ..wire import Response, ask, chat, connect, request
from .world import BACKUP, KEY, Gateway, World, full_port

AUTH = f"X-API-Key: {KEY}\r\n"


def named(key: str) -> str:
    """The headers of a call with that request id."""
    return f"{AUTH}X-Request-ID: {key}\r\n"


async def call(world: World, model: str, key: str, **fields: Any) -> Response:
    """One call of `main`."""
    return await ask(world.main.port, chat(model, head=named(key), **fields))


def from_second(answer: Response) -> bool:
    return (answer.status, answer.header("x-hapax-provider")) == (200, "second") and b"FIRST" not in answer.body


async def at_once(world: World) -> None:
    for _ in range(3):
        name = world.spare("status=503")
        assert from_second(await call(world, f"{name}-pair", name))
        first, second = (await world.main.trail(name))["attempts"]
        assert second["began_ms"] - first["ended_ms"] < at_most(50)


async def nothing_sent_past_tls(world: World) -> None:
    for name in ("expired", "elsewhere", "own", "old"):
        assert len(world.upstreams[f"tls {name}"].ledger) == 0
    assert len(world.upstreams["tls good"].ledger), "the same client got through to a good one"


Found = list[tuple[Any, ...]]


@contextlib.contextmanager
def resolver(answer: Callable[[], Any]) -> Any:
    """The resolver's function of this loop replaced; *answer* makes its result, or a coroutine of it."""
    loop = asyncio.get_running_loop()
    asked = loop.getaddrinfo

    async def getaddrinfo(*_: Any, **__: Any) -> Any:
        found = answer()
        return await found if asyncio.iscoroutine(found) else found

    loop.getaddrinfo = getaddrinfo  # type: ignore[method-assign]
    try:
        yield
    finally:
        loop.getaddrinfo = asked  # type: ignore[method-assign]


@contextlib.asynccontextmanager
async def pool_of(url: str, timeout: float = 30.0) -> AsyncIterator[Connections]:
    pool = Connections(url, connect_timeout=timeout)
    yield pool
    await pool.close()


def address(port: int, host: str = "127.0.0.1") -> tuple[Any, ...]:
    return (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port))


ASK = b"GET /v1/models HTTP/1.1\r\nHost: provider.example\r\n\r\n"


async def dns_failures(world: World) -> None:
    port = world.upstream.port
    for error in (socket.EAI_NONAME, socket.EAI_AGAIN, socket.EAI_FAIL):

        def fails(error: int = error) -> Found:
            raise socket.gaierror(error, "simulated")

        async with pool_of(f"http://provider.example:{port}/v1") as pool:
            with resolver(fails):
                sink = Recorded()
                pool.send(ASK, sink)
                loss = await sink.loss()
                assert (loss.code, loss.sent) == ("upstream_connect_error", False)
            with resolver(lambda: [address(port)]):
                sink = Recorded()
                pool.send(ASK, sink)
                assert (await sink.answer())[0] == 200
            pool._resolved_at = float("-inf")  # the answer has grown old
            with resolver(fails):
                sink = Recorded()
                pool.send(ASK, sink)
                assert (await sink.answer())[0] == 200
    async with pool_of(f"http://provider.example:{port}/v1", 0.3) as pool:
        with resolver(lambda: asyncio.Event().wait()):
            sink = Recorded()
            pool.send(ASK, sink)
            loss = await sink.loss()
            assert (loss.code, loss.sent) == ("upstream_connect_timeout", False)


async def bad_name(world: World) -> None:
    # Longer than a label may be: no resolver is asked.
    providers = {
        "bad": {**world.provider(), "base_url": f"http://{'a' * 70}.example/v1"},
        "second": world.provider("second"),
    }
    models = {"alone": {"targets": ["bad/m"]}, "pair": {"targets": ["bad/m", BACKUP]}}
    async with world.serving("names", {"providers": providers, "models": models}) as gateway:
        answer = await ask(gateway.port, chat("alone", head=AUTH))
        assert (answer.status, answer.code) == (502, "upstream_connect_error")
        assert from_second(await ask(gateway.port, chat("pair", head=AUTH)))


async def dead_and_live(world: World) -> None:
    with contextlib.ExitStack():
        async with contextlib.AsyncExitStack() as stack:
            port = world.upstream.port
            await full_port(stack, "127.0.0.2", port)
            began = time.monotonic()
            async with pool_of(f"http://provider.example:{port}/v1", 60.0) as pool:
                with resolver(lambda: [address(port, "127.0.0.2"), address(port)]):
                    sink = Recorded()
                    pool.send(ASK, sink)
                    assert (await sink.answer())[0] == 200
            assert 0.2 < time.monotonic() - began < at_most(1.0)


async def rebinding(world: World) -> None:
    good, elsewhere = world.upstreams["tls good"], world.upstreams["tls elsewhere"]
    verified_tls.cache_clear()
    authority = str(world.directory / "authority.pem")
    verified_tls().load_verify_locations(authority)
    try:
        async with pool_of(f"https://provider.example:{elsewhere.port}/v1") as pool:
            with resolver(lambda: [address(elsewhere.port)]):
                sink = Recorded()
                pool.send(ASK, sink)
                assert (await sink.answer())[0] == 200
        seen = len(good.ledger)
        async with pool_of(f"https://provider.example:{elsewhere.port}/v1") as pool:
            with resolver(lambda: [address(good.port)]):
                sink = Recorded()
                pool.send(ASK, sink)
                loss = await sink.loss()
        assert (loss.code, loss.sent, loss.reason) == (
            "upstream_connect_error",
            False,
            "TLS: CERTIFICATE_VERIFY_FAILED",
        )
        assert len(good.ledger) == seen
        elsewhere.ledger.clear()
    finally:
        verified_tls.cache_clear()


async def _stale(world: World, how: str) -> None:
    name = world.spare(f"keepalive_drop={how}")
    before = world.upstream.accepted
    for turn in range(20):
        answer = await call(world, name, f"{name}-{turn}")
        assert (answer.status, answer.header("x-hapax-attempts")) == (200, "1")
    assert world.upstream.accepted - before >= 10, "connections were dropped"
    assert (await world.main.provider(name))["failed_attempts"] == 0


async def stale_fin(world: World) -> None:
    await _stale(world, "fin")


async def stale_rst(world: World) -> None:
    await _stale(world, "rst")


async def stale_silence(world: World) -> None:
    name = world.spare("keepalive_drop=silence", "quick")
    assert (await call(world, name, name)).status == 200
    answer = await call(world, name, f"{name}-2", stream=True)
    assert (answer.status, answer.code) == (504, "upstream_timeout")
    assert (await call(world, name, f"{name}-3")).status == 200
    world.upstream.aliases[name] = "sim-fault:id=FIRST,keepalive_drop=silence"
    name = world.spare("keepalive_drop=silence", "quick")
    assert (await call(world, name, name)).status == 200
    assert from_second(await call(world, f"{name}-pair", f"{name}-2", stream=True))


async def frozen_provider(world: World) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "proxy", "simulate", "--port", "0"),
        cwd=world.directory,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        banner = (await process.stdout.readline()).decode()
        port = int(banner.partition("127.0.0.1:")[2].partition("/")[0])
        quick = {"connect": "500ms", "first_token": "500ms", "idle": "500ms", "total": "5s"}
        providers = {
            "frozen": {**world.provider(timeouts=quick), "base_url": f"http://127.0.0.1:{port}/v1"},
            "second": world.provider("second"),
        }
        models = {"alone": {"targets": ["frozen/sim-fast"]}, "pair": {"targets": ["frozen/sim-fast", BACKUP]}}
        async with world.serving("frozen", {"providers": providers, "models": models}) as gateway:
            alone, pair = chat("alone", head=AUTH, stream=True), chat("pair", head=AUTH, stream=True)
            assert (await ask(gateway.port, alone)).header("x-hapax-provider") == "frozen"
            process.send_signal(signal.SIGSTOP)
            answer = await ask(gateway.port, alone)
            assert (answer.status, answer.code) == (504, "upstream_timeout")
            assert from_second(await ask(gateway.port, pair))
            process.send_signal(signal.SIGCONT)
            assert (await ask(gateway.port, alone)).header("x-hapax-provider") == "frozen"
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        await process.communicate()


async def no_descriptors(world: World) -> None:
    def few() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

    settings = {
        "providers": {"sim": world.provider()},
        "server": {"max_requests": 1000},
        "circuit_breaker": {"failure_threshold": 1, "timeout": "60s"},
        # Its files come and go; here it must be a provider's connection that finds none left.
        "store": {"url": ""},
    }
    async with world.serving("few", settings, few) as gateway, contextlib.AsyncExitStack() as stack:
        held = await stack.enter_async_context(connect(gateway.port))
        # Streams that never end take two files each, until none is left for a provider's connection.
        refusal = None
        for number in range(60):
            wire = await stack.enter_async_context(connect(gateway.port))
            wire.send(chat("sim-fault:stall@3", head=named(f"f11-{number}"), stream=True))
            head = await wire.until(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                refusal = head
                break
        assert refusal is not None
        assert refusal.startswith(b"HTTP/1.1 503 "), refusal
        assert b"Retry-After: 1\r\n" in refusal
        crowd = [await stack.enter_async_context(connect(gateway.port)) for _ in range(40)]
        for _ in range(20):
            held.send(chat("sim-fast", head=AUTH))
            answer = await held.response()
            assert (answer.status, answer.code) == (503, "overloaded")
        cpu = gateway.cpu()
        await asyncio.sleep(2)  # a while in which there is nothing to do
        assert gateway.cpu() - cpu < at_most(0.1), "spinning"
        assert len(crowd) == 40
        await stack.aclose()
        await _recovers(gateway)
        assert (await gateway.provider("sim"))["failed_attempts"] == 0


async def _recovers(gateway: Gateway) -> None:
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                if (await ask(gateway.port, chat("sim-fast", head=AUTH))).status == 200:
                    return


async def not_repeated(world: World) -> None:
    name = world.spare("fin")
    answer = await ask(world.main.port, request("/v1/batches", {"model": f"{name}-pair"}, head=named(name)))
    assert (answer.status, answer.code) == (502, "upstream_truncated")
    assert answer.header("x-should-retry") == "false"
    assert len(world.upstream.of(name)) == 1
    assert world.second.of(name) == []


async def no_redirect(world: World) -> None:
    canary = world.upstreams["canary"]
    name = world.spare(f"redirect={canary.base_url}/chat/completions")
    answer = await call(world, name, name)
    assert (answer.status, answer.code) == (502, "upstream_redirect")
    assert answer.header("location") is None
    assert canary.accepted == 0


async def parked_key(world: World) -> None:
    name = world.spare("status=401")
    assert from_second(await call(world, f"{name}-pair", f"{name}-1"))
    assert (await world.main.provider(name))["parked_keys"] == [1]
    assert from_second(await call(world, f"{name}-pair", f"{name}-2"))
    assert world.upstream.of(f"{name}-2") == []
    answer = await call(world, name, f"{name}-3")
    assert answer.status in (502, 503)
    assert answer.header("x-should-retry") == "false", "a parked key does not come back in a second"
    assert world.upstream.of(f"{name}-3") == []


async def short_rest(world: World) -> None:
    name = world.spare("status=429,retry_after_ms=200,times=1")
    began = time.monotonic()
    assert (await call(world, name, name)).status == 200
    assert time.monotonic() - began > 0.2
    assert len(world.upstream.of(name)) == 2
    assert (await world.main.provider(name))["failed_attempts"] == 0


async def long_rest(world: World) -> None:
    name = world.spare("status=429,retry_after=45,times=1")
    for turn in range(3):
        assert from_second(await call(world, f"{name}-pair", f"{name}-{turn}"))
        assert len(world.upstream.of(f"{name}-{turn}")) == (turn == 0)
    assert (await world.main.trail(f"{name}-2"))["skipped"] == {f"{name}/{name}": "resting"}


async def spent_once(world: World) -> None:
    name = world.spare("code=insufficient_quota")
    async with openai.AsyncOpenAI(base_url=world.main.base_url, api_key=KEY) as client:
        with pytest.raises(openai.RateLimitError) as raised:
            await client.chat.completions.create(
                model=name, messages=[{"role": "user", "content": "a"}], extra_headers={"X-Request-ID": name}
            )
    assert raised.value.code == "insufficient_quota"
    assert len(world.upstream.of(name)) == 1


async def surplus(world: World) -> None:
    name = world.spare("")
    del world.upstream.aliases[name]
    body = b'{"id":"FIRST","choices":[{}]}'
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
    foreign = head + b'11\r\n\r\n{"a":"evil"'
    world.upstream.book[name] = program([Send(head + b"%d\r\n\r\n" % len(body) + body + foreign)])
    for turn in range(3):
        answer = await call(world, name, f"{name}-{turn}")
        assert (answer.status, answer.body) == (200, body)


async def comments_for_ever(world: World) -> None:
    name = world.spare("comments_forever@5,pace=20ms", "quick")
    async with connect(world.main.port) as wire:
        wire.send(chat(name, head=named(name), stream=True))
        await wire.until(b"\r\n\r\n")
        received, how = await wire.to_end()
    assert how == "fin"
    assert received.count(b": keep-alive") > 10
    assert b'"code":"upstream_timeout"' in received
    assert not received.endswith(b"0\r\n\r\n")
    [record] = world.upstream.of(name)
    async with asyncio.timeout(at_most(1)):
        await record.closed()
    assert (await world.main.provider(name))["failed_attempts"] == 1


async def _whole_at_done(world: World, directives: str) -> None:
    name = world.spare(directives)
    answer = await call(world, name, name, stream=True)
    assert answer.status == 200
    assert answer.body.count(b'"finish_reason":"stop"') == 1
    assert b"[DONE]\n\n" in answer.body
    assert (await world.main.trail(name))["outcome"] == "ok"
    assert (await world.main.provider(name))["failed_attempts"] == 0


async def after_done(world: World) -> None:
    await _whole_at_done(world, "after_done")
    await _whole_at_done(world, "after_done,segment=200")


async def done_twice(world: World) -> None:
    await _whole_at_done(world, "done_twice")
    await _whole_at_done(world, "done_twice,segment=200")


async def hang_after_done(world: World) -> None:
    began = time.monotonic()
    name = world.spare("hang_after_done")
    answer = await call(world, name, name, stream=True)
    assert answer.body.endswith(b"data: [DONE]\n\n")
    assert time.monotonic() - began < at_most(1)
    [record] = world.upstream.of(name)
    async with asyncio.timeout(at_most(1.9)):
        await record.closed()
    assert (await world.main.provider(name))["failed_attempts"] == 0
