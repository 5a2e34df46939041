"""Streams as providers really send them: what passes as it is, what moves on, and what ends as a visible cut."""

# ruff: noqa: E501
# One case a line: the tables are read down, not across.

from typing import Any

import pytest

from tests.field.build import DONE, ROLE, STOP, always, ask, chunk, data, event, one, said, sse, two
from tests.field.play import Got, Play

HELLO = chunk({"content": "Hello"})
CHAT, COMPLETIONS, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages"
GOOD = ROLE + HELLO + STOP + DONE
TEXT = data(
    {"id": "c1", "object": "text_completion", "choices": [{"index": 0, "text": "Hello", "finish_reason": None}]}
)
TEXT_STOP = data(
    {"id": "c1", "object": "text_completion", "choices": [{"index": 0, "text": "", "finish_reason": "stop"}]}
)
CREATED = event("response.created", {"type": "response.created", "response": {"id": "resp_1", "status": "in_progress"}})
TYPED = event("response.output_text.delta", {"type": "response.output_text.delta", "delta": "Hello"})
COMPLETED = event(
    "response.completed", {"type": "response.completed", "response": {"id": "resp_1", "status": "completed"}}
)
MESSAGE = event("message_start", {"type": "message_start", "message": {"usage": {"input_tokens": 3}}})
BLOCK = event("content_block_start", {"type": "content_block_start", "index": 0, "content_block": {"type": "text"}})
DELTA = event(
    "content_block_delta",
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}},
)
MESSAGE_STOP = event("message_stop", {"type": "message_stop"})


def in_one(stream: str, kind: str | None = "text/event-stream") -> list[Any]:
    """The stream as a single write, whose end its length tells."""
    typed = f"Content-Type: {kind}\r\n" if kind else ""
    return [f"HTTP/1.1 200 OK\r\n{typed}Content-Length: {len(stream.encode('latin-1'))}\r\n\r\n{stream}"]


def in_bytes(stream: str, kind: str | None = "text/event-stream") -> list[Any]:
    """The same, its first bytes one at a time."""
    typed = f"Content-Type: {kind}\r\n" if kind else ""
    head = f"HTTP/1.1 200 OK\r\n{typed}Content-Length: {len(stream.encode('latin-1'))}\r\n\r\n"
    return [head, *stream[:12], stream[12:]]


async def stream_of(play: Play, path: str, answer: list[Any], **fields: Any) -> Got:
    played = await play(one(), {"a": always(answer)}, [ask(path, stream=True, **fields)])
    assert len(played.asked("a")) == 1
    return played["call"]


