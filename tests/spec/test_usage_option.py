"""
The usage option is invisible: the gateway asks a provider for token counts the client did not ask for, and the
client's bytes are those of a call that never asked.
"""

import asyncio
import json
import logging
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai import AsyncOpenAI

from proxy.core.usage import Tokens
from tests.conftest import GatewayFactory
from tests.relay.test_usage_option import streams
from tests.rigs.simulator import Delay, Drip, Send, Simulator, Step
from tests.spec.conftest import RunInLoop
from tests.spec.wire import ONCE, QUESTION, Response, ask, calls, chat, connect, request, target

LAST = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]%b}\n\n%bdata: [DONE]\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":9,"total_tokens":16}}\n\n'


def without_noise(case: tuple[bytes, bytes]) -> bool:
    """Neither an error, which ends a stream, nor an end before the end."""
    return b'"error"' not in case[0] and b"[DONE]" not in case[0]


@st.composite
def sent(draw: st.DrawFn, stream: bytes) -> list[Step]:
    """*stream* in chunks of any size, as TCP segments of any size."""
    places = sorted(draw(st.sets(st.integers(1, len(stream) - 1), max_size=6)))
    parts = [stream[start:end] for start, end in zip([0, *places], [*places, len(stream)], strict=True)]
    wire = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    if draw(st.booleans()):
        return [Send(head + wire)]
    size = draw(st.integers(1, 60))
    return [Send(head), Delay(0), Drip(wire, size, 0)]


def test_the_client_gets_the_bytes_of_a_call_that_never_asked(
    simulator: Simulator, gateway: GatewayFactory, in_loop: RunInLoop
) -> None:
    running = in_loop(gateway())
    kept = running.observed()

    async def example(case: tuple[tuple[bytes, bytes], list[Step]], asks: bool) -> None:
        (asked, unasked), steps = case
        simulator.script(steps, match="/v1/chat/*")
        async with asyncio.timeout(30), connect(running.port) as wire:
            wire.send(chat(stream=True, **({"stream_options": {"include_usage": True}} if asks else {})))
            answer = await wire.response()
        assert answer.status == 200
        assert answer.body == (asked if asks else unasked)
        running.caught_up()
        assert kept[-1].tokens == Tokens(7, 9)
        assert calls(simulator)[-1].json()["stream_options"] == {"include_usage": True}

    def told(case: tuple[bytes, bytes]) -> st.SearchStrategy[tuple[tuple[bytes, bytes], list[Step]]]:
        asked, unasked = case[0] + LAST % (b',"usage":null', USAGE), case[1] + LAST % (b"", b"")
        return st.tuples(st.just((asked, unasked)), sent(asked))

    @settings(max_examples=250, deadline=None, database=None)
    @given(streams().filter(without_noise).flatmap(told), st.booleans())
    def run(case: tuple[tuple[bytes, bytes], list[Step]], asks: bool) -> None:
        in_loop(example(case, asks))

    run()


PATHS = {
    "/v1/chat/completions": {"messages": QUESTION},
    "/v1/completions": {"prompt": "hello there"},
}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("directives", "more"),
    [
        ("id=1", {}),
        ("id=1,crlf", {}),
        ("id=1,cr,nospace", {}),
        ("id=1,bom,comments", {}),
        ("id=1,segment=7", {}),
        ("id=1,nodone", {}),
        ("id=1,usage=none", {}),
        ("id=1,usage=zero", {}),
        ("id=1,usage=null", {}),
        ("id=1,usage=text", {}),
        ("id=1,usage=refused", {}),
        ("id=1", {"n": 3}),
        ("id=1,crlf", {"stream_options": None}),
        ("id=1,bytes=70000", {"stream_options": {"include_usage": False}}),
        ("id=1", {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]}),
    ],
)
async def test_every_stream_is_as_it_is_without_a_gateway(
    simulator: Simulator, gateway: GatewayFactory, path: str, directives: str, more: dict[str, Any]
) -> None:
    running = await gateway(ONCE)
    body = {"model": f"sim-fast:{directives}", "stream": True, **PATHS[path], **more}
    direct = await ask(simulator.port, request(path, body))
    through = await ask(running.port, request(path, body))
    assert b"data:" in direct.body
    assert through.body == direct.body
    assert _shown(through) == {"content-type": "text/event-stream", "x-hapax-attempts": "1", "x-hapax-provider": "sim"}


