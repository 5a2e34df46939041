"""Whatever a provider answers, the client gets an answer it can trust or a 502 it can act on."""

import asyncio

import pytest

from tests.conftest import GatewayFactory
from tests.rigs.simulator import Fin, Send, Simulator

from .wire import ONCE, ask, calls, chat, connect, get, request, target


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_redirect_is_an_error_and_is_not_followed(
    gateway: GatewayFactory, simulator: Simulator, status: int, stream: bool
) -> None:
    """Following would send the provider's key wherever it says."""
    visitors: list[object] = []
    canary = await asyncio.start_server(lambda reader, writer: visitors.append(writer.close()), "127.0.0.1", 0)
    async with canary:
        port = canary.sockets[0].getsockname()[1]
        running = await gateway({"providers": {"sim": target(simulator, api_key="provider-key")}})
        model = f"sim-fault:redirect=http://127.0.0.1:{port}/v1/chat/completions,status={status}"
        answer = await ask(running.port, chat(model, stream=stream))
        assert (answer.status, answer.code) == (502, "upstream_redirect")
        assert answer.header("location") is None
        assert str(port).encode() not in answer.body
        assert len(calls(simulator)) == 1
        # A visit would have been accepted before this one.
        async with connect(port) as wire:
            await wire.to_end()
    assert len(visitors) == 1


async def test_a_redirect_of_the_model_list_is_not_followed_either(
    gateway: GatewayFactory, simulator: Simulator
) -> None:
    simulator.direct("redirect=/v1/files,status=302")
    await gateway()
    await simulator.seen(1)
    simulator.direct("")
    assert {record.path for record in simulator.ledger} == {"/v1/models"}


CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
JSON = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
MALFORMED = {
    "bad chunk size": CHUNKED + b"XYZ\r\n{}\r\n0\r\n\r\n",
    "negative chunk size": CHUNKED + b"-2\r\n{}\r\n0\r\n\r\n",
    "chunk longer than its size": CHUNKED + b"1\r\n{}\r\n0\r\n\r\n",
    "length and chunks": JSON + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "two lengths": JSON + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} ",
    "a length that is no number": JSON + b"Content-Length: two\r\n\r\n{}",
    "an unknown transfer coding": JSON + b"Transfer-Encoding: foo\r\n\r\n{}",
    "gzip, chunked": JSON + b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "a header of 70 kB": JSON + b"X-Big: " + b"b" * 70_000 + b"\r\nContent-Length: 2\r\n\r\n{}",
    "300 headers": JSON + b"".join(b"X-%d: 1\r\n" % i for i in range(300)) + b"Content-Length: 2\r\n\r\n{}",
    "a banner": b"SSH-2.0-OpenSSH_9.2p1\r\n",
    "a body without a head": b'{"id": "chatcmpl-1"}',
    "a request": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "HTTP/2 frames": b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x80",
    "a NUL in a header": JSON + b"X-Nul: a\x00b\r\nContent-Length: 2\r\n\r\n{}",
    "a space before the colon": JSON + b"Content-Length : 2\r\n\r\n{}",
    "a line without a colon": JSON + b"nothing\r\nContent-Length: 2\r\n\r\n{}",
    "status 000": JSON.replace(b"200", b"000") + b"Content-Length: 2\r\n\r\n{}",
    "status 099": JSON.replace(b"200", b"099") + b"Content-Length: 2\r\n\r\n{}",
    "status 600": JSON.replace(b"200", b"600") + b"Content-Length: 2\r\n\r\n{}",
    "status 999": JSON.replace(b"200", b"999") + b"Content-Length: 2\r\n\r\n{}",
    "status 20": JSON.replace(b"200", b"20") + b"Content-Length: 2\r\n\r\n{}",
    "status 2000": JSON.replace(b"200", b"2000") + b"Content-Length: 2\r\n\r\n{}",
    "101 and silence": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    "interim heads without end": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 3000,
    "almost JSON": JSON + b"Content-Length: 8\r\n\r\n{'a': 1}",
    "a JSON list": JSON + b"Content-Length: 2\r\n\r\n[]",
    "an empty body": JSON + b"Content-Length: 0\r\n\r\n",
}
BROKEN_OFF = {
    "nothing": b"",
    "half a head": JSON[:40],
    "half a body": JSON + b"Content-Length: 100\r\n\r\n{}",
    "half a chunk": CHUNKED + b"10\r\n{}",
    "no last chunk": CHUNKED + b"2\r\n{}\r\n",
    "half a body that ends with the connection": JSON + b'Connection: close\r\n\r\n{"id": ',
}


@pytest.mark.parametrize("name", [*MALFORMED, *BROKEN_OFF])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_malformed_answer_is_a_502_and_never_a_400_or_500(
    gateway: GatewayFactory, simulator: Simulator, name: str, stream: bool
) -> None:
    running = await gateway(ONCE)
    data = {**MALFORMED, **BROKEN_OFF}[name]
    simulator.script([Send(data), Fin()], match="/v1/chat/completions")
    answer = await ask(running.port, chat(stream=stream))
    assert answer.status == 502
    if name in MALFORMED:
        assert answer.code == "upstream_protocol_error"
    elif name.endswith("connection"):
        assert answer.code in ("upstream_truncated", "upstream_protocol_error")
    else:
        assert answer.code == "upstream_truncated"
    assert len(calls(simulator)) == 1
    assert running.metric("circuit_breaker_failures_total", name="sim/sim-fast") == 1


