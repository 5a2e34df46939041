"""
What passes the gateway is what was sent: JSON, event streams, binaries and uploads, in both directions, cut anyhow.

Every example goes over real sockets. Hypothesis wants plain functions, so a property is one: its gateway is built once
by the fixtures, and their event loop, which stands still in between, runs for the length of each example.
"""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import GatewayFactory, provider
from tests.rigs.simulator import Delay, Drip, Fin, Send, Simulator, Step
from tests.spec.conftest import RunInLoop
from tests.spec.wire import calls, chat, connect, request

MIB = 1024 * 1024
ANSWER = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 28\r\n\r\n{"text":"hi","choices":[{}]}'
"""Good enough for a transcription and for a chat."""


def for_all(
    in_loop: RunInLoop, example: Callable[..., Awaitable[None]], *drawn: st.SearchStrategy[Any], examples: int
) -> None:
    """Await *example* with values *drawn*, so many times; raises the simplest failure."""

    @settings(max_examples=examples, deadline=None, database=None)
    @given(st.tuples(*drawn))
    def run(values: tuple[Any, ...]) -> None:
        in_loop(_bounded(example(*values)))

    run()


async def _bounded(example: Awaitable[None]) -> None:
    async with asyncio.timeout(30):
        await example


# What travels.

texts = st.text(max_size=20)
leaves = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    leaves | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
spaces = st.text(" \t\r\n", max_size=3)


@st.composite
def objects(draw: st.DrawFn, **among: object) -> bytes:
    """A JSON object spelled in any of the ways JSON allows; with these fields somewhere in it."""
    value = draw(st.dictionaries(texts.map("field ".__add__), values, max_size=4))
    items = list(value.items())
    for field in among.items():
        items.insert(draw(st.integers(0, len(items))), field)
    value = dict(items)
    written = json.dumps(
        value,
        ensure_ascii=draw(st.booleans()),
        indent=draw(st.none() | st.integers(0, 2)),
        separators=(draw(spaces) + "," + draw(spaces), draw(spaces) + ":" + draw(spaces)),
    )
    return (draw(spaces) + written + draw(spaces)).encode()


line_ends = st.sampled_from([b"\n", b"\r\n", b"\r"])
anything = st.binary(max_size=30).map(lambda raw: raw.replace(b"\r", b"").replace(b"\n", b""))
silence = st.one_of(
    anything.map(b":".__add__),
    anything.map(b"unknown ".__add__),
    st.sampled_from([b"id: 7", b"retry: 3000", b"event: ping", b": \xf0\x9f", b"id", b'data: {"x":\t"\\u00e9"}']),
)
"""Lines that may stand before the first content. An event that is broken there would send the call elsewhere."""
noise = st.one_of(
    silence,
    anything.map(b"data: x".__add__),
    anything.map(b"data:\xff".__add__),
    st.sampled_from([b"data", b"data:", b"data: \x00", b"data: {"]),
)

DIALECTS = {
    "/v1/chat/completions": (
        b'data: {"choices":[{"index":0,"delta":{"content":"\xc3\xa9"},"finish_reason":"stop"}]}',
        b"data: [DONE]",
    ),
    "/v1/completions": (b'data:{"choices":[{"index":0,"text":"a","finish_reason":"length"}]}', b"data:[DONE]"),
    "/v1/responses": (
        b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","delta":"a"}',
        b'event: response.completed\ndata: {"type":"response.completed","response":{"usage":{}}}',
    ),
    "/v1/messages": (
        b'data: {"type":"content_block_delta","delta":{"type":"text_delta","text":"a"}}',
        b'event: message_stop\ndata: {"type":"message_stop"}',
    ),
    "/v1/images/generations": (b'data: {"type":"image_generation.partial_image"}', b"data: x"),
}
"""Per endpoint an event with content and the one that ends the stream."""