UNCHANGED = [
    # Kind 3. What the standard's readers, and so both SDKs, skip or read all the same.
    pytest.param(CHAT, "data\n\n" + GOOD, id="a field without a colon before anything"),
    pytest.param(CHAT, "event: heartbeat\n\n" + GOOD, id="an event without a data line"),
    pytest.param(CHAT, 'event: ping\ndata: {"type": "ping"}\n\n' + GOOD, id="a ping with data in a chat"),
    pytest.param(CHAT, "retry: 3000\n\n" + GOOD, id="a retry before anything"),
    pytest.param(CHAT, "id: 1\nevent: message\n" + GOOD, id="an id and a name before the first chunk"),
    pytest.param(CHAT, ": connected\n\n" + GOOD, id="a comment first"),
    pytest.param(CHAT, "\xef\xbb\xbf" + GOOD, id="a byte order mark before the stream"),
    pytest.param(CHAT, "\n\n" + GOOD, id="blank lines before the stream"),
    pytest.param(CHAT, GOOD.replace("\n", "\r\n"), id="CRLF"),
    pytest.param(CHAT, GOOD.replace("\n", "\r"), id="CR alone"),
    pytest.param(CHAT, GOOD.replace("data: ", "data:"), id="no space behind any colon"),
    pytest.param(CHAT, "data: not JSON\n\n" + GOOD, id="text first: opaque, and no fault"),
    pytest.param(CHAT, "data: {broken\n\n" + GOOD, id="broken JSON first"),
    pytest.param(CHAT, "data: null\n\n" + GOOD, id="null first"),
    pytest.param(CHAT, "data: []\n\n" + GOOD, id="a list first"),
    pytest.param(CHAT, ROLE + HELLO + "data: {broken\n\n" + STOP + DONE, id="broken JSON in the middle"),
    pytest.param(CHAT, ROLE + data('{"choices":[{"index":0,"delta":{"content":"\xf0\x9f"}}]}') + STOP + DONE, id="half a letter"),
    pytest.param(CHAT, ROLE + data('{"choices":[{"index":0,"delta":{"content":"\\udc00"},"logprobs":NaN}]}') + STOP + DONE, id="a low surrogate and NaN"),
    pytest.param(CHAT, data('{"x":1e999,"choices":[{"index":0,"delta":{"content":"a"},"logprobs":Infinity}]}') + STOP + DONE, id="Infinity in the first chunk"),
    pytest.param(CHAT, data('{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c","function":{"name":"f","arguments":"{\\"a\\":\\"\\ud83d"}}]}}]}') + chunk({}, "tool_calls") + DONE, id="half an emoji in a call's arguments"),
    pytest.param(COMPLETIONS, data('{"choices":[{"index":0,"text":"\\ud83d","finish_reason":null}]}') + TEXT_STOP + DONE, id="half an emoji in a completion"),
    pytest.param(RESPONSES, CREATED + TYPED.replace("Hello", "\\ud83d") + COMPLETED, id="half an emoji in a response"),
    pytest.param(MESSAGES, MESSAGE + BLOCK + DELTA.replace("Hello", "\\ud83d") + MESSAGE_STOP, id="half an emoji in a message"),
    pytest.param(MESSAGES, "event: ping\ndata: \n\n" + MESSAGE + BLOCK + DELTA + MESSAGE_STOP, id="an empty ping before a message"),
    pytest.param(RESPONSES, 'event: keepalive\ndata: {"type":"keepalive","sequence_number":2}\n\n' + CREATED + TYPED + COMPLETED, id="a keepalive in a response"),
    # Kind 2, what is no failure. Reasons by which an answer is over and good.
    *(
        pytest.param(CHAT, ROLE + HELLO + chunk({}, finish) + DONE, id=f"finish_reason {finish} is an end")
        for finish in (
            "length",
            "content_filter",
            "tool_calls",
            "function_call",
            "end_turn",  # xAI
            "eos",  # Together, TGI's eos_token
            "eos_token",
            "stop_sequence",
            "sensitive",  # z.ai
            "model_length",  # Mistral
            "model_context_window_exceeded",  # z.ai
            "repetition",  # vLLM
            "insufficient_context",
            "MAX_TOKENS",  # Cohere
            "COMPLETE",
            "content_filter: PROHIBITED_CONTENT",  # Gemini
            "unknown",
        )
    ),
    pytest.param(CHAT, ROLE + HELLO + chunk({}, "stop", error=None) + DONE, id="error null in every chunk"),
    pytest.param(CHAT, ROLE.replace('"index":0', '"index":0,"error":null') + HELLO + STOP + DONE, id="error null in a choice"),
    pytest.param(CHAT, ROLE + HELLO + chunk({}, "stop", base_resp={"status_code": 0, "status_msg": ""}) + DONE, id="MiniMax's status 0"),
    pytest.param(CHAT, data({"choices": [], "code": 0, "message": "Success", "sid": "cht1"}) + GOOD, id="Spark's code 0"),
    pytest.param(CHAT, chunk({"content": "a"}) + chunk({"content": "b"}).replace('"index":0', '"index":1') + chunk({}, "length").replace('"index":0', '"index":1') + STOP + DONE, id="two choices that finish"),
    pytest.param(COMPLETIONS, TEXT + TEXT_STOP + DONE, id="a completion"),
    # Kind 5 and 15: vendors' own fields pass with the rest.
    pytest.param(CHAT, chunk({"role": "assistant", "content": [{"type": "text", "text": "Hello"}]}) + STOP + DONE, id="Mistral: content in parts"),
    pytest.param(CHAT, chunk({"content": "", "executed_tools": [{"index": 0, "type": "search", "output": "x"}]}) + HELLO + STOP + DONE, id="Groq: executed tools"),
    pytest.param(CHAT, chunk({"odd_field": "an answer in a field of its own"}) + STOP + DONE, id="a vendor that answers under a name of its own"),
    pytest.param(MESSAGES, MESSAGE + BLOCK + event("ping", {"type": "ping"}) + DELTA + MESSAGE_STOP, id="Anthropic's ping"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "stream"), UNCHANGED)
