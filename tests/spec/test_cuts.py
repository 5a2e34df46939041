"""
An answer that breaks off never passes for a whole one, wherever it breaks off and however.

Streams of every dialect are cut at each byte: with FIN, with a reset, and with a good end of the framing. What a cut
must look like follows from the events that had arrived, and the client here is strict about framing.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from tests.conftest import GatewayFactory
from tests.rigs.simulator import Fin, Reset, Send, Simulator, Step

from .wire import QUESTION, ask, connect, parse_head, request, target

AT_ONCE = 100
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"
ASKED: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": QUESTION, "stream_options": {"include_usage": True}},
    "/v1/responses": {"input": "hello there"},
    "/v1/messages": {"messages": QUESTION, "max_tokens": 100},
}
FIRST_CONTENT = {
    "/v1/chat/completions": b'"content":"',
    "/v1/responses": b"event: response.output_item.added",
    "/v1/messages": b"event: ping",
}
TERMINAL = {
    "/v1/chat/completions": b'"finish_reason":"stop"',
    "/v1/responses": b"event: response.completed",
    "/v1/messages": b"event: message_stop",
}


@dataclass(frozen=True, slots=True)
class Answered:
    """What the client saw."""

    status: int
    body: bytes
    ended: bool
    """With the mark of a good end."""

    @property
    def error(self) -> dict[str, Any]:
        """The error of a JSON answer, or of the last event."""
        text = self.body if self.status != 200 else self.body.rpartition(b"data: ")[2]
        return dict(json.loads(text)["error"])


class Stream:
    """A whole stream as a provider sends it, one chunk per event."""

    def __init__(self, path: str, body: bytes) -> None:
        self.path = path
        self.body = body
        events = [event + b"\n\n" for event in body.split(b"\n\n")[:-1]]
        chunks = [b"%x\r\n%b\r\n" % (len(event), event) for event in events]
        self.wire = HEAD + b"".join(chunks) + LAST
        self.chunks = [len(HEAD) + sum(map(len, chunks[:n])) for n in range(len(chunks) + 1)]
        self.boundaries = [sum(map(len, events[:n])) for n in range(len(events) + 1)]
        self.content = self._end_of(events, lambda event: FIRST_CONTENT[path] in event and b'"content":""' not in event)
        self.terminal = self._end_of(events, lambda event: TERMINAL[path] in event)

    def _end_of(self, events: Sequence[bytes], wanted: Callable[[bytes], bool]) -> int:
        return self.boundaries[next(n for n, event in enumerate(events) if wanted(event)) + 1]

    def cut(self, at: int, how: Step | None) -> tuple[list[Step], int]:
        """The steps that break it off at *at*, and how many bytes of the body arrive."""
        if how is None:
            part = self.body[:at]
            return [Send(HEAD + (b"%x\r\n%b\r\n" % (at, part) if part else b"") + LAST)], at
        return [Send(self.wire[:at]), how], len(_body_of(self.wire[len(HEAD) : at])[0])

    def offsets(self, how: Step | None, every: bool) -> Iterable[int]:
        """Where to cut: everywhere, or around each boundary and here and there between."""
        end, marks = (len(self.body) + 1, self.boundaries) if how is None else (len(self.wire), self.chunks)
        if every:
            return range(end)
        near = {mark + by for mark in marks for by in (-5, -4, -3, -2, -1, 0, 1, 2, 5, 9)}
        return sorted(at for at in near | set(range(0, end, 61)) if 0 <= at < end)


def _body_of(framed: bytes) -> tuple[bytes, bool]:
    """The body in chunks that may break off, and whether its end is there."""
    body = b""
    while True:
        size, found, framed = framed.partition(b"\r\n")
        if not found:
            return body, False
        length = int(size, 16)
        if length == 0:
            return body, framed == b"\r\n"
        body += framed[:length]
        if len(framed) < length + 2:
            return body, False
        framed = framed[length + 2 :]


async def answer_to(port: int, data: bytes) -> Answered:
    async with connect(port) as wire:
        wire.send(data)
        received, ending = await wire.to_end()
    assert ending == "fin"
    head, _, rest = received.partition(b"\r\n\r\n")
    status, headers = parse_head(head + b"\r\n\r\n")
    if ("Transfer-Encoding", "chunked") in headers:
        return Answered(status, *_body_of(rest))
    assert int(dict(headers)["Content-Length"]) == len(rest)
    return Answered(status, rest, True)


def judge(stream: Stream, arrived: int, answered: Answered, other: bytes | None) -> str:
    """What became of a stream of which *arrived* bytes came; *other* is the answer of the second target, if any."""
    if arrived < stream.content:
        if other is not None:
            assert (answered.status, answered.body, answered.ended) == (200, other, True)
            return "the second target's answer"
        assert answered.status == 502
        assert answered.error["code"] in ("upstream_truncated", "upstream_protocol_error")
        return "an HTTP error"
    assert answered.status == 200
    if answered.ended:
        assert arrived >= stream.terminal
        assert answered.body == stream.body[:arrived]
        return "whole"
    whole = max(each for each in stream.boundaries if each <= arrived)
    assert whole < stream.terminal or arrived not in stream.boundaries, "it had said its last word"
    assert answered.body.startswith(stream.body[:whole])
    rest = answered.body[whole:]
    assert rest.count(b"data: ") == 1
    assert rest.endswith(b"\n\n")
    assert answered.error["code"] == "upstream_truncated"
    assert rest.startswith(b"data: " if stream.path.endswith("completions") else b"event: error\ndata: ")
    return "an error event"


async def whole_stream(simulator: Simulator, path: str) -> Stream:
    body = {"model": "sim-fast:tokens=2,id=1", "stream": True, **ASKED[path]}
    answer = await ask(simulator.port, request(path, body))
    assert answer.status == 200
    return Stream(path, answer.body)


ENDINGS: dict[str, Step | None] = {"fin": Fin(), "rst": Reset(), "end": None}


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("path", ASKED)
async def test_a_stream_cut_anywhere_is_signalled_every_time(
    path: str, ending: str, simulator: Simulator, gateway: GatewayFactory
) -> None:
    stream = await whole_stream(simulator, path)
    providers = {"first": target(simulator, models=["cut-*"])}
    running = await gateway({"providers": providers, "failover": {"retries": 0}})
    seen = await cut_everywhere(running.port, simulator, stream, ENDINGS[ending], None)
    show(f"{path} {ending}", seen)
    assert seen["an HTTP error"]
    assert seen["an error event"]
    assert seen["whole"]
    assert running.metric("hapax_exchanges_total", outcome="cut") == seen["an error event"]
    assert running.metric("hapax_exchanges_total", outcome="ok") == seen["whole"]


@pytest.mark.parametrize("ending", ENDINGS)
async def test_before_its_first_content_a_cut_stream_comes_from_the_second_target(
    ending: str, simulator: Simulator, backup: Simulator, gateway: GatewayFactory
) -> None:
    stream = await whole_stream(simulator, "/v1/chat/completions")
    providers = {"first": target(simulator, models=["cut-*"]), "second": target(backup, models=["cut-*"])}
    running = await gateway({"providers": providers, "failover": {"budget": 1}, "health_check": {"enabled": False}})
    other = stream.body.replace(b"chatcmpl-1", b"chatcmpl-2")
    backup.script([Send(HEAD + b"%x\r\n%b\r\n" % (len(other), other) + LAST)], match="cut-*", times=len(stream.wire))
    seen = await cut_everywhere(running.port, simulator, stream, ENDINGS[ending], other)
    show(f"with a second target, {ending}", seen)
    assert not seen["an HTTP error"]
    assert seen["the second target's answer"]
    assert seen["an error event"]


async def cut_everywhere(
    port: int, simulator: Simulator, stream: Stream, how: Step | None, other: bytes | None
) -> Counter[str]:
    """Play the stream once for each place it is cut at; what became of the cuts."""
    room = asyncio.Semaphore(AT_ONCE)
    seen: Counter[str] = Counter()

    async def play(at: int) -> None:
        async with room:
            steps, arrived = stream.cut(at, how)
            model = f"cut-{at}"
            # A reused connection that dies without a byte is replaced, and the request sent once more.
            simulator.script(steps, match=model, times=2 if at == 0 else 1)
            body = {"model": model, "stream": True, **ASKED[stream.path]}
            answered = await answer_to(port, request(stream.path, body, head="Connection: close\r\n"))
            try:
                seen[judge(stream, arrived, answered, other)] += 1
            except AssertionError as error:
                error.add_note(f"cut at {at}, {arrived} of {len(stream.body)} bytes arrived: {answered}")
                raise

    async with asyncio.TaskGroup() as group:
        for at in stream.offsets(how, stream.path.endswith("completions")):
            group.create_task(play(at))
    return seen


def show(name: str, seen: Counter[str]) -> None:
    cuts = sum(seen.values()) - seen["whole"]
    print(f"\n{name}: {cuts} of {cuts} cuts signalled, 100 %: {dict(seen)}")