@st.composite
def streams(draw: st.DrawFn) -> tuple[str, bytes]:
    """An endpoint, and a whole stream of it with all the oddities its grammar has room for."""
    path = draw(st.sampled_from(sorted(DIALECTS)))
    content, last = DIALECTS[path]
    blocks = [[line] for line in draw(st.lists(silence, max_size=3))]
    blocks.append(content.split(b"\n"))
    blocks += draw(st.lists(st.lists(noise, min_size=1, max_size=4), max_size=3))
    blocks.append(last.split(b"\n"))
    stream = draw(st.sampled_from([b"", b"\xef\xbb\xbf"]))
    end = draw(line_ends)
    for block in blocks:
        end = draw(st.just(end) | line_ends)
        stream += end.join(block) + end + end
    return path, stream


@st.composite
def heads_and_bodies(draw: st.DrawFn, kind: bytes, body: bytes, framings: tuple[str, ...]) -> tuple[bytes, bool]:
    """An answer as it is on the wire, and whether only its end closes it."""
    framing = draw(st.sampled_from(framings))
    head = b"HTTP/1.1 200 OK\r\nContent-Type: " + kind + b"\r\n"
    if framing == "length":
        return b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body), False
    if framing == "close":
        return head + b"\r\n" + body, True
    return head + b"Transfer-Encoding: chunked\r\n\r\n" + draw(chunked(body)), False


@st.composite
def chunked(draw: st.DrawFn, body: bytes) -> bytes:
    """*body* in chunks of any size."""
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in draw(pieces(body))) + b"0\r\n\r\n"


@st.composite
def pieces(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """*data* cut at up to eight places; no piece is empty."""
    cuts = sorted(draw(st.sets(st.integers(1, max(1, len(data) - 1)), max_size=8)))
    return [part for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True) if (part := data[start:end])]


@st.composite
def sent(draw: st.DrawFn, wire: bytes) -> list[Step]:
    """*wire* as TCP segments: whole, in pieces, or byte by byte."""
    if draw(st.integers(0, 3)) == 0:
        return [Drip(wire, 1, 0)]
    steps: list[Step] = []
    for part in draw(pieces(wire)):
        steps += [Send(part), Delay(0)]
    return steps


@st.composite
def answers(draw: st.DrawFn, kind: bytes, body: bytes, framings: tuple[str, ...] = ("length", "chunked")) -> list[Step]:
    """The steps by which the simulator gives an answer."""
    wire, closes = draw(heads_and_bodies(kind, body, framings))
    return draw(sent(wire)) + ([Fin()] if closes else [])


def test_a_json_request_reaches_the_provider_byte_for_byte(
    simulator: Simulator, gateway: GatewayFactory, in_loop: RunInLoop
) -> None:
    running = in_loop(gateway())

    async def example(case: tuple[bytes, list[bytes]]) -> None:
        body, parts = case
        simulator.script([Send(ANSWER)], match="/v1/chat/*")
        async with connect(running.port) as wire:
            wire.send(
                b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n" % len(body)
            )
            for part in parts:
                wire.send(part)
                await asyncio.sleep(0)  # a turn of the loop: each part is a segment of its own
            assert (await wire.response()).status == 200
        assert calls(simulator)[-1].body == body

    cases = objects(model="sim-fast").flatmap(lambda body: st.tuples(st.just(body), pieces(body)))
    for_all(in_loop, example, cases, examples=120)


def test_a_json_answer_reaches_the_client_byte_for_byte(
    simulator: Simulator, gateway: GatewayFactory, in_loop: RunInLoop
) -> None:
    running = in_loop(gateway())

    async def example(case: tuple[bytes, list[Step]]) -> None:
        body, steps = case
        simulator.script(steps, match="/v1/chat/*")
        async with connect(running.port) as wire:
            wire.send(chat())
            answer = await wire.response()
        assert (answer.status, answer.body) == (200, body)

    framings = ("length", "chunked", "close")
    cases = objects(choices=[{}]).flatmap(
        lambda body: st.tuples(st.just(body), answers(b"application/json", body, framings))
    )
    for_all(in_loop, example, cases, examples=120)


