"""What the simulator answers when nothing is wrong."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import pytest

from proxy.simulator.completion import TEXT
from tests.rigs.simulator import Simulator

from .raw import Raw, ask, chat, events, request, said

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}, "unit": {"enum": ["C", "F"]}, "days": {"type": "integer"}},
                "required": ["city", "unit"],
            },
        },
    }
]


async def test_a_chat_answer_byte_for_byte(simulator: Simulator) -> None:
    """The whole response is known in advance."""
    async with Raw(simulator) as raw:
        raw.send(chat("sim-fast:tokens=2"))
        body = (
            b'{"id":"chatcmpl-000000000001","object":"chat.completion","created":1735689600,"model":"sim-fast",'
            b'"choices":[{"index":0,"message":{"role":"assistant","content":"The simulator","refusal":null},'
            b'"logprobs":null,"finish_reason":"stop"}],"system_fingerprint":"fp_simulator",'
            b'"usage":{"prompt_tokens":2,"completion_tokens":2,"total_tokens":4}}'
        )
        head = (
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
            b"x-request-id: req_000000000001\r\n\r\n" % len(body)
        )
        assert await raw.reader.readexactly(len(head) + len(body)) == head + body


async def test_a_stream_event_by_event(simulator: Simulator) -> None:
    """Role, deltas, finish, usage when asked for, [DONE]."""
    _, headers, body = await ask(
        simulator, chat("sim-1:tokens=3,pace=1ms", stream=True, stream_options={"include_usage": True})
    )
    assert headers["content-type"] == "text/event-stream"
    role, one, two, three, finish, usage, done = events(body)
    assert role["choices"][0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
    assert [e["choices"][0]["delta"]["content"] for e in (one, two, three)] == ["The", " simulator", " says"]
    assert finish["choices"][0]["finish_reason"] == "stop"
    assert usage["choices"] == []
    assert usage["usage"] == {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}
    assert done == "[DONE]"


async def test_no_usage_chunk_unless_asked_for(simulator: Simulator) -> None:
    """A plain stream ends with finish and [DONE]."""
    _, _, body = await ask(simulator, chat("sim-fast", stream=True))
    assert "usage" not in events(body)[-2]
    assert said(body) == TEXT


async def test_ids_count_requests_unless_fixed(simulator: Simulator) -> None:
    """Equal questions differ in their numbers only, and not even there with `id`."""
    answers = [
        await ask(simulator, chat(model)) for model in ("sim-fast", "sim-fast", "sim-fast:id=x", "sim-fast:id=x")
    ]
    ids = [json.loads(body)["id"] for _, _, body in answers]
    assert ids == ["chatcmpl-000000000001", "chatcmpl-000000000002", "chatcmpl-x", "chatcmpl-x"]
    assert answers[2][2] == answers[3][2]


async def test_echo(simulator: Simulator) -> None:
    """sim-echo says what the user said last."""
    messages = [
        {"role": "user", "content": "first"},
        {"role": "user", "content": [{"type": "text", "text": "grüße 🎉"}]},
    ]
    _, _, body = await ask(simulator, chat("sim-echo", messages=messages, stream=True))
    assert said(body) == "grüße 🎉"


@pytest.mark.parametrize("size", [0, 1, 700, 100_000])
async def test_bytes_is_exact(simulator: Simulator, size: int) -> None:
    """`bytes` sizes the content to the byte; `tokens` beside it sizes the stream."""
    _, _, body = await ask(simulator, chat(f"sim-fast:bytes={size},tokens=5"))
    assert len(json.loads(body)["choices"][0]["message"]["content"]) == size
    _, _, body = await ask(simulator, chat(f"sim-fast:bytes={size},tokens=5", stream=True))
    assert len(said(body).split()) == 5


async def test_n_choices(simulator: Simulator) -> None:
    """Each choice is told apart by its index, whole or streamed."""
    _, _, body = await ask(simulator, chat("sim-fast:tokens=2", n=3))
    assert [choice["index"] for choice in json.loads(body)["choices"]] == [0, 1, 2]
    _, _, body = await ask(simulator, chat("sim-fast:tokens=1", n=2, stream=True))
    assert [e["choices"][0]["index"] for e in events(body)[:-1]] == [0, 1] * 3


async def test_max_tokens(simulator: Simulator) -> None:
    """The limit cuts the text and names the reason."""
    _, _, body = await ask(simulator, chat("sim-fast", max_tokens=2))
    choice = json.loads(body)["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("The simulator", "length")


@pytest.mark.parametrize(
    ("prefill", "rest"),
    [("The simulator", TEXT[13:]), (TEXT, ""), ("The simulator sa", TEXT[16:]), ("Another model", TEXT[13:])],
)
async def test_a_trailing_assistant_message_is_continued(simulator: Simulator, prefill: str, rest: str) -> None:
    """The answer is what is left of the text; `restart` says it all again."""
    messages = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": prefill}]
    _, _, body = await ask(simulator, chat("sim-fast", messages=messages, stream=True))
    assert said(body) == rest
    _, _, body = await ask(simulator, chat("sim-fast:restart", messages=messages, stream=True))
    assert said(body) == TEXT


async def test_tool_call(simulator: Simulator) -> None:
    """A tool is called with what its schema requires, whole and in fragments alike."""
    _, _, body = await ask(simulator, chat("sim-fast", tools=TOOLS))
    choice = json.loads(body)["choices"][0]
    call = choice["message"]["tool_calls"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert call["function"] == {"name": "weather", "arguments": '{"city":"sample","unit":"C"}'}
    _, _, body = await ask(simulator, chat("sim-fast", tools=TOOLS, stream=True))
    fragments = [e["choices"][0]["delta"].get("tool_calls") for e in events(body)[:-1]]
    assert len(fragments) > 4
    assert "".join(f[0]["function"]["arguments"] for f in fragments if f) == '{"city":"sample","unit":"C"}'


async def test_no_tool_call_when_refused_or_answered(simulator: Simulator) -> None:
    """tool_choice none, and a tool's result as last message, get a text."""
    result = [{"role": "user", "content": "hi"}, {"role": "tool", "tool_call_id": "x", "content": "sunny"}]
    for fields in ({"tool_choice": "none"}, {"messages": result}):
        _, _, body = await ask(simulator, chat("sim-fast", tools=TOOLS, **fields))
        assert json.loads(body)["choices"][0]["message"]["content"] == TEXT


