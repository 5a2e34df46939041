"""Answers that are other than their labels, and streams that end by other names: read as SDKs read them."""

# ruff: noqa: E501
# One case a line: the tables are read down, not across.

import gzip
import json
import zlib
from typing import Any

import pytest

from tests.field.build import DONE, ROLE, STOP, always, ask, chat, chunk, data, event, one, said, two
from tests.field.play import Play
from tests.field.test_streams import CHAT, COMPLETED, CREATED, GOOD, HELLO, RESPONSES, TYPED, in_bytes, in_one

ANSWER: dict[str, Any] = {
    "id": "c1",
    "object": "chat.completion",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}],
}
WHOLE = json.dumps(ANSWER)
EMBEDDED = '{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.1]}]}'


def cut(text: str) -> list[str]:
    """Pieces of it, each a read of its own."""
    return [text[at : at + 97] for at in range(0, len(text), 97)]


def bare_deflate(text: str) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(text.encode()) + packer.flush()


def coded(name: str, body: bytes, kind: str) -> str:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Encoding: {name}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head + body.decode("latin-1")


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        pytest.param("none", str.encode, id="none"),
        pytest.param("UTF-8", str.encode, id="a charset"),
        pytest.param("identity", str.encode, id="identity"),
        pytest.param("", str.encode, id="nothing"),
        pytest.param("identity, gzip", lambda text: gzip.compress(text.encode()), id="identity, then gzip"),
        pytest.param("deflate", lambda text: zlib.compress(text.encode()), id="deflate"),
        pytest.param("deflate", bare_deflate, id="deflate without its frame, as httpx reads it"),
        pytest.param("x-gzip", lambda text: gzip.compress(text[:90].encode()) + gzip.compress(text[90:].encode()), id="gzip in two members"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("stream", [True, False])
async def test_a_coding_that_clients_can_read_is_read(play: Play, name: str, pack: Any, stream: bool) -> None:
    plain = GOOD if stream else WHOLE
    answer = coded(name, pack(plain), "text/event-stream" if stream else "application/json")
    for pieces in ([answer], cut(answer)):
        played = await play(two(), {"a": always(pieces), "b": always(said("b"))}, [ask(stream=stream, stream_options={"include_usage": True})])  # fmt: skip
        got = played["call"]
        assert (got.status, got.body, got.whole) == (200, plain.encode(), True)
        assert got.header("content-encoding") is None
        assert played.asked("b") == []


@pytest.mark.parametrize(
    ("path", "whole"), [(CHAT, WHOLE), ("/v1/embeddings", EMBEDDED), ("/v1/threads/t_1/runs", '{"id":"run_1"}')]
)
async def test_json_that_is_called_an_event_stream_is_json(play: Play, path: str, whole: str) -> None:
    """openai-python parses what it asked for, whatever its type says."""
    for answer in (in_one(whole), in_bytes(whole)):
        got = (await play(one(), {"a": always(answer)}, [ask(path)]))["call"]
        assert (got.status, got.body, got.whole) == (200, whole.encode(), True)


@pytest.mark.parametrize("path", [CHAT, "/v1/embeddings", RESPONSES])
@pytest.mark.parametrize("kind", ["text/event-stream", "application/json", None])
async def test_an_event_stream_is_no_answer_where_json_was_asked(play: Play, path: str, kind: str | None) -> None:
    good = {CHAT: WHOLE, "/v1/embeddings": EMBEDDED, RESPONSES: '{"object":"response","output":[]}'}[path]
    for answer in (in_one(GOOD, kind), in_bytes(GOOD, kind)):
        second = in_one(good, "application/json")
        played = await play(two(), {"a": always(answer), "b": always(second)}, [ask(path)])
        assert (played["call"].status, played["call"].body) == (200, good.encode())
        assert len(played.asked("b")) == 1


async def test_a_stream_that_was_asked_for_otherwise_passes(play: Play) -> None:
    """`stream_format` of speech (developers.openai.com/api/reference, audio/speech)."""
    stream = data({"type": "speech.audio.delta", "audio": "AAAA"}) + data({"type": "speech.audio.done"})
    step = ask("/v1/audio/speech", input="hi", voice="alloy", stream_format="sse")
    for answer in (in_one(stream), in_bytes(stream)):
        got = (await play(one(), {"a": always(answer)}, [step]))["call"]
        assert (got.status, got.body, got.whole) == (200, stream.encode(), True)


RUN = event("thread.run.created", {"id": "run_1", "object": "thread.run"})
PICTURE = event("image_generation.partial_image", {"type": "image_generation.partial_image", "b64_json": "AAAA"})
PICTURED = event("image_generation.completed", {"type": "image_generation.completed", "b64_json": "AAAA"})
HEARD = data({"type": "transcript.text.delta", "delta": "a"})


@pytest.mark.parametrize(
    ("path", "stream", "whole"),
    [
        pytest.param("/v1/threads/t_1/runs", RUN + "event: done\n" + DONE, True, id="a run that is done"),
        pytest.param("/v1/threads/t_1/runs", RUN, False, id="a run that only began"),
        pytest.param("/v1/images/generations", PICTURE + PICTURED, True, id="a picture"),
        pytest.param("/v1/images/generations", PICTURE, False, id="half a picture"),
        pytest.param("/v1/audio/transcriptions", HEARD + data({"type": "transcript.text.done", "text": "a"}), True, id="a transcript whose events have no names"),
        pytest.param("/v1/audio/transcriptions", HEARD, False, id="half a transcript"),
        pytest.param("/v1/audio/transcriptions", HEARD + data({"type": [".done"], "x": ".done"}), False, id="a type that is none"),
        pytest.param(CHAT, GOOD, True, id="a chat"),
        pytest.param(CHAT, ROLE + HELLO, False, id="half a chat"),
        pytest.param("GET /v1/responses/resp_1?stream=true", CREATED + TYPED + COMPLETED, True, id="a stored response"),
        pytest.param("GET /v1/responses/resp_1?stream=true", CREATED + TYPED, False, id="half a stored response"),
    ],
)  # fmt: skip
async def test_a_stream_that_ends_with_its_connection_is_whole_at_its_last_event(
    play: Play, path: str, stream: str, whole: bool
) -> None:
    """HTTP/1.0 has no chunks."""
    step = {"step": "call", "request": path} if path.startswith("GET") else ask(path, stream=True, stream_options={"include_usage": True})  # fmt: skip
    head = "HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    for pieces in ([head + stream], [head, *cut(stream)]):
        got = (await play(one(), {"a": always([*pieces, {"then": "close"}])}, [step]))["call"]
        assert got.status == 200
        assert got.whole is whole
        assert (got.body == stream.encode()) is whole
        assert got.body.startswith(stream.encode())


FINISHED = {"id": "resp_1", "object": "response", "status": "completed", "usage": {"input_tokens": 3}}


async def test_a_response_may_end_with_the_event_response_done(play: Play) -> None:
    """Clients of xAI's Responses API take it for `response.completed`."""
    stream = CREATED + TYPED + data({"type": "response.done", "response": FINISHED}) + DONE
    for answer in (in_one(stream), in_bytes(stream)):
        got = (await play(one(), {"a": always(answer)}, [ask(RESPONSES, stream=True)]))["call"]
        assert (got.status, got.body, got.whole) == (200, stream.encode(), True)


@pytest.mark.parametrize("name", ["response.completed", "response.done"])
async def test_a_last_event_whose_response_failed_is_a_failure(play: Play, name: str) -> None:
    failed = event(name, {"type": name, "response": {"status": "failed", "error": {"code": "server_error", "message": "x"}}})  # fmt: skip
    good = CREATED + TYPED + COMPLETED
    played = await play(
        two(), {"a": always(in_one(CREATED + failed)), "b": always(in_one(good))}, [ask(RESPONSES, stream=True)]
    )
    assert (played["call"].status, played["call"].body) == (200, good.encode())
    got = (await play(one(), {"a": always(in_one(CREATED + TYPED + failed))}, [ask(RESPONSES, stream=True)]))["call"]
    assert not got.whole
    assert got.body.startswith((CREATED + TYPED + "event: error\n").encode())


async def test_choices_are_told_apart_by_numbers_in_quotes_as_well(play: Play) -> None:
    first, second = (chunk({"content": "a"}).replace('"index":0', f'"index":"{number}"') for number in (0, 1))
    stop = STOP.replace('"index":0', '"index":"1"')
    for stream, whole in ((first + second + stop + DONE, False), (second + stop + DONE, True)):
        got = (await play(one(), {"a": always(in_one(stream))}, [ask(stream=True)]))["call"]
        assert got.whole is whole


async def test_a_stored_streams_own_error_is_shown(play: Play) -> None:
    told = event("error", {"type": "error", "code": "server_error", "message": "worker died"})
    step = {"step": "call", "request": "GET /v1/responses/resp_1?stream=true"}
    got = (await play(one(), {"a": always(in_one(CREATED + told))}, [step]))["call"]
    assert got.body.startswith((CREATED + told).encode())
    assert not got.whole


async def test_a_second_provider_answers_a_call_whose_first_answer_was_half_a_coding(play: Play) -> None:
    broken = coded("gzip", gzip.compress(WHOLE.encode())[:-9], "application/json")
    played = await play(two(), {"a": always([broken]), "b": always(chat("from b"))}, [ask()])
    assert b"from b" in played["call"].body
