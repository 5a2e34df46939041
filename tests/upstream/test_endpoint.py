"""The exact bytes each provider type is asked with."""

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from proxy import __version__
from proxy.upstream.endpoint import LONGEST_JOINED, Endpoint
from proxy.upstream.presets import PRESETS

from .conftest import Recorded

BODY = b'{"model":"m"}'
LINES = b"accept: */*\r\ncontent-type: application/json\r\n"


class Provider:
    """Answers every request, and keeps its bytes."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                _, found, rest = head.partition(b"Content-Length: ")
                body = await reader.readexactly(int(rest.partition(b"\r\n")[0]) if found else 0)
                if b"Transfer-Encoding: chunked" in head:
                    body = await reader.readuntil(b"0\r\n\r\n")
                self.requests.append(head + body)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionResetError):
            writer.transport.abort()


@asynccontextmanager
async def provider() -> AsyncIterator[tuple[Provider, str]]:
    """A provider, and where it is."""
    running = Provider()
    tasks: list[asyncio.Task[None]] = []

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.append(asyncio.get_running_loop().create_task(running.talk(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield running, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        async with asyncio.timeout(30):
            await asyncio.gather(*tasks)
            await server.wait_closed()


async def asked(
    kind: str,
    *,
    base: str = "/v1",
    keys: Sequence[str] = ("sk-1",),
    headers: Sequence[tuple[str, str]] = (),
    path: str = "/chat/completions",
    lines: bytes = LINES,
    method: str = "POST",
    body: bytes | None = BODY,
    turns: Sequence[int] = (0,),
) -> list[bytes]:
    """The requests a provider of that type gets, one for each key index in *turns*; its address reads HOST in them."""
    async with provider() as (running, url):
        endpoint = Endpoint("p", PRESETS[kind], url + base, keys, headers, 2.0)
        for key in turns:
            sink = Recorded()
            endpoint.send(method, path, lines, "req-1", body, key, sink)
            assert await sink.answer() == (200, b"", True)
        await endpoint.close()
    return [request.replace(url.removeprefix("http://").encode(), b"HOST") for request in running.requests]


def expected(start: str, auth: str, lines: bytes = LINES, body: bytes = BODY) -> bytes:
    head = (
        f"{start} HTTP/1.1\r\nHost: HOST\r\nUser-Agent: hapax/{__version__}\r\nVia: 1.1 hapax\r\n"
        f"Accept-Encoding: identity\r\n{auth}"
    )
    return head.encode() + lines + b"X-Request-ID: req-1\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


BEARER = "Authorization: Bearer sk-1\r\n"


@pytest.mark.parametrize(
    ("kind", "auth"),
    [
        ("openai", BEARER),
        ("anthropic", BEARER),
        ("gemini", BEARER),
        ("openrouter", BEARER),
        ("deepseek", BEARER),
        ("xai", BEARER),
        ("ollama", BEARER),
        ("compatible", BEARER),
        ("simulator", BEARER),
    ],
)
@pytest.mark.parametrize(
    ("base", "target"),
    [
        ("/v1", "/v1/chat/completions"),
        ("/v1/", "/v1/chat/completions"),
        ("", "/chat/completions"),
        ("/v1beta/openai", "/v1beta/openai/chat/completions"),
    ],
)
async def test_a_provider_is_asked_below_its_base_url_with_its_own_key(
    kind: str, auth: str, base: str, target: str
) -> None:
    assert await asked(kind, base=base) == [expected(f"POST {target}", auth)]


@pytest.mark.parametrize("base", ["", "/", "/openai/v1", "/openai/v1/"])
async def test_azure_wants_its_own_path_and_header(base: str) -> None:
    assert await asked("azure", base=base) == [
        expected("POST /openai/v1/chat/completions", "api-key: sk-1\r\n"),
    ]


async def test_anthropics_own_api_wants_its_own_headers() -> None:
    assert await asked("anthropic", path="/messages") == [
        expected("POST /v1/messages", "x-api-key: sk-1\r\nanthropic-version: 2023-06-01\r\n")
    ]


async def test_a_client_may_name_its_own_version_of_anthropics_api() -> None:
    lines = LINES + b"anthropic-version: 2024-01-01\r\n"
    assert await asked("anthropic", path="/messages", lines=lines) == [
        expected("POST /v1/messages", "x-api-key: sk-1\r\n", lines)
    ]


@pytest.mark.parametrize("line", [b"accept: Authorization: x\r\n", b"openai-beta: Authorization: \r\n"])
async def test_no_value_of_a_client_keeps_the_key_from_being_sent(line: bytes) -> None:
    assert await asked("openai", lines=line) == [expected("POST /v1/chat/completions", BEARER, line)]


async def test_without_a_key_no_credential_is_sent() -> None:
    assert await asked("ollama", keys=()) == [expected("POST /v1/chat/completions", "")]


async def test_of_several_keys_the_one_that_was_chosen_is_sent() -> None:
    requests = await asked("openai", keys=("a", "b"), turns=(0, 1, 0, 0))
    assert [request.partition(b"Bearer ")[2][:1] for request in requests] == [b"a", b"b", b"a", b"a"]


async def test_an_upload_is_sent_with_the_key_that_was_chosen() -> None:
    async with provider() as (running, url):
        endpoint = Endpoint("p", PRESETS["openai"], url + "/v1", ["a", "b"], (), 2.0)
        sink = Recorded()
        call = endpoint.send_streamed("POST", "/files", b"", "req-1", 3, 1, sink)
        await call.write(b"abc")
        call.finish()
        assert await sink.answer() == (200, b"", True)
        await endpoint.close()
    (request,) = running.requests
    assert b"Authorization: Bearer b\r\n" in request
    assert b"Bearer a" not in request


async def test_extra_headers_are_sent_as_they_are() -> None:
    assert await asked("openai", headers=[("OpenAI-Organization", "org-1"), ("X-Title", "caf\xe9")]) == [
        expected("POST /v1/chat/completions", "").replace(
            b"Accept-Encoding: identity\r\n",
            b"Accept-Encoding: identity\r\nOpenAI-Organization: org-1\r\nX-Title: caf\xe9\r\n" + BEARER.encode(),
        )
    ]


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("authorization", BEARER.encode()),
        ("user-agent", f"User-Agent: hapax/{__version__}\r\n".encode()),
        ("VIA", b"Via: 1.1 hapax\r\n"),
        ("accept-encoding", b"Accept-Encoding: identity\r\n"),
        ("Host", b"Host: HOST\r\n"),
    ],
)
async def test_an_extra_header_wins_over_ours_of_the_same_name(name: str, ours: bytes) -> None:
    (request,) = await asked("openai", headers=[(name, "theirs")])
    assert ours not in request
    assert request.count(f"{name}: theirs\r\n".encode()) == 1
    assert request.lower().count(b"\r\n%b:" % name.lower().encode()) == 1


@pytest.mark.parametrize("name", ["OpenAI-Beta", "Accept", "Content-Type", "anthropic-version"])
async def test_an_extra_header_wins_over_the_clients_of_the_same_name(name: str) -> None:
    lines = LINES + b"openai-beta: client\r\nanthropic-version: client\r\n"
    (request,) = await asked("anthropic", path="/messages", headers=[(name, "operator")], lines=lines)
    assert request.lower().count(b"\r\n%b:" % name.lower().encode()) == 1
    assert f"\r\n{name}: operator\r\n".encode() in request


@pytest.mark.parametrize("size", [LONGEST_JOINED, LONGEST_JOINED + 1, 1_000_000])
async def test_a_body_arrives_whole_on_a_new_connection_and_on_one_that_is_used_again(size: int) -> None:
    body = (BODY * (size // len(BODY) + 1))[:size]
    requests = await asked("compatible", body=body, turns=(0, 0))
    assert requests == [expected("POST /v1/chat/completions", BEARER, body=body)] * 2


async def test_a_long_body_is_not_copied_for_the_time_it_waits() -> None:
    body = bytes(1_000_000)
    async with provider() as (_, url):
        endpoint = Endpoint("p", PRESETS["compatible"], url + "/v1", ("sk-1",), (), 2.0)
        tracemalloc.start()
        try:
            sink = Recorded()
            endpoint.send("POST", "/chat/completions", LINES, "req-1", body, 0, sink)
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert held < 100_000
        assert await sink.answer() == (200, b"", True)
        await endpoint.close()


async def test_a_request_without_a_body_has_no_length() -> None:
    (request,) = await asked("openai", method="GET", path="/files?limit=2", lines=b"", body=None)
    assert (
        request
        == (
            f"GET /v1/files?limit=2 HTTP/1.1\r\nHost: HOST\r\nUser-Agent: hapax/{__version__}\r\nVia: 1.1 hapax\r\n"
            f"Accept-Encoding: identity\r\n{BEARER}X-Request-ID: req-1\r\n\r\n"
        ).encode()
    )


@pytest.mark.parametrize(
    ("length", "framing", "wire"),
    [(3, b"Content-Length: 3", b"abc"), (None, b"Transfer-Encoding: chunked", b"3\r\nabc\r\n0\r\n\r\n")],
)
async def test_an_upload_is_framed_as_the_client_framed_it(length: int | None, framing: bytes, wire: bytes) -> None:
    async with provider() as (running, url):
        endpoint = Endpoint("p", PRESETS["openai"], url + "/v1", ["sk-1"], (), 2.0)
        sink = Recorded()
        call = endpoint.send_streamed("POST", "/files", b"content-type: a/b\r\n", "req-1", length, 0, sink)
        await call.write(wire)
        call.finish()
        assert await sink.answer() == (200, b"", True)
        await endpoint.close()
    (request,) = running.requests
    assert request.endswith(b"content-type: a/b\r\nX-Request-ID: req-1\r\n" + framing + b"\r\n\r\n" + wire)


@pytest.mark.parametrize(
    ("kind", "path", "prefix"),
    [("openai", "/models", ""), ("anthropic", "/models?limit=1000", ""), ("gemini", "/models", "models/")],
)
def test_a_model_list_is_asked_for_as_the_provider_pages_it(kind: str, path: str, prefix: str) -> None:
    endpoint = Endpoint("p", PRESETS[kind], "http://127.0.0.1:9/v1", (), (), 2.0)
    assert (endpoint.models_path, endpoint.model_prefix) == (path, prefix)


@pytest.mark.parametrize("show", [repr, str])
def test_it_never_shows_a_key(show: Callable[[Any], str]) -> None:
    endpoint = Endpoint("p", PRESETS["openai"], "http://127.0.0.1:9/v1", ["sk-secret"], [("X", "hidden")], 2.0)
    assert "sk-secret" not in show(endpoint)
    assert "hidden" not in show(endpoint)