async def test_a_good_stream_passes_byte_for_byte(play: Play, path: str, stream: str) -> None:
    got = await stream_of(play, path, in_one(stream), stream_options={"include_usage": True})
    assert (got.status, got.body, got.whole) == (200, stream.encode("latin-1"), True)


@pytest.mark.parametrize(
    "kind",
    [
        None,
        "text/plain",
        "application/json; charset=utf-8",
        "application/stream+json",
        "application/x-ndjson",
        "text/html",
        "binary/octet-stream",
        "TEXT/EVENT-STREAM",
        "event-stream",
        "garbage",
    ],
)
@pytest.mark.parametrize(
    "start", ["", ": hello\n\n", "\xef\xbb\xbf\r\n", "id: 1\n", "retry: 5\n\n", "event: message\n"]
)
async def test_a_stream_is_one_whatever_its_label_says(play: Play, kind: str | None, start: str) -> None:
    """SDKs do not look at the type, and the cut bytes do not decide."""
    stream = start + GOOD
    got = await stream_of(play, CHAT, in_bytes(stream, kind))
    assert (got.status, got.body, got.whole) == (200, stream.encode("latin-1"), True)
    assert got.header("content-type") == (kind or "text/event-stream")


@pytest.mark.parametrize(
    ("path", "first"),
    [
        # OpenRouter: openrouter.ai/docs/api-reference/errors, in the stream.
        pytest.param(CHAT, [data({"error": {"code": 502, "message": "Provider returned error"}, "choices": []})], id="an error beside no choices"),
        pytest.param(CHAT, [ROLE, chunk({"content": ""}, "error", error={"code": 502, "message": "x"})], id="an error beside a choice"),
        pytest.param(CHAT, [ROLE, chunk({"content": "so far"}, "error")], id="a first text with finish_reason error"),
        pytest.param(CHAT, [ROLE, chunk({}, "insufficient_system_resource"), DONE], id="DeepSeek: no resources"),
        pytest.param(CHAT, [ROLE, chunk({}, "abort"), DONE], id="vLLM, SGLang: abort"),
        pytest.param(CHAT, [ROLE, chunk({}, "server_error"), DONE], id="an unknown reason that ends in error"),
        pytest.param(CHAT, [ROLE, chunk({}, "ERROR"), DONE], id="Cohere: ERROR"),
        pytest.param(CHAT, [ROLE, chunk({}, "TIMEOUT"), DONE], id="Cohere: TIMEOUT"),
        pytest.param(CHAT, [ROLE, chunk({}, "cancelled"), DONE], id="watsonx: cancelled"),
        pytest.param(CHAT, ['event: error\ndata: {"message":"Service unavailable","code":503}\n\n'], id="an event called error, flat"),
        pytest.param(CHAT, [data({"object": "error", "message": "engine dead", "type": "InternalServerError", "code": 500})], id="vLLM's object"),
        pytest.param(CHAT, ['error: {"code":503,"message":"Loading model","type":"unavailable_error"}\n\n'], id="llama.cpp's line"),
        pytest.param(CHAT, [": processing\n\n", ROLE, data({"error": {"message": "overloaded", "code": 503}})], id="a comment and a role before"),
        pytest.param(CHAT, [ROLE, DONE], id="a role, then [DONE]"),
        pytest.param(CHAT, [DONE], id="[DONE] alone"),
        pytest.param(CHAT, ["data: {broken\n\n", "data: {again\n\n"], id="nothing that can be read"),
        pytest.param(CHAT, ["data: \n\n", ": x\n\n"], id="heartbeats and the end"),
        pytest.param(CHAT, [chunk({"role": "assistant", "content": "", "reasoning_details": []}), DONE], id="empty details"),
        pytest.param(CHAT, [chunk({"role": "assistant", "content": None, "tool_calls": [], "audio": None}), DONE], id="empty calls"),
        pytest.param(CHAT, [chunk({"role": "assistant", "content": "", "provider_specific_fields": {"a": "b"}}), DONE], id="a vendor's fields"),
        pytest.param(CHAT, [data({"choices": [], "prompt_filter_results": [{"prompt_index": 0}]}), DONE], id="Azure's filter results"),
        pytest.param(COMPLETIONS, [data({"choices": [{"index": 0, "text": "", "finish_reason": "error"}]}), DONE], id="a completion that failed"),
        pytest.param(RESPONSES, [CREATED, event("error", {"type": "error", "code": "server_error", "message": "x"})], id="a response's error"),
        pytest.param(RESPONSES, [CREATED, event("response.failed", {"type": "response.failed", "response": {"error": {"code": "server_error", "message": "x"}}})], id="a response that failed"),
        pytest.param(RESPONSES, [CREATED, DONE], id="a response that only began"),
        pytest.param(MESSAGES, [MESSAGE, BLOCK, event("error", {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})], id="a message's error"),
        pytest.param(MESSAGES, [data({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})], id="a message's error without a name"),
    ],
)  # fmt: skip
async def test_a_stream_that_fails_before_it_says_anything_comes_from_the_next(
    play: Play, path: str, first: list[str]
) -> None:
    good = {CHAT: GOOD, COMPLETIONS: TEXT + TEXT_STOP, RESPONSES: CREATED + TYPED + COMPLETED}
    second = good.get(path, MESSAGE + DELTA + MESSAGE_STOP).replace("Hello", "from b")
    played = await play(two(), {"a": always(sse(*first)), "b": always(in_one(second))}, [ask(path, stream=True)])
    assert (played["call"].status, played["call"].body) == (200, second.encode())
    assert (len(played.asked("a")), len(played.asked("b"))) == (1, 1)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        pytest.param('{"error":{"message":"Overloaded","code":503}}', "text/event-stream", id="an error labelled as a stream"),
        pytest.param('\r\n\r\n{"error":"model runner has unexpectedly stopped","status":500}', "text/event-stream", id="blank lines and a text"),
        pytest.param('[{"error":{"code":503,"message":"The model is overloaded.","status":"UNAVAILABLE"}}]', "application/json", id="Gemini's list"),
        pytest.param("<html><body>502 Bad Gateway</body></html>", "text/event-stream", id="a page labelled as a stream"),
        pytest.param("upstream connect error or disconnect/reset before headers", "text/event-stream", id="Envoy's words"),
        pytest.param("Internal Server Error", "text/plain", id="words"),
        pytest.param('{"choices":[{"message":{"content":"whole"},"finish_reason":"stop"}]}', "text/event-stream", id="a whole answer labelled as a stream"),
        pytest.param("", None, id="nothing at all"),
    ],
)  # fmt: skip
async def test_what_is_no_stream_comes_from_the_next(play: Play, answer: str, kind: str | None) -> None:
    for first in (in_one(answer, kind), in_bytes(answer, kind)):
        played = await play(two(), {"a": always(first), "b": always(said("from b"))}, [ask(stream=True)])
        assert played["call"].status == 200
        assert b"from b" in played["call"].body
        assert len(played.asked("b")) == 1


