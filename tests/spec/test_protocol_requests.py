"""A provider sees our request, never the client's; a body is taken only once its head has passed."""

import asyncio
import re

import pytest

from tests.conftest import GatewayFactory
from tests.rigs.clock import at_most
from tests.rigs.simulator import Send, Simulator

from .wire import QUESTION, Wire, ask, calls, chat, connect, get, only_answer, parse_head, target

ONE = b'{"choices":[{}]}'
"""The least there is in an answer to a chat."""
ODD = [
    "Accept-Charset: utf-8",
    "Accept-Encoding: gzip, br",
    "Accept-Language: de",
    "Authorization: Bearer client-key",
    "Cache-Control: no-store",
    "CF-Connecting-IP: 192.0.2.1",
    "CF-Ray: 1",
    "Client-IP: 192.0.2.1",
    "Connection: keep-alive, x-secret, Traceparent",
    "Cookie: session=1",
    "Cookie2: $Version=1",
    "Date: Thu, 01 Jan 1970 00:00:00 GMT",
    "DNT: 1",
    "Early-Data: 1",
    "Fastly-Client-IP: 192.0.2.1",
    "Forwarded: for=192.0.2.1;host=elsewhere",
    "From: somebody@example.com",
    "Front-End-Https: on",
    "Helicone-Auth: Bearer other-key",
    "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
    "If-Match: *",
    "If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT",
    "Keep-Alive: timeout=5",
    "Link: </a>; rel=preload",
    "Max-Forwards: 3",
    "OpenAI-Organization: org-client",
    "OpenAI-Project: proj-client",
    "Origin: https://app.example.com",
    "Pragma: no-cache",
    "Priority: u=1",
    "Proxy-Authorization: Basic YTpi",
    "Proxy-Connection: keep-alive",
    "Range: bytes=0-1",
    "Referer: https://app.example.com/",
    "Sec-Fetch-Mode: cors",
    "Surrogate-Capability: a",
    "TE: trailers, gzip",
    "Trailer: X-Late",
    "True-Client-IP: 192.0.2.1",
    "User-Agent: somebody/1.0",
    "Via: 1.1 elsewhere",
    "Warning: 199 - odd",
    "X-Amz-Security-Token: token",
    "X-API-Key: client-key",
    "X-Client-IP: 192.0.2.1",
    "X-Envoy-Original-Path: /admin",
    "X-Envoy-Retry-On: 5xx",
    "X-Forwarded-For: 192.0.2.1",
    "X-Forwarded-Host: elsewhere",
    "X-Forwarded-Port: 1",
    "X-Forwarded-Proto: https",
    "X-HTTP-Method-Override: DELETE",
    "X-Original-URL: /admin",
    "X-Real-IP: 192.0.2.1",
    "X-Rewrite-URL: /admin",
    "X-Secret: secret",
    "X-Simulator: status=500",
    "X-Stainless-Lang: js",
    "X-Stainless-Timeout: 600",
    "X-Unknown: 1",
]
ALLOWED = {
    b"accept": b"application/json",
    b"anthropic-beta": b"tools-2024",
    b"idempotency-key": b"once",
    b"openai-beta": b"assistants=v2",
    b"tracestate": b"a=1",
}
OURS = {b"host", b"user-agent", b"via", b"accept-encoding", b"content-length", b"content-type", b"x-request-id"}