def _shown(answer: Response) -> dict[str, str | None]:
    return {name: answer.header(name) for name in ("content-type", "x-hapax-attempts", "x-hapax-provider")}


@pytest.mark.parametrize(
    ("members", "asked"),
    [
        (b'"stream": true}', b'"stream": true,"stream_options":{"include_usage":true}}'),
        (b'"stream":true , "stream_options" :null}\n', b'"stream":true , "stream_options" :{"include_usage":true}}\n'),
        (b'"stream_options":{},"stream":true}', b'"stream_options":{"include_usage":true},"stream":true}'),
        (
            b'"stream":true,"stream_options":{ "include_usage" : false, "include_obfuscation":false } }',
            b'"stream":true,"stream_options":{ "include_usage" : true, "include_obfuscation":false } }',
        ),
        (b'"stream":true,"stream_options":{"include_usage":true } }', None),
        (b'"stream":true,"stream_options":"yes"}', None),
        (b'"stream":true,"stream_options":{"include_usage":1}}', None),
        (b'"stream":false}', None),
        (b'"n":1}', None),
    ],
)
async def test_the_provider_gets_the_option_and_otherwise_the_clients_bytes(
    simulator: Simulator, gateway: GatewayFactory, members: bytes, asked: bytes | None
) -> None:
    running = await gateway({"models": {"alias": {"targets": ["sim/sim-fast"]}}, **ONCE})
    start = b'{ "messages" : [{"role":"user","content":"\\"stream_options\\" \xc3\xa9"}],\t"model":"%b",'
    await ask(running.port, request("/v1/chat/completions", start % b"sim-fast" + members))
    assert calls(simulator)[-1].body == start % b"sim-fast" + (asked or members)
    await ask(running.port, request("/v1/chat/completions", start % b"alias" + members))
    assert calls(simulator)[-1].body == start % b"sim-fast" + (asked or members)


@pytest.mark.parametrize("stream_usage", ["auto", True, False])
async def test_a_provider_is_asked_as_its_settings_say(
    simulator: Simulator, gateway: GatewayFactory, stream_usage: str | bool
) -> None:
    running = await gateway({"providers": {"sim": target(simulator, stream_usage=stream_usage)}})
    kept = running.observed()
    answer = await ask(running.port, chat("sim-fast:tokens=5", stream=True))
    assert ("stream_options" in calls(simulator)[-1].json()) is (stream_usage is not False)
    assert b'"usage"' not in answer.body
    running.caught_up()
    tokens = kept[-1].tokens
    assert tokens is not None
    assert (tokens.completion, tokens.estimated) == (5, stream_usage is False)


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/messages", "/v1/embeddings"])
async def test_other_dialects_tell_their_usage_unasked(
    simulator: Simulator, gateway: GatewayFactory, path: str
) -> None:
    running = await gateway()
    body = {"model": "sim-fast", "stream": True, "input": "a", "messages": QUESTION, "max_tokens": 5}
    direct = await ask(simulator.port, request(path, {**body, "model": "sim-fast:id=1"}))
    through = await ask(running.port, request(path, {**body, "model": "sim-fast:id=1"}))
    assert "stream_options" not in calls(simulator)[-1].json()
    if through.header("content-type") == "text/event-stream":
        assert through.body == direct.body


async def test_a_provider_that_refuses_the_option_is_asked_without_it_and_remembered(
    simulator: Simulator, gateway: GatewayFactory, caplog: pytest.LogCaptureFixture
) -> None:
    running = await gateway(ONCE)
    kept = running.observed()
    model = "sim-fast:id=1,tokens=4,usage=refused"
    with caplog.at_level(logging.INFO, "hapax"):
        for number in range(3):
            answer = await ask(running.port, chat(model, stream=True))
            assert (answer.status, answer.body.count(b'"content"')) == (200, 5)
            assert answer.header("x-hapax-attempts") == "1"
            assert len(calls(simulator)) == 2 + number
            running.caught_up()
            assert kept[-1].tokens == Tokens(kept[-1].tokens.prompt, 4, estimated=True)  # type: ignore[union-attr]
    assert ["stream_options" in call.json() for call in calls(simulator)] == [True, False, False, False]
    told = [record.getMessage() for record in caplog.records if "stream_options" in record.getMessage()]
    assert told == ["provider sim: refuses stream_options, is not asked for usage any more"]
    direct = await ask(simulator.port, chat(model, stream=True))
    assert answer.body == direct.body


