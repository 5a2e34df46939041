"""The openai SDK for Python, unmodified, against the gateway in front of the simulator."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from proxy.core.tasks import start
from tests.rigs.simulator import Simulator

from .helpers import KEY, MODEL, PROVIDER_KEY, asking, calls, ended_by_client, first_call, models_known, settings

QUESTION: Any = [{"role": "user", "content": "Tell me something."}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@pytest.fixture
async def base_url(gateway: Any, simulator: Simulator) -> str:
    return (await gateway(settings(simulator.base_url))).base_url


@pytest.fixture
async def storing(gateway: Any, simulator: Simulator) -> AsyncIterator[AsyncOpenAI]:
    running = await gateway({**settings(simulator.base_url), "cache": {"enabled": True}})
    async with AsyncOpenAI(base_url=running.base_url, api_key=KEY, max_retries=0) as sdk:
        yield sdk


async def test_a_stored_answer_is_what_the_first_was(storing: AsyncOpenAI, simulator: Simulator) -> None:
    whole = [await storing.chat.completions.with_raw_response.create(model=MODEL, messages=QUESTION) for _ in "ab"]
    assert [answer.headers["x-hapax-cache"] for answer in whole] == ["miss", "hit"]
    assert whole[0].parse() == whole[1].parse()
    streams = []
    for _ in "ab":
        stream = await storing.chat.completions.create(
            model=MODEL, messages=QUESTION, stream=True, stream_options={"include_usage": True}
        )
        streams.append([chunk async for chunk in stream])
    assert streams[0] == streams[1]
    assert streams[1][-1].usage is not None
    assert len(calls(simulator)) == 2


@pytest.fixture
async def client(base_url: str) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=base_url, api_key=KEY, max_retries=0) as sdk:
        yield sdk


@pytest.fixture
async def three_targets(gateway: Any, simulator: Simulator) -> AsyncIterator[AsyncOpenAI]:
    """A client of a gateway that may try three providers."""
    running = await gateway(settings(simulator.base_url, targets=3))
    async with AsyncOpenAI(base_url=running.base_url, api_key=KEY, max_retries=0) as sdk:
        yield sdk


# --- what is asked for arrives ---------------------------------------------------------------------------------------


async def test_a_chat_answers_with_text_usage_and_a_request_id(client: AsyncOpenAI) -> None:
    raw = await client.chat.completions.with_raw_response.create(model=MODEL, messages=QUESTION)
    answer = raw.parse()
    assert raw.request_id
    assert raw.request_id == answer._request_id
    assert answer.model == MODEL
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0


async def test_a_chat_streams_its_deltas_in_order_and_then_finish_and_usage(client: AsyncOpenAI) -> None:
    whole = await client.chat.completions.create(model=MODEL, messages=QUESTION)
    stream = await client.chat.completions.create(
        model=MODEL, messages=QUESTION, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert len({chunk.id for chunk in chunks}) == 1
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == whole.choices[0].message.content
    finishes = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices]
    assert finishes == [None] * (len(finishes) - 1) + ["stop"]
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage


async def test_a_stream_carries_usage_only_when_it_was_asked_for(client: AsyncOpenAI) -> None:
    """The gateway counts tokens itself; it must not make the provider say what the client did not ask for."""
    stream = await client.chat.completions.create(model=MODEL, messages=QUESTION, stream=True)
    chunks = [chunk async for chunk in stream]
    assert all(chunk.usage is None for chunk in chunks)
    assert all(chunk.choices for chunk in chunks)


async def test_the_first_delta_arrives_while_the_provider_is_still_writing(
    client: AsyncOpenAI, simulator: Simulator
) -> None:
    model = asking("forever", "pace=2ms")
    async with await client.chat.completions.create(model=model, messages=QUESTION, stream=True) as stream:
        async for chunk in stream:
            if chunk.choices[0].delta.content:
                break
        assert not calls(simulator)[-1].finished


async def test_the_synchronous_client_streams_too(base_url: str) -> None:
    def chat() -> list[str]:
        with OpenAI(base_url=base_url, api_key=KEY, max_retries=0) as sdk:
            stream = sdk.chat.completions.create(model=MODEL, messages=QUESTION, stream=True)
            return [chunk.choices[0].delta.content or "" for chunk in stream]

    assert "".join(await asyncio.to_thread(chat))


async def test_many_streams_at_once_do_not_mix(client: AsyncOpenAI) -> None:
    async def echo(text: str) -> str:
        stream = await client.chat.completions.create(
            model=asking("echo"), messages=[{"role": "user", "content": text}], stream=True
        )
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    texts = [f"call {number} of many: " + str(number) * 50 for number in range(50)]
    assert await asyncio.gather(*map(echo, texts)) == texts


async def test_a_text_that_is_not_ascii_comes_back_as_it_was_sent(client: AsyncOpenAI) -> None:
    text = "Grüße, 世界, 👩‍👩‍👧, \u2028 and \u202b"
    stream = await client.chat.completions.create(
        model=asking("echo"), messages=[{"role": "user", "content": text}], stream=True
    )
    assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == text


async def test_a_tool_call_comes_with_its_arguments(client: AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model=MODEL, messages=QUESTION, tools=[WEATHER])
    assert answer.choices[0].finish_reason == "tool_calls"
    [call] = answer.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert call.function.name == "get_weather"
    assert isinstance(json.loads(call.function.arguments)["city"], str)


async def test_a_streamed_tool_call_is_put_together_by_the_sdk(client: AsyncOpenAI) -> None:
    whole = await client.chat.completions.create(model=MODEL, messages=QUESTION, tools=[WEATHER])
    async with client.chat.completions.stream(model=MODEL, messages=QUESTION, tools=[WEATHER]) as stream:
        answer = await stream.get_final_completion()
    assert answer.choices[0].finish_reason == "tool_calls"
    [expected], [call] = whole.choices[0].message.tool_calls or [], answer.choices[0].message.tool_calls or []
    assert call.function.arguments == expected.function.arguments
    assert call.id


async def test_json_mode_answers_with_an_object(client: AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(
        model=MODEL, messages=QUESTION, response_format={"type": "json_object"}
    )
    assert isinstance(json.loads(answer.choices[0].message.content or ""), dict)


async def test_a_text_completion_answers_and_streams(client: AsyncOpenAI) -> None:
    whole = await client.completions.create(model=MODEL, prompt="Once upon a time")
    stream = await client.completions.create(model=MODEL, prompt="Once upon a time", stream=True)
    assert "".join([chunk.choices[0].text async for chunk in stream]) == whole.choices[0].text != ""


async def test_embeddings_come_one_per_input(client: AsyncOpenAI) -> None:
    answer = await client.embeddings.create(model=MODEL, input=["one", "two"])  # the SDK asks for base64 by itself
    floats = await client.embeddings.create(model=MODEL, input=["one", "two"], encoding_format="float")
    assert [item.index for item in answer.data] == [0, 1]
    assert answer.data[0].embedding == floats.data[0].embedding
    assert answer.data[0].embedding != answer.data[1].embedding


async def test_a_response_answers_and_streams_its_typed_events(client: AsyncOpenAI) -> None:
    whole = await client.responses.create(model=MODEL, input="Tell me something.")
    stream = await client.responses.create(model=MODEL, input="Tell me something.", stream=True)
    events = [event async for event in stream]
    assert [events[0].type, events[-1].type] == ["response.created", "response.completed"]
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == whole.output_text != ""
    assert [event.sequence_number for event in events] == list(range(len(events)))


async def test_models_are_listed_and_found(gateway: Any, simulator: Simulator) -> None:
    provider = {"type": "compatible", "base_url": simulator.base_url, "api_key": PROVIDER_KEY, "models": ["sim-*"]}
    running = await gateway(settings(simulator.base_url, providers={"upstream": provider}))
    async with AsyncOpenAI(base_url=await models_known(running.base_url), api_key=KEY, max_retries=0) as client:
        assert MODEL in [model.id async for model in client.models.list()]
        assert (await client.models.retrieve(MODEL)).id == MODEL
        with pytest.raises(openai.NotFoundError) as missing:
            await client.models.retrieve("no-such-model")
        assert missing.value.code == "model_not_found"


async def test_a_moderation_answers(client: AsyncOpenAI) -> None:
    answer = await client.moderations.create(model=MODEL, input=["a harmless sentence", "violence"])
    assert [result.flagged for result in answer.results] == [False, True]


async def test_speech_arrives_byte_for_byte(client: AsyncOpenAI) -> None:
    answer = await client.audio.speech.create(model=asking("bytes=100000"), voice="alloy", input="Hello.")
    assert answer.response.headers["content-type"] == "audio/mpeg"
    assert answer.content == (bytes(range(256)) * 391)[:100_000]


async def test_a_transcription_reads_the_file_that_was_sent(client: AsyncOpenAI, simulator: Simulator) -> None:
    sound = bytes(range(256)) * 100
    answer = await client.audio.transcriptions.create(model=MODEL, file=("sound.wav", sound))
    assert answer.text
    assert sound in calls(simulator)[-1].body


async def test_a_file_is_uploaded_whole(client: AsyncOpenAI, simulator: Simulator) -> None:
    content = b'{"line": 1}\r\n\r\n--not-the-boundary\r\n' * 100_000  # 3.5 MB: it does not fit into one read
    answer = await client.files.create(file=("lines.jsonl", content), purpose="batch")
    assert (answer.filename, answer.bytes, answer.purpose) == ("lines.jsonl", len(content), "batch")
    assert calls(simulator)[-1].length > len(content)


async def test_an_image_is_generated(client: AsyncOpenAI) -> None:
    answer = await client.images.generate(model=MODEL, prompt="A grey pixel")
    assert answer.data
    assert answer.data[0].b64_json


# --- what fails is told ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("directives", "error", "attempts"),
    [
        (("status=400",), openai.BadRequestError, 1),
        (("status=404,code=x",), openai.NotFoundError, 1),
        # Of this code it is the model that is missing, which another target may have.
        (("status=404",), openai.NotFoundError, 3),
        (("status=422",), openai.UnprocessableEntityError, 1),
        (("status=429",), openai.RateLimitError, 3),
        (("status=500",), openai.InternalServerError, 3),
        (("status=503",), openai.InternalServerError, 3),
        (("rst",), openai.InternalServerError, 3),
        (("fin",), openai.InternalServerError, 3),
        (("junk",), openai.InternalServerError, 3),
        (("html",), openai.InternalServerError, 3),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_failure_is_raised_as_the_class_of_its_kind(
    three_targets: AsyncOpenAI,
    simulator: Simulator,
    directives: tuple[str, ...],
    error: type[openai.APIStatusError],
    attempts: int,
    stream: bool,
) -> None:
    with pytest.raises(error) as failed:
        await three_targets.chat.completions.create(model=asking(*directives), messages=QUESTION, stream=stream)
    assert failed.value.request_id
    assert isinstance(failed.value.body, dict)
    assert failed.value.body["message"]
    if failed.value.status_code >= 500:
        assert failed.value.code
        assert failed.value.body["request_id"] == failed.value.request_id
    assert failed.value.response.headers["x-hapax-attempts"] == str(attempts)
    assert len(calls(simulator)) >= attempts  # a connection that died is also tried once anew


async def test_an_unknown_model_is_refused_by_the_gateway_itself(gateway: Any, simulator: Simulator) -> None:
    only = {"type": "compatible", "base_url": simulator.base_url, "api_key": "x", "models": [MODEL]}
    running = await gateway(settings(simulator.base_url, providers={"upstream": only}))
    async with AsyncOpenAI(base_url=running.base_url, api_key=KEY, max_retries=0) as client:
        with pytest.raises(openai.NotFoundError) as failed:
            await client.chat.completions.create(model="no-such-model", messages=QUESTION)
    assert (failed.value.code, failed.value.type) == ("model_not_found", "invalid_request_error")
    assert failed.value.request_id
    assert calls(simulator) == []


async def test_a_wrong_key_is_refused_and_never_sent_on(base_url: str, simulator: Simulator) -> None:
    async with AsyncOpenAI(base_url=base_url, api_key="sk-wrong", max_retries=0) as client:
        with pytest.raises(openai.AuthenticationError) as failed:
            await client.chat.completions.create(model=MODEL, messages=QUESTION)
    assert failed.value.code == "invalid_api_key"
    assert failed.value.request_id
    assert "sk-wrong" not in str(failed.value)
    assert calls(simulator) == []


async def test_the_client_key_is_not_what_the_provider_sees(client: AsyncOpenAI, simulator: Simulator) -> None:
    await client.chat.completions.create(model=MODEL, messages=QUESTION)
    seen = calls(simulator)[-1]
    assert seen.header("authorization") == f"Bearer {PROVIDER_KEY}".encode()
    assert all(KEY.encode() not in value for _, value in seen.headers)
    assert KEY.encode() not in seen.body


async def test_a_model_the_key_may_not_use_is_forbidden(gateway: Any, simulator: Simulator) -> None:
    keys = [{"name": "tests", "key": KEY, "models": ["other-*"]}]
    running = await gateway(settings(simulator.base_url, auth={"keys": keys}))
    async with AsyncOpenAI(base_url=running.base_url, api_key=KEY, max_retries=0) as client:
        with pytest.raises(openai.PermissionDeniedError) as failed:
            await client.chat.completions.create(model=MODEL, messages=QUESTION)
    assert failed.value.code == "model_not_allowed"
    assert calls(simulator) == []


async def test_a_body_beyond_the_limit_is_refused(gateway: Any, simulator: Simulator) -> None:
    running = await gateway(settings(simulator.base_url, server={"max_body_bytes": "64KiB"}))
    async with AsyncOpenAI(base_url=running.base_url, api_key=KEY, max_retries=0) as client:
        with pytest.raises(openai.APIStatusError) as failed:
            await client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "x" * 1_000_000}])
    assert (failed.value.status_code, failed.value.code) == (413, "request_too_large")
    assert failed.value.request_id
    assert calls(simulator) == []


async def test_a_rate_limit_tells_when_to_try_again(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.RateLimitError) as failed:
        await client.chat.completions.create(model=asking("status=429", "retry_after=7"), messages=QUESTION)
    assert 1 <= float(failed.value.response.headers["retry-after"]) <= 7


@pytest.mark.parametrize(
    ("fault", "stream"),
    [
        (fault, stream)
        for fault in ("status=500", "status=429", "rst", "fin", "fin@1", "html")
        for stream in (False, True)
    ]
    + [("error@1", True)],
)
async def test_a_failure_before_the_first_content_is_not_seen_at_all(
    three_targets: AsyncOpenAI, fault: str, stream: bool
) -> None:
    raw = await three_targets.chat.completions.with_raw_response.create(
        model=asking(fault, "times=1"), messages=QUESTION, stream=stream
    )
    if stream:
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in raw.parse()])
    else:
        text = raw.parse().choices[0].message.content
    assert text.endswith("by somebody else.")
    assert raw.headers["x-hapax-provider"] in ("upstream-1", "upstream-2")


@pytest.mark.parametrize("cut", ["fin@8", "rst@8", "end@8"])
async def test_a_stream_that_breaks_off_raises_after_what_had_come(client: AsyncOpenAI, cut: str) -> None:
    stream = await client.chat.completions.create(model=asking(cut), messages=QUESTION, stream=True)
    pieces: list[str] = []

    async def read() -> None:
        async for chunk in stream:
            pieces.append(chunk.choices[0].delta.content or "")

    with pytest.raises(openai.APIError) as failed:
        await read()
    assert "".join(pieces)
    assert failed.value.code
    assert not isinstance(failed.value, openai.APIConnectionError)  # it was told, not guessed from a dead connection


# --- who leaves is noticed -------------------------------------------------------------------------------------------


async def test_a_client_that_leaves_in_the_middle_ends_the_call_upstream(
    client: AsyncOpenAI, simulator: Simulator
) -> None:
    stream = await client.chat.completions.create(model=asking("forever", "pace=2ms"), messages=QUESTION, stream=True)
    async for _ in stream:
        break
    await stream.close()
    assert await ended_by_client(calls(simulator)[-1])


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_client_that_leaves_before_the_answer_ends_the_call_upstream(
    base_url: str, simulator: Simulator, stream: bool
) -> None:
    async with AsyncOpenAI(base_url=base_url, api_key=KEY, max_retries=0) as client:
        answer = client.chat.completions.create(model=asking("silence"), messages=QUESTION, stream=stream)
        call = start(answer, "a call that is left")
        seen = await first_call(simulator)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await ended_by_client(seen)
    assert len(calls(simulator)) == 1
