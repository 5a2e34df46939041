"""Bytes that two readers could read differently never become a request."""

import socket
import sys
from pathlib import Path

import pytest

from tests.conftest import GatewayFactory
from tests.rigs.process import run
from tests.rigs.simulator import Simulator

from .wire import ask, calls, chat, connect, only_answer, request

HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
BODY = b'{"model":"sim-fast","messages":[{"role":"user","content":"hi"}]}'
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
CHUNKED = b"Transfer-Encoding: chunked\r\n"
CHUNK = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)

AMBIGUOUS = {
    "length and chunks": HEAD + LENGTH + CHUNKED + b"\r\n" + CHUNK,
    "chunks and length": HEAD + CHUNKED + LENGTH + b"\r\n" + CHUNK,
    "two different lengths": HEAD + LENGTH + b"Content-Length: 5\r\n\r\n" + BODY,
    "two equal lengths": HEAD + LENGTH + LENGTH + b"\r\n" + BODY,
    "a list of lengths": HEAD + b"Content-Length: 5, 5\r\n\r\nhello",
    "a signed length": HEAD + b"Content-Length: +5\r\n\r\nhello",
    "a negative length": HEAD + b"Content-Length: -5\r\n\r\nhello",
    "a hexadecimal length": HEAD + b"Content-Length: 0x5\r\n\r\nhello",
    "a length with an underscore": HEAD + b"Content-Length: 1_0\r\n\r\n0123456789",
    "an empty length": HEAD + b"Content-Length: \r\n\r\nhello",
    "a huge length": HEAD + b"Content-Length: 99999999999999999999999\r\n\r\nhello",
    "xchunked": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n" + CHUNK,
    "chunked, identity": HEAD + b"Transfer-Encoding: chunked, identity\r\n\r\n" + CHUNK,
    "chunked twice": HEAD + CHUNKED + CHUNKED + b"\r\n" + CHUNK,
    "chunked after a vertical tab": HEAD + b"Transfer-Encoding: \x0bchunked\r\n\r\n" + CHUNK,
    "two hosts": HEAD + b"Host: elsewhere\r\n" + LENGTH + b"\r\n" + BODY,
    "no host": HEAD.replace(b"Host: 127.0.0.1\r\n", b"") + LENGTH + b"\r\n" + BODY,
    "a folded line": HEAD + b"X-Folded: a\r\n b\r\n" + LENGTH + b"\r\n" + BODY,
    "a folded first line": b"GET /live HTTP/1.1\r\n Host: 127.0.0.1\r\n\r\n",
    "a space before the colon": HEAD + LENGTH.replace(b":", b" :") + b"\r\n" + BODY,
    "a line without a colon": HEAD + b"nothing\r\n" + LENGTH + b"\r\n" + BODY,
    "an empty name": HEAD + b": nothing\r\n" + LENGTH + b"\r\n" + BODY,
    "bare LF in the head": (HEAD + LENGTH + b"\r\n").replace(b"\r\n", b"\n") + BODY,
    "bare LF after one line": HEAD + b"X-A: 1\nX-B: 2\r\n" + LENGTH + b"\r\n" + BODY,
    "bare LF in the chunks": HEAD + CHUNKED + b"\r\n" + CHUNK.replace(b"\r\n", b"\n"),
    "NUL in a value": HEAD + b"X-Nul: a\x00b\r\n" + LENGTH + b"\r\n" + BODY,
    "CR in a value": HEAD + b"X-Cr: a\rb\r\n" + LENGTH + b"\r\n" + BODY,
    "CR in a name": HEAD + b"X\r-Cr: a\r\n" + LENGTH + b"\r\n" + BODY,
    "a chunk size that is no number": HEAD + CHUNKED + b"\r\nXYZ\r\n" + BODY + b"\r\n0\r\n\r\n",
    "a signed chunk size": HEAD + CHUNKED + b"\r\n+" + CHUNK,
    "a chunk size beyond 64 bits": HEAD + CHUNKED + b"\r\n10000000000000001\r\n" + BODY + b"\r\n0\r\n\r\n",
    "a chunk longer than its size": HEAD + CHUNKED + b"\r\n3\r\n" + BODY + b"\r\n0\r\n\r\n",
    "an HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "129 headers": HEAD + b"".join(b"X-%d: 1\r\n" % i for i in range(129)) + LENGTH + b"\r\n" + BODY,
    "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "no version": b"GET /live\r\n\r\n",
}


@pytest.mark.parametrize("name", AMBIGUOUS)
async def test_ambiguous_framing_gets_one_400_and_the_connection_closes(
    gateway: GatewayFactory, simulator: Simulator, name: str
) -> None:
    """The second request behind it is what a smuggler wants to have read."""
    running = await gateway()
    answer = await only_answer(running.port, AMBIGUOUS[name] + chat())
    assert (answer.status, answer.header("connection")) == (400, "close")
    assert answer.code == "bad_request"
    assert calls(simulator) == []


