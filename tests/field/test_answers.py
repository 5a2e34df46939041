"""Whole answers of 200 that are none, those that only look like it, and errors told where an answer belongs."""

from typing import Any

import pytest

from tests.field.build import always, answer, ask, chat, data, message, one, response, said, sse, two
from tests.field.play import Play

CHAT, COMPLETIONS, RESPONSES = "/v1/chat/completions", "/v1/completions", "/v1/responses"
MESSAGES, EMBEDDINGS, MODERATIONS = "/v1/messages", "/v1/embeddings", "/v1/moderations"
TEXT = answer(
    200, {"id": "t", "object": "text_completion", "choices": [{"text": "b", "index": 0, "finish_reason": "stop"}]}
)
VECTOR = answer(
    200, {"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}], "model": "m"}
)
FLAGS = answer(200, {"id": "x", "model": "m", "results": [{"flagged": False}]})
GOOD = {
    CHAT: chat("b"),
    COMPLETIONS: TEXT,
    RESPONSES: response("b"),
    MESSAGES: message("b"),
    EMBEDDINGS: VECTOR,
    MODERATIONS: FLAGS,
}
EVERYWHERE = list(GOOD)


def bad(sentence: str, body: Any, *paths: str, kind: str = "application/json") -> list[Any]:
    return [
        pytest.param(path, answer(200, body, kind), id=f"{sentence}, {path.removeprefix('/v1/')}")
        for path in paths or EVERYWHERE
    ]


def choice(**more: Any) -> dict[str, Any]:
    return {"id": "c", "object": "chat.completion", "choices": [{"index": 0, "message": {"content": "half"}, **more}]}


NO_ANSWERS = [
    *bad("a web page", "<!doctype html><title>One API</title>", kind="text/html"),
    *bad("a page that says it is JSON", "<html></html>"),
    *bad("a text", "upstream connect error or disconnect/reset before headers", kind="text/plain"),
    *bad("an error that is a text", {"error": "backend died"}),
    *bad("an error object", {"error": {"message": "backend died", "code": 502}}),
    # https://fastapi.tiangolo.com/tutorial/handling-errors/
    *bad("a detail", {"detail": "Service overloaded"}),
    # https://docs.vllm.ai/en/v0.6.0/serving/openai_compatible_server.html
    *bad(
        "an object that is an error", {"object": "error", "message": "died", "type": "InternalServerError", "code": 500}
    ),
    # https://developers.cloudflare.com/api/
    *bad("success false", {"success": False, "result": None, "errors": [{"code": 3040, "message": "Capacity"}]}),
    *bad("a list of errors", [{"error": {"code": 503, "message": "died", "status": "UNAVAILABLE"}}]),
    *bad("an empty object", {}),
    *bad("nothing", ""),
    *bad("half of an object", '{"id":"c1","choi'),
    *bad("no choices", {"id": "c", "choices": None}, CHAT, COMPLETIONS),
    *bad("empty choices", {"id": "c", "choices": []}, CHAT, COMPLETIONS),
    *bad("absent choices", {"id": "c", "object": "chat.completion"}, CHAT, COMPLETIONS),
    *bad("a choice that is null", {"id": "c", "choices": [None]}, CHAT, COMPLETIONS),
    # https://openrouter.ai/docs/api-reference/errors
    *bad("finish_reason error", choice(finish_reason="error"), CHAT, COMPLETIONS),
    # https://docs.z.ai/api-reference/llm/chat-completion
    *bad("finish_reason network_error", choice(finish_reason="network_error"), CHAT),
    # https://api-docs.deepseek.com/api/create-chat-completion
    *bad("finish_reason insufficient_system_resource", choice(finish_reason="insufficient_system_resource"), CHAT),
    *bad("the error of a choice", choice(error={"code": 500, "message": "died"}, finish_reason="stop"), CHAT),
    *bad("the error of a choice, a text", choice(error="died", finish_reason="stop"), CHAT),
    # https://platform.minimax.io/docs/api-reference/errorcode
    *bad(
        "MiniMax, overloaded",
        {"choices": None, "base_resp": {"status_code": 1000, "status_msg": "unknown error"}},
        CHAT,
    ),
    # https://docs.z.ai/api-reference/api-code
    *bad("a code and a msg", {"code": 500, "msg": "died", "success": False}),
    # https://platform.openai.com/docs/api-reference/responses/object
    *bad("failed without an error", {"id": "r", "object": "response", "status": "failed", "output": []}, RESPONSES),
    *bad("vectors under another name", {"embeddings": [[0.5]]}, EMBEDDINGS),
]


@pytest.mark.parametrize(("path", "first"), NO_ANSWERS)
async def test_what_is_no_answer_is_not_shown_and_the_next_provider_answers(
    path: str, first: list[Any], play: Play
) -> None:
    played = await play(two(), {"a": always(first), "b": always(GOOD[path])}, [ask(path)])
    got = played["call"]
    assert (got.status, got.whole) == (200, True)
    assert got.body == GOOD[path][0].partition("\r\n\r\n")[2].encode()
    assert len(played.asked("a")) == 1


@pytest.mark.parametrize("path", EVERYWHERE)
@pytest.mark.parametrize("body", ["<!doctype html><title>One API</title>", '{"choices":null}', '{"error":"died"}'])
async def test_alone_it_is_a_bad_gateway_in_openais_shape(path: str, body: str, play: Play) -> None:
    played = await play(one(), {"a": always(answer(200, body, "text/html"))}, [ask(path)])
    got = played["call"]
    assert got.status == 502
    assert got.error["type"] == "server_error"
    assert b"One API" not in got.body


def fine(sentence: str, path: str, body: Any, kind: str = "application/json", **fields: Any) -> Any:
    return pytest.param(path, answer(200, body, kind), fields, id=sentence)


ANSWERS = [
    fine("an error that is null", CHAT, {**choice(finish_reason="stop"), "error": None}),
    # https://github.com/songquanpeng/one-api/blob/main/relay/adaptor/openai/model.go
    fine(
        "an error of nothing but empty fields, as one-api adds it",
        CHAT,
        {**choice(finish_reason="stop"), "error": {"message": "", "type": "", "param": "", "code": None}},
    ),
    fine("an error that is an empty text", CHAT, {**choice(finish_reason="stop"), "error": ""}),
    fine("the null error of a choice", CHAT, choice(finish_reason="stop", error=None)),
    fine("a filter", CHAT, choice(finish_reason="content_filter")),
    fine("z.ai's filter", CHAT, choice(finish_reason="sensitive")),
    fine("cut for its length", CHAT, choice(finish_reason="length")),
    fine("no finish at all", CHAT, choice(finish_reason=None)),
    # https://platform.minimax.io/docs/api-reference/text-openai-api
    fine(
        "MiniMax's own good end",
        CHAT,
        {**choice(finish_reason="stop"), "base_resp": {"status_code": 0, "status_msg": ""}},
    ),
    fine("under text/plain", CHAT, choice(finish_reason="stop"), "text/plain"),
    fine("under application/octet-stream", CHAT, choice(finish_reason="stop"), "application/octet-stream"),
    fine("under no type", CHAT, choice(finish_reason="stop"), ""),
    fine(
        "under text/event-stream's letters in a text", CHAT, choice(finish_reason="stop"), "TEXT/PLAIN; charset=latin1"
    ),
    fine(
        "NaN", CHAT, '{"choices":[{"index":0,"message":{"content":"a"},"logprobs":{"x":NaN},"finish_reason":"stop"}]}'
    ),
    fine("an infinity", EMBEDDINGS, '{"data":[{"embedding":[Infinity,-Infinity]}]}'),
    fine("half an emoji", CHAT, '{"choices":[{"index":0,"message":{"content":"a\\ud83d"},"finish_reason":"length"}]}'),
    fine(
        "half an emoji and no usage, in a message",
        MESSAGES,
        '{"type":"message","content":[{"type":"text","text":"\\ude00"}]}',
    ),
    fine("a byte order mark", RESPONSES, '\u00ef\u00bb\u00bf{"object":"response","status":"completed","output":[]}'),
    fine("a number of forty digits", CHAT, '{"choices":[{"message":{"content":"a","n":%s}}],"x":NaN}' % ("9" * 40)),
    fine(
        "bytes that are no UTF-8",
        CHAT,
        '{"choices":[{"index":0,"message":{"content":"\u00ff"},"finish_reason":"stop"}]}',
    ),
    fine(
        "a response that is cut for its length", RESPONSES, {"object": "response", "status": "incomplete", "output": []}
    ),
    fine(
        "a response in the background",
        RESPONSES,
        {"object": "response", "status": "queued", "output": []},
        background=True,
    ),
    # https://docs.x.ai/docs/guides/deferred-chat-completions
    fine("xAI's deferred completion is an id", CHAT, {"request_id": "f15c114e"}, deferred=True),
    fine("no vectors for no texts", EMBEDDINGS, {"object": "list", "data": []}),
    # https://huggingface.github.io/text-embeddings-inference/
    fine("TEI ranks in a list", "/v1/rerank", [{"index": 0, "score": 0.5}]),
    fine("whatever an endpoint of its own says", "/v1/score", {"object": "error", "detail": "fine"}),
    fine("a page where no shape is known", "/v1/score", "<html>fine</html>", "text/html"),
]


@pytest.mark.parametrize(("path", "first", "fields"), ANSWERS)
async def test_what_sdks_take_for_an_answer_passes_byte_for_byte(
    path: str, first: list[Any], fields: dict[str, Any], play: Play
) -> None:
    played = await play(two(), {"a": always(first), "b": always(chat("no"))}, [ask(path, **fields)])
    got = played["call"]
    assert (got.status, got.whole) == (200, True)
    assert got.body == first[0].encode("latin-1").partition(b"\r\n\r\n")[2]
    assert played.asked("b") == []


TOLD = [
    # One error, by its status and told in a 200: in the first event, in the place of a stream, and in a whole answer.
    pytest.param(
        400, {"message": "'n' must be 1", "type": "BadRequestError", "param": None, "code": 400}, id="vLLM, 400"
    ),
    pytest.param(400, {"message": "'n' must be 1", "type": "invalid_request_error", "code": "400"}, id="400 as a text"),
    pytest.param(403, {"message": "flagged", "code": 403, "metadata": {"reasons": ["x"]}}, id="OpenRouter, 403"),
    pytest.param(404, {"message": "No endpoints found", "code": 404}, id="OpenRouter, 404"),
    pytest.param(
        404, {"message": "The model `m` does not exist", "type": "NotFoundError", "code": 404}, id="vLLM, 404"
    ),
    pytest.param(408, {"message": "too slow", "code": 408}, id="OpenRouter, 408"),
    pytest.param(413, {"message": "too large", "type": "request_too_large"}, id="Anthropic, 413 by its type"),
    pytest.param(422, {"message": "unprocessable", "code": {"code": 422}}, id="a nested code"),
    pytest.param(429, {"message": "slow down", "code": "429"}, id="429 as a text"),
    pytest.param(429, {"message": "slow down", "type": "rate_limit_error"}, id="Anthropic, 429 by its type"),
    pytest.param(429, {"message": "slow", "code": 429, "status": "RESOURCE_EXHAUSTED"}, id="Gemini, 429"),
    pytest.param(500, {"message": "died", "type": "api_error"}, id="Anthropic, 500 by its type"),
    pytest.param(501, {"message": "cannot", "code": 501}, id="501"),
    pytest.param(502, {"message": "gone", "code": 502}, id="OpenRouter, 502"),
    pytest.param(503, {"message": "full", "status": "UNAVAILABLE", "code": 503}, id="Gemini, 503"),
    pytest.param(504, {"message": "late", "code": 504}, id="504"),
    pytest.param(529, {"message": "Overloaded", "type": "overloaded_error"}, id="Anthropic, 529 by its type"),
]


@pytest.mark.parametrize(("status", "error"), TOLD)
async def test_an_error_told_in_a_200_is_the_same_to_the_client_as_one_with_its_status(
    status: int, error: dict[str, Any], play: Play
) -> None:
    body = {"error": error}
    models = ["by-status", "by-event", "instead", "whole"]
    answers = [answer(status, body), sse(data(body)), answer(200, body), answer(200, {**body, "choices": []})]
    rules = [{"when": {"model": model}, "answer": each} for model, each in zip(models, answers, strict=True)]
    client = [ask(step=model, model=model, **({} if model == "whole" else {"stream": True})) for model in models]
    configuration = {**one(models=models), "failover": {"retries": 0}}
    played = await play(configuration, {"a": {"models": models, "rules": rules}}, client)
    expected = played["by-status"]
    assert expected.status == (status if status < 500 or status in (501, 503, 504) else {529: 503}.get(status, 502))
    for model in models[1:]:
        got = played[model]
        assert got.status == expected.status, model
        assert str(got.json["error"]["code"]) == str(expected.json["error"]["code"]) or status in (413, 422), model
        assert got.json["error"]["message"] == expected.json["error"]["message"] == error["message"], model


@pytest.mark.parametrize(
    "error",
    [
        {"message": "Incorrect API key provided: sk***2K", "code": 401},
        {"message": "No", "type": "authentication_error"},
        {"message": "No", "code": "invalid_api_key"},
        {"message": "Insufficient credits", "code": 402},
        {"message": "Your credit balance is too low to", "type": "invalid_request_error"},
    ],
    ids=lambda error: error["message"] + str(error.get("code")),
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_key_is_parked_by_an_error_told_in_a_200(error: dict[str, Any], stream: bool, play: Play) -> None:
    first = sse(data({"error": error})) if stream else answer(200, {"error": error})
    good = said("Hello from b") if stream else chat("Hello from b")
    more = {"stream": True} if stream else {}
    client = [ask(step="first", **more), ask(step="second", **more)]
    played = await play(two(), {"a": always(first), "b": always(good)}, client)
    for step in ("first", "second"):
        assert b"Hello from b" in played[step].body
    assert len(played.asked("a")) == 1


@pytest.mark.parametrize("key", ["sk-field-a1-Jm4Zr8TqWv2K", "sk-field*****Wv2K", "...Wv2K"])
async def test_an_error_event_behind_content_shows_no_key(key: str, play: Play) -> None:
    error = data({"error": {"message": f"Key {key} has expired", "type": "x", "code": "y"}})
    chunk = data({"choices": [{"index": 0, "delta": {"content": "Hello"}, "finish_reason": None}]})
    played = await play(one(), {"a": always(sse(chunk + error))}, [ask(stream=True)])
    assert b"Hello" in played["call"].body
    assert b"has expired" in played["call"].body
    assert b"Wv2K" not in played["call"].body
    assert not played["call"].whole