@pytest.mark.parametrize(
    ("path", "events", "shown", "raised"),
    [
        pytest.param(CHAT, [ROLE, HELLO, DONE], 2, False, id="text, then [DONE]"),
        pytest.param(CHAT, [ROLE, HELLO, "data:[DONE]\n\n"], 2, False, id="text, then [DONE] without a space"),
        pytest.param(CHAT, [chunk({"content": "a"}), chunk({}, "stop").replace('"index":0', '"index":1'), DONE], 2, False, id="one of two choices finished"),
        pytest.param(CHAT, [ROLE, HELLO, chunk({}, "error"), DONE], 3, False, id="finish_reason error"),
        pytest.param(CHAT, [ROLE, HELLO, chunk({}, "network_error")], 3, False, id="finish_reason network_error"),
        pytest.param(CHAT, [ROLE, HELLO, chunk({"content": ""}, "error", error={"code": 502, "message": "Provider disconnected"}), DONE], 3, True, id="OpenRouter: an error at the top of a chunk"),
        pytest.param(CHAT, [ROLE, HELLO, data({"error": {"message": "x", "code": 502}}), DONE], 3, True, id="an error event, then [DONE]"),
        pytest.param(CHAT, [ROLE, HELLO, data({"error": "worker died"}), DONE], 3, True, id="an error of words"),
        pytest.param(CHAT, [ROLE, HELLO, data({"object": "error", "message": "x", "code": 500}), DONE], 2, False, id="an object that SDKs take for a chunk"),
        pytest.param(CHAT, [ROLE, HELLO, 'error: {"code":500,"message":"x"}\n\n', DONE], 2, False, id="llama.cpp's line"),
        pytest.param(CHAT, [ROLE, HELLO, data({"detail": "worker died"}), DONE], 2, False, id="FastAPI's detail"),
        pytest.param(CHAT, [ROLE, HELLO, "event: error\ndata: worker died\n\n", DONE], 2, False, id="an error event of words"),
        pytest.param(CHAT, [ROLE, HELLO, data({"error": {"message": "Incorrect API key provided: sk-fi**2K", "code": 401}})], 2, False, id="an error that speaks of the operator's key"),
        pytest.param(COMPLETIONS, [TEXT, DONE], 1, False, id="a completion without a finish"),
        pytest.param(COMPLETIONS, [TEXT, data({"choices": [{"index": 0, "text": "", "finish_reason": "error"}]}), DONE], 2, False, id="a completion that failed"),
        pytest.param(RESPONSES, [CREATED, TYPED, DONE], 2, False, id="a response without its last event"),
        pytest.param(RESPONSES, [CREATED, TYPED, event("error", {"type": "error", "code": "server_error", "message": "x"}), DONE], 3, False, id="a response's flat error"),
        pytest.param(MESSAGES, [MESSAGE, DELTA, event("error", {"type": "error", "error": {"type": "api_error", "message": "x"}}), MESSAGE_STOP], 3, True, id="a message's error, then a stop"),
        pytest.param(MESSAGES, [MESSAGE, DELTA, DONE], 2, False, id="a message with [DONE] and no stop"),
    ],
)  # fmt: skip
async def test_what_fails_after_it_has_spoken_is_a_visible_cut(
    play: Play, path: str, events: list[str], shown: int, raised: bool
) -> None:
    """Whole events, one on which SDKs raise, nothing behind it, and no clean end; however the bytes come."""
    for answer in (sse(*events), in_one("".join(events))):
        got = await stream_of(play, path, answer)
        passed = "".join(events[:shown]).encode()
        assert got.status == 200
        assert got.body.startswith(passed)
        rest = got.body[len(passed) :]
        assert not got.whole
        assert b"DONE" not in got.body
        assert (rest == b"") is raised
        if not raised:
            assert b'"code":"upstream_' in rest
            assert rest.count(b"\n\n") == 1