async def test_where_the_settings_insist_a_refusal_teaches_nothing(
    simulator: Simulator, gateway: GatewayFactory
) -> None:
    running = await gateway({"providers": {"sim": target(simulator, stream_usage=True)}, **ONCE})
    for _ in range(2):
        assert (await ask(running.port, chat("sim-fast:usage=refused", stream=True))).status == 200
    assert ["stream_options" in call.json() for call in calls(simulator)] == [True, False, True, False]


async def test_a_refusal_for_another_reason_is_not_repeated(simulator: Simulator, gateway: GatewayFactory) -> None:
    running = await gateway(ONCE)
    answer = await ask(running.port, chat("sim-fast:status=400", stream=True))
    assert (answer.status, len(calls(simulator))) == (400, 1)


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize("kind", ["application/json", "text/plain"])
async def test_a_refusal_that_stays_without_the_option_reaches_the_client_and_teaches_nothing(
    simulator: Simulator, gateway: GatewayFactory, status: int, kind: str
) -> None:
    running = await gateway(ONCE)
    words = b'{"error":{"message":"no stream_options and no stream","type":"invalid_request_error","code":"x"}}'
    head = f"HTTP/1.1 {status} No\r\nContent-Type: {kind}\r\nContent-Length: {len(words)}\r\n\r\n".encode()
    simulator.script([Send(head + words)], match="/v1/chat/*", times=2)
    answer = await ask(running.port, chat(stream=True))
    assert (answer.status, answer.body) == (status, words)
    assert ["stream_options" in call.json() for call in calls(simulator)] == [True, False]
    await ask(running.port, chat(stream=True))
    assert "stream_options" in calls(simulator)[-1].json()


async def test_a_client_that_asked_itself_gets_its_refusal(simulator: Simulator, gateway: GatewayFactory) -> None:
    running = await gateway(ONCE)
    asks = chat("sim-fast:usage=refused", stream=True, stream_options={"include_usage": True})
    answer = await ask(running.port, asks)
    assert (answer.status, len(calls(simulator))) == (400, 1)
    assert answer.json["error"]["message"].endswith("stream_options")


async def test_the_provider_asked_next_is_asked_by_its_own_settings(
    simulator: Simulator, backup: Simulator, gateway: GatewayFactory
) -> None:
    running = await gateway(
        {
            "providers": {"one": target(simulator, stream_usage=False), "two": target(backup)},
            "models": {"m": {"targets": ["one/sim-fast:status=503", "two/sim-fast:id=1"]}},
        }
    )
    kept = running.observed()
    through = await ask(running.port, chat("m", stream=True))
    direct = await ask(backup.port, chat("sim-fast:id=1", stream=True))
    assert through.body == direct.body
    assert ("stream_options" in calls(simulator)[0].json(), "stream_options" in calls(backup)[0].json()) == (
        False,
        True,
    )
    running.caught_up()
    assert kept[-1].tokens is not None
    assert not kept[-1].tokens.estimated


async def test_the_openai_sdk_sees_no_usage_it_did_not_ask_for(simulator: Simulator, gateway: GatewayFactory) -> None:
    running = await gateway()
    async with AsyncOpenAI(base_url=running.base_url, api_key="any", max_retries=0) as sdk:
        for asks in (False, True):
            more: dict[str, Any] = {"stream_options": {"include_usage": True}} if asks else {}
            stream = await sdk.chat.completions.create(
                model="sim-fast:tokens=5",
                messages=QUESTION,  # type: ignore[arg-type]
                stream=True,
                **more,
            )
            chunks = [chunk async for chunk in stream]
            assert [chunk.usage is not None for chunk in chunks] == [False] * (len(chunks) - 1) + [asks]
            assert all(chunk.choices for chunk in chunks[:-1])
            assert bool(chunks[-1].choices) is not asks
            assert "usage" not in chunks[0].to_dict() or asks
    assert json.loads(calls(simulator)[0].body)["stream_options"] == {"include_usage": True}