@pytest.mark.parametrize("name", AMBIGUOUS)
async def test_an_ambiguous_request_after_a_good_one_gets_400_and_the_connection_closes(
    gateway: GatewayFactory, simulator: Simulator, name: str
) -> None:
    running = await gateway()
    async with connect(running.port) as wire:
        wire.send(chat())
        assert (await wire.response()).status == 200
        wire.send(AMBIGUOUS[name] + chat())
        assert (await wire.response()).code == "bad_request"
        assert await wire.to_end() == (b"", "fin")
    assert len(calls(simulator)) == 1


async def test_the_same_parts_without_the_fault_are_answered(gateway: GatewayFactory, simulator: Simulator) -> None:
    """What the refusals above are made of is right in itself, and pipelined requests are answered in order."""
    running = await gateway()
    async with connect(running.port) as wire:
        wire.send(HEAD + LENGTH + b"\r\n" + BODY + HEAD + CHUNKED + b"\r\n" + CHUNK)
        assert [(await wire.response()).status, (await wire.response()).status] == [200, 200]
    assert [record.body for record in calls(simulator)] == [BODY, BODY]


LAX = {
    "gzip, chunked": (HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + CHUNK, {501}),
    "gzip": (HEAD + b"Transfer-Encoding: gzip\r\n\r\n" + BODY, {400, 501}),
    "identity": (HEAD + b"Transfer-Encoding: identity\r\n" + b"\r\n" + BODY, {400, 501}),
    "chunked;q=1": (HEAD + b"Transfer-Encoding: chunked;q=1\r\n\r\n" + CHUNK, {400, 501}),
    "chunked with HTTP/1.0": (HEAD.replace(b"1.1", b"1.0") + CHUNKED + b"\r\n" + CHUNK, {400}),
    "HTTP/2.0": (HEAD.replace(b"1.1", b"2.0") + LENGTH + b"\r\n" + BODY, {400, 505}),
    "a whole URL of another scheme": (HEAD.replace(b" /", b" ftp://elsewhere/") + LENGTH + b"\r\n" + BODY, {400}),
    "a whole URL with a key": (HEAD.replace(b" /", b" http://a:b@elsewhere/") + LENGTH + b"\r\n" + BODY, {400}),
    "CONNECT": (b"CONNECT elsewhere:443 HTTP/1.1\r\nHost: elsewhere:443\r\n\r\n", {400, 405}),
    "TRACE": (b"TRACE /v1/models HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", {400, 405}),
    "OPTIONS *": (b"OPTIONS * HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", {400, 405}),
    "0xFF in a value that is read": (HEAD + b"X-Request-ID: \xff\r\n" + LENGTH + b"\r\n" + BODY, {400}),
    "a control character in a value": (HEAD + b"X-Odd: a\x01b\r\n" + LENGTH + b"\r\n" + BODY, {400}),
    "UTF-8 in a key of Azure's": (HEAD + "api-key: schlüssel\r\n".encode() + LENGTH + b"\r\n" + BODY, {400}),
    "UTF-8 in a key": (HEAD + "X-API-Key: schlüssel\r\n".encode() + LENGTH + b"\r\n" + BODY, {400}),
    "UTF-8 in an origin": (HEAD + "Origin: https://ü.example\r\n".encode() + LENGTH + b"\r\n" + BODY, {400}),
    "two keys": (HEAD + b"X-API-Key: a\r\nX-API-Key: b\r\n" + LENGTH + b"\r\n" + BODY, {400}),
    "two origins": (HEAD + b"Origin: https://a\r\nOrigin: https://b\r\n" + LENGTH + b"\r\n" + BODY, {400}),
}


@pytest.mark.parametrize("name", LAX)
async def test_what_the_parser_lets_through_is_refused_behind_it(
    gateway: GatewayFactory, simulator: Simulator, name: str
) -> None:
    running = await gateway({"server": {"cors": {"allow_origins": ["*"]}}})
    data, statuses = LAX[name]
    answer = await only_answer(running.port, data + chat())
    assert answer.status in statuses
    assert answer.header("connection") == "close"
    assert answer.code != "internal_error"
    assert calls(simulator) == []


@pytest.mark.parametrize("version", ["0.9", "1.2", "1.9", "2.0", "3.0", "9.9"])
async def test_any_version_but_1_0_and_1_1_gets_505_or_400_in_ours(
    gateway: GatewayFactory, simulator: Simulator, version: str
) -> None:
    """The parser knows 0.9 and 2.0 and lets them through; what it does not know it refuses itself."""
    running = await gateway()
    answer = await only_answer(running.port, chat(version=version))
    assert answer.status == (505 if version in ("0.9", "2.0") else 400)
    assert calls(simulator) == []


async def test_a_header_with_an_underscore_frames_nothing_and_goes_no_further(
    gateway: GatewayFactory, simulator: Simulator
) -> None:
    running = await gateway()
    async with connect(running.port) as wire:
        wire.send(chat(head="Content_Length: 1\r\nTransfer_Encoding: chunked\r\n") + chat())
        assert [(await wire.response()).status, (await wire.response()).status] == [200, 200]
    first, second = calls(simulator)
    assert first.body == second.body
    assert not any(b"_" in name for name, _ in first.headers)