async def test_structured_output(simulator: Simulator) -> None:
    """response_format gets JSON text, following the schema where there is one."""
    schema = {"$ref": "#/$defs/A", "$defs": {"A": {"properties": {"x": {"type": ["integer", "null"]}, "y": {"anyOf": [
        {"type": "array", "items": {"type": "boolean"}}]}}, "required": ["x", "y"]}}}  # fmt: skip
    wanted = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    _, _, body = await ask(simulator, chat("sim-fast", response_format=wanted))
    assert json.loads(json.loads(body)["choices"][0]["message"]["content"]) == {"x": 1, "y": [True]}
    _, _, body = await ask(simulator, chat("sim-fast", response_format={"type": "json_object"}))
    assert json.loads(json.loads(body)["choices"][0]["message"]["content"]) == {"answer": TEXT}


async def test_embeddings(simulator: Simulator) -> None:
    """Floats and base64 say the same; equal texts have equal vectors."""
    body: dict[str, Any] = {"model": "sim-embed", "input": ["a", "b", "a"], "dimensions": 4}
    _, _, plain = await ask(simulator, request("/v1/embeddings", body))
    _, _, packed = await ask(simulator, request("/v1/embeddings", {**body, "encoding_format": "base64"}))
    vectors = [row["embedding"] for row in json.loads(plain)["data"]]
    assert vectors[0] == vectors[2] != vectors[1]
    unpacked = [list(struct.unpack("<4f", base64.b64decode(row["embedding"]))) for row in json.loads(packed)["data"]]
    assert vectors == unpacked
    _, _, tokens = await ask(simulator, request("/embeddings", {"model": "sim-embed", "input": [1, 2, 3]}))
    assert json.loads(tokens)["usage"]["prompt_tokens"] == 3