async def test_of_sixty_odd_headers_none_reaches_the_provider(gateway: GatewayFactory, simulator: Simulator) -> None:
    """The sixty-first, `Traceparent`, would be allowed but is named by `Connection`, as `X-Secret` is."""
    cors = {"cors": {"allow_origins": ["https://app.example.com"]}}
    running = await gateway({"providers": {"sim": target(simulator, api_key="provider-key")}, "server": cors})
    kept = [f"{name.decode()}: {value.decode()}" for name, value in ALLOWED.items()]
    head = "".join(f"{line}\r\n" for line in [*ODD, *kept, "Traceparent: 00-1-2-01"])
    answer = await ask(running.port, chat(head=head))
    assert (len(ODD), answer.status) == (60, 200)
    seen = {name.lower(): value for name, value in calls(simulator)[0].headers}
    assert len(calls(simulator)[0].headers) == len(seen)
    assert {name: seen.pop(name) for name in ALLOWED} == ALLOWED
    assert seen.pop(b"authorization") == b"Bearer provider-key"
    assert seen[b"host"] == f"127.0.0.1:{simulator.port}".encode()
    assert (seen[b"via"], seen[b"accept-encoding"]) == (b"1.1 hapax", b"identity")
    assert seen[b"user-agent"].startswith(b"hapax/")
    assert set(seen) == OURS


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_the_body_goes_on_with_a_length_of_our_own(
    gateway: GatewayFactory, simulator: Simulator, framing: str
) -> None:
    running = await gateway()
    data = chat()
    if framing == "chunked":
        head, _, body = data.partition(b"\r\n\r\n")
        start = b"\r\n".join(line for line in head.split(b"\r\n") if not line.startswith(b"Content-Length"))
        first, rest = body[:7], body[7:]
        chunks = b"%x;ext=1\r\n%b\r\n%x\r\n%b\r\n0\r\nX-Trailer: 1\r\n\r\n" % (len(first), first, len(rest), rest)
        data = start + b"\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks
    assert (await ask(running.port, data)).status == 200
    record = calls(simulator)[0]
    assert record.json()["messages"] == QUESTION
    assert record.header("content-length") == b"%d" % record.length
    assert record.header("transfer-encoding") is None
    assert record.header("x-trailer") is None
    assert (record.method, record.target, record.version) == (b"POST", b"/v1/chat/completions", "1.1")


async def test_a_get_goes_on_without_a_body(gateway: GatewayFactory, simulator: Simulator) -> None:
    running = await gateway()
    assert (await ask(running.port, get("/v1/files?limit=2"))).status == 200
    record = calls(simulator)[0]
    assert (record.method, record.target, record.length) == (b"GET", b"/v1/files?limit=2", 0)
    assert {name.lower() for name, _ in record.headers} == OURS - {b"content-length", b"content-type"}


async def test_headers_named_by_the_providers_connection_stay_here(
    gateway: GatewayFactory, simulator: Simulator
) -> None:
    """Also one that would pass if it were not named, and every hop-by-hop header."""
    running = await gateway()
    lines = (
        "Connection: close, X-Foo",
        "Connection: openai-version",
        "X-Foo: 1",
        "openai-version: 2020-10-01",
        "openai-processing-ms: 42",
        "Keep-Alive: timeout=5",
        "Proxy-Connection: keep-alive",
        "Proxy-Authenticate: Basic",
        "TE: trailers",
        "Trailer: X-Late",
        "Upgrade: h2c",
    )
    head = "".join(f"{line}\r\n" for line in lines).encode()
    answer_bytes = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 16\r\n%b\r\n%b" % (head, ONE)
    simulator.script([Send(answer_bytes)], match="/v1/chat/completions")
    answer = await ask(running.port, chat())
    assert (answer.status, answer.body) == (200, ONE)
    assert answer.header("openai-processing-ms") == "42"
    ours = {"connection", "x-foo", "openai-version", "keep-alive", "proxy-connection", "proxy-authenticate"}
    assert not answer.names & (ours | {"te", "trailer", "upgrade"})