def test_an_event_stream_reaches_the_client_byte_for_byte(
    simulator: Simulator, gateway: GatewayFactory, in_loop: RunInLoop
) -> None:
    running = in_loop(gateway())

    async def example(case: tuple[str, bytes, list[Step]]) -> None:
        path, stream, steps = case
        simulator.script(steps, match=path)
        async with connect(running.port) as wire:
            wire.send(request(path, {"model": "sim-fast", "stream": True}))
            answer = await wire.response()
        assert (answer.status, answer.body) == (200, stream)

    def told(case: tuple[str, bytes]) -> st.SearchStrategy[tuple[str, bytes, list[Step]]]:
        path, stream = case
        # A stream without a last word of its own needs framing that has one.
        framings = ("length", "chunked") if path == "/v1/images/generations" else ("length", "chunked", "close")
        return st.tuples(st.just(path), st.just(stream), answers(b"text/event-stream", stream, framings))

    for_all(in_loop, example, streams().flatmap(told), examples=400)


async def test_a_stream_is_the_same_wherever_it_is_cut(simulator: Simulator, gateway: GatewayFactory) -> None:
    running = await gateway()
    stream = (
        b"\xef\xbb\xbf: hello\r\n\r\nevent: \xf0\x9f\x91\x8b\r\ndata: {\r\ndata:}\r\n\r\n"
        b'data: {"choices":[{"delta":{"content":"\xf0\x9f\x91\x8b"},"finish_reason":"stop"}]}\r\n\r\n'
        b"data: [DONE]\r\n\r\n"
    )
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n" % len(stream)
    for cut in range(1, len(stream)):
        simulator.script([Send(head + stream[:cut]), Delay(0), Delay(0), Send(stream[cut:])], match="/v1/chat/*")
        async with connect(running.port) as wire:
            wire.send(chat(stream=True))
            assert (await wire.response()).body == stream, cut


def test_binary_answers_reach_the_client_byte_for_byte(
    simulator: Simulator, gateway: GatewayFactory, in_loop: RunInLoop
) -> None:
    running = in_loop(gateway())

    async def example(case: tuple[bytes, list[Step]]) -> None:
        body, steps = case
        simulator.script(steps, match="/v1/audio/speech")
        async with connect(running.port) as wire:
            wire.send(request("/v1/audio/speech", {"model": "sim-tts", "input": "hello", "voice": "a"}))
            answer = await wire.response()
        assert (answer.status, answer.header("content-type"), answer.body) == (200, "audio/mpeg", body)

    cases = st.binary(min_size=1, max_size=2000).flatmap(
        lambda body: st.tuples(st.just(body), answers(b"audio/mpeg", body))
    )
    for_all(in_loop, example, cases, examples=80)


# Uploads.


@st.composite
def forms(draw: st.DrawFn) -> tuple[bytes, int, int, bytes]:
    """A multipart form: its bytes, where the model's value starts and ends in them, and the boundary."""
    boundary = draw(st.text("abcXYZ019'()+_,-./:=?", min_size=1, max_size=69)).encode() + b"9"
    delimiter = b"--" + boundary
    file = draw(st.binary(max_size=300) | st.just(b"\r\n--" + boundary[:-1] + b"!\r\n--\r\n\r\n"))
    parts = [
        b'form-data; name="language"\r\n\r\nen',
        b'form-data; name="file"; filename="m\xc3\xb6del.wav"\r\nContent-Type: audio/wav\r\n\r\n'
        + file.replace(delimiter, b""),
        b'form-data; filename="model"; name="second file"\r\n\r\nx',
    ]
    parts.insert(draw(st.integers(0, 3)), b'form-data; name="model"\r\n\r\nsim-public')
    form = b"".join(delimiter + b"\r\nContent-Disposition: " + part + b"\r\n" for part in parts) + delimiter + b"--\r\n"
    at = form.index(b'form-data; name="model"\r\n\r\nsim-public') + len(b'form-data; name="model"\r\n\r\n')
    return form, at, at + len(b"sim-public"), boundary