async def test_messages_dialect(simulator: Simulator) -> None:
    """Anthropic's events come in their order, with their names."""
    body = {"model": "sim-fast", "max_tokens": 3, "messages": [{"role": "user", "content": "hi"}]}
    _, _, whole = await ask(simulator, request("/v1/messages", body))
    assert json.loads(whole)["stop_reason"] == "max_tokens"
    _, _, stream = await ask(simulator, request("/v1/messages", {**body, "stream": True}))
    names = [line[7:].decode() for line in stream.split(b"\n") if line.startswith(b"event: ")]
    assert names == [
        "message_start",
        "content_block_start",
        "ping",
        *["content_block_delta"] * 3,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    tools = [{"name": "t", "input_schema": {"properties": {"q": {"type": "string"}}, "required": ["q"]}}]
    _, _, called = await ask(simulator, request("/v1/messages", {**body, "tools": tools}))
    assert json.loads(called)["content"][0]["input"] == {"q": "sample"}
    _, _, stream = await ask(simulator, request("/v1/messages", {**body, "tools": tools, "stream": True}))
    assert b'"stop_reason":"tool_use"' in stream


async def test_small_endpoints(simulator: Simulator) -> None:
    """Completions, moderations, images and rerank answer in their shapes."""
    _, _, body = await ask(simulator, request("/completions", {"model": "sim-fast", "prompt": "a b c"}))
    assert json.loads(body)["choices"][0]["text"] == TEXT
    _, _, body = await ask(simulator, request("/completions", {"model": "sim-fast", "prompt": "a", "stream": True}))
    assert "".join(e["choices"][0]["text"] for e in events(body)[:-1]) == TEXT
    _, _, body = await ask(simulator, request("/moderations", {"input": ["calm", "violence"]}))
    assert [result["flagged"] for result in json.loads(body)["results"]] == [False, True]
    _, _, body = await ask(simulator, request("/images/generations", {"model": "sim-fast", "prompt": "x", "n": 2}))
    assert base64.b64decode(json.loads(body)["data"][1]["b64_json"]).startswith(b"\x89PNG")
    _, _, body = await ask(simulator, request("/rerank", {"model": "sim-fast", "query": "q", "documents": ["a", "bb"]}))
    assert [result["index"] for result in json.loads(body)["results"]] == [1, 0]


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (chat("gpt-none"), 404, "model_not_found"),
        (chat("sim-1:nonsense"), 400, "invalid_directive"),
        (chat("sim-1", head="x-simulator: nonsense\r\n"), 400, "invalid_directive"),
        (request("/v1/chat/completions", b"{"), 400, None),
        (request("/v1/chat/completions", b"[]"), 400, None),
        (request("/v1/chat/completions", {"messages": []}), 400, None),
        (request("/v1/chat/completions", {"model": "sim-1", "messages": 1}), 400, None),
        (request("/v1/chat/completions", {"model": "sim-1", "messages": [], "tools": [1]}), 400, None),
        (request("/v1/nothing", {}), 404, "unknown_url"),
        (request("/v1/embeddings", method="GET"), 405, "method_not_supported"),
        (request("/v1/models/none", method="GET"), 404, "model_not_found"),
        (request("/v1/files/none", method="GET"), 404, None),
        (request("/v1/files", {}), 400, None),
        (request("/v1/audio/transcriptions", {"model": "sim-1"}), 400, None),
        (b"GET nothing\r\n\r\n", 400, None),
    ],
)
async def test_refusals_have_openais_shape(simulator: Simulator, sent: bytes, status: int, code: str | None) -> None:
    """Whatever is wrong with a request, the answer is an error object."""
    found, _, body = await ask(simulator, sent)
    error = json.loads(body)["error"]
    assert (found, error["code"]) == (status, code)
    assert set(error) == {"message", "type", "param", "code"}


async def test_the_key_is_asked_for_only_where_there_is_one() -> None:
    """With a key, neither no key nor a wrong one opens; bearer and x-api-key do."""
    async with Simulator(api_key="sk-right") as simulator:
        heads = [
            "",
            "Authorization: Bearer sk-wrong\r\n",
            "Authorization: Bearer sk-right\r\n",
            "X-API-Key: sk-right\r\n",
        ]
        assert [(await ask(simulator, chat("sim-fast", head=head)))[0] for head in heads] == [401, 401, 200, 200]


async def test_models_of_ones_own() -> None:
    """Models are names with the directives they always have."""
    async with Simulator(models=["gpt-4o:tokens=2", "other"]) as simulator:
        _, _, body = await ask(simulator, request("/v1/models", method="GET"))
        assert [model["id"] for model in json.loads(body)["data"]] == ["gpt-4o", "other"]
        assert (await ask(simulator, request("/v1/models/gpt-4o", method="GET")))[0] == 200
        _, _, body = await ask(simulator, chat("gpt-4o"))
        assert json.loads(body)["choices"][0]["message"]["content"] == "The simulator"
        assert (await ask(simulator, chat("sim-1")))[0] == 404