class Mirror:
    """A port that leads to whatever port it is told later: how a provider can be the gateway itself."""

    def __init__(self) -> None:
        self.leads_to = 0
        self.answers: list[tuple[bytes, int]] = []
        """Request line and status of each call that came this way."""

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward one request and its answer."""
        asked = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: (\d+)", asked)
        body = await reader.readexactly(int(length[1]) if length else 0)
        async with connect(self.leads_to) as onward:
            onward.send(asked + body)
            head = await onward.until(b"\r\n\r\n")
            status, headers = parse_head(head)
            rest = await onward.reader.readexactly(int(dict(headers)["Content-Length"]))
        self.answers.append((asked.partition(b"\r\n")[0], status))
        writer.write(head + rest)
        writer.close()


async def test_a_gateway_that_is_its_own_provider_answers_once_and_does_not_loop(gateway: GatewayFactory) -> None:
    mirror = Mirror()
    server = await asyncio.start_server(mirror.carry, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        itself = {"type": "compatible", "base_url": f"http://127.0.0.1:{port}/v1", "models": ["sim-*"]}
        running = await gateway({"providers": {"itself": itself}})
        mirror.leads_to = running.port
        answer = await ask(running.port, chat())
        assert (answer.status, answer.code) == (502, "upstream_error")
        asked = [status for line, status in mirror.answers if line.startswith(b"POST")]
        assert asked == [508]


@pytest.mark.parametrize("via", ["1.1 hapax", "1.0 fred, 1.1 hapax (somewhere)", "1.1 fred\r\nVia: HTTP/1.1 hapax"])
async def test_a_request_that_passed_here_before_is_refused(
    gateway: GatewayFactory, simulator: Simulator, via: str
) -> None:
    running = await gateway()
    answer = await ask(running.port, chat(head=f"Via: {via}\r\n"))
    assert (answer.status, answer.code) == (508, "loop_detected")
    assert calls(simulator) == []


@pytest.mark.parametrize("via", ["1.1 fred", "1.1 not-hapax", "1.1 fred (hapax)"])
async def test_a_request_that_passed_elsewhere_is_answered(
    gateway: GatewayFactory, simulator: Simulator, via: str
) -> None:
    running = await gateway()
    assert (await ask(running.port, chat(head=f"Via: {via}\r\n"))).status == 200
    assert calls(simulator)[0].header("via") == b"1.1 hapax"


LOCKED = {"auth": {"keys": [{"name": "web", "key": "good-key"}]}, "server": {"max_body_bytes": "1MiB"}}


def expecting(key: str, length: int, path: str = "/v1/chat/completions", more: str = "") -> bytes:
    """A head that waits for 100 before its body."""
    head = f"X-API-Key: {key}\r\nExpect: 100-continue\r\nContent-Type: application/json\r\n{more}"
    return f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {length}\r\n{head}\r\n".encode()


REFUSED = {
    "a bad key": (expecting("bad-key", 50_000_000), 401),
    "too large a body": (expecting("good-key", 50_000_000), 413),
    "an unknown path": (expecting("good-key", 100, "/nowhere"), 404),
    "a compressed body": (expecting("good-key", 100, more="Content-Encoding: gzip\r\n"), 415),
    "another content type": (expecting("good-key", 100).replace(b"application/json", b"text/plain"), 415),
    "another expectation": (expecting("good-key", 100).replace(b"100-continue", b"200-maybe"), 417),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_a_request_refused_by_its_head_is_not_asked_for_its_body(
    gateway: GatewayFactory, simulator: Simulator, name: str
) -> None:
    """No 100, no byte of the body read: the connection ends without it, and says so."""
    running = await gateway(LOCKED)
    data, status = REFUSED[name]
    async with asyncio.timeout(at_most(2)):
        answer = await only_answer(running.port, data)
    assert (answer.status, answer.header("connection")) == (status, "close")
    assert calls(simulator) == []


async def continued(wire: Wire, body: bytes) -> int:
    """Send *body* once it is asked for; the status of the answer."""
    assert await wire.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    wire.send(body)
    return (await wire.response()).status


async def test_a_good_request_gets_100_and_then_its_answer(gateway: GatewayFactory, simulator: Simulator) -> None:
    running = await gateway(LOCKED)
    body = chat().partition(b"\r\n\r\n")[2]
    async with connect(running.port) as wire:
        wire.send(expecting("good-key", len(body)))
        assert await continued(wire, body) == 200
        # The connection serves on, and a body that came along needs no 100.
        wire.send(expecting("good-key", len(body)) + body)
        answer = await wire.response()
    assert answer.status == 200
    assert [record.body for record in calls(simulator)] == [body, body]
    assert all(record.header("expect") is None for record in calls(simulator))


async def test_an_upload_gets_100_and_then_its_answer(gateway: GatewayFactory, simulator: Simulator) -> None:
    running = await gateway(LOCKED)
    part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nhello\r\n--b--\r\n'
    head = expecting("good-key", len(part), "/v1/files").replace(
        b"application/json", b"multipart/form-data; boundary=b"
    )
    async with connect(running.port) as wire:
        wire.send(head)
        assert await continued(wire, part) == 200
    record = calls(simulator)[0]
    assert (record.body, record.header("expect")) == (part, None)


async def test_an_http_1_0_client_gets_no_100(gateway: GatewayFactory, simulator: Simulator) -> None:
    """RFC 9110 section 10.1.1: the expectation of an HTTP/1.0 client must be ignored."""
    running = await gateway()
    head, _, body = chat(head="Expect: 100-continue\r\n", version="1.0").partition(b"\r\n\r\n")
    async with connect(running.port) as wire:
        wire.send(head + b"\r\n\r\n")
        # By the time another connection is answered, this head has been read.
        await ask(running.port, get("/live"))
        wire.send(body)
        received, how = await wire.to_end()
    assert received.startswith(b"HTTP/1.1 200 OK\r\n")
    assert how == "fin"
