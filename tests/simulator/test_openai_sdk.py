"""The client most people use, against the simulator."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI

from proxy.simulator.completion import TEXT
from tests.rigs.simulator import Simulator

USER: Any = [{"role": "user", "content": "hello there"}]


@pytest.fixture
async def client(simulator: Simulator) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=simulator.base_url, api_key="sk-any", max_retries=0) as ready:
        yield ready


async def test_chat(client: AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="sim-fast", messages=USER)
    assert answer.choices[0].message.content == TEXT
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == 2


async def test_stream(client: AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="sim-1:pace=1ms", messages=USER, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == TEXT
    assert chunks[-1].usage is not None


async def test_tools(client: AsyncOpenAI) -> None:
    function = {"name": "f", "parameters": {"properties": {"q": {"type": "string"}}, "required": ["q"]}}
    tools: Any = [{"type": "function", "function": function}]
    async with client.chat.completions.stream(model="sim-fast", messages=USER, tools=tools) as stream:
        final = await stream.get_final_completion()
    calls = final.choices[0].message.tool_calls
    assert calls is not None
    assert calls[0].function.arguments == '{"q":"sample"}'


async def test_embeddings(client: AsyncOpenAI) -> None:
    answer = await client.embeddings.create(model="sim-embed", input=["a", "b"], dimensions=3)
    assert [len(row.embedding) for row in answer.data] == [3, 3]


async def test_responses(client: AsyncOpenAI) -> None:
    answer = await client.responses.create(model="sim-fast", input="hello")
    assert answer.output_text == TEXT
    async with client.responses.stream(model="sim-fast", input="hello") as stream:
        kinds = [event.type async for event in stream]
        final = await stream.get_final_response()
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"
    assert final.output_text == TEXT
    tools: Any = [{"type": "function", "name": "f", "parameters": {"properties": {"q": {}}, "required": ["q"]}}]
    called = await client.responses.create(model="sim-fast", input="hello", tools=tools)
    assert called.output[0].type == "function_call"
    async with client.responses.stream(model="sim-fast", input="hello", tools=tools) as stream:
        final = await stream.get_final_response()
    assert final.output[0].type == "function_call"


async def test_speech_and_transcription(client: AsyncOpenAI) -> None:
    speech = await client.audio.speech.create(model="sim-tts:bytes=1000", voice="alloy", input="hello")
    assert speech.content == (bytes(range(256)) * 4)[:1000]
    heard = await client.audio.transcriptions.create(model="sim-fast", file=("a.wav", b"RIFF" * 100))
    assert heard.text == TEXT


async def test_files(client: AsyncOpenAI) -> None:
    made = await client.files.create(file=("a.jsonl", b"{}\n" * 50), purpose="batch")
    assert (made.bytes, made.filename, made.purpose) == (150, "a.jsonl", "batch")
    assert [file.id async for file in await client.files.list()] == [made.id]
    assert (await client.files.retrieve(made.id)).bytes == 150
    assert (await client.files.delete(made.id)).deleted
    with pytest.raises(openai.NotFoundError):
        await client.files.retrieve(made.id)


async def test_other_endpoints(client: AsyncOpenAI) -> None:
    assert "sim-1" in [model.id async for model in client.models.list()]
    assert (await client.models.retrieve("sim-1")).owned_by == "simulator"
    assert (await client.completions.create(model="sim-fast", prompt="x")).choices[0].text == TEXT
    assert not (await client.moderations.create(input="calm")).results[0].flagged
    image = await client.images.generate(model="sim-fast", prompt="x")
    assert image.data is not None


@pytest.mark.parametrize(
    ("model", "error"),
    [
        ("none", openai.NotFoundError),
        ("sim-fault:status=429", openai.RateLimitError),
        ("sim-fault:status=503", openai.InternalServerError),
        ("sim-fault:rst", openai.APIConnectionError),
        ("sim-fault:error@1", openai.APIError),
        ("sim-fault:fin@2", openai.APIConnectionError),
    ],
)
async def test_errors(client: AsyncOpenAI, model: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        async for _ in await client.chat.completions.create(model=model, messages=USER, stream=True):
            pass
