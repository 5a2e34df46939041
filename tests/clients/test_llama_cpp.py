"""The gateway in front of a real llama.cpp server: what it says must reach the client as it said it."""

import base64
import json
import re
import struct
from typing import Any

import aiohttp
import openai
import pytest
from openai import AsyncOpenAI

from tests.rigs.llama import Llama

from .helpers import KEY, models_known, settings

SAME_EACH_TIME = {"temperature": 0, "seed": 1, "max_tokens": 24}
QUESTION = [{"role": "user", "content": "Say something."}]


@pytest.fixture
async def client(gateway: Any, llama: Llama) -> Any:
    running = await gateway(settings(llama.base_url, api_key=llama.api_key))
    async with AsyncOpenAI(base_url=running.base_url, api_key=KEY, max_retries=0) as sdk:
        yield sdk


def without_ids_and_times(body: bytes) -> bytes:
    """
    The answer without what llama.cpp makes new for each call: ids, the second it was created, its stop-watch. That
    one is gone from a stream whose token counts the gateway asked for: llama.cpp then tells it beside them. And without
    the counts that stand beside a completion's finish, which the gateway takes for those it asked for.
    """
    body = re.sub(rb'"(id|item_id)":"(chatcmpl|resp|msg)[-_]\w+"', rb'"\1":"*"', body)
    body = re.sub(rb'"(created|created_at|completed_at)":\d+', rb'"\1":0', body)
    body = re.sub(rb',"usage":\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}', b"", body) if b"text_completion" in body else body
    return re.sub(rb',"timings":\{[^}]*\}', b"", body)


async def ask(base_url: str, key: str, path: str, body: dict[str, Any]) -> tuple[int, str, bytes]:
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"}) as session,
        session.post(base_url + path, json=body) as response,
    ):
        return response.status, response.headers["Content-Type"], await response.read()


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/chat/completions", {"messages": QUESTION, **SAME_EACH_TIME}),
        ("/chat/completions", {"messages": QUESTION, **SAME_EACH_TIME, "logprobs": True, "n": 2}),
        ("/chat/completions", {"messages": QUESTION, **SAME_EACH_TIME, "stream": True}),
        (
            "/chat/completions",
            {"messages": QUESTION, **SAME_EACH_TIME, "stream": True, "stream_options": {"include_usage": True}},
        ),
        ("/completions", {"prompt": "Once upon a time", **SAME_EACH_TIME}),
        ("/completions", {"prompt": "Once upon a time", **SAME_EACH_TIME, "stream": True}),
        ("/responses", {"input": "Say something.", "temperature": 0, "seed": 1, "max_output_tokens": 24}),
        (
            "/responses",
            {"input": "Say something.", "temperature": 0, "seed": 1, "max_output_tokens": 24, "stream": True},
        ),
        ("/embeddings", {"input": ["one", "two"]}),
        ("/chat/completions", {"messages": "not a list"}),
    ],
    ids=[
        "chat",
        "chat with logprobs",
        "chat stream",
        "chat stream with usage",
        "completion",
        "completion stream",
        "response",
        "response stream",
        "embeddings",
        "refusal",
    ],
)
async def test_the_bytes_of_an_answer_are_those_of_the_direct_answer(
    gateway: Any, llama: Llama, path: str, body: dict[str, Any]
) -> None:
    running = await gateway(settings(llama.base_url, api_key=llama.api_key))
    body = {"model": llama.model, **body}
    direct_status, direct_type, direct = await ask(llama.base_url, llama.api_key, path, body)
    status, content_type, through = await ask(running.base_url, KEY, path, body)
    assert (status, content_type) == (direct_status, direct_type)
    assert without_ids_and_times(through) == without_ids_and_times(direct)


async def test_a_stream_whose_client_did_not_ask_is_counted_as_llama_cpp_counts_it(gateway: Any, llama: Llama) -> None:
    running = await gateway(settings(llama.base_url, api_key=llama.api_key))
    body = {"model": llama.model, "messages": QUESTION, **SAME_EACH_TIME}
    *_, whole = await ask(running.base_url, KEY, "/chat/completions", body)
    told = json.loads(whole)["usage"]
    before = (
        running.metric("hapax_tokens_total", kind="prompt"),
        running.metric("hapax_tokens_total", kind="completion"),
    )
    assert before == (told["prompt_tokens"], told["completion_tokens"])
    *_, streamed = await ask(running.base_url, KEY, "/chat/completions", {**body, "stream": True})
    assert b'"usage"' not in streamed
    assert running.metric("hapax_tokens_total", kind="prompt") == 2 * told["prompt_tokens"]
    assert running.metric("hapax_tokens_total", kind="completion") == 2 * told["completion_tokens"]


