"""Old clients see whole and broken answers apart, and gone ones cost nothing."""

import asyncio

import pytest

from tests.conftest import GatewayFactory
from tests.rigs.clock import at_most
from tests.rigs.simulator import Simulator

from .wire import PATIENCE, ask, calls, chat, connect, eventually, get, parse_head

CLOSING = "Connection: close\r\n"


async def reply(port: int, data: bytes) -> tuple[dict[str, str], bytes, str]:
    """Headers and body of a 200 that lasts until the connection ends, and how that ended."""
    async with connect(port) as wire:
        wire.send(data)
        received, how = await wire.to_end()
    head, mark, body = received.partition(b"\r\n\r\n")
    status, headers = parse_head(head + mark)
    assert status == 200
    return {name.lower(): value for name, value in headers}, body, how


async def test_an_http_1_0_stream_is_sent_without_chunks_until_the_connection_ends(
    gateway: GatewayFactory, simulator: Simulator
) -> None:
    running = await gateway()
    plain = (await ask(running.port, chat("sim-fault:id=same", stream=True))).body
    headers, body, how = await reply(running.port, chat("sim-fault:id=same", version="1.0", stream=True))
    assert not {"transfer-encoding", "content-length"} & set(headers)
    assert headers["connection"] == "close"
    assert (body, how) == (plain, "fin")


@pytest.mark.parametrize("head", ["", CLOSING, "Connection: keep-alive\r\n"])
async def test_an_http_1_0_answer_has_a_length_and_keep_alive_only_where_it_was_asked_for(
    gateway: GatewayFactory, head: str
) -> None:
    running = await gateway()
    async with connect(running.port) as wire:
        wire.send(chat(version="1.0", head=head))
        answer = await wire.response()
        kept = "keep-alive" in head
        assert (answer.status, answer.header("connection")) == (200, "keep-alive" if kept else "close")
        assert answer.header("transfer-encoding") is None
        if kept:
            wire.send(chat(version="1.0"))
            assert (await wire.response()).status == 200
        assert await wire.to_end() == (b"", "fin")


CUTS = ["rst@3", "fin@3", "end@3", "badchunk@3", "close_delimited_cut@3"]


@pytest.mark.parametrize("fault", CUTS)
async def test_a_truncated_http_1_0_stream_ends_with_a_reset(gateway: GatewayFactory, fault: str) -> None:
    """Closing in order is how HTTP/1.0 says that an answer is whole."""
    running = await gateway()
    async with connect(running.port) as wire:
        wire.send(chat(f"sim-fault:{fault},pace=1ms", version="1.0", stream=True))
        received, how = await wire.to_end()
    assert how == "rst"
    assert b"[DONE]" not in received


@pytest.mark.parametrize("fault", CUTS)
async def test_a_truncated_stream_ends_with_an_error_and_without_its_last_chunk(
    gateway: GatewayFactory, fault: str
) -> None:
    running = await gateway()
    for head in ("", CLOSING):
        headers, body, how = await reply(running.port, chat(f"sim-fault:{fault},pace=1ms", head=head, stream=True))
        assert headers["transfer-encoding"] == "chunked"
        assert how == "fin"
        assert body.count(b'data: {"error":') == 1
        assert not body.endswith(b"\r\n0\r\n\r\n")
        assert b"[DONE]" not in body


async def test_a_client_that_closes_after_its_request_gets_a_whole_stream_and_the_end(
    gateway: GatewayFactory,
) -> None:
    running = await gateway()
    headers, body, how = await reply(running.port, chat(head=CLOSING, stream=True))
    assert (headers["connection"], headers["transfer-encoding"]) == ("close", "chunked")
    assert body.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    assert how == "fin"


@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_a_large_answer_that_breaks_off_is_short_of_its_length_or_reset(
    gateway: GatewayFactory, version: str
) -> None:
    """Three megabytes were promised, and more than is held back had passed when the provider left."""
    running = await gateway()
    data = chat("sim-fault:bytes=3000000,fin@2000000", version=version, head=CLOSING)
    headers, body, how = await reply(running.port, data)
    assert int(headers["content-length"]) > len(body)
    assert how == ("rst" if version == "1.0" else "fin")


async def test_the_process_itself_resets_a_truncated_http_1_0_stream(served: int) -> None:
    """Under the event loop of production, too."""
    async with connect(served) as wire:
        wire.send(chat("sim-fault:fin@3,pace=1ms", version="1.0", stream=True))
        _, how = await wire.to_end()
    assert how == "rst"
    _, body, how = await reply(served, chat(version="1.0", stream=True))
    assert (body[-14:], how) == (b"data: [DONE]\n\n", "fin")


PHASES = {
    "mid-stream": chat("sim-fault:stall@3", stream=True),
    "mid-stream, while it flows": chat("sim-fault:forever,pace=5ms", stream=True),
    "before the first token": chat("sim-fault:stall@1", stream=True),
    "before the head": chat("sim-fault:silence", stream=True),
    "before a whole answer": chat("sim-fault:silence"),
    "amid a whole answer": chat("sim-fault:stall@20"),
    "amid a stream for HTTP/1.0": chat("sim-fault:stall@3", version="1.0", stream=True),
}


async def leave(port: int, simulator: Simulator, phase: str, how: str) -> None:
    """Leave in *phase*; returns when the provider's connection is closed, and fails if that takes a second."""
    async with connect(port) as wire:
        wire.send(PHASES[phase])
        async with asyncio.timeout(PATIENCE):
            record = await eventually(simulator)
            if phase.startswith("mid-stream") or "1.0" in phase:
                await wire.until(b"data: ")
        if how == "half-close":
            wire.writer.write_eof()
        elif how == "fin":
            wire.writer.close()
        else:
            wire.abort()
        async with asyncio.timeout(at_most(1)):
            assert await record.closed() in ("client", "reset")
    assert not record.finished


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("how", ["fin", "rst", "half-close"])
async def test_a_client_that_leaves_ends_the_call_to_the_provider_within_a_second(
    gateway: GatewayFactory, simulator: Simulator, phase: str, how: str
) -> None:
    running = await gateway()
    await leave(running.port, simulator, phase, how)
    assert running.listener.gateway.under_way.count == 0
    assert len(calls(simulator)) == 1


@pytest.mark.parametrize("phase", ["mid-stream", "before the first token", "before a whole answer"])
async def test_the_process_itself_ends_the_call_when_its_client_leaves(
    served: int, simulator: Simulator, phase: str
) -> None:
    """aiohttp does so only where `handler_cancellation` is set, which its own test server would hide."""
    await leave(served, simulator, phase, "fin")
    assert (await ask(served, get("/live"))).status == 200