@pytest.mark.parametrize("name", [*MALFORMED, *BROKEN_OFF])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_malformed_answer_sends_the_call_on(
    gateway: GatewayFactory, simulator: Simulator, backup: Simulator, name: str, stream: bool
) -> None:
    running = await gateway({"providers": {"first": target(simulator), "second": target(backup)}})
    simulator.script([Send({**MALFORMED, **BROKEN_OFF}[name]), Fin()], match="/v1/chat/completions")
    answer = await ask(running.port, chat(stream=stream))
    assert (answer.status, answer.header("x-hapax-provider"), answer.header("x-hapax-attempts")) == (200, "second", "2")
    assert (len(calls(simulator)), len(calls(backup))) == (1, 1)
    assert running.metric("circuit_breaker_failures_total", name="first/sim-fast") == 1
    assert running.metric("circuit_breaker_failures_total", name="second/sim-fast") == 0


FAULTS = ["cl_te", "two_cl", "bad_te", "bighead=70000", "manyheads=300", "junk", "http09", "status=000", "status=999"]


@pytest.mark.parametrize("fault", FAULTS)
async def test_what_the_simulator_calls_malformed_is_a_502_too(gateway: GatewayFactory, fault: str) -> None:
    running = await gateway()
    answer = await ask(running.port, chat(f"sim-fault:{fault}"))
    assert (answer.status, answer.code) == (502, "upstream_protocol_error")


async def test_junk_behind_a_whole_answer_costs_only_the_connection(
    gateway: GatewayFactory, simulator: Simulator
) -> None:
    """It must not become the beginning of the next answer."""
    running = await gateway()
    whole = JSON + b'Content-Length: 16\r\n\r\n{"choices":[{}]}'
    smuggled = JSON + b'Content-Length: 16\r\n\r\n{"choices":[[]]}'
    simulator.script([Send(whole + smuggled)], match="/v1/chat/completions")
    first, second = [await ask(running.port, chat("sim-fast:id=next")) for _ in range(2)]
    assert (first.status, first.json) == (200, {"choices": [{}]})
    assert (second.status, second.json["id"]) == (200, "chatcmpl-next")
    one, two = calls(simulator)
    assert one.connection is not two.connection


@pytest.mark.parametrize("interim", ["interim=100", "interim=102", "interim", "interims=3", "interim=104,interims=20"])
@pytest.mark.parametrize("stream", [False, True])
async def test_interim_answers_are_swallowed(gateway: GatewayFactory, interim: str, stream: bool) -> None:
    running = await gateway()
    answer = await ask(running.port, chat(f"sim-fault:{interim}", stream=stream))
    assert answer.status == 200
    assert answer.header("link") is None
    assert answer.body.endswith(b"data: [DONE]\n\n" if stream else b"}")


@pytest.mark.parametrize("status", [204, 304])
async def test_a_body_behind_a_status_that_has_none_reaches_no_client(
    gateway: GatewayFactory, simulator: Simulator, status: int
) -> None:
    """Neither this client nor the one whose request follows on the provider's connection."""
    running = await gateway(ONCE)
    head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: 5\r\n\r\nhello"
    simulator.script([Send(head.encode())], match="/v1/files")
    async with connect(running.port) as wire:
        wire.send(get("/v1/files"))
        answer = await wire.response("GET")
        wire.send(get("/v1/files"))
        following = await wire.response("GET")
    if status == 204:
        assert (answer.status, answer.body) == (204, b"")
        assert not answer.names & {"content-length", "transfer-encoding"}
    else:
        # The client did not ask conditionally: the provider's mistake.
        assert answer.status == 502
    assert (following.status, following.json["object"]) == (200, "list")


async def test_a_head_request_gets_the_head_of_the_get_alone(gateway: GatewayFactory) -> None:
    running = await gateway()
    async with connect(running.port) as wire:
        for path in ("/v1/models", "/live", "/nowhere"):
            wire.send(request(path, method="HEAD"))
            head = await wire.response("HEAD")
            wire.send(get(path))
            whole = await wire.response("GET")
            assert head.names == whole.names
            assert head.status == whole.status
            assert head.header("content-length") == whole.header("content-length")


async def test_a_head_request_is_not_relayed(gateway: GatewayFactory, simulator: Simulator) -> None:
    running = await gateway()
    async with connect(running.port) as wire:
        wire.send(request("/v1/chat/completions", method="HEAD") + get("/live"))
        assert (await wire.response("HEAD")).status == 405
        assert (await wire.response("GET")).status == 200
    assert calls(simulator) == []


async def test_success_statuses_pass_as_they_are(gateway: GatewayFactory, simulator: Simulator) -> None:
    running = await gateway()
    for status in (201, 202, 203, 207, 299):
        simulator.script(
            [Send(JSON.replace(b"200", b"%d" % status) + b"Content-Length: 2\r\n\r\n{}")], match="/v1/files"
        )
        answer = await ask(running.port, get("/v1/files"))
        assert (answer.status, answer.body) == (status, b"{}")