async def test_a_chat_answers_with_text_and_usage(client: AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="tiny", messages=QUESTION, **SAME_EACH_TIME)
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].message.content
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 24


async def test_a_chat_stream_adds_up_to_the_answer_of_the_same_chat(client: AsyncOpenAI) -> None:
    whole = await client.chat.completions.create(model="tiny", messages=QUESTION, **SAME_EACH_TIME)
    stream = await client.chat.completions.create(
        model="tiny", messages=QUESTION, **SAME_EACH_TIME, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    deltas = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(deltas) == whole.choices[0].message.content
    assert [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason] == ["length"]
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 24


async def test_a_text_completion_answers_and_streams(client: AsyncOpenAI) -> None:
    whole = await client.completions.create(model="tiny", prompt="Once", **SAME_EACH_TIME)
    stream = await client.completions.create(model="tiny", prompt="Once", **SAME_EACH_TIME, stream=True)
    pieces = [chunk.choices[0].text async for chunk in stream]
    assert "".join(pieces) == whole.choices[0].text


async def test_embeddings_come_as_floats_and_as_base64(client: AsyncOpenAI) -> None:
    floats = await client.embeddings.create(model="tiny", input="one", encoding_format="float")
    packed = await client.embeddings.with_raw_response.create(model="tiny", input="one", encoding_format="base64")
    unpacked = struct.unpack("<64f", base64.b64decode(packed.http_response.json()["data"][0]["embedding"]))
    assert floats.data[0].embedding == pytest.approx(unpacked)


async def test_a_response_answers_and_streams_its_typed_events(client: AsyncOpenAI) -> None:
    whole = await client.responses.create(model="tiny", input="Say something.", temperature=0, max_output_tokens=16)
    stream = await client.responses.create(
        model="tiny", input="Say something.", temperature=0, max_output_tokens=16, stream=True
    )
    events = [event async for event in stream]
    assert events[0].type == "response.created"
    assert events[-1].type == "response.completed"
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text == whole.output_text != ""


async def test_the_models_of_the_server_are_listed_and_found(gateway: Any, llama: Llama) -> None:
    provider = {"type": "compatible", "base_url": llama.base_url, "api_key": llama.api_key}  # it says what it serves
    running = await gateway(settings(llama.base_url, providers={"llama": provider}))
    base_url = await models_known(running.base_url)
    async with AsyncOpenAI(base_url=base_url, api_key=KEY, max_retries=0) as client:
        assert [model.id async for model in client.models.list()] == ["tiny"]
        assert (await client.models.retrieve("tiny")).id == "tiny"
        # It answers to any name, so any name is found.
        assert (await client.models.retrieve("enormous")).id == "enormous"
        answer = await client.chat.completions.create(model="tiny", messages=QUESTION, **SAME_EACH_TIME)
        assert answer.model == "tiny"


async def test_a_refusal_of_the_server_reaches_the_client_as_one(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await client.chat.completions.create(model="tiny", messages="not a list")  # type: ignore[call-overload]
    assert refused.value.request_id


async def test_a_wrong_provider_key_is_not_blamed_on_the_client(gateway: Any, llama: Llama) -> None:
    running = await gateway(settings(llama.base_url, api_key="sk-not-of-that-server"))
    async with AsyncOpenAI(base_url=running.base_url, api_key=KEY, max_retries=0) as client:
        with pytest.raises(openai.InternalServerError) as failed:
            await client.chat.completions.create(model="tiny", messages=QUESTION)
    assert failed.value.status_code == 502
    assert failed.value.code == "upstream_auth_error"
    assert "sk-not" not in str(failed.value)


async def test_no_call_is_lost_when_the_server_closes_its_connection_after_a_hundred(
    gateway: Any, llama: Llama
) -> None:
    """llama.cpp closes a connection after 100 requests: a POST must not be lost on the hundred-and-first."""
    running = await gateway(settings(llama.base_url, api_key=llama.api_key))
    async with AsyncOpenAI(base_url=running.base_url, api_key=KEY, max_retries=0) as client:
        for _ in range(205):
            await client.completions.create(model="tiny", prompt="Once", max_tokens=1, temperature=1)
