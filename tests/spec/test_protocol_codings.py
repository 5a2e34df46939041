"""Bytes pass as they are; what a provider compresses unasked is undone within bounds, or is its fault."""

import gzip
import resource
import zlib

import pytest

from tests.conftest import GatewayFactory
from tests.rigs.simulator import Fin, Send, Simulator

from .wire import ONCE, ask, calls, chat, connect, request, target

MEBIBYTE = 1024 * 1024


@pytest.mark.parametrize("stream", [False, True])
async def test_a_gzip_answer_reaches_the_client_plain(
    gateway: GatewayFactory, simulator: Simulator, stream: bool
) -> None:
    running = await gateway()
    plain = await ask(running.port, chat("sim-fault:id=same", stream=stream))
    coded = await ask(running.port, chat("sim-fault:id=same,gzip", stream=stream))
    assert (coded.status, coded.header("content-encoding")) == (200, None)
    assert coded.header("content-type") == plain.header("content-type")
    assert coded.body.replace(b"sim-fault:id=same,gzip", b"sim-fault:id=same") == plain.body
    assert calls(simulator)[1].header("accept-encoding") == b"identity"


async def test_a_gzip_answer_above_what_is_held_reaches_the_client_plain_and_without_its_length(
    gateway: GatewayFactory, simulator: Simulator
) -> None:
    body = b'{"data":"' + b"0123456789abcdef" * (3 * MEBIBYTE // 16) + b'"}'
    packed = gzip.compress(body, 0)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
    simulator.script([Send(head % len(packed) + packed)], match="/v1/chat/completions")
    running = await gateway()
    answer = await ask(running.port, chat())
    assert (answer.status, answer.header("content-encoding"), answer.header("content-length")) == (200, None, None)
    assert answer.body == body


@pytest.mark.parametrize("coding", ["foo", "br", "zstd", "compress", "gzip, gzip", "foo, gzip"])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_coding_the_gateway_cannot_undo_is_the_providers_fault(
    gateway: GatewayFactory, simulator: Simulator, coding: str, stream: bool
) -> None:
    running = await gateway(ONCE)
    kind = b"text/event-stream" if stream else b"application/json"
    head = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Encoding: %b\r\nContent-Length: 2\r\n\r\n{}"
    simulator.script([Send(head % (kind, coding.encode()))], match="/v1/chat/completions")
    answer = await ask(running.port, chat(stream=stream))
    assert (answer.status, answer.code) == (502, "upstream_protocol_error")


@pytest.mark.parametrize(
    ("fault", "stream"),
    [
        ("coding=foo", False),
        ("coding=foo", True),
        ("gzip_corrupt", False),
        ("gzip_corrupt", True),
        ("gzip_cut", False),
    ],
)
async def test_a_broken_coding_sends_the_call_on(
    gateway: GatewayFactory, simulator: Simulator, backup: Simulator, fault: str, stream: bool
) -> None:
    """Also where half of it can be read: nothing of the first answer reaches the client before its first content."""
    running = await gateway(
        {
            "providers": {"first": target(simulator), "second": target(backup)},
            "models": {"sim": {"targets": [f"first/sim-fault:{fault}", "second/sim-fast"]}},
        }
    )
    answer = await ask(running.port, chat("sim", stream=stream))
    assert (answer.status, answer.header("x-hapax-provider")) == (200, "second")
    assert b"sim-fault" not in answer.body
    assert (len(calls(simulator)), len(calls(backup))) == (1, 1)


async def test_a_gzip_stream_that_breaks_off_after_its_first_content_is_told_as_broken(
    gateway: GatewayFactory,
) -> None:
    """The framing was good, so only the coding's own end tells."""
    running = await gateway()
    async with connect(running.port) as wire:
        wire.send(chat("sim-fault:gzip_cut", stream=True))
        received, how = await wire.to_end()
    assert how == "fin"
    assert b'"code":"upstream_truncated"' in received
    assert not received.endswith(b"0\r\n\r\n")
    assert b"[DONE]" not in received


def bomb(gibibytes: int) -> bytes:
    """Gzip data a thousandth of its content's size, without spending the time to compress it all."""
    packer = zlib.compressobj(9, wbits=-15)
    block = packer.compress(bytes(16 * MEBIBYTE)) + packer.flush(zlib.Z_FULL_FLUSH)
    # After a full flush a block means the same wherever it stands.
    return gzip.compress(b"")[:10] + block * (64 * gibibytes) + packer.flush()


@pytest.mark.parametrize("kind", ["application/json", "text/event-stream", "audio/mpeg"])
@pytest.mark.parametrize("status", [200, 400, 500])
async def test_a_gzip_bomb_of_ten_gigabytes_is_refused_within_bounds(
    gateway: GatewayFactory, simulator: Simulator, kind: str, status: int
) -> None:
    """Ten megabytes that would become ten gigabytes: the process grows by less than twice the body limit."""
    packed = bomb(10)
    assert len(packed) > 10_000_000
    head = f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Encoding: gzip\r\nContent-Length: {len(packed)}\r\n"
    simulator.script([Send(head.encode() + b"\r\n" + packed), Fin()], match="/v1/chat/completions")
    running = await gateway(ONCE)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    answer = await ask(running.port, chat(stream=kind == "text/event-stream"))
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert (answer.status, answer.code) == (502, "upstream_protocol_error")
    assert grown < 2 * running.listener.gateway.settings.server.max_body_bytes


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "x-gzip", "identity, gzip"])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/files"])
async def test_a_compressed_request_is_refused_and_not_inflated(
    gateway: GatewayFactory, simulator: Simulator, coding: str, path: str
) -> None:
    running = await gateway()
    kind = "" if path.endswith("completions") else "Content-Type: multipart/form-data; boundary=b\r\n"
    data = request(path, gzip.compress(bytes(MEBIBYTE)), head=f"Content-Encoding: {coding}\r\n{kind}")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    answer = await ask(running.port, data)
    assert (answer.status, answer.code) == (415, "unsupported_content_encoding")
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < 2 * MEBIBYTE
    assert calls(simulator) == []


async def test_a_request_that_names_the_coding_identity_is_answered(
    gateway: GatewayFactory, simulator: Simulator
) -> None:
    running = await gateway()
    assert (await ask(running.port, chat(head="Content-Encoding: identity\r\n"))).status == 200
    assert calls(simulator)[0].header("content-encoding") is None


async def test_events_of_a_gzip_stream_leave_one_by_one(gateway: GatewayFactory, simulator: Simulator) -> None:
    """The stream stalls after three events: what was undone by then has reached the client."""
    running = await gateway()
    async with connect(running.port) as wire:
        wire.send(chat("sim-fault:gzip,stall@3", stream=True))
        await wire.until(b"\r\n\r\n")
        received = b""
        while received.count(b"data: ") < 3:
            received += await wire.until(b"\n\n")
    assert received.count(b"data: ") == 3