@pytest.mark.parametrize(
    ("path", "event_with_error", "status"),
    [
        pytest.param(CHAT, data({"error": {"type": "invalid_request_error", "code": "bad_tool", "message": "m"}}), 400, id="OpenAI's words"),
        pytest.param(CHAT, 'error: {"type":"invalid_request_error","message":"m"}\n\n', 400, id="llama.cpp's line"),
        pytest.param(MESSAGES, event("error", {"type": "error", "error": {"type": "invalid_request_error", "message": "m"}}), 400, id="Anthropic's"),
        pytest.param(RESPONSES, CREATED + event("error", {"type": "error", "code": "invalid_request_error", "message": "m"}), 400, id="a response's"),
    ],
)  # fmt: skip
async def test_an_error_before_any_content_that_blames_the_question_is_told(
    play: Play, path: str, event_with_error: str, status: int
) -> None:
    played = await play(
        two(), {"a": always(in_one(event_with_error)), "b": always(said("b"))}, [ask(path, stream=True)]
    )
    assert played["call"].status == status
    assert b'"m"' in played["call"].body
    assert played.asked("b") == []


USAGE = {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}


@pytest.mark.parametrize(
    ("sent", "left"),
    [
        pytest.param(data({"id": "c1", "usage": USAGE, "choices": None}), "", id="null choices behind it"),
        pytest.param(data({"object": "chat.completion.chunk", "usage": {**USAGE, "cost": 0.1}}), "", id="no choices"),
        pytest.param(
            data({"choices": [], "usage": USAGE, "x_groq": {"id": "r"}}), "", id="a vendor's member beside it"
        ),
        pytest.param(data('{"usage": {"total_tokens": 4}, "choices": [ ] }'), "", id="spaces"),
    ],
)
async def test_the_chunk_the_gateway_asked_for_is_not_shown(play: Play, sent: str, left: str) -> None:
    for end in ("\n", "\r\n"):
        stream = (ROLE + HELLO + STOP + "{usage}" + DONE).replace("\n", end)
        got = await stream_of(play, CHAT, in_bytes(stream.replace("{usage}", sent.replace("\n", end))))
        assert got.body == stream.replace("{usage}", left).encode()
        asked = await stream_of(
            play,
            CHAT,
            in_one(stream.replace("{usage}", sent.replace("\n", end))),
            stream_options={"include_usage": True},
        )
        assert asked.body == stream.replace("{usage}", sent.replace("\n", end)).encode()


