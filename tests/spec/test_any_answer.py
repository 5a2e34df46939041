"""Whatever a provider sends as a 2xx, in any framing SDKs accept: what the client gets over its own connection."""

import json

from hypothesis import strategies as st

from tests.conftest import GatewayFactory, provider
from tests.relay.any_answer import KEY_WORDS, Sent, is_finished, objects_of, sent
from tests.rigs.simulator import Delay, Fin, Send, Simulator, Step
from tests.spec.conftest import RunInLoop
from tests.spec.test_bytes_unchanged import for_all
from tests.spec.wire import ONCE, calls, connect, parse_head, request

REST = (b"429", b"Throttling", b"1002")
"""After these a provider rests, and the next example would not reach it."""


@st.composite
def steps(draw: st.DrawFn, answer: Sent) -> list[Step]:
    """*answer* on the wire: its head, and its pieces framed in one of the ways SDKs accept."""
    framing = draw(st.sampled_from(["length", "equal lengths", "chunked", "padded", "extensions", "close"]))
    head = b"HTTP/1.1 200 OK\r\n" + (b"" if answer.kind is None else b"Content-Type: %b\r\n" % answer.kind)
    if "length" in framing:
        head += b"Content-Length: %d\r\n" % len(answer.body) * (1 + ("equal" in framing))
        parts = answer.pieces
    elif framing == "close":
        head += b"Connection: close\r\n"
        parts = answer.pieces
    else:
        head += b"Transfer-Encoding: chunked\r\n"
        size = {"chunked": b"%x\r\n%b\r\n", "padded": b"%x  \r\n%b\r\n", "extensions": b"000%x;a=b\r\n%b\r\n"}[framing]
        parts = [*(size % (len(piece), piece) for piece in answer.pieces), b"0\r\n\r\n"]
    sends: list[Step] = []
    for part in [head + b"\r\n", *parts]:
        sends += [Send(part), Delay(0)]
    return [*sends, *([Fin()] if framing == "close" else [])]


def body_of(framed: bytes) -> tuple[bytes, bool]:
    """The body of a chunked answer, and whether its last chunk is there."""
    body = b""
    while framed:
        size, _, framed = framed.partition(b"\r\n")
        length = int(size, 16)
        if length == 0:
            return body, True
        body, framed = body + framed[:length], framed[length + 2 :]
    return body, False


def test_any_answer_reaches_the_client_whole_or_is_told_to_be_none(
    simulator: Simulator, gateway: GatewayFactory, in_loop: RunInLoop
) -> None:
    threshold = {"circuit_breaker": {"failure_threshold": 10_000}}
    running = in_loop(gateway({"providers": {"sim": provider(simulator)}, **ONCE, **threshold}))

    async def example(case: tuple[Sent, list[Step]]) -> None:
        answer, wire_steps = case
        simulator.script(wire_steps, match=f"/v1{answer.path}")
        before = len(calls(simulator))
        async with connect(running.port) as wire:
            body = {"model": "sim-fast", "stream": True, "messages": [], "input": "a", "prompt": "a", "max_tokens": 5}
            wire.send(request(f"/v1{answer.path}", body, head="Connection: close\r\n"))
            received, _ = await wire.to_end()
        assert len(calls(simulator)) == before + 1
        head, _, rest = received.partition(b"\r\n\r\n")
        status, headers = parse_head(head + b"\r\n\r\n")
        if ("Transfer-Encoding", "chunked") in headers:
            rest, ended = body_of(rest)
        else:
            ended = int(dict(headers)["Content-Length"]) == len(rest)
        if status != 200:
            assert ended
            assert status in (400, 403, 404, 422, 500, 501, 502, 503, 504)
            assert "error" in json.loads(rest)
        elif ended:
            assert answer.body.startswith(rest)
            assert is_finished(answer.path, rest) or not objects_of(rest)
        else:
            told = objects_of(rest)
            assert "[DONE]" not in told or answer.path.startswith("/audio")
            last = next((value for value in reversed(told) if type(value) is dict), {})
            errors = [value for value in told if type(value) is dict]
            streamed = any(value.get("error") or value.get("object") == "error" for value in errors)
            assert streamed or last.get("type") == "response.failed" or not told

    cases = sent().filter(lambda one: not KEY_WORDS.search(one.body) and not any(word in one.body for word in REST))
    for_all(in_loop, example, cases.flatmap(lambda one: st.tuples(st.just(one), steps(one))), examples=100)