def test_an_upload_changes_only_in_the_name_of_its_model(
    simulator: Simulator, gateway: GatewayFactory, in_loop: RunInLoop
) -> None:
    names = {"sim-public": {"targets": ["sim/sim-fast-whisper-of-another-length"]}}
    running = in_loop(gateway({"models": names}))

    async def example(case: tuple[tuple[bytes, int, int, bytes], list[bytes]], with_length: bool) -> None:
        (form, start, end, boundary), parts = case
        simulator.script([Send(ANSWER)], match="/v1/audio/transcriptions")
        framing = b"Content-Length: %d" % len(form) if with_length else b"Transfer-Encoding: chunked"
        async with connect(running.port) as wire:
            wire.send(
                b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                b'Content-Type: multipart/form-data; boundary="%b"\r\n%b\r\n\r\n' % (boundary, framing)
            )
            for part in parts:
                wire.send(part if with_length else b"%x\r\n%b\r\n" % (len(part), part))
                await asyncio.sleep(0)  # a turn of the loop: each part is a segment of its own
            if not with_length:
                wire.send(b"0\r\n\r\n")
            assert (await wire.response()).status == 200
        renamed = form[:start] + b"sim-fast-whisper-of-another-length" + form[end:]
        record = calls(simulator)[-1]
        assert record.body == renamed
        assert record.header("content-length") == (b"%d" % len(renamed) if with_length else None)
        assert record.header("content-type") == b'multipart/form-data; boundary="%b"' % boundary

    cases = forms().flatmap(lambda form: st.tuples(st.just(form), pieces(form[0])))
    for_all(in_loop, example, cases, st.booleans(), examples=150)


async def test_an_upload_of_many_megabytes_arrives_whole(simulator: Simulator, gateway: GatewayFactory) -> None:
    running = await gateway({"models": {"sim-public": {"targets": ["sim/sim-fast"]}}})
    file = hashlib.shake_256(b"seed").digest(40 * MIB)
    before = b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\n'
    after = b'\r\n--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + file + b"\r\n--b--\r\n"
    length = len(before) + len(b"sim-public") + len(after)
    async with connect(running.port) as wire:
        wire.send(
            b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n"
            b"Content-Type: multipart/form-data; boundary=b\r\n\r\n%bsim-public%b" % (length, before, after)
        )
        assert (await wire.response()).status == 200
    record = calls(simulator)[-1]
    assert record.sha256 == hashlib.sha256(before + b"sim-fast" + after).hexdigest()
    assert record.header("content-length") == b"%d" % (length - len("sim-public") + len("sim-fast"))


# Size.

CONTENT = b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
DONE = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


def long_event(size: int) -> bytes:
    """One event on one line, with the line about *size* bytes long."""
    return b'data: {"choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n' % (b"x" * size)


async def test_an_event_of_15_mib_on_one_line_passes(simulator: Simulator, gateway: GatewayFactory) -> None:
    running = await gateway()
    stream = CONTENT + long_event(15 * MIB) + DONE
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n" % len(stream)
    simulator.script([Send(head + stream)], match="/v1/chat/*")
    async with connect(running.port) as wire:
        wire.send(chat(stream=True))
        answer = await wire.response()
    assert answer.status == 200
    assert answer.body == stream  # framed to its end, or `response` would have failed


async def test_an_event_of_17_mib_ends_the_stream_with_an_error(simulator: Simulator, gateway: GatewayFactory) -> None:
    running = await gateway({"providers": {"sim": provider(simulator)}})
    stream = CONTENT + long_event(17 * MIB) + DONE
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n" % len(stream)
    simulator.script([Send(head + stream)], match="/v1/chat/*")
    async with connect(running.port) as wire:
        wire.send(chat(stream=True))
        await wire.until(b"\r\n\r\n")
        parts = []
        while (size := await wire.reader.readline()) != b"":
            parts.append(await wire.reader.readexactly(int(size, 16)))
            assert await wire.reader.readexactly(2) == b"\r\n"
            assert size != b"0\r\n", "a stream that was cut must not end like a whole one"
        passed, _, last = b"".join(parts).rpartition(b"\n\ndata: ")
        assert stream.startswith(passed)
        assert len(passed) > 15 * MIB
        assert last.endswith(b"\n\n")
        assert json.loads(last)["error"]["code"] == "upstream_protocol_error"
        # The provider is let go at once, not read to its end.
        assert await calls(simulator)[-1].closed() in ("client", "reset")