@pytest.mark.parametrize("size", [2, 16])
async def test_a_head_above_the_limit_gets_431_and_the_connection_closes(
    gateway: GatewayFactory, simulator: Simulator, size: int
) -> None:
    """Whether one line is too long or all of them are together."""
    running = await gateway({"server": {"max_header_bytes": 8192}})
    line = "x" * (9000 // size)
    head = "".join(f"X-{i}: {line}\r\n" for i in range(size))
    for path in ("/v1/chat/completions", "/v1/" + "a" * 9000):
        data = request(path, {"model": "sim-fast"}, head=head if path.endswith("completions") else "")
        answer = await only_answer(running.port, data)
        assert (answer.status, answer.code) == (431, "headers_too_large")
    assert calls(simulator) == []


async def test_without_the_c_parser_the_port_of_aiohttp_is_not_opened(
    tmp_path: Path, clean_environment: dict[str, str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = f"server: {{port: 0}}\nmetrics: {{port: {port}}}\nproviders: {{sim: {{type: simulator}}}}\n"
    (tmp_path / "hapax.yaml").write_text(settings)
    ended = await run(
        *(sys.executable, "-m", "proxy", "serve", "--config", str(tmp_path / "hapax.yaml")),
        env={**clean_environment, "AIOHTTP_NO_EXTENSIONS": "1"},
    )
    assert ended.code == 2
    assert b"without its C parser" in ended.stderr
    assert b"Traceback" not in ended.stderr
    assert ended.stdout == b""


UPGRADES = {
    "websocket": b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n",
    "h2c without settings": b"Connection: Upgrade\r\nUpgrade: h2c\r\n",
    "websocket or h2c": b"Connection: Upgrade\r\nUpgrade: websocket, h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
    "TLS": b"Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n",
    "websocket, not asked for": b"Upgrade: websocket\r\n",
}


HANDSHAKE = ("websocket", "/v1/realtime", "GET")
"""What is a session's handshake, which only its provider can refuse."""


@pytest.mark.parametrize("name", UPGRADES)
@pytest.mark.parametrize("path", ["/v1/realtime?model=sim-fast", "/v1/chat/completions", "/live"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_an_upgrade_is_refused_and_no_tunnel_opens(
    gateway: GatewayFactory, simulator: Simulator, name: str, path: str, method: str
) -> None:
    running = await gateway()
    data = request(path, {"model": "sim-fast", "messages": []} if method == "POST" else None, method=method)
    answer = await only_answer(running.port, data.replace(b"\r\n\r\n", b"\r\n" + UPGRADES[name] + b"\r\n", 1))
    assert (answer.status, answer.code) == (426, "upgrade_not_supported")
    assert (answer.header("connection"), answer.header("upgrade")) == ("close", "HTTP/1.1")
    if (name, path[:12], method) != HANDSHAKE:
        assert calls(simulator) == []


@pytest.mark.parametrize("name", UPGRADES)
async def test_bytes_sent_as_if_the_tunnel_stood_lead_nowhere(
    gateway: GatewayFactory, simulator: Simulator, name: str
) -> None:
    running = await gateway()
    data = b"GET /v1/realtime HTTP/1.1\r\nHost: 127.0.0.1\r\n" + UPGRADES[name] + b"\r\n"
    answer = await only_answer(running.port, data + b"\x81\x85\x00\x00\x00\x00hello" + chat())
    assert answer.status in (400, 426)
    # A handshake for a session is the provider's to take; it got that and nothing else.
    assert [(asked.method, asked.body) for asked in calls(simulator)] == (
        [(b"GET", b"")] if name == "websocket" else []
    )


OFFER = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"


async def test_the_offer_of_h2c_is_declined_by_an_answer_in_http_1_1(
    gateway: GatewayFactory, simulator: Simulator
) -> None:
    """Java's HTTP client makes it with every plain request; the requests behind it stay requests."""
    running = await gateway()
    asked = chat().replace(b"\r\n\r\n", b"\r\n" + OFFER + b"\r\n", 1)
    async with connect(running.port) as wire:
        for data in (asked, chat()):
            wire.send(data)
            answer = await wire.response()
            assert (answer.status, answer.header("upgrade")) == (200, None)
    first, second = calls(simulator)
    assert first.body == second.body
    assert not any(name.lower() in (b"upgrade", b"http2-settings") for name, _ in first.headers)


async def test_http_2_spoken_behind_a_declined_offer_ends_the_connection(
    gateway: GatewayFactory, simulator: Simulator
) -> None:
    running = await gateway()
    async with connect(running.port) as wire:
        wire.send(b"GET /live HTTP/1.1\r\nHost: 127.0.0.1\r\n" + OFFER + b"\r\n")
        assert (await wire.response("GET")).status == 200
        wire.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + chat())
        assert (await wire.response()).status == 400
        assert await wire.to_end() == (b"", "fin")
    assert calls(simulator) == []


async def test_a_provider_that_switches_protocols_is_at_fault(gateway: GatewayFactory, simulator: Simulator) -> None:
    """101 is no answer to a request that asked for none."""
    running = await gateway()
    answer = await ask(running.port, chat("sim-fault:interim=101"))
    assert (answer.status, answer.code) == (502, "upstream_protocol_error")