async def test_usage_beside_a_finish_goes_and_the_finish_stays(play: Play) -> None:
    got = await stream_of(play, CHAT, in_one(ROLE + HELLO + chunk({}, "stop", usage=USAGE) + DONE))
    assert got.body == (ROLE + HELLO + STOP + DONE).encode()


async def test_a_transcription_may_answer_whole_where_a_stream_was_asked(play: Play) -> None:
    """whisper-1 ignores `stream` (developers.openai.com/api/reference, audio/transcriptions)."""
    answer = 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{"text":"hello"}'
    for path in ("/v1/images/generations", "/v1/rerank", "/v1/audio/speech"):
        for parts in ([answer], [answer[:-15], answer[-15:-7], answer[-7:]]):
            got = await stream_of(play, path, list(parts))
            assert (got.status, got.body, got.whole) == (200, b'{"text":"hello"}', True)
            assert got.header("content-type") == "application/json"


async def test_a_stored_responses_stream_begins_with_its_head(play: Play) -> None:
    """The gateway does not wait for an event that may take minutes."""
    step = {"step": "call", "request": "GET /v1/responses/resp_1?stream=true"}
    head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    played = await play(one(), {"a": always([head, "0\r\n\r\n"])}, [step])
    assert (played["call"].status, played["call"].body, played["call"].whole) == (200, b"", True)
